"""The only way to write: one durable transaction for a unit and for all that wait with it (group commit).

A *unit* is a state change together with the entries about it. The calling thread leads a transaction where nobody
does: it runs its own unit and those that wait, commits, tells each how it went, and lets the next in line lead. All
units of a batch share one `BEGIN IMMEDIATE` transaction, each in a savepoint where there are several, so that one that
fails takes nothing with it. Entries, tiles, right edge and the signed checkpoint are written in that same transaction:
there is no torn state between the log and its head. Indexes come from the head row inside the transaction, so several
processes may write.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection, Dialect, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from strongroom_hub.audit import entries, payloads
from strongroom_hub.audit.entries import Entry, EntryRefusedError, PayloadReference
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.note import NoteError
from strongroom_hub.audit.tree import TILE_WIDTH, Edge, Growth, leaf_hash
from strongroom_hub.database import (
    Statement,
    database_failed,
    driver_error,
    driver_of,
    in_one_go,
    roll_back,
    transaction,
    writing,
    writing_connection,
)
from strongroom_hub.problems import Problem

log = logging.getLogger(__name__)
T = TypeVar("T")
_HeadRow: TypeAlias = tuple[int, bytes, str]
"""Size, right edge and signed checkpoint."""

_GET_HEAD = Statement("SELECT size, edge, note FROM log_head", locks=True)
_PUT_HEAD = Statement(
    "INSERT INTO log_head (id, size, edge, note) VALUES (1, :size, :edge, :note) "
    "ON CONFLICT (id) DO UPDATE SET size = excluded.size, edge = excluded.edge, note = excluded.note"
)
_GET_TILE = Statement("SELECT hashes FROM log_tiles WHERE level = :level AND number = :number")
_PUT_TILE = Statement(
    "INSERT INTO log_tiles (level, number, hashes) VALUES (:level, :number, :hashes) "
    "ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes"
)
_GET_HASHES = Statement('SELECT hash FROM log_hashes WHERE "index" >= :first ORDER BY "index"')
_PUT_HASH = Statement('INSERT INTO log_hashes ("index", hash) VALUES (:index, :hash)')
_DROP_HASHES = Statement('DELETE FROM log_hashes WHERE "index" < :open')
_ANY_ENTRY = Statement('SELECT "index" FROM log_entries LIMIT 1')
_PUT_ENTRY = Statement(
    'INSERT INTO log_entries ("index", leaf, time, actor, action, project, object, label) '
    "VALUES (:index, :leaf, :time, :actor, :action, :project, :object, :label)"
)
_PUT_PAYLOAD = Statement("INSERT INTO log_payloads (entry, subject, ciphertext) VALUES (:entry, :subject, :ciphertext)")
_GET_KEY = Statement("SELECT subject, wrapped FROM log_payload_keys WHERE person = :person")
_PUT_KEY = Statement("INSERT INTO log_payload_keys (subject, person, wrapped) VALUES (:subject, :person, :wrapped)")


class AuditUnavailableError(Problem):
    """The log cannot be written, so nothing was done."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            503,
            "audit-unavailable",
            "The audit log cannot be written",
            detail,
            why=("nothing happens in Strongroom without a durable audit entry",),
            next="Nothing was changed. Try again in a moment; if it stays so, tell your administrator.",
        )


class Tx(Protocol):
    """What a unit of work is given."""

    @property
    def session(self) -> Session:
        """Of this unit alone. Never commit or roll it back: return, or raise."""
        ...

    @property
    def connection(self) -> Connection:
        """The transaction itself, for `database.Statement`; what a session has pending is not seen by it."""
        ...

    def record(self, entry: Entry) -> int:
        """The entry's index. The row is written when the transaction commits: refer to it by number only.

        Raises EntryRefusedError.
        """
        ...


class _UnitSession(Session):
    """A session whose transaction belongs to the writer."""

    def commit(self) -> None:
        raise RuntimeError("a unit of work is committed when it returns; do not commit its session")

    def rollback(self) -> None:
        raise RuntimeError("a unit of work is rolled back when it raises; do not roll back its session")

    def finish(self) -> None:
        """Send pending changes into the writer's transaction."""
        super().commit()


class _State(Enum):
    WAITING = auto()
    LEADING = auto()
    """Still waiting, and the next transaction is this unit's thread to make."""
    RUNNING = auto()


class _Unit:
    """One call of `transact`."""

    __slots__ = ("failure", "result", "signal", "state", "work")
    signal: threading.Lock
    """Opened when the unit is done, and before that where its thread is to lead: never twice before it is taken."""

    def __init__(self, work: Callable[[Tx], Any]) -> None:
        self.work = work
        self.state = _State.WAITING
        self.signal = threading.Lock()
        self.signal.acquire()
        self.result: Any = None
        self.failure: BaseException | None = None


