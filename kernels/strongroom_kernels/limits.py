"""Which of its limits a kernel ran into, in words: while it lives, and as the reason of its death."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from strongroom_kernels import launcher
from strongroom_kernels.cgroups import Counters, KernelCgroup
from strongroom_kernels.profiles import Profile, Profiles, words_for_bytes

TOGETHER = 2
"""All kernels of a workspace together get this many times what each gets."""
_NEAR = 0.95
_FULL_BYTES, _FULL_FILES = 1 << 16, 1
_LESS = "Or read fewer columns, delete what is no longer needed, or work in parts; then restart the kernel."


@dataclass(frozen=True, slots=True)
class Told:
    """One limit that a kernel ran into: `name` of the limit, how often, and words for people."""

    name: str
    count: int
    text: str


@dataclass(slots=True)
class LimitWatch:
    """Looks at one kernel's counters. Without a control group only the work folder and the exit status tell."""

    profiles: Profiles
    group: KernelCgroup | None
    work: Path
    _refusals: int = 0
    """Refused processes that were told."""
    _kills: int = 0
    """Kills that were told as those of other processes than the kernel itself."""
    _kills_before: int = 0
    """Kills at the last look: the kernel that outlives one until the next look was not what was killed."""
    _full: bool = False

    def look(self) -> list[Told]:
        """What is new since the last look; of a kernel that lives."""
        told = []
        now = self._counters()
        refused, killed = now.forks_refused - self._refusals, self._kills_before - self._kills
        self._refusals, self._kills, self._kills_before = now.forks_refused, self._kills_before, now.oom_kills
        if refused > 0:
            told.append(Told("processes", refused, self._refused()))
        if killed > 0:
            text = f"A process that this kernel started was ended by the system. {self._memory()}"
            told.append(Told("memory", killed, text))
        full = self._work_is_full()
        if full and not self._full:
            told.append(Told("work", 1, f"{self._full_work()} Delete files you no longer need."))
        self._full = full
        return told

    def death(self, status: int) -> tuple[str, Told | None]:
        """Why the kernel ended, and the limit that ended it, from its exit status (128 + n after signal n)."""
        killed = self._counters().oom_kills - self._kills
        limit = None
        number = status - 128
        if number == signal.SIGKILL and killed > 0:
            limit = Told("memory", killed, f"The kernel was ended by the system. {self._memory()} {_LESS}")
        elif number in {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS} and self._work_is_full():
            limit = Told("work", 1, f"The kernel crashed when it could not write. {self._full_work()}")
        elif number == signal.SIGXFSZ:
            limit = Told("file", 1, self._file())
        elif number == signal.SIGABRT and self.group is None and self.profiles.chosen is not None:
            return f"{words_for(status)} Some do so when they get no more memory. {self._memory()} {_LESS}", None
        return (limit.text if limit is not None else words_for(status)), limit

    def _counters(self) -> Counters:
        return self.group.counters() if self.group is not None else Counters()

    def _memory(self) -> str:
        profile = self.profiles.chosen
        if profile is None:
            return "It needed more memory than there is."
        has, title = words_for_bytes(profile.memory_bytes), profile.title
        if self.group is not None and 0 < self.group.peak_bytes() < _NEAR * profile.memory_bytes:
            together = words_for_bytes(TOGETHER * profile.memory_bytes)
            return (
                f'All kernels of this workspace together have {together} of memory (profile "{title}"), and that was '
                f"used up: shut down kernels that you do not need. {self.profiles.advice('memory_bytes')}"
            )
        return (
            f'The profile "{title}" gives a kernel {has} of memory, and it needed more. '
            f"{self.profiles.advice('memory_bytes')}"
        )

    def _refused(self) -> str:
        profile = self.profiles.chosen
        many = f"{profile.processes:,} processes and threads" if profile is not None else "all its processes"
        title = f' (profile "{profile.title}")' if profile is not None else ""
        return (
            f"The kernel has reached its limit of {many}{title}, so no more were started. Start fewer workers. "
            f"{self.profiles.advice('processes')}"
        )

    def _file(self) -> str:
        profile: Profile | None = self.profiles.chosen
        most = words_for_bytes(profile.file_bytes) if profile is not None else "its limit"
        return (
            f"The kernel was ended because a file grew beyond {most}, the largest single file of its profile. Write "
            f"several smaller files. {self.profiles.advice('file_bytes')}"
        )

    def _full_work(self) -> str:
        about = os.statvfs(self.work)
        size, files = words_for_bytes(about.f_blocks * about.f_frsize), f"{about.f_files:,}"
        return f"The work folder is full: it holds {size} and {files} files. {self.profiles.advice('work_bytes')}"

    def _work_is_full(self) -> bool:
        try:
            about = os.statvfs(self.work)
        except OSError:
            return False
        return about.f_bavail * about.f_frsize < _FULL_BYTES or about.f_favail < _FULL_FILES


def words_for(status: int) -> str:
    """Why a kernel ended, in words, from its exit status alone (128 + n after signal n)."""
    if status == launcher.FAILED:
        return "The kernel's box could not be closed on this machine, so the kernel was not started."
    number = status - 128
    known = {
        signal.SIGKILL: "The kernel was killed by the system, most likely because it needed more memory than there is. "
        "Read fewer columns, delete what is no longer needed, or work in parts; then restart the kernel.",
        signal.SIGSEGV: "The kernel crashed inside a compiled package (segmentation fault). Restart it; if the same "
        "cell crashes again, the package is at fault.",
        signal.SIGBUS: "The kernel used memory that is no longer there (bus error): opened data that was taken back, "
        "because the access to it ended, or a file in a full /tmp or /dev/shm. Restart it and open the data again: "
        "what is refused says why.",
        signal.SIGABRT: "The kernel was ended by a compiled package (abort).",
        signal.SIGXCPU: "The kernel used up its time on the processor.",
    }
    if number in known:
        return known[signal.Signals(number)]
    if number > 0:
        return f"The kernel was ended by signal {number}. Restart it to go on."
    return (
        f"The kernel ended by itself (exit status {status}), for example because code called exit. Restart it to go on."
    )
