from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from strongroom_hub.audit import entries, reader
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.reader import AlteredEntryError, PayloadUnreadableError
from strongroom_hub.audit.tree import leaf_hash, verify_inclusion
from strongroom_hub.audit.writer import AuditWriter, Tx


def tamper(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TRIGGER log_entries_no_update")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def indexes(found: list[dict[str, object]]) -> list[object]:
    return [fields["index"] for fields in found]


def test_entries_come_newest_first_in_pages(log_of: Callable[[int], Path], engine: Engine) -> None:
    log_of(300)
    first = reader.entries(engine, limit=3)
    assert indexes(first) == [299, 298, 297]
    assert indexes(reader.entries(engine, limit=2, before=297)) == [296, 295]
    assert reader.entries(engine, before=0) == []
    assert reader.size(engine) == 300


def test_filters_find_what_the_leaf_says(writer: object, engine: Engine) -> None:
    for number, (actor, action) in enumerate(
        [("user:a", Action.CELL_BEGIN), ("user:b", Action.CELL_BEGIN), ("user:a", Action.READ_DENY)]
    ):
        entry = Entry(action=action, actor=actor, object=f"o{number}", project=f"p{number % 2}", label="secret")
        writer.append(entry)  # type: ignore[attr-defined]
    assert indexes(reader.entries(engine, actor="user:a")) == [2, 0]
    assert indexes(reader.entries(engine, actor="user:a", action="server:cell:begin")) == [0]
    assert indexes(reader.entries(engine, object="o1")) == [1]
    assert indexes(reader.entries(engine, project="p0")) == [2, 0]
    assert indexes(reader.entries(engine, label="secret", limit=1)) == [2]
    assert reader.entries(engine, label="public") == []
    time = reader.entries(engine)[1]["time"]
    assert 1 in indexes(reader.entries(engine, since=time))
    assert 1 not in indexes(reader.entries(engine, until=time))


FILTERS = {
    "actor": ("user:often", "user:seldom", "user:nobody"),
    "action": (Action.CELL_BEGIN.value, Action.READ_DENY.value),
    "object": ("often.ipynb", "health/seldom@1"),
    "project": ("often", "seldom"),
    "label": ("public", "secret"),
}


@pytest.fixture
def mixed(writer: AuditWriter) -> None:
    """A log in which each column has a value that is frequent and one that is not, in all combinations."""

    def work(tx: Tx) -> None:
        for number in range(600):
            some = {name: values[number % (7 + at) == 0] for at, (name, values) in enumerate(FILTERS.items())}
            tx.record(Entry(**some | {"action": Action(some["action"])}))  # type: ignore[arg-type]

    writer.transact(work)


def test_several_filters_find_what_has_all_of_them(mixed: None, engine: Engine) -> None:
    everything = reader.entries(engine, limit=1000)
    for names in chain.from_iterable(combinations(FILTERS, count) for count in range(1, 6)):
        for values in product(*(FILTERS[name] for name in names)):
            equal: dict[str, Any] = dict(zip(names, values, strict=True))
            wanted = [one["index"] for one in everything if all(one[name] == equal[name] for name in names)]
            assert indexes(reader.entries(engine, limit=1000, **equal)) == wanted, equal
            assert indexes(reader.entries(engine, limit=3, before=400, **equal)) == [i for i in wanted if i < 400][:3]


@pytest.mark.parametrize(("one", "other"), [*combinations(FILTERS, 2), *((b, a) for a, b in combinations(FILTERS, 2))])
def test_two_filters_go_along_the_rarer_and_look_up_the_other(
    mixed: None, engine: Engine, one: str, other: str
) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, values: Any, *_rest: object) -> None:
        asked.append((statement, values))

    event.listen(engine, "before_cursor_execute", note)
    reader.entries(engine, **{one: FILTERS[one][0], other: FILTERS[other][1]})
    event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[-1][0]}", asked[-1][1]).all()
    told = [row[-1] for row in plan]
    assert f"SEARCH log_entries USING INDEX ix_log_entries_{other} ({other}=?)" in told
    assert f"SEARCH other USING COVERING INDEX ix_log_entries_{one} ({one}=? AND rowid=?)" in told
    assert not any("SCAN" in line or "TEMP B-TREE" in line for line in told), told


