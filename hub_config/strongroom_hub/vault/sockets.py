"""Listening Unix sockets in folders that the set-up made."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

_BACKLOG = 128
_MODE = 0o666  # who may come so far is said by the folder; who may do what, by the ticket


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`; one that a killed process left there is replaced.

    Raises FileExistsError where a live process answers at it, or where something else lies there.
    """
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~_MODE)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.listen(_BACKLOG)
    return listener


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise FileExistsError(f"{path} is in use") from error
    raise FileExistsError(f"{path} is in use: another vault is running")
