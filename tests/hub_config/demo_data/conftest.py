from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from strongroom_hub import setup
from strongroom_hub.audit.writer import AuditWriter, open_writer
from strongroom_hub.config import Instance
from strongroom_hub.control.__main__ import listen_unix, open_context
from strongroom_hub.control.app import create_internal
from strongroom_hub.control.callers import Principals
from strongroom_hub.control.context import Context
from strongroom_hub.control.setup import principals_file
from strongroom_hub.vault import sockets, trusted
from strongroom_hub.vault.service import Vault


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """In a thread there are none."""


def _run(app: Any, listener: Any) -> tuple[_Server, threading.Thread]:
    server = _Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    return server, thread


@dataclasses.dataclass
class Inside:
    """A new instance under one uid, with real control and vault behind their sockets, and what they hold."""

    instance: Instance
    context: Context
    writer: AuditWriter
    vault: Vault | None = None


@pytest.fixture
def inside() -> Iterator[Inside]:
    with control_running() as inside:
        made = inside.instance
        inside.vault = vault = Vault(made, started=time.time() - 5)
        vault.workers.close()
        server, thread = _run(trusted.create_app(vault), sockets.listen(made.vault_socket))
        yield inside
        server.should_exit = True
        thread.join()
        vault.close()


@contextlib.contextmanager
def control_running() -> Iterator[Inside]:
    """Control alone, over a new instance."""
    home = Path(tempfile.mkdtemp(prefix="sr-"))
    runtime = setup.Runtime(node="node", proxy_script="proxy", server_python="python", kernel_prefix="kernel")
    made = setup.new_instance(home / "data", runtime, port=1, run=home / "run")
    made = dataclasses.replace(made, uids=None)
    setup.create(made)
    for folder in (made.control_socket.parent, made.vault_socket.parent):
        folder.mkdir(parents=True)
    context = open_context(made)
    writer = open_writer(context.engine, context.log_keys)
    context.policy.start(writer)
    internal = create_internal(context, writer, Principals.load(principals_file(made)))
    server, thread = _run(internal, listen_unix(made.control_socket))
    yield Inside(made, context, writer)
    server.should_exit = True
    thread.join()
    writer.close()
    context.engine.dispose()
    shutil.rmtree(home)


@pytest.fixture
def instance(inside: Inside) -> Instance:
    return inside.instance
