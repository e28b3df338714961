"""Control's side of witnesses: submits checkpoints, keeps cosignatures, and raises an alarm when history does not fit.

An old database that is put back verifies by itself; so does a history that was signed anew with a stolen key. Two
memories outside of the database notice it: the witnesses, and a file beside it that holds the last checkpoint.
"""

from __future__ import annotations

import base64
import logging
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine
from sqlmodel import Session, col, delete, select

from strongroom_hub.audit import reader
from strongroom_hub.audit.cosignature import WitnessKey
from strongroom_hub.audit.durable import write_durably
from strongroom_hub.audit.entries import JSON, Action, Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.models import LogCosignature
from strongroom_hub.audit.note import SIGNATURE_PREFIX, Checkpoint, NoteError
from strongroom_hub.audit.settings import AuditSettings, WitnessSettings
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.control.times import iso_or_none
from strongroom_hub.problems import Problem
from strongroom_hub.rounds import Rounds

log = logging.getLogger("strongroom.witness")
TIMEOUT = 10.0
KEPT = 50
"""Checkpoints whose cosignatures are kept."""
HERE = "this machine"
LAST_FILE = "last-checkpoint"
Post = Callable[[str, bytes], tuple[int, str]]
"""(url, body) -> status and text of the answer. Raises OSError or httpx's errors."""


class State(StrEnum):
    WAITING = "waiting"
    """Not asked yet since the service started."""
    FINE = "fine"
    SILENT = "silent"
    """Unreachable for longer than the operator allows."""
    REFUSED = "refused"
    """It answers, but does not co-sign: it does not know this log or its key, or signs with another key itself."""
    ROLLED_BACK = "rolled-back"
    """It has seen more entries than this log has."""
    SPLIT = "split"
    """What it has seen is not the beginning of this log."""


ALARMS = frozenset({State.SILENT, State.REFUSED, State.ROLLED_BACK, State.SPLIT})
FORGED = frozenset({State.ROLLED_BACK, State.SPLIT})
_TEXTS = {
    State.SILENT: "no cosignature for longer than the {minutes} minutes that are allowed: {why}",
    State.REFUSED: "it does not co-sign: {why}",
    State.ROLLED_BACK: "it has seen {seen} entries, but the log has {size}: an old database was put back, or entries "
    "were cut off",
    State.SPLIT: "the log of {size} entries does not contain the {seen} entries that it saw before: history was "
    "rewritten",
}


@dataclass(slots=True)
class Standing:
    """How it stands with one witness."""

    name: str
    url: str
    began: datetime
    state: State = State.WAITING
    text: str = ""
    size: int = 0
    """Entries of the checkpoint that it co-signed last, as far as this log knows."""
    at: datetime | None = None
    """When it last co-signed."""

    def as_json(self) -> dict[str, Any]:
        return {
            "witness": self.name,
            "state": self.state,
            "text": self.text,
            "size": self.size,
            "at": iso_or_none(self.at),
        }


