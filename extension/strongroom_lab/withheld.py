"""Outputs that were withheld: kept in memory for a while, so that their author can send them to review from the cell.

What pages are told of them is coarse, and constant where nothing free is shown at all; the bytes leave through the
airlock alone.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from strongroom_hub.problems import Problem

from strongroom_lab import mime, workfiles
from strongroom_lab.budget import DISPLAYS, coarse
from strongroom_lab.canon import Message
from strongroom_lab.values import encode

MOST, MOST_BYTES, LARGEST = 100, 64 << 20, 16 << 20
"""Outputs kept by one server, their bytes together, and the largest single one."""
TOO_LARGE = b"This output is too large to be kept for review: write the result to a file.\n"
_FORMS = {"image/png": "png", "text/plain": "txt", "text/html": "txt", mime.SVG: "txt", "application/json": "json"}
"""In which form an output goes to review: the first of these that it has."""
_FILE = re.compile(r"cell-[0-9]+-[0-9]+\.[a-z]+")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(slots=True)
class Kept:
    """One withheld output. `told` says whether pages may learn its size and type, else all of its cell have one id."""

    entry: int
    notebook: str
    cell: str
    mime: str
    suffix: str
    raw: bytearray
    told: bool
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "entry": self.entry,
            "notebook": self.notebook,
            "cell": self.cell,
            "mime": self.mime if self.told else None,
            "bytes": coarse(len(self.raw)) if self.told else None,
            "at": self.at,
        }


def form_of(message: Message) -> tuple[str, str, bytes] | None:
    """Type, suffix and bytes in which an output can be reviewed; None where it has none."""
    if message.type == "stream":
        return "text/plain", "txt", message.content["text"].encode()
    if message.type == "error":
        return "text/plain", "txt", _ESCAPES.sub("", "\n".join(message.content["traceback"]) + "\n").encode()
    if message.type not in DISPLAYS:
        return None
    data = message.content["data"]
    for kind, suffix in _FORMS.items():
        if kind in data:
            if kind in mime.BINARY_IMAGES:
                return kind, suffix, mime.image_bytes(kind, data[kind])
            return kind, suffix, data[kind].encode() if isinstance(data[kind], str) else encode(data[kind])
    return None


class Withheld:
    """What a server keeps: bounded in number and bytes, the oldest goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, list[Kept]] = OrderedDict()

    def keep(self, kept: Kept) -> None:
        if len(kept.raw) > LARGEST:
            kept.mime, kept.suffix, kept.raw = "text/plain", "txt", bytearray(TOO_LARGE)
        self._kept.setdefault(kept.id, []).append(kept)
        self._trim()

    def extend(self, kept: Kept, raw: bytes) -> None:
        """Add to an output, as far as it may grow, if it is still kept."""
        if kept.id in self._kept:
            kept.raw += raw[: max(0, LARGEST - len(kept.raw))]
            self._trim()

    def _trim(self) -> None:
        while len(self._kept) > MOST or sum(len(one.raw) for kept in self._kept.values() for one in kept) > MOST_BYTES:
            _, gone = self._kept.popitem(last=False)
            for one in gone:
                one.raw.clear()

    def listed(self) -> list[dict[str, Any]]:
        """Oldest first."""
        return [kept[0].as_json() for kept in self._kept.values()]

    def copies(self, ids: list[str]) -> tuple[list[workfiles.Copied], list[int]]:
        """The outputs as files for an export, and the entries of their cells. Raises Problem 410."""
        chosen = [self._kept.get(identifier) for identifier in ids]
        if None in chosen or not chosen:
            raise Problem(
                410,
                "not-kept",
                "This output is not kept any more",
                f"Strongroom keeps the last {MOST} withheld outputs of a server, as long as it runs.",
                next="Run the cell again, or write the result to a file in ~/work and export that.",
            )
        found = [one for kept in chosen if kept is not None for one in kept]
        copies = [_copied(number, kept) for number, kept in enumerate(found, 1)]
        return copies, sorted({kept.entry for kept in found})


def is_file_of_output(name: object) -> bool:
    """Whether an output may have gone to review under this name: number and suffix tell what a cell made."""
    return isinstance(name, str) and _FILE.fullmatch(name) is not None


def _copied(number: int, kept: Kept) -> workfiles.Copied:
    file = workfiles.memory()
    file.write(kept.raw)
    file.seek(0)
    name = f"cell-{kept.entry}-{number}.{kept.suffix}"
    return workfiles.Copied(name, len(kept.raw), hashlib.sha256(kept.raw).hexdigest(), file)