def test_an_entry_comes_with_a_proof_that_anybody_can_check(
    log_of: Callable[[int], Path], engine: Engine, keys: LogKeys
) -> None:
    log_of(300)
    proven = reader.entry(engine, 260)
    assert proven is not None
    assert proven.fields["detail"] == {"text": "number 260"}
    wire = proven.proof()
    checkpoint = keys.open(wire["checkpoint"])
    with engine.connect() as connection:
        leaf = connection.exec_driver_sql('SELECT leaf FROM log_entries WHERE "index" = 260').scalar_one()
    path = [base64.b64decode(value) for value in wire["hashes"]]
    assert (checkpoint.size, wire["size"], wire["index"]) == (300, 300, 260)
    assert base64.b64decode(wire["leaf"]) == leaf
    assert verify_inclusion(260, 300, leaf_hash(leaf), path, checkpoint.root)
    assert wire["checkpoint"] == reader.checkpoint(engine)
    assert reader.entry(engine, 300) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_entries SET leaf = CAST(replace(leaf, 'analyst', 'steward') AS BLOB) WHERE \"index\" = 5",
        "UPDATE log_entries SET actor = 'user:steward' WHERE \"index\" = 5",
        "UPDATE log_hashes SET hash = zeroblob(32)",
        "DELETE FROM log_hashes",
        "INSERT INTO log_tiles VALUES (0, 0, zeroblob(320))",
    ],
)
def test_an_altered_entry_is_never_shown(
    log_of: Callable[[int], Path], engine: Engine, keys: LogKeys, statement: str
) -> None:
    tamper(log_of(10), statement)
    with pytest.raises(AlteredEntryError, match=r"entry [0-9]"):
        reader.entries(engine)
    for read in (lambda: reader.entry(engine, 5), lambda: reader.payload(engine, keys, 5)):
        with pytest.raises(AlteredEntryError, match="entry 5") as altered:
            read()
        assert altered.value.index == 5


def test_swapped_rows_with_swapped_hashes_are_not_shown(log_of: Callable[[int], Path], engine: Engine) -> None:
    database = log_of(2)
    with engine.connect() as connection:
        leaf = connection.exec_driver_sql('SELECT leaf FROM log_entries WHERE "index" = 1').scalar_one()
    tamper(
        database,
        f"UPDATE log_entries SET leaf = x'{leaf.hex()}' WHERE \"index\" = 0",
        f"UPDATE log_hashes SET hash = x'{leaf_hash(leaf).hex()}'",
    )
    with pytest.raises(AlteredEntryError, match="as another entry"):
        reader.entry(engine, 0)


def test_payloads_are_decrypted_for_who_has_the_key(
    log_of: Callable[[int], Path], engine: Engine, keys: LogKeys, database: Path
) -> None:
    log_of(10)
    assert reader.payload(engine, keys, 7) == "a = 1"
    assert reader.payload(engine, keys, 1) is None
    assert reader.payload(engine, keys, 999) is None
    content = database.read_bytes()
    assert b"a = 1" not in content
    assert keys.payload not in content


def test_an_erased_person_leaves_a_readable_log(log_of: Callable[[int], Path], engine: Engine, keys: LogKeys) -> None:
    tamper(log_of(10), "DELETE FROM log_payload_keys")
    with pytest.raises(PayloadUnreadableError, match=r"entry 7: the key .* was erased"):
        reader.payload(engine, keys, 7)
    assert reader.entry(engine, 7) is not None


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE log_payloads SET ciphertext = zeroblob(99)", "not the one"),
        ("DELETE FROM log_payloads", "missing"),
        ("UPDATE log_payload_keys SET wrapped = zeroblob(60)", "changed"),
    ],
)
def test_a_changed_payload_is_never_shown(
    log_of: Callable[[int], Path], engine: Engine, keys: LogKeys, statement: str, words: str
) -> None:
    tamper(log_of(10), statement)
    with pytest.raises(PayloadUnreadableError, match=words):
        reader.payload(engine, keys, 7)


def test_a_log_that_was_never_opened_has_no_checkpoint(engine: Engine) -> None:
    with pytest.raises(LookupError):
        reader.checkpoint(engine)
    assert reader.size(engine) == 0
    assert entries.SEARCH_COLUMNS[0] == "time"