class Witnessing:
    """What is known of the witnesses now. `round` is called by one thread; everything else by any."""

    def __init__(
        self,
        settings: AuditSettings,
        engine: Engine,
        keys: LogKeys,
        *,
        folder: Path,
        clock: Callable[[], datetime],
        post: Post | None = None,
    ) -> None:
        """`folder`: where the last checkpoint is kept, outside of the database. Raises NoteError for a bad key."""
        self._settings = settings
        self._engine = engine
        self._keys = keys
        self._file = folder / LAST_FILE
        self._clock = clock
        self._post = post
        self._witnesses = [(one, WitnessKey.parse(one.key)) for one in settings.witnesses]
        began = clock()
        self._here = Standing(HERE, "", began)
        self._standings = {key.name: Standing(key.name, one.url, began) for one, key in self._witnesses}
        with Session(engine) as session:
            for row in session.exec(select(LogCosignature).order_by(col(LogCosignature.size))).all():
                if row.witness in self._standings:
                    standing = self._standings[row.witness]
                    standing.size, standing.at = row.size, row.at

    # -- what others ask ----------------------------------------------------------------------------------------------

    def standings(self) -> list[Standing]:
        """That of this machine's own memory first."""
        return [self._here, *self._standings.values()]

    def alarms(self) -> list[Standing]:
        return [standing for standing in self.standings() if standing.state in ALARMS]

    def check(self) -> None:
        """Raises Problem 503 where the operator requires a witness and none vouches for the log."""
        if not self._settings.witness_required:
            return
        forged = [standing for standing in self.standings() if standing.state in FORGED]
        fresh = [standing for standing in self._standings.values() if not self._overdue(standing)]
        if fresh and not forged:
            return
        told = (forged or list(self._standings.values()))[0]
        raise Problem(
            503,
            "no-witness",
            "No code runs now: nobody vouches for the audit log",
            f"{told.name}: {told.text or 'has not co-signed yet'}",
            why=("this instance runs with witness_required = true",),
            next="Tell your administrator; the status page says what is wrong.",
        )

    def _overdue(self, standing: Standing) -> bool:
        return self._clock() - (standing.at or standing.began) > timedelta(minutes=self._settings.witness_alarm_minutes)

    # -- one round ----------------------------------------------------------------------------------------------------

    def round(self, writer: AuditWriter) -> None:
        """Compare with what this machine remembers, then submit the newest checkpoint to every witness."""
        note = reader.checkpoint(self._engine)
        checkpoint = self._keys.open(note)
        self._settle(writer, self._here, *self._compare_here(checkpoint), checkpoint)
        for settings, key in self._witnesses:
            standing = self._standings[key.name]
            outcome = self._ask(writer, settings, key, note, checkpoint)
            self._settle(writer, standing, *outcome, checkpoint)
        if self._here.state is State.FINE:
            write_durably(self._file, note)

    def _compare_here(self, now: Checkpoint) -> tuple[State, dict[str, Any]]:
        try:
            last = self._keys.open(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return State.FINE, {}
        except (OSError, NoteError) as error:
            return State.REFUSED, {"why": f"{self._file.name} is not a checkpoint of this log: {error}"}
        if last.size > now.size:
            return State.ROLLED_BACK, {"seen": last.size}
        if reader.root_at(self._engine, last.size) != last.root:
            return State.SPLIT, {"seen": last.size}
        return State.FINE, {}

    def _ask(
        self,
        writer: AuditWriter,
        settings: WitnessSettings,
        key: WitnessKey,
        note: str,
        now: Checkpoint,
    ) -> tuple[State, dict[str, Any]]:
        """Submit; the witness itself says from which size on, if it is another than expected."""
        standing = self._standings[key.name]
        old = min(standing.size, now.size)
        try:
            for _ in range(2):
                proof = reader.consistency(self._engine, old, now.size)
                status, text = self._submit(settings, _body(old, proof, note))
                if status != HTTPStatus.CONFLICT:
                    break
                old = int(text)
                if old > now.size:
                    return State.ROLLED_BACK, {"seen": old}
        except (httpx.HTTPError, OSError, ValueError) as error:
            return State.SILENT, {"why": f"{type(error).__name__}: {error}"}
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            return State.SPLIT, {"seen": old}
        if status != HTTPStatus.OK:
            return State.REFUSED, {"why": f"it answers {status} {text.strip()[:200]}"}
        try:
            line = _own_line(key, text, note)
        except NoteError as error:
            return State.REFUSED, {"why": str(error)}
        standing.at = self._clock()
        if standing.size != now.size:
            self._keep(writer, LogCosignature(size=now.size, witness=key.name, note=note, line=line, at=standing.at))
        standing.size = now.size
        return State.FINE, {}

    def _submit(self, settings: WitnessSettings, body: bytes) -> tuple[int, str]:
        url = settings.url.rstrip("/") + "/add-checkpoint"
        if self._post is not None:
            return self._post(url, body)
        trust: ssl.SSLContext | bool = True
        if settings.ca_file is not None:
            trust = ssl.create_default_context(cafile=str(settings.ca_file))
        answer = httpx.post(url, content=body, timeout=TIMEOUT, verify=trust, follow_redirects=False)
        return answer.status_code, answer.text[:10_000]

    def _keep(self, writer: AuditWriter, row: LogCosignature) -> None:
        def work(tx: Tx) -> None:
            tx.session.merge(row)
            tx.session.flush()
            sizes = select(LogCosignature.size).distinct().order_by(col(LogCosignature.size).desc()).offset(KEPT)
            oldest = tx.session.exec(sizes.limit(1)).first()
            if oldest is not None:
                tx.session.exec(delete(LogCosignature).where(col(LogCosignature.size) <= oldest))

        writer.transact(work)

    def _settle(
        self, writer: AuditWriter, standing: Standing, state: State, told: dict[str, Any], now: Checkpoint
    ) -> None:
        """Take the outcome over; say so, once, where it begins or ends an alarm."""
        if state is State.SILENT and not self._overdue(standing):
            standing.text = f"does not answer: {told['why']}"
            return
        before, standing.state = standing.state, state
        minutes = self._settings.witness_alarm_minutes
        standing.text = _TEXTS[state].format(**told, size=now.size, minutes=minutes) if state in ALARMS else ""
        if state == before or (state not in ALARMS and before not in ALARMS):
            return
        action = Action.WITNESS_SETTLE
        detail: dict[str, JSON] = {"kind": str(before), "size": now.size}
        if state in ALARMS:
            log.error("ALARM %s: %s", standing.name, standing.text)
            action, detail = Action.WITNESS_ALARM, {"kind": str(state), "text": standing.text[:500], "size": now.size}
        else:
            log.warning("%s: the alarm is over", standing.name)
        with suppress(Problem):
            writer.append(Entry(action=action, actor="system:control", object=standing.name, detail=detail))


class WitnessRounds(Rounds):
    """Rounds of the witnesses: one that hangs must not hold up the housekeeper."""

    name = "witnesses"
    every = 15.0
    at_once = True

    def __init__(self, witnessing: Witnessing, writer: AuditWriter) -> None:
        super().__init__()
        self._witnessing = witnessing
        self._writer = writer

    def tick(self) -> None:
        self._witnessing.round(self._writer)


def cosigned(engine: Engine) -> str | None:
    """The newest checkpoint that witnesses have co-signed, with their signatures; None where there is none."""
    with Session(engine) as session:
        newest = session.exec(select(LogCosignature).order_by(col(LogCosignature.size).desc())).first()
        if newest is None:
            return None
        rows = session.exec(select(LogCosignature).where(LogCosignature.size == newest.size)).all()
    return newest.note + "".join(sorted(row.line for row in rows if row.note == newest.note))


def _own_line(key: WitnessKey, answer: str, note: str) -> str:
    """The witness's signature among the lines of its answer. Raises NoteError."""
    for line in answer.split("\n"):
        if line.startswith(SIGNATURE_PREFIX) and key.time_of(line, note) is not None:
            return line + "\n"
    raise NoteError(f"its answer holds no signature of the key {key.name}")


def _body(old: int, proof: Sequence[bytes], note: str) -> bytes:
    lines = [f"old {old}", *(base64.b64encode(value).decode() for value in proof)]
    return ("\n".join(lines) + "\n\n" + note).encode()
