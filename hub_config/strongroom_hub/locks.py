"""One hub per instance: a lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os

from strongroom_hub.config import Instance


class AlreadyRunningError(Exception):
    """Another hub runs this instance."""


def lock(place: Instance) -> int:
    """Hold the instance for this process's life. Raises AlreadyRunningError."""
    descriptor = os.open(place.hub_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunningError(f"a hub is running this instance already ({place.data})") from None
    return descriptor
