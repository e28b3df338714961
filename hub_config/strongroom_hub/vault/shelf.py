"""The vault's memory files: kept for the next kernel of the same workspace, lent to kernels, counted, taken back.

What is lent is counted by what is really held: Linux says whether anybody has a file open, mapped or under way to them
(`memfd.is_held`), so a kernel that says nothing, or lies, counts all the same. Of a file that several kernels of a
workspace have, each counts the whole until nobody has it; in all it counts once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from strongroom_hub.problems import Problem
from strongroom_hub.vault import memfd
from strongroom_hub.vault.tickets import ReadTicket

MIB = 1 << 20
FILES_PER_KERNEL, FILES_IN_ALL = 512, 4096
"""Memory files lent at a time; each costs the vault a descriptor."""

Key = tuple[str, str]
"""Name of a view (its project is part of that), and user."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes lent at a time to one kernel and to all together, and bytes kept for the next kernel."""

    kernel_bytes: int
    all_bytes: int
    kept_bytes: int = 1 << 30


@dataclass(slots=True, eq=False)
class File:
    """One sealed memory file. `fd` is the vault's own description, the only one that can cut it off."""

    fd: int
    rows: int
    bytes: int
    kept: bool = False
    loans: dict[int, str] = field(default_factory=dict)
    """Entry of each read that it was lent for -> the kernel."""


