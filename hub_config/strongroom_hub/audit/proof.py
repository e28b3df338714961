"""A proof that one entry is in the log, as a file that stands by itself (C2SP tlog-proof).

Its `extra` line holds the entry's bytes. They are not trusted for standing there: their hash must lead to the root.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from strongroom_hub.audit import entries as leaves
from strongroom_hub.audit.note import NoteError, VerifierKey, open_checkpoint
from strongroom_hub.audit.store import StoredLog
from strongroom_hub.audit.tree import (
    HASH_BYTES,
    inclusion_proof,
    leaf_hash,
    nodes_from_tiles,
    tile_width,
    verify_inclusion,
)

_FIRST_LINE = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Proof:
    """An entry's bytes and the hashes that lead from it to a signed root."""

    index: int
    leaf: bytes
    hashes: tuple[bytes, ...]
    """Audit path, from the leaf upwards."""
    note: str
    """The checkpoint, with all its signatures."""

    @property
    def size(self) -> int:
        """How many entries the checkpoint says that the log has; as good as the checkpoint is."""
        return int(self.note.split("\n")[1])

    def text(self) -> str:
        """The content of a `.tlog-proof` file."""
        lines = [_FIRST_LINE, f"extra {_encoded(self.leaf)}", f"index {self.index}", *map(_encoded, self.hashes)]
        return "\n".join(lines) + "\n\n" + self.note

    @classmethod
    def parse(cls, text: str) -> Proof:
        """Raises ValueError for what is no such file. Nothing is verified yet."""
        top, blank, note = text.partition("\n\n")
        first, extra, index, *hashes = [*top.split("\n"), "", ""]
        del hashes[-2:]
        number = index.removeprefix("index ")
        if not blank or first != _FIRST_LINE or not extra.startswith("extra ") or not index.startswith("index "):
            raise ValueError("this is not a tlog-proof with its entry")
        if not (number.isascii() and number.isdigit()) or str(int(number)) != number:
            raise ValueError("the proof's index is not a number")
        try:
            leaf = base64.b64decode(extra.removeprefix("extra "), validate=True)
            path = tuple(base64.b64decode(value, validate=True) for value in hashes)
        except binascii.Error as error:
            raise ValueError("the proof holds something that is not base64") from error
        return cls(int(number), leaf, path, note)

    def check(self, verifier: VerifierKey) -> dict[str, Any]:
        """The entry's fields. Raises ValueError (NoteError) when entry, path and checkpoint do not fit."""
        checkpoint = open_checkpoint(self.note, verifier)
        if any(len(value) != HASH_BYTES for value in self.hashes) or not verify_inclusion(
            self.index, checkpoint.size, leaf_hash(self.leaf), self.hashes, checkpoint.root
        ):
            raise ValueError(f"entry {self.index} does not lead to the signed root: it was changed, or a hash above it")
        fields = leaves.parse(self.leaf)
        if fields["index"] != self.index:
            raise ValueError(f"entry {self.index} was written as entry {fields['index']}")
        return fields


def prove(log: StoredLog, verifier: VerifierKey, index: int) -> Proof:
    """The proof of one entry, checked: against the newest co-signed checkpoint if that covers it, else the newest.

    Raises LookupError when there is no such entry, ValueError when it cannot be proven.
    """
    note, cosigned = log.note(), log.cosigned()
    if note is None:
        raise NoteError("the log has no checkpoint")
    if cosigned is not None and open_checkpoint(cosigned, verifier).size > index:
        note = cosigned
    size = open_checkpoint(note, verifier).size
    leaf = log.leaf(index, size) if index < size else None
    if leaf is None:
        raise LookupError(f"the log has no entry {index}: it has {size}")

    def tile_at(level: int, number: int) -> bytes:
        return log.tile(level, number, tile_width(size, level, number)) or b""

    proof = Proof(index, leaf, tuple(inclusion_proof(index, size, nodes_from_tiles(tile_at))), note)
    proof.check(verifier)
    return proof


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
