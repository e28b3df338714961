"""`python -m strongroom_hub.vault [--instance FILE]`: both doors of the vault in one process."""

from __future__ import annotations

import time

_STARTED = time.time()  # before the heavy imports: nothing issued earlier is accepted

from strongroom_hub.vault import wiping  # noqa: E402

if __name__ == "__main__":
    wiping.begin_again()

import argparse  # noqa: E402
import asyncio  # noqa: E402
import contextlib  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import uvicorn  # noqa: E402

from strongroom_hub.config import Instance  # noqa: E402
from strongroom_hub.problems import Problem  # noqa: E402
from strongroom_hub.vault import sockets, trusted  # noqa: E402
from strongroom_hub.vault.confine import forbid_inspection  # noqa: E402
from strongroom_hub.vault.dataserver import DataServer  # noqa: E402
from strongroom_hub.vault.service import Vault  # noqa: E402

log = logging.getLogger("strongroom_hub.vault")


class _Door(uvicorn.Server):
    """Ends in order on a signal; uvicorn itself would raise the signal again and so end before the clean-up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


async def run(instance: Instance, started: float) -> None:
    """Serve until a signal ends it. Raises Problem or FileExistsError where it cannot start."""
    vault = Vault(instance, started=started)
    http, data = sockets.listen(instance.vault_socket), sockets.listen(instance.data_socket)
    try:
        vault.start()
        # a whole second must have begun since the start, so that a fresh ticket is told from one of a former life
        await asyncio.sleep(max(0.0, vault.tickets.ready_at - time.time()))
        config = uvicorn.Config(
            trusted.create_app(vault), log_config=None, access_log=False, timeout_graceful_shutdown=5
        )
        serving = asyncio.create_task(DataServer(vault, data).serve())
        log.info("vault ready")
        await _Door(config).serve(sockets=[http])
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    finally:
        vault.close()
        for listener, path in ((http, instance.vault_socket), (data, instance.data_socket)):
            listener.close()
            path.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m strongroom_hub.vault", description=__doc__)
    parser.add_argument("--instance", type=Path, default=None, help="instance.toml (default: $STRONGROOM_INSTANCE)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s vault %(levelname)s %(message)s", stream=sys.stderr)
    for chatty in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    forbid_inspection()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # what is lent costs a descriptor each
    os.umask(0o077)
    try:
        asyncio.run(run(Instance.load(arguments.instance), _STARTED))
    except Problem as problem:
        sys.exit(f"{problem.title}: {problem.detail} {problem.next}")
    except (FileExistsError, FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