class Shelf:
    """All of it under one lock: what is looked up, lent and closed are the same files."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, File] = OrderedDict()
        self._lent: dict[File, None] = {}
        self._builders: dict[Key, tuple[threading.Lock, int]] = {}

    @contextmanager
    def building(self, key: Key) -> Iterator[None]:
        """One builder per view at a time; the others find what it built."""
        with self._lock:
            turn, waiting = self._builders.get(key, (threading.Lock(), 0))
            self._builders[key] = (turn, waiting + 1)
        try:
            with turn:
                yield
        finally:
            with self._lock:
                turn, waiting = self._builders.pop(key)
                if waiting > 1:
                    self._builders[key] = (turn, waiting - 1)

    def room(self, ticket: ReadTicket) -> int:
        """Bytes that may still be lent to the ticket's kernel. Raises Problem (429, 503) where there is no room."""
        with self._lock:
            self._settle()
            held = self._held_by(ticket.kernel)
            left = self._limits.kernel_bytes - sum(file.bytes for file in held)
            if left <= 0 or len(held) >= FILES_PER_KERNEL:
                raise self._kernel_full(held)
            free = self._limits.all_bytes - sum(file.bytes for file in self._lent)
            if free <= 0 or len(self._lent) >= FILES_IN_ALL:
                raise self._all_full()
            return min(left, free)

    def lend_kept(self, key: Key, ticket: ReadTicket) -> tuple[int, File] | None:
        """A new read-only descriptor of what is kept under `key`, if it is. Raises as `lend`."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            file = self._kept[key]
            return self._lend(file, ticket), file

    def lend(self, file: File, ticket: ReadTicket, *, keep: Key | None = None) -> int:
        """A new read-only descriptor of a new file, which is this shelf's from here on; `keep`: under that name.

        Raises Problem (429, 503) beyond the limits: then the file stays the caller's.
        """
        with self._lock:
            fd = self._lend(file, ticket)
            if keep is not None:
                file.kept = True
                self._kept[keep] = file
                while sum(one.bytes for one in self._kept.values()) > self._limits.kept_bytes:
                    self._forget(self._kept.popitem(last=False)[1])
            return fd

    def entries(self) -> list[int]:
        """Of the reads whose data somebody holds now."""
        with self._lock:
            self._settle()
            return sorted({entry for file in self._lent for entry in file.loans})

    def take_back(self, entries: Collection[int]) -> dict[int, tuple[int, bool]]:
        """End loans; what is lent for no other entry is cut off. By entry: the bytes, and whether they were."""
        taken: dict[int, tuple[int, bool]] = {}
        with self._lock:
            self._settle()
            for file in list(self._lent):
                ended = [entry for entry in file.loans if entry in entries]
                if not ended:
                    continue
                for entry in ended:
                    del file.loans[entry]
                alone = not file.loans
                gone = alone and memfd.cut_off(file.fd)
                for entry in ended:
                    before = taken.get(entry, (0, True))
                    taken[entry] = (before[0] + file.bytes, before[1] and gone)
                if alone:
                    self._drop(file)
        return taken

    def clear(self) -> None:
        """Let go of all that is kept; kernels keep what they have."""
        with self._lock:
            while self._kept:
                self._forget(self._kept.popitem()[1])

    def close(self) -> None:
        """Let go of everything; kernels keep what they have."""
        self.clear()
        with self._lock:
            for file in self._lent:
                os.close(file.fd)
            self._lent.clear()

    @property
    def kept(self) -> list[File]:
        """What is kept, longest unused first."""
        with self._lock:
            return list(self._kept.values())

    def _lend(self, file: File, ticket: ReadTicket) -> int:
        self._settle()
        held = self._held_by(ticket.kernel)
        more = 0 if file in held else file.bytes
        if sum(one.bytes for one in held) + more > self._limits.kernel_bytes:
            raise self._kernel_full(held, more)
        new = 0 if file in self._lent else file.bytes
        if sum(one.bytes for one in self._lent) + new > self._limits.all_bytes:
            raise self._all_full()
        fd = memfd.reopen_read_only(file.fd)
        file.loans[ticket.entry] = ticket.kernel
        self._lent[file] = None
        return fd

    def _settle(self) -> None:
        """Forget the loans of what nobody holds any more."""
        for file in [file for file in self._lent if not memfd.is_held(file.fd)]:
            file.loans.clear()
            del self._lent[file]
            if not file.kept:
                os.close(file.fd)

    def _held_by(self, kernel: str) -> list[File]:
        return [file for file in self._lent if kernel in file.loans.values()]

    def _forget(self, file: File) -> None:
        file.kept = False
        if file not in self._lent:
            os.close(file.fd)

    def _drop(self, file: File) -> None:
        for key in [key for key, one in self._kept.items() if one is file]:
            del self._kept[key]
        file.kept = False
        if memfd.size(file.fd) == 0:
            del self._lent[file]
            os.close(file.fd)

    def _kernel_full(self, held: list[File], more: int = 0) -> Problem:
        size = sum(file.bytes for file in held)
        wanted = f", and this is {_mib(more)} more" if more else ""
        return Problem(
            429,
            "kernel-memory-full",
            "This kernel holds as much data as it may",
            f"It holds {_mib(size)} of opened data in {len(held)} pieces{wanted}; "
            f"a kernel may hold {_mib(self._limits.kernel_bytes)} in {FILES_PER_KERNEL} pieces.",
            why=("opened data lies in the vault's memory for as long as a kernel holds it (vault.toml, memory)",),
            next="Let go of what you no longer need (del the variables, or restart the kernel), open fewer columns, "
            'or read it in batches: strongroom.open("namespace/name", stream=True).iter_batches().',
        )

    def _all_full(self) -> Problem:
        return Problem(
            503,
            "vault-memory-full",
            "The vault has lent as much memory as it may",
            f"All kernels together hold {_mib(sum(file.bytes for file in self._lent))} of opened data; "
            f"they may hold {_mib(self._limits.all_bytes)}.",
            why=("opened data lies in the vault's memory for as long as a kernel holds it (vault.toml, memory)",),
            next="Shut down kernels that you do not need, and try again. Batches need less at a time: "
            'strongroom.open("namespace/name", stream=True).iter_batches(). If it stays so, tell an operator.',
        )


def _mib(size: int) -> str:
    return f"{size / MIB:,.1f} MiB"
