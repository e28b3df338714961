"""Memory that this process lets go of is overwritten at once: no key, ticket or value outlives its last use in it.

Python cannot wipe an object, and copies are made everywhere (JSON, base64, HTTP). But glibc can overwrite what is
freed, if Python takes all its memory from there and nothing is set aside for the next request of the same size. Both
are settled before a process begins, so it begins a second time.
"""

from __future__ import annotations

import os
import sys

SETTINGS = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165"}


def begin_again() -> None:
    """Become the same program with such memory, unless this is it already. Inherited descriptors stay open."""
    if SETTINGS.items() <= os.environ.items():
        return
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **SETTINGS})  # noqa: S606
