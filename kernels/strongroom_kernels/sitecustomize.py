"""Runs first in every Python of a box: psutil finds the size of its own process also where /proc may not tell it.

A box grants files of /proc about the kernel's own process alone. A child that asks psutil for its size (the workers of
joblib do, and end when they get no answer) is told the largest size that it had so far.
"""

from __future__ import annotations

import sys
from typing import Any


class _WhenPsutilComes:
    """A finder of modules that changes one of them as it is loaded, and costs nothing until then."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG003 - as Python calls it
        if name != "psutil._pslinux":
            return None
        sys.meta_path.remove(cls)
        from importlib.util import find_spec  # noqa: PLC0415 - only where it is wanted

        spec: Any = find_spec(name)
        if spec is not None:
            load = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                load(module)
                _tell_own_size(module)

            spec.loader.exec_module = exec_module
        return spec


def _tell_own_size(linux: Any) -> None:
    import os  # noqa: PLC0415
    import resource  # noqa: PLC0415

    asked = linux.Process.memory_info
    answer = getattr(linux, "ntp", linux).pmem  # psutil before 7.2 had it here

    def memory_info(self: Any) -> Any:
        try:
            return asked(self)
        except linux.AccessDenied:
            if self.pid != os.getpid():
                raise
            size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            return answer(size, size, *[0] * (len(answer._fields) - 2))

    linux.Process.memory_info = memory_info


sys.meta_path.insert(0, _WhenPsutilComes)