class _Batch:
    """One transaction: the head it began with and what its units have recorded so far."""

    def __init__(self, connection: Connection, keys: LogKeys, edge: Edge) -> None:
        self.connection = connection
        self.keys = keys
        self.edge = edge
        self.rows: list[dict[str, Any]] = []
        self.payloads: list[dict[str, Any]] = []

    def record(self, entry: Entry) -> int:
        index = self.edge.size + len(self.rows)
        time = entries.now()
        ciphertext, reference = self._seal(entry)
        leaf = entries.encode(entry, index, time, reference)
        if ciphertext is not None and reference is not None:
            self.payloads.append({"entry": index, "subject": reference.subject, "ciphertext": ciphertext})
        self.rows.append(
            {
                "index": index,
                "leaf": leaf,
                "time": time,
                "actor": entry.actor,
                "action": entry.action.value,
                "project": entry.project,
                "object": entry.object,
                "label": entry.label,
            }
        )
        return index

    def _seal(self, entry: Entry) -> tuple[bytes | None, PayloadReference | None]:
        if entry.payload is None:
            return None, None
        subject, key = self._payload_key(entry.payload_subject or entry.actor)
        try:
            return payloads.seal(key, subject, entry.payload)
        except UnicodeEncodeError as error:
            raise EntryRefusedError(f"the text of the entry '{entry.action}' is not valid Unicode") from error

    def _payload_key(self, person: str) -> tuple[str, bytes]:
        found = _GET_KEY(self.connection, person=person).fetchone()
        if found is not None:
            return found[0], payloads.unwrap(self.keys.payload, found[0], bytes(found[1]))
        subject, key = payloads.new_subject(), payloads.new_key()
        wrapped = payloads.wrap(self.keys.payload, subject, key)
        _PUT_KEY(self.connection, subject=subject, person=person, wrapped=wrapped)
        return subject, key

    def mark(self) -> tuple[int, int]:
        return len(self.rows), len(self.payloads)

    def back_to(self, mark: tuple[int, int]) -> None:
        del self.rows[mark[0] :]
        del self.payloads[mark[1] :]

    def write(self) -> _HeadRow | None:
        """Put entries, tiles and the new head into the transaction; returns that head, None where nothing was added."""
        if not self.rows:
            return None
        growth = Growth(self.edge, self._tile)
        for row in self.rows:
            growth.append(leaf_hash(row["leaf"]))
        with in_one_go(self.connection):
            _PUT_ENTRY.many(self.connection, self.rows)
            if self.payloads:
                _PUT_PAYLOAD.many(self.connection, self.payloads)
            if growth.loose:
                rows = [{"index": index, "hash": one} for index, one in enumerate(growth.loose, growth.open)]
                _PUT_HASH.many(self.connection, rows)
            for (level, number), hashes in growth.changed.items():
                _PUT_TILE(self.connection, level=level, number=number, hashes=hashes)
            if growth.changed:
                _DROP_HASHES(self.connection, open=growth.open)
            return _put_head(self.connection, self.keys, self.edge)

    def _tile(self, level: int, number: int) -> bytes:
        if level == 0:
            return b"".join(bytes(row[0]) for row in _GET_HASHES(self.connection, first=number * TILE_WIDTH))
        row = _GET_TILE(self.connection, level=level, number=number).fetchone()
        return b"" if row is None else bytes(row[0])


class _UnitTx:
    """The Tx of one unit; savepoint and session are made when first asked for, since many units only record."""

    def __init__(self, batch: _Batch, *, alone: bool) -> None:
        self._batch = batch
        self._mark = batch.mark()
        self._session: _UnitSession | None = None
        self._open = True
        self._undone_with_all = alone
        """Where there is no other unit in the transaction, nor need there be a savepoint."""
        self._saved = False

    @property
    def session(self) -> Session:
        self._touch()
        if self._session is None:
            if not self._batch.connection.in_transaction():
                self._batch.connection.begin()  # else the session would begin, and end, what is the writer's
            self._session = _UnitSession(
                self._batch.connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
            )
        return self._session

    @property
    def connection(self) -> Connection:
        self._touch()
        return self._batch.connection

    def record(self, entry: Entry) -> int:
        if entry.payload is not None:
            self._touch()  # a person's first text makes them a key
        self._check_open()
        return self._batch.record(entry)

    def finish(self) -> None:
        """Send pending changes to the database."""
        if self._session is not None:
            self._session.finish()

    def close(self) -> None:
        """Detach what the unit loaded: it stays usable as it is."""
        self._open = False
        if self._session is not None:
            self._session.close()

    def keep(self) -> None:
        """What the unit has done stays in the transaction."""
        if self._saved:
            driver_of(self._batch.connection).execute("RELEASE unit")

    def undo(self) -> None:
        """Nothing of what the unit has done stays in the transaction; of one that is alone, what it wrote does."""
        self._batch.back_to(self._mark)
        if self._saved:
            driver = driver_of(self._batch.connection)
            driver.execute("ROLLBACK TO unit")
            driver.execute("RELEASE unit")

    def _touch(self) -> None:
        self._check_open()
        if not (self._saved or self._undone_with_all):
            driver_of(self._batch.connection).execute("SAVEPOINT unit")
            self._saved = True

    def _check_open(self) -> None:
        if not self._open:
            raise RuntimeError("this unit of work has ended; its transaction must not be kept")


