"""A worker's first step: narrow itself, then become one: `python -m strongroom_hub.vault.boxed [--reads FOLDER ...]
[--writes FOLDER ...] [--rehearses]`.

Here nothing is imported that starts a thread: the box would not bind it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from strongroom_hub.vault.confine import Reach, confine, forbid_inspection


def enter(arguments: Sequence[str]) -> bool:
    """Put up the box that the arguments describe, for good; whether to rehearse. Raises OSError, RuntimeError."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reads", type=Path, action="append", default=[])
    parser.add_argument("--writes", type=Path, action="append", default=[])
    parser.add_argument("--rehearses", action="store_true")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the vault, which then closes the socket
    os.umask(0o077)
    forbid_inspection()
    confine(Reach(tuple(asked.reads), tuple(asked.writes)))
    return bool(asked.rehearses)


_SETTINGS = {
    # groups of rows that are decoded at a time: left to itself, polars makes all of a part and then hands on all
    "POLARS_ROW_GROUP_PREFETCH_SIZE": str(max(2, len(os.sched_getaffinity(0)))),
    "OPENBLAS_NUM_THREADS": "1",  # nothing is multiplied here
}

if __name__ == "__main__":
    rehearses = enter(sys.argv[1:])
    os.environ.update(_SETTINGS)
    from strongroom_hub.vault import worker  # brings libraries with threads of their own

    worker.main(rehearses=rehearses)
