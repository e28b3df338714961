"""What a kernel's process prints outside Jupyter's channels: kept for an admin, in bounds, never shown to users."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from strongroom_kernels import launcher

_HEAD_BYTES = 4096
_READY_LINE = launcher.READY.encode() + b"\n"


class OutputLog:
    """A pipe that is always drained, so that a kernel never blocks on it, into a file of at most `limit` bytes."""

    def __init__(self, path: Path, limit: int = 1 << 20) -> None:
        self._path = path
        self._left = limit
        self._head = b""
        self._reader, self.writer = os.pipe()
        self._thread = threading.Thread(target=self._drain, name="kernel output", daemon=True)
        self.ready = threading.Event()
        """Set when the launcher has said that the box is closed: from then on user code may have written here."""

    def started(self) -> None:
        """The process has its end of the pipe: begin to read, and see the end when it ends."""
        os.close(self.writer)
        self.writer = -1
        self._thread.start()

    def head(self) -> str:
        """The first 4 KiB. Safe to show only while `ready` is not set."""
        return self._head.decode("utf-8", "replace")

    def close(self) -> None:
        """Wait until all is read (at most five seconds). Without `started`, just close the pipe."""
        if self._thread.ident is not None:
            self._thread.join(5)
        else:
            for descriptor in {self._reader, self.writer} - {-1}:
                os.close(descriptor)

    def _drain(self) -> None:
        with contextlib.closing(os.fdopen(self._reader, "rb", buffering=0)) as pipe, self._path.open("wb") as file:
            while piece := pipe.read(1 << 16):
                if len(self._head) < _HEAD_BYTES:
                    self._head += piece[: _HEAD_BYTES - len(self._head)]
                    if _READY_LINE in self._head:
                        self.ready.set()
                with contextlib.suppress(OSError):  # a full disk must not stop the draining
                    file.write(piece[: self._left])
                    file.flush()
                self._left -= min(self._left, len(piece))