class AuditWriter:
    """Appends to the log, alone or together with a state change. Safe to call from any number of threads."""

    def __init__(self, engine: Engine, keys: LogKeys, *, waiting: int, batch: int, timeout: float) -> None:
        self._engine = engine
        self._keys = keys
        self._most_waiting = waiting
        self._batch_size = batch
        self._timeout = timeout
        self._seen: _HeadRow | None = None
        self._connection: Connection | None = None
        self._waiting: deque[_Unit] = deque()
        self._turn = threading.Condition()
        """Guards all below; notified when nobody leads any more."""
        self._led = False
        """Whether some thread leads, or is called to."""
        self._runs_units: int | None = None
        """The thread that is inside a transaction."""
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many operations wait for a transaction now."""
        return len(self._waiting)

    @property
    def checkpoint(self) -> str | None:
        """The newest signed note that this process knows to be on disk; it covers all that `transact` has returned.

        None after a transaction that failed, until the next one is written.
        """
        seen = self._seen
        return None if seen is None else seen[2]

    def transact(self, work: Callable[[Tx], T]) -> T:
        """Run `work` inside a transaction and return its result once that is on disk.

        An exception of `work` rolls back this unit alone and is raised here. `work` may run on another caller's thread
        and holds up everybody: no network, no waiting, no nested `transact`. Objects it returns are detached but
        loaded. Raises AuditUnavailableError when the log cannot be written; then nothing of the unit remains.
        """
        unit = _Unit(work)
        if self._enter(unit):
            self._lead()
        else:
            self._follow(unit)
        if unit.failure is not None:
            raise unit.failure
        result: T = unit.result
        return result

    def append(self, entry: Entry) -> int:
        """Record one entry and return its index once it is on disk. Raises as `transact`."""
        return self.transact(lambda tx: tx.record(entry))

    def close(self) -> None:
        """Let what is waiting be written, and take nothing more. May be called more than once."""
        with self._turn:
            self._closed = True
            self._turn.wait_for(lambda: not self._led)
        self._disconnect()

    def _enter(self, unit: _Unit) -> bool:
        """Put a unit in line; whether this thread is to lead. Raises AuditUnavailableError."""
        if self._runs_units == threading.get_ident():
            raise RuntimeError("transact called from within a unit of work: use its tx instead")
        with self._turn:
            if self._closed:
                raise AuditUnavailableError("the audit log is closed: the service is stopping")
            if len(self._waiting) >= self._most_waiting:
                raise AuditUnavailableError("too many operations are waiting for the audit log")
            self._waiting.append(unit)
            leads, self._led = not self._led, True
            return leads

    def _follow(self, unit: _Unit) -> None:
        """Wait until the unit is done, and lead when it comes to that. Raises AuditUnavailableError when it is late."""
        if not unit.signal.acquire(timeout=self._timeout):
            with self._turn:
                if unit.state is _State.WAITING:
                    self._waiting.remove(unit)
                    raise AuditUnavailableError(
                        f"the audit log did not take the operation within {self._timeout:g} seconds"
                    )
            unit.signal.acquire()  # its transaction has begun, or is this thread's to begin
        if unit.state is _State.LEADING:
            self._lead()

    def _lead(self) -> None:
        """One transaction for all that waits, oldest first, at most a batch; then the next in line leads."""
        self._runs_units = threading.get_ident()
        units = self._commit()
        self._runs_units = None
        for unit in units:
            unit.signal.release()
        with self._turn:
            following = self._waiting[0] if self._waiting else None
            if following is None:
                self._led = False
                self._turn.notify_all()
            else:
                following.state = _State.LEADING
                following.signal.release()

    def _take(self) -> list[_Unit]:
        with self._turn:
            units = [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]
            for unit in units:
                unit.state = _State.RUNNING
        return units

    def _commit(self) -> list[_Unit]:
        """One transaction for what waits; then, and only then, note how each went. Never raises."""
        units: list[_Unit] = []
        outcomes: list[tuple[Any, BaseException | None]] = []
        try:
            connection = self._connection or writing_connection(self._engine)
            self._connection = connection
            with transaction(connection):
                head, edge = self._head(connection)
                batch = _Batch(connection, self._keys, edge)
                units = self._take()  # not before: more have come while the database gave its lock
                outcomes.extend(_run_unit(batch, unit.work, alone=len(units) == 1) for unit in units)
                if any(failure is None for _, failure in outcomes):
                    written = batch.write() or head
                else:
                    roll_back(connection)
                    written = head
        except BaseException as error:  # noqa: BLE001 - whatever it is, every caller must hear of it and the next one lead
            self._disconnect()
            units = units or self._take()
            self._refuse(units, error)
            return units
        self._seen = written
        for unit, (result, failure) in zip(units, outcomes, strict=True):
            unit.result, unit.failure = result, failure
        return units

    def _disconnect(self) -> None:
        """Begin anew with another connection after a failure: nobody knows what state this one is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()

    def _refuse(self, units: list[_Unit], error: BaseException) -> None:
        self._seen = None
        words = _describe(error, self._engine.dialect)
        log.error("audit log not written, %d operation(s) refused: %s", len(units), words)
        for unit in units:
            problem = AuditUnavailableError(words)
            problem.__cause__ = error
            unit.failure = problem

    def _head(self, connection: Connection) -> tuple[_HeadRow, Edge]:
        """The head and its right edge, to extend. A head that this process has not written itself is checked first."""
        row = _head_row(connection)
        if row is None:
            raise NoteError("the log's head is missing")
        size, edge_bytes, note = row
        edge = Edge.from_bytes(size, edge_bytes)
        if row != self._seen:
            checkpoint = self._keys.open(note)
            if (checkpoint.size, checkpoint.root) != (size, edge.root()):
                raise NoteError("the log's head is not the one that was signed")
        return row, edge


