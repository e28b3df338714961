"""Finding text in what people typed, without a readable copy of it: an index of keyed hashes of words.

A plain full-text index would be a second, unencrypted copy of all code. Here each word becomes the first 8 bytes of an
HMAC under a key that lies with the log's other keys, never in the database. Whoever has the database alone sees that
entries share a word, not which. Words of a person go with that person's key when texts are erased (ADR 22).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from strongroom_hub.audit import payloads
from strongroom_hub.audit.entries import parse, payload_reference
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.models import LogEntry, LogPayload, LogPayloadKey, LogSearch, LogWord
from strongroom_hub.audit.writer import AuditWriter, Tx

WORD_BYTES = 8
MAX_WORDS = 5_000
"""Different words of one text that are indexed."""
LONGEST = 100
BATCH = 200
"""Texts indexed in one transaction, which others wait for."""
FEW = 2_000
"""How far words are counted to find the rarest."""
_WORD = re.compile(r"\w+")
_ENTRIES, _PAYLOADS, _KEYS = LogEntry.__table__, LogPayload.__table__, LogPayloadKey.__table__  # type: ignore[attr-defined]
_WORDS, _SEARCH = LogWord.__table__, LogSearch.__table__  # type: ignore[attr-defined]


def words_of(text: str) -> set[str]:
    """The words of a text as they are searched: folded case, names with underscores whole and in their parts."""
    found: set[str] = set()
    for match in _WORD.finditer(text.casefold()):
        whole = match[0]
        found.update(part[:LONGEST] for part in (whole, *whole.split("_")) if part)
        if len(found) >= MAX_WORDS:
            break
    return found


@dataclass(slots=True)
class WordIndex:
    """Makes the index, a batch at a time, and asks it. One thread steps; any number ask."""

    engine: Engine
    keys: LogKeys
    _secret: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._secret = hmac.digest(self.keys.payload, b"strongroom-words/1", "sha256")

    def hashed(self, word: str) -> bytes:
        return hmac.new(self._secret, word.encode(), hashlib.sha256).digest()[:WORD_BYTES]

    def step(self, writer: AuditWriter) -> int:
        """Index the next batch of texts; answers how many that were. Raises Problem where nothing can be written."""
        with self.engine.connect() as connection:
            first = connection.execute(select(_SEARCH.c.next)).scalar_one_or_none() or 0
            query = (
                select(_PAYLOADS.c.entry, _PAYLOADS.c.subject, _PAYLOADS.c.ciphertext, _ENTRIES.c.leaf, _KEYS.c.wrapped)
                .join(_ENTRIES, _ENTRIES.c.index == _PAYLOADS.c.entry)
                .join(_KEYS, _KEYS.c.subject == _PAYLOADS.c.subject, isouter=True)
                .where(_PAYLOADS.c.entry >= first)
                .order_by(_PAYLOADS.c.entry)
                .limit(BATCH)
            )
            rows = connection.execute(query).all()
        if not rows:
            return 0
        found = {row.entry: (row.subject, self._words(row)) for row in rows if row.wrapped is not None}

        def work(tx: Tx) -> None:
            # an erasure may have come between: whose key is gone by now, of them no word is kept
            subjects = {subject for subject, _ in found.values()}
            kept = set(tx.connection.execute(select(_KEYS.c.subject).where(_KEYS.c.subject.in_(subjects))).scalars())
            put = [
                {"word": word, "entry": entry}
                for entry, (subject, words) in found.items()
                if subject in kept
                for word in words
            ]
            if put:
                tx.connection.execute(insert(_WORDS), put)
            after = rows[-1].entry + 1
            if not tx.connection.execute(update(_SEARCH).values(next=after)).rowcount:
                tx.connection.execute(insert(_SEARCH), {"id": 1, "next": after})

        writer.transact(work)
        return len(rows)

    def _words(self, row: Any) -> set[bytes]:
        try:
            key = payloads.unwrap(self.keys.payload, row.subject, bytes(row.wrapped))
            reference = payload_reference(parse(bytes(row.leaf)))
            if reference is None:
                return set()
            return {self.hashed(word) for word in words_of(payloads.unseal(key, bytes(row.ciphertext), reference))}
        except ValueError:  # altered: `verify` says so, and what cannot be read is not searched
            return set()

    def candidates(
        self, connection: Connection, words: Iterable[str], before: int | None, limit: int, *, actor: str | None = None
    ) -> list[int]:
        """Entries (of `actor`, if given) that hold all the words, newest first, below `before`."""
        hashes = self._rarest_first(connection, [self.hashed(word) for word in words])
        if not hashes:
            return []
        first = _WORDS.alias()
        query = select(first.c.entry).where(first.c.word == hashes[0])
        for value in hashes[1:]:
            other = _WORDS.alias()
            query = query.join(other, (other.c.entry == first.c.entry) & (other.c.word == value))
        if actor is not None:
            query = query.join(_ENTRIES, (_ENTRIES.c.index == first.c.entry) & (_ENTRIES.c.actor == actor))
        if before is not None:
            query = query.where(first.c.entry < before)
        return list(connection.execute(query.order_by(first.c.entry.desc()).limit(limit)).scalars())

    def _rarest_first(self, connection: Connection, hashes: Sequence[bytes]) -> list[bytes]:
        def count(value: bytes) -> int:
            few = select(_WORDS.c.entry).where(_WORDS.c.word == value).limit(FEW).subquery()
            return int(connection.execute(select(func.count()).select_from(few)).scalar_one())

        return sorted(hashes, key=count)


def forget(connection: Connection, subject: str) -> None:
    """Delete the words of all texts under a pseudonym; part of their erasure."""
    theirs = select(_PAYLOADS.c.entry).where(_PAYLOADS.c.subject == subject)
    connection.execute(delete(_WORDS).where(_WORDS.c.entry.in_(theirs)))
