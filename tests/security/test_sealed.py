"""The profile `sealed` through a real hub: its kernels run in gVisor, and what asks for that is read by no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from strongroom_hub.internal import ControlClient
from strongroom_hub.supervisor import RunningInstance
from strongroom_hub.tour.notebook import Notebook

from tests.kernels.test_battery import missing
from tests.real import People, policy_rows
from tests.security.conftest import CONFIDENTIAL, grant

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(missing("gvisor")), reason=missing("gvisor") or "gVisor is here"),
]
PROJECT = "strict"
ROWS = f"""
g, user:analyst, project:{PROJECT}
p2, G1, *, read, {CONFIDENTIAL}, *, sandbox, gvisor, , "as its owner asked"
"""
READ = f"import os, strongroom\nprint(len(strongroom.open({CONFIDENTIAL!r}).columns) > 1)"
LINUX = "import os\nprint(os.uname().release)"


@pytest.fixture(scope="module")
def strict(running: RunningInstance) -> Iterator[None]:
    """A project of its own, and a dataset that asks for gVisor."""
    operator = ControlClient(running.instance.control_socket, running.instance.operator_token_file)
    operator.call("POST", "projects", {"name": PROJECT, "title": "Strict", "purpose": "To be read in gVisor."})
    with policy_rows(running, ROWS):
        yield


def test_only_a_sealed_kernel_reads_what_asks_for_gvisor(strict: None, people: People) -> None:
    standard = people.server("analyst", PROJECT)
    grant(people, standard, CONFIDENTIAL)
    with Notebook(standard, "standard.ipynb") as notebook:
        refused, linux = notebook.run(READ), notebook.run(LINUX).text
    assert refused.status == "error"
    assert "gvisor" in refused.error
    assert standard.panel("GET", "session")["label"] == "public"
    sealed = people.restart("analyst", PROJECT, "sealed")
    with Notebook(sealed, "sealed.ipynb") as notebook:
        of_gvisor, read = notebook.run(LINUX).text, notebook.run(READ)
    assert (read.status, read.text.strip()) == ("ok", "True"), read.error
    assert read.seal["label"] == "confidential"
    assert of_gvisor != linux