def open_writer(
    engine: Engine, keys: LogKeys, *, waiting: int = 4096, batch: int = 256, timeout: float = 15.0
) -> AuditWriter:
    """The writer of this process, on a migrated database.

    `waiting`: how many units may queue; `batch`: how many share a transaction; `timeout`: seconds that a unit waits
    for its turn. An empty log gets its first checkpoint, of size 0. Raises NoteError when the log was signed with
    another key or its head was changed, and sqlalchemy's errors when the database cannot be written.
    """
    with writing(engine) as connection:
        if _head_row(connection) is None:
            if _ANY_ENTRY(connection).fetchone() is not None:
                raise NoteError("the log has entries but no head: it was tampered with; run `strongroom audit verify`")
            _put_head(connection, keys, Edge())
    writer = AuditWriter(engine, keys, waiting=waiting, batch=batch, timeout=timeout)
    try:
        with writing(engine) as connection:
            writer._head(connection)  # noqa: SLF001 - same module
    except BaseException:
        writer.close()
        raise
    return writer


def _run_unit(batch: _Batch, work: Callable[[Tx], Any], *, alone: bool) -> tuple[Any, BaseException | None]:
    """Result or failure of one unit; of a failed one nothing stays, unless it is alone. Raises what ends the batch."""
    tx = _UnitTx(batch, alone=alone)
    try:
        result = work(tx)
        tx.finish()
    except BaseException as error:
        with suppress(SQLAlchemyError):
            tx.close()
        if database_failed(error, batch.connection.dialect):
            raise
        tx.undo()
        return None, error
    tx.close()
    tx.keep()
    return result, None


def _head_row(connection: Connection) -> _HeadRow | None:
    with in_one_go(connection):
        row = _GET_HEAD(connection).fetchone()
    return None if row is None else (row[0], bytes(row[1]), row[2])


def _put_head(connection: Connection, keys: LogKeys, edge: Edge) -> _HeadRow:
    head = edge.size, edge.to_bytes(), keys.sign(edge.size, edge.root())
    _PUT_HEAD(connection, size=head[0], edge=head[1], note=head[2])
    return head


def _describe(error: BaseException, dialect: Dialect) -> str:
    """The cause in a line: the database's own words, never a statement or its values."""
    if (told := driver_error(error, dialect)) is not None:
        return f"the database answers: {told}"
    if isinstance(error, NoteError):
        return f"{error}; run `strongroom audit verify`"
    if isinstance(error, SQLAlchemyError):
        return f"the database layer answers: {type(error).__name__}"
    return f"{type(error).__name__}: {error}"
