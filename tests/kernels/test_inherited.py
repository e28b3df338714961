"""What a box gets from the process that builds it: three streams, and no answer about the host's paths."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from strongroom_kernels.bubblewrap import Bubblewrap
from strongroom_kernels.provisioner import StrongroomProvisioner


def test_a_box_inherits_no_open_file(python_inside: Callable[..., str]) -> None:
    code = "import json, os\nlisted = os.listdir('/proc/self/fd')\nprint(json.dumps(sorted(map(int, listed))))"
    assert json.loads(python_inside(code, Bubblewrap())) == [0, 1, 2, 3]  # the fourth is the listing's own


@pytest.mark.parametrize("path", ["/etc/passwd", "/does/not/exist", "/", ".", "notebooks/a.ipynb"])
def test_the_provisioner_resolves_no_path(path: str) -> None:
    assert StrongroomProvisioner().resolve_path(path) is None
