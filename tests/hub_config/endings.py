"""Ends at any point: a process that is killed, or a disk that is full, at the n-th write that has to be durable."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Literal

import pytest

How = Literal["end", "full"]
STRIDES = [5, pytest.param(1, marks=pytest.mark.soak)]
"""Every fifth point in the usual run, each of them in the long one."""


class EndError(BaseException):
    """Stands for the end of the process: nothing cleans up after it."""


def limited(patch: pytest.MonkeyPatch, steps: int, how: How) -> list[int]:
    """Let `steps` syncs and renames (and, where the process ends, removals) through; all after them fail.

    What is left of them stands in the answer: negative once something failed.
    """
    remaining = [steps]

    def counted(call: Any) -> Any:
        def attempt(*arguments: Any, **more: Any) -> Any:
            remaining[0] -= 1
            if remaining[0] < 0:
                raise EndError if how == "end" else OSError(errno.ENOSPC, "No space left on device")
            return call(*arguments, **more)

        return attempt

    patch.setattr(os, "fsync", counted(os.fsync))
    patch.setattr(Path, "rename", counted(Path.rename))
    if how == "end":
        patch.setattr(Path, "unlink", counted(Path.unlink))
    return remaining
