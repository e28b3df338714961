"""Runs the control service: `python -m strongroom_hub.control`, started by the hub with its service environment."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import uvicorn
import uvloop
from fastapi import FastAPI
from sqlalchemy import Engine

from strongroom_hub.access.service import expire_grants
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.erasure import clear_up
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.push import Pusher, PushRounds
from strongroom_hub.audit.witnessing import Witnessing, WitnessRounds
from strongroom_hub.audit.words import BATCH, WordIndex
from strongroom_hub.audit.writer import AuditWriter, open_writer
from strongroom_hub.boxes.rates import Bounds
from strongroom_hub.boxes.service import record_unread
from strongroom_hub.catalog.changes import retire_outlived
from strongroom_hub.config import TWO_PERSON, Instance
from strongroom_hub.control.app import create_internal, create_public
from strongroom_hub.control.callers import Principals
from strongroom_hub.control.context import Context
from strongroom_hub.control.oauth import JupyterHubLogin
from strongroom_hub.control.policykeeper import PolicyKeeper
from strongroom_hub.control.setup import CONTROL_KEY, keys_dir, principals_file
from strongroom_hub.control.tickets import ReceiptReader, TicketSigner, load_private_key
from strongroom_hub.control.times import utc_now
from strongroom_hub.control.vaultdoor import VaultDoor
from strongroom_hub.database import migrate, open_for
from strongroom_hub.policies.bundle import BundleSigner
from strongroom_hub.policies.world import world
from strongroom_hub.projects.cell_door import CellDoor
from strongroom_hub.rounds import Rounds

log = logging.getLogger("strongroom.control")
WORD_BATCHES = 5
KEEP_ALIVE_SECONDS = 120
"""Longer than any caller keeps an idle connection: a call must not meet one that was just closed here."""


def open_context(instance: Instance) -> Context:
    """Everything but the writer, from an instance that set-up has made. Raises OSError or ValueError."""
    engine = open_for(instance)
    migrate(engine)
    keys = keys_dir(instance)
    log_keys = LogKeys.load(keys)
    return Context(
        instance=instance,
        engine=engine,
        policy=policy_keeper(instance, engine, utc_now),
        tickets=TicketSigner(load_private_key(keys / CONTROL_KEY), utc_now),
        receipts=ReceiptReader(instance.public_dir / "vault.pub.pem"),
        vault=VaultDoor(instance.vault_socket),
        log_keys=log_keys,
        clock=utc_now,
        bounds=Bounds.of(utc_now),
        witnessing=Witnessing(instance.audit, engine, log_keys, folder=instance.control_dir, clock=utc_now),
        words=WordIndex(engine, log_keys) if instance.audit.text_search else None,
        push=_pusher(instance, engine, log_keys),
    )


def _pusher(instance: Instance, engine: Engine, keys: LogKeys) -> Pusher | None:
    if instance.audit.push is None:
        return None
    return Pusher(instance.audit.push, engine, origin=keys.name, folder=instance.control_dir, clock=utc_now)


def policy_keeper(instance: Instance, engine: Engine, clock: Callable[[], datetime]) -> PolicyKeeper:
    """Not started yet. Raises OSError or ValueError."""
    signer = BundleSigner(load_private_key(keys_dir(instance) / CONTROL_KEY), clock)
    two_people = instance.policy_activation == TWO_PERSON
    return PolicyKeeper(instance.policy_dir, engine, clock, signer, world, two_people=two_people)


class Housekeeper(Rounds):
    """Looks each second: have policy files changed, have grants run out, were reads refused unread."""

    name = "housekeeping"
    every = 1.0

    def __init__(self, context: Context, writer: AuditWriter) -> None:
        super().__init__()
        self._context = context
        self._writer = writer

    def tick(self) -> None:
        """One look. Where it fails it is made again: deciding does not depend on it."""
        self._context.policy.poll(self._writer)
        if expire_grants(self._writer, self._context):
            self._context.policy.rebuild(self._writer)
        retire_outlived(self._writer, self._context)
        record_unread(self._writer, self._context)
        clear_up(self._writer, self._context)
        self._index_words()

    def _index_words(self) -> None:
        """A few batches at most: what else there is to do must not wait for a long history."""
        words = self._context.words
        for _ in range(WORD_BATCHES):
            if words is None or words.step(self._writer) < BATCH:
                return


def listen_unix(path: Path) -> socket.socket:
    """Everybody on the machine may connect; each call proves who it is."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen(128)
    return listener


def listen_loopback(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: two servers share one loop and one way to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured here."""
        yield


def _server(app: FastAPI) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=3,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
    )


async def _serve(internal: tuple[FastAPI, socket.socket], public: tuple[FastAPI, socket.socket]) -> None:
    servers = [_server(internal[0]), _server(public[0])]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await asyncio.gather(
        *(server.serve(sockets=[listener]) for server, (_, listener) in zip(servers, (internal, public), strict=True))
    )


def main() -> None:
    """Run until SIGTERM. Exits 1 with one line when the instance is not usable."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "httpcore", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with ExitStack() as stack:
        try:
            instance = Instance.load()
            context = open_context(instance)
            stack.callback(context.engine.dispose)
            principals = Principals.load(principals_file(instance))
            writer = open_writer(context.engine, context.log_keys)
            stack.callback(writer.close)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            log.error("control cannot start: %s", error)  # noqa: TRY400 - one line says it
            sys.exit(1)
        context.policy.start(writer)
        writer.append(
            Entry(
                action=Action.SYSTEM_START,
                actor="system:control",
                detail={"policy": context.policy.version, "one_uid": instance.uids is None},
            )
        )
        stack.callback(writer.append, Entry(action=Action.SYSTEM_STOP, actor="system:control"))
        stack.callback(record_unread, writer, context, all_of_them=True)
        housekeeper = Housekeeper(context, writer)
        housekeeper.start()
        stack.callback(housekeeper.close)
        cells = CellDoor(context, writer, listen_unix(instance.cells_socket))
        cells.start()
        stack.callback(cells.close)
        rounds = WitnessRounds(context.witnessing, writer)
        rounds.start()
        stack.callback(rounds.close)
        if context.push is not None:
            push = PushRounds(context.push)
            push.start()
            stack.callback(push.close)
        internal = (create_internal(context, writer, principals), listen_unix(instance.control_socket))
        public = (
            create_public(context, writer, JupyterHubLogin.from_environment()),
            listen_loopback(instance.control_port),
        )
        uvloop.run(_serve(internal, public))


if __name__ == "__main__":
    main()
