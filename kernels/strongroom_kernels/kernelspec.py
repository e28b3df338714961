"""The one kernel that people can start. Its `argv` is never run: the provisioner decides what runs, and where."""

from __future__ import annotations

from pathlib import Path

NAME = "strongroom"
PROVISIONER = "strongroom"


def kernel_dirs() -> list[str]:
    """The value for `KernelSpecManager.kernel_dirs`: the folder that holds this spec and no other."""
    return [str(Path(__file__).parent / "kernelspecs")]
