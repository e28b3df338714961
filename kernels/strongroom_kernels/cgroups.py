"""The control group of one kernel: what it may use at most, and which limits it ran into.

The hub makes one group for all kernels of a server and delegates it (STRONGROOM_CGROUP). Its own limits stay root's;
the server makes one child per kernel, sets the profile's limits and puts the box in before anything of it runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from strongroom_kernels.box import BoxError, Limits
from strongroom_kernels.profiles import Profile

VARIABLE = "STRONGROOM_CGROUP"
PERIOD_MICROSECONDS = 100_000
V1, V2 = 1, 2
_BESIDE_PROCESSES = 64


@dataclass(frozen=True, slots=True)
class Counters:
    """How often a kernel's group ran into its limits since it was made."""

    oom_kills: int = 0
    """Processes that Linux ended because memory ran out."""
    forks_refused: int = 0
    """Processes and threads that were refused."""


@dataclass(frozen=True, slots=True)
class Delegation:
    """The group of all kernels of this server: controller -> folder; with version 2 one folder has all of them."""

    version: int
    folders: Mapping[str, Path]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self | None:
        """What the hub delegated; None where it could not. Raises BoxError for what it cannot have written."""
        text = (os.environ if environment is None else environment).get(VARIABLE)
        if not text:
            return None
        try:
            told = json.loads(text)
            folders = {str(name): Path(folder) for name, folder in told["folders"].items()}
            if told["version"] not in {V1, V2} or not folders:
                raise ValueError  # noqa: TRY301 - one place says it in words
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BoxError(
                "No kernel can start: the hub told this server control groups that it does not understand. Update hub "
                "and server together, then start the server again."
            ) from error
        return cls(told["version"], folders)

    @property
    def controllers(self) -> frozenset[str]:
        """Of memory, pids, cpu, those that hold here."""
        if self.version == V1:
            return frozenset(self.folders)
        with contextlib.suppress(OSError):
            return frozenset((self.folders[""] / "cgroup.subtree_control").read_text("ascii").split())
        return frozenset()


class KernelCgroup:
    """One kernel's group. `create`, `add` its first process, ask `counters`, `remove` when all have ended."""

    def __init__(self, delegation: Delegation, name: str, profile: Profile | None) -> None:
        self._delegation = delegation
        self._profile = profile
        self._folders = {controller: folder / name for controller, folder in delegation.folders.items()}

    def beside(self, limits: Limits) -> Limits:
        """What the box itself still has to hold: the group comes first, because it can tell what it refused."""
        held = self._delegation.controllers if self._profile is not None else frozenset()
        processes = limits.processes + (_BESIDE_PROCESSES if "pids" in held else 0)
        return dataclasses.replace(limits, memory_held="memory" in held, processes=processes)

    def create(self) -> None:
        """Make it, empty and with the profile's limits; counters begin at zero. Raises BoxError."""
        self.remove()
        try:
            for folder in self._folders.values():
                folder.mkdir()
            for controller, name, value in self._limits():
                (self._folders[controller] / name).write_text(value, "ascii")
        except OSError as error:
            raise BoxError(
                f"No kernel can start: its limits could not be set ({error.strerror}: {error.filename}). Stop the "
                "server on your projects page and open it again; if it stays so, tell whoever runs this Strongroom."
            ) from error

    def add(self, pid: int) -> None:
        """Take in a process; its children follow. Raises OSError."""
        for folder in self._folders.values():
            (folder / "cgroup.procs").write_text(str(pid), "ascii")

    def counters(self) -> Counters:
        """Zeros where nothing can be told."""
        if self._delegation.version == V1:
            return Counters(
                oom_kills=self._read("memory", "memory.oom_control", "oom_kill"),
                forks_refused=self._read("pids", "pids.events", "max"),
            )
        return Counters(
            oom_kills=self._read("", "memory.events", "oom_kill"), forks_refused=self._read("", "pids.events", "max")
        )

    def peak_bytes(self) -> int:
        """The most memory that the group has used at one time; 0 where that is not told."""
        controller, name = (
            ("memory", "memory.max_usage_in_bytes") if self._delegation.version == V1 else ("", "memory.peak")
        )
        with contextlib.suppress(OSError, ValueError, KeyError):
            return int((self._folders[controller] / name).read_text("ascii"))
        return 0

    def remove(self) -> bool:
        """Whether it is gone; not while a process in it still ends."""
        for folder in self._folders.values():
            with contextlib.suppress(FileNotFoundError):
                try:
                    folder.rmdir()
                except OSError:
                    return False
        return True

    def _limits(self) -> list[tuple[str, str, str]]:
        """(controller's key, file, value) of each limit."""
        profile = self._profile
        if profile is None:
            return []
        quota = round(profile.cpus * PERIOD_MICROSECONDS)
        if self._delegation.version == V1:
            wanted = [
                ("memory", "memory.limit_in_bytes", str(profile.memory_bytes)),
                ("pids", "pids.max", str(profile.processes)),
                ("cpu", "cpu.cfs_period_us", str(PERIOD_MICROSECONDS)),
                ("cpu", "cpu.cfs_quota_us", str(quota)),
            ]
            # With swap, memory alone would be no limit; the file exists where swap is counted.
            swap = self._folders.get("memory", Path()) / "memory.memsw.limit_in_bytes"
            if swap.exists():
                wanted.insert(1, ("memory", swap.name, str(profile.memory_bytes)))
            return [limit for limit in wanted if limit[0] in self._folders]
        controllers = self._delegation.controllers
        limits = [
            ("memory", "memory.max", str(profile.memory_bytes)),
            ("memory", "memory.swap.max", "0"),
            ("pids", "pids.max", str(profile.processes)),
            ("cpu", "cpu.max", f"{quota} {PERIOD_MICROSECONDS}"),
        ]
        return [
            ("", name, value)
            for controller, name, value in limits
            if controller in controllers and (name != "memory.swap.max" or (self._folders[""] / name).exists())
        ]

    def _read(self, controller: str, name: str, key: str) -> int:
        with contextlib.suppress(OSError, ValueError, KeyError):
            for line in (self._folders[controller] / name).read_text("ascii").splitlines():
                word, _, count = line.partition(" ")
                if word == key:
                    return int(count)
        return 0
