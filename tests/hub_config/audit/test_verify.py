"""One changed byte anywhere is found, and named."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strongroom_hub.audit import store
from strongroom_hub.audit.entries import SEARCH_COLUMNS, Action, Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.note import Checkpoint, VerifierKey
from strongroom_hub.audit.store import UnreadableLogError, open_database, open_directory
from strongroom_hub.audit.tree import Edge, Growth, leaf_hash, tiles_of
from strongroom_hub.audit.verify import Finding, Part, Report, verify
from strongroom_hub.audit.writer import open_writer
from strongroom_hub.database import migrate, open_engine

VECTOR = Path(__file__).parents[2] / "vectors" / "log-v1"
SIZE = 700  # two full tiles and a partial one


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LogKeys]:
    """One log of SIZE entries, every seventh with a payload; tests work on copies."""
    folder = tmp_path_factory.mktemp("log")
    keys = LogKeys.create(folder / "keys")
    engine = open_engine(folder / "log.sqlite")
    migrate(engine)
    writer = open_writer(engine, keys)

    def work(tx: object) -> None:
        for number in range(SIZE):
            entry = Entry(
                action=Action.CELL_BEGIN,
                actor="user:analyst",
                object=f"o/{number % 3}",
                detail={"number": number},
                payload="a = 1" if number % 7 == 0 else None,
            )
            tx.record(entry)  # type: ignore[attr-defined]

    writer.transact(work)
    writer.close()
    engine.dispose()
    with closing(sqlite3.connect(folder / "log.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("DROP TRIGGER log_entries_no_update")
        connection.execute("DROP TRIGGER log_entries_no_delete")
        connection.commit()
    return folder / "log.sqlite", keys


@pytest.fixture
def copy(original: tuple[Path, LogKeys], tmp_path: Path) -> Path:
    return Path(shutil.copy(original[0], tmp_path / "copy.sqlite"))


@pytest.fixture
def verifier(original: tuple[Path, LogKeys]) -> VerifierKey:
    return original[1].verifier


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(statement, values).rowcount > 0
        connection.commit()


def check(path: Path, verifier: VerifierKey, earlier: Checkpoint | None = None) -> Report:
    with open_database(path) as log:
        return verify(log, verifier, earlier)


def named(report: Report) -> list[tuple[Part, int | None]]:
    return [(finding.part, finding.entry) for finding in report.findings]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def flip(path: Path, table: str, column: str, where: str, at: int = 5) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (value,) = connection.execute(f'SELECT "{column}" FROM {table} WHERE {where}').fetchone()
        data = value.encode() if isinstance(value, str) else value
        changed = flipped(data, at)
        new = changed.decode() if isinstance(value, str) else changed
        connection.execute(f'UPDATE {table} SET "{column}" = ? WHERE {where}', (new,))
        connection.commit()


def test_an_untouched_log_is_sound(copy: Path, verifier: VerifierKey, original: tuple[Path, LogKeys]) -> None:
    report = check(copy, verifier)
    assert report.findings == []
    with open_database(copy) as log:
        assert original[1].open(log.note() or "") == Checkpoint(verifier.name, SIZE, report.root)
    assert report.size == SIZE


@pytest.mark.parametrize("index", [0, 255, 256, 511, 512, 699])
@pytest.mark.parametrize("at", [0, 40, -1])
def test_a_changed_leaf_is_named(copy: Path, verifier: VerifierKey, index: int, at: int) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        (leaf,) = connection.execute('SELECT leaf FROM log_entries WHERE "index" = ?', (index,)).fetchone()
    change(copy, 'UPDATE log_entries SET leaf = ? WHERE "index" = ?', flipped(leaf, at % len(leaf)), index)
    assert named(check(copy, verifier)) == [(Part.LEAF, index)]


@pytest.mark.parametrize(
    ("table", "column", "where", "at", "expected"),
    [
        ("log_entries", "time", '"index" = 3', 5, [(Part.COLUMN, 3)]),
        ("log_entries", "actor", '"index" = 300', 5, [(Part.COLUMN, 300)]),
        ("log_entries", "action", '"index" = 600', 5, [(Part.COLUMN, 600)]),
        ("log_entries", "object", '"index" = 699', 2, [(Part.COLUMN, 699)]),
        ("log_payloads", "ciphertext", "entry = 7", 5, [(Part.PAYLOAD, 7)]),
        ("log_payloads", "subject", "entry = 14", 5, [(Part.PAYLOAD, 14)]),
        ("log_tiles", "hashes", "level = 0 AND number = 0", 32 * 9 + 4, [(Part.TILE, 9)]),
        ("log_hashes", "hash", '"index" = 612', 7, [(Part.TILE, 612)]),
        ("log_tiles", "hashes", "level = 1 AND number = 0", 32, [(Part.TILE, 256)]),
        ("log_head", "edge", "id = 1", 5, [(Part.HEAD, None)]),
        ("log_head", "note", "id = 1", 0, [(Part.CHECKPOINT, None)]),
        ("log_head", "note", "id = 1", 50, [(Part.CHECKPOINT, None)]),
        ("log_head", "note", "id = 1", 140, [(Part.CHECKPOINT, None)]),
    ],
)
def test_a_changed_byte_in_each_table_is_named(
    copy: Path, verifier: VerifierKey, table: str, column: str, where: str, at: int, expected: list[object]
) -> None:
    flip(copy, table, column, where, at)
    assert named(check(copy, verifier)) == expected


TOGETHER = (
    "INSERT INTO log_tiles SELECT 0, 2, CAST(group_concat(hash, '') AS BLOB) "
    'FROM (SELECT hash FROM log_hashes ORDER BY "index")'
)
"""What is true, stored twice: the log's readers must not have two places to believe."""
COPIED = (
    "INSERT INTO log_entries SELECT {}, leaf, time, actor, action, project, object, label "
    'FROM log_entries WHERE "index" = 1'
)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('DELETE FROM log_entries WHERE "index" = 5', [(Part.INDEX, 5)]),
        ('DELETE FROM log_entries WHERE "index" BETWEEN 253 AND 258', [(Part.INDEX, 253), (Part.INDEX, 256)]),
        ('DELETE FROM log_entries WHERE "index" >= 694', [(Part.INDEX, 694)]),
        ('DELETE FROM log_entries WHERE "index" = 7', [(Part.INDEX, 7), (Part.PAYLOAD, 7)]),
        (COPIED.format(700), [(Part.INDEX, 700)]),
        (COPIED.format(-1), [(Part.INDEX, -1)]),
        ("UPDATE log_entries SET project = 'p' WHERE entry_3", [(Part.COLUMN, 3)]),
        ("UPDATE log_entries SET label = 'public' WHERE entry_3", [(Part.COLUMN, 3)]),
        ("UPDATE log_entries SET actor = 5 WHERE entry_3", [(Part.COLUMN, 3)]),
        ("UPDATE log_entries SET leaf = 5 WHERE entry_3", [(Part.LEAF, 3)]),
        ("DELETE FROM log_payloads WHERE entry = 7", [(Part.PAYLOAD, 7)]),
        ("UPDATE log_payloads SET entry = 8 WHERE entry = 7", [(Part.PAYLOAD, 7), (Part.PAYLOAD, 8)]),
        ("UPDATE log_payloads SET entry = 9999 WHERE entry = 7", [(Part.PAYLOAD, 7), (Part.PAYLOAD, 9999)]),
        ("DELETE FROM log_tiles WHERE level = 0 AND number = 1", [(Part.TILE, 256)]),
        ("DELETE FROM log_tiles WHERE level = 1", [(Part.TILE, 0)]),
        ("UPDATE log_tiles SET hashes = substr(hashes, 1, 40) WHERE level = 0 AND number = 1", [(Part.TILE, 256)]),
        ("DELETE FROM log_hashes", [(Part.TILE, 512)]),
        ('DELETE FROM log_hashes WHERE "index" = 600', [(Part.TILE, 512)]),
        ("UPDATE log_hashes SET hash = x'00' WHERE \"index\" = 600", [(Part.TILE, 512)]),
        ("INSERT INTO log_hashes VALUES (700, zeroblob(32))", [(Part.TILE, 512), (Part.TILE, 700)]),
        ("INSERT INTO log_hashes VALUES (-1, zeroblob(32))", [(Part.TILE, -1)]),
        ("INSERT INTO log_hashes VALUES (300, zeroblob(32))", [(Part.TILE, 300)]),
        ("INSERT INTO log_tiles VALUES (0, 3, zeroblob(32))", [(Part.TILE, None)]),
        (TOGETHER, [(Part.TILE, 512)]),
        ("UPDATE log_head SET size = 699", [(Part.HEAD, None)]),
        ("DELETE FROM log_head", [(Part.CHECKPOINT, None), (Part.HEAD, None)]),
    ],
)
def test_removed_added_and_moved_rows_are_named(
    copy: Path, verifier: VerifierKey, statement: str, expected: list[object]
) -> None:
    change(copy, statement.replace("entry_3", '"index" = 3'))
    assert named(check(copy, verifier)) == expected


def test_swapped_entries_are_named(copy: Path, verifier: VerifierKey) -> None:
    change(copy, 'UPDATE log_entries SET "index" = -9 WHERE "index" = 3')
    change(copy, 'UPDATE log_entries SET "index" = 3 WHERE "index" = 4')
    change(copy, 'UPDATE log_entries SET "index" = 4 WHERE "index" = -9')
    assert named(check(copy, verifier)) == [(Part.LEAF, 3), (Part.LEAF, 4)]


def test_changes_of_both_kinds_at_once_are_told_apart(copy: Path, verifier: VerifierKey) -> None:
    flip(copy, "log_entries", "leaf", '"index" = 3')
    flip(copy, "log_tiles", "hashes", "level = 0 AND number = 1", 32 * 4)
    flip(copy, "log_entries", "leaf", '"index" = 600')
    assert named(check(copy, verifier)) == [(Part.LEAF, 3), (Part.TILE, 260), (Part.LEAF, 600)]


def rewrite(path: Path, index: int) -> None:
    """Change an entry, and the hash that the tree stores of it as well."""
    number, place = divmod(index, 256)
    with closing(sqlite3.connect(path)) as connection:
        (leaf,) = connection.execute('SELECT leaf FROM log_entries WHERE "index" = ?', (index,)).fetchone()
        leaf = leaf.replace(b'"number":', b'"Number":')
        connection.execute('UPDATE log_entries SET leaf = ? WHERE "index" = ?', (leaf, index))
        connection.execute('UPDATE log_hashes SET hash = ? WHERE "index" = ?', (leaf_hash(leaf), index))
        query = "SELECT hashes FROM log_tiles WHERE level = 0 AND number = ?"
        for (tile,) in connection.execute(query, (number,)).fetchall():
            changed = tile[: place * 32] + leaf_hash(leaf) + tile[(place + 1) * 32 :]
            connection.execute("UPDATE log_tiles SET hashes = ? WHERE level = 0 AND number = ?", (changed, number))
        connection.commit()


def test_an_entry_changed_with_its_hash_is_narrowed_to_its_tile(copy: Path, verifier: VerifierKey) -> None:
    rewrite(copy, 300)
    report = check(copy, verifier)
    assert (Part.CHECKPOINT, None) in named(report)
    assert (Part.LEAF, 256) in named(report)
    assert "256 to 511" in "\n".join(map(str, report.findings))


def test_an_entry_changed_with_its_hash_in_the_last_tile_is_noticed(copy: Path, verifier: VerifierKey) -> None:
    rewrite(copy, 650)
    assert (Part.CHECKPOINT, None) in named(check(copy, verifier))


def test_a_wholly_consistent_rewriting_fails_at_the_signature(
    original: tuple[Path, LogKeys], tmp_path: Path, verifier: VerifierKey
) -> None:
    forged, keys = tmp_path / "forged.sqlite", LogKeys.create(tmp_path / "forged")
    engine = open_engine(forged)
    migrate(engine)
    writer = open_writer(engine, keys)
    writer.append(Entry(action=Action.CELL_BEGIN, actor="user:analyst"))
    writer.close()
    engine.dispose()
    assert named(check(forged, verifier)) == [(Part.CHECKPOINT, None)]
    assert check(forged, keys.verifier).ok


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 699, 700])
def test_an_earlier_checkpoint_is_extended(copy: Path, verifier: VerifierKey, size: int) -> None:
    with open_database(copy) as log:
        leaves = [leaf_hash(entry.leaf) for entry in log.entries(SIZE)]
    from strongroom_hub.audit.tree import root_of  # noqa: PLC0415 - the one use

    assert check(copy, verifier, Checkpoint(verifier.name, size, root_of(leaves[:size]))).ok
    if size:
        other = Checkpoint(verifier.name, size, root_of([*leaves[: size - 1], bytes(32)]))
        assert named(check(copy, verifier, other)) == [(Part.CHECKPOINT, None)]


def test_a_log_that_was_cut_back_is_noticed_by_an_earlier_checkpoint(copy: Path, verifier: VerifierKey) -> None:
    report = check(copy, verifier, Checkpoint(verifier.name, SIZE + 1, bytes(32)))
    assert "cut back" in str(report.findings[0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_changed_byte_of_the_file_passes_unless_nothing_of_the_log_is_different(
    original: tuple[Path, LogKeys], tmp_path: Path, data: st.DataObject
) -> None:
    content = original[0].read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    changed = tmp_path / "changed.sqlite"
    changed.write_bytes(flipped(content, at))
    try:
        report = check(changed, original[1].verifier)
    except UnreadableLogError:
        return
    if report.ok:
        with open_database(original[0]) as mine, open_database(changed) as theirs:
            assert list(mine.entries(SIZE)) == list(theirs.entries(SIZE))
            assert mine.note() == theirs.note()
        assert engine_finds(changed) == []


INDEXES = [f"ix_log_entries_{name}" for name in SEARCH_COLUMNS]


def engine_finds(path: Path) -> list[str]:
    """What SQLite's own check says, which looks each row up in each index."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("PRAGMA integrity_check(log_entries)") if row[0] != "ok"]


def asked(path: Path, verifier: VerifierKey) -> tuple[Report, list[str]]:
    """The report, and the checks that SQLite was asked to make of the entries."""
    asked: list[str] = []
    with open_database(path) as log:
        log._connection.set_trace_callback(asked.append)
        report = verify(log, verifier)
    return report, [line for line in asked if line.endswith("_check(log_entries)")]


def test_every_index_of_the_entries_is_known(copy: Path, verifier: VerifierKey) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        found = {row[1] for row in connection.execute("PRAGMA index_list(log_entries)")}
    assert found == set(INDEXES)
    report, checks = asked(copy, verifier)
    assert report.ok
    assert checks == ["PRAGMA quick_check(log_entries)"]  # the slow one was not needed


@pytest.mark.parametrize("name", INDEXES)
@pytest.mark.parametrize("table", ["log_entries", "other"])
def test_an_index_that_hides_an_entry_from_search_is_noticed(
    copy: Path, verifier: VerifierKey, name: str, table: str
) -> None:
    """One row of the index says something else than the entry: the index is built over a table that is not ours."""
    with closing(sqlite3.connect(copy)) as connection:
        query = "SELECT sql FROM sqlite_master WHERE name = ?"
        (made,) = connection.execute(query, (name,)).fetchone()
        if table == "other":
            connection.execute("CREATE TABLE other AS SELECT * FROM log_entries")
            (shape,) = connection.execute(query, ("log_entries",)).fetchone()
            connection.execute("DROP TABLE other")
            connection.execute(shape.replace("log_entries", "other"))
            connection.execute("INSERT INTO other SELECT * FROM log_entries")
            columns = [row[2] for row in connection.execute(f"PRAGMA index_info({name})")]
            connection.execute(f"UPDATE other SET {columns[0]} = 'zzz' WHERE \"index\" = 300")
            connection.execute(made.replace("log_entries (", "other (").replace(name, "twin"))
            connection.commit()
            connection.execute("PRAGMA writable_schema = ON")
            root = "(SELECT rootpage FROM sqlite_master WHERE name = 'twin')"
            connection.execute(f"UPDATE sqlite_master SET rootpage = {root} WHERE name = ?", (name,))
            connection.execute("DELETE FROM sqlite_master WHERE name IN ('twin', 'other')")
        else:
            connection.execute("PRAGMA writable_schema = ON")
        connection.commit()
    report, checks = asked(copy, verifier)
    assert checks == ["PRAGMA quick_check(log_entries)"]
    if table == "other":
        assert f"index {name} does not say what the entries say" in str(report.findings)
        assert engine_finds(copy)
    else:
        assert report.ok


@pytest.mark.parametrize(
    "made",
    [
        "(actor) WHERE action = 'server:cell:begin'",
        "(lower(actor))",
        "(actor DESC)",
        "(actor COLLATE NOCASE)",
        "(actor, action)",
    ],
)
def test_an_index_of_another_kind_is_left_to_sqlite(copy: Path, verifier: VerifierKey, made: str) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute(f"CREATE INDEX more ON log_entries {made}")
    report, checks = asked(copy, verifier)
    assert report.ok
    assert checks == ["PRAGMA integrity_check(log_entries)"]


def test_more_entries_of_one_kind_than_a_text_can_name_are_left_to_sqlite(copy: Path, verifier: VerifierKey) -> None:
    asked: list[str] = []
    with open_database(copy) as log:
        for _ in log.blocks(SIZE):
            pass
        log._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2000)
        log._connection.set_trace_callback(asked.append)
        assert log.damage() == []
    assert "PRAGMA integrity_check(log_entries)" in asked


# leaves that the log's key has signed, and that say what no writer of ours writes


def signed(path: Path, keys: LogKeys, leaves: list[bytes], columns: Sequence[object]) -> None:
    """Make the log one of just these leaves, each with these search columns."""
    growth = Growth(Edge(), lambda level, number: b"")
    for leaf in leaves:
        growth.append(leaf_hash(leaf))
    with closing(sqlite3.connect(path)) as connection:
        for table in ("log_entries", "log_tiles", "log_hashes", "log_payloads", "log_payload_keys"):
            connection.execute(f"DELETE FROM {table}")
        for number, leaf in enumerate(leaves):
            connection.execute("INSERT INTO log_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (number, leaf, *columns))
        for (level, number), hashes in growth.changed.items():
            connection.execute("INSERT INTO log_tiles VALUES (?, ?, ?)", (level, number, hashes))
        connection.executemany("INSERT INTO log_hashes VALUES (?, ?)", enumerate(growth.loose, growth.open))
        head = (len(leaves), growth.edge.to_bytes(), keys.sign(len(leaves), growth.edge.root()))
        connection.execute("UPDATE log_head SET size = ?, edge = ?, note = ?", head)
        connection.commit()


COLUMNS = ("2026-01-01T00:00:00.000Z", "user:analyst", "server:cell:begin", None, "o", "public")


def leaf(index: str, *, v: str = "1", label: str = '"public"', more: str = "") -> bytes:
    return (
        f'{{"action":"server:cell:begin","actor":"user:analyst","detail":{{}},"index":{index},"label":{label},'
        f'"object":"o","project":null,"time":"2026-01-01T00:00:00.000Z","v":{v}{more}}}'
    ).encode()


@pytest.mark.parametrize(
    ("second", "label", "expected"),
    [
        (leaf("1"), "public", []),
        (leaf("true"), "public", [(Part.INDEX, 1)]),
        (leaf("1.0"), "public", [(Part.INDEX, 1)]),
        (leaf('"1"'), "public", [(Part.INDEX, 1)]),
        (leaf("1", v="true"), "public", [(Part.LEAF, 1)]),
        (leaf("1", v="1.0"), "public", [(Part.LEAF, 1)]),
        (leaf("1", label="1"), "1", [(Part.COLUMN, 0), (Part.COLUMN, 1)]),
        (leaf("1", label="null"), "null", [(Part.COLUMN, 0), (Part.COLUMN, 1)]),
        (leaf("1", label="null"), "", [(Part.COLUMN, 0), (Part.COLUMN, 1)]),
        (leaf("1", label='"public"'), b"public", [(Part.COLUMN, 0), (Part.COLUMN, 1)]),
        (leaf("1", more=',"actor":"user:other"'), "public", [(Part.COLUMN, 1)]),
        (leaf("1", more=',"actor":"user:other","actor":"user:analyst"'), "public", []),
        (leaf("1") + b" ", "public", []),
        (leaf("1") + b"{}", "public", [(Part.LEAF, 1)]),
        (b"[" + leaf("1") + b"]", "public", [(Part.LEAF, 1)]),
        (b"", "public", [(Part.LEAF, 1)]),
        (b"null", "public", [(Part.LEAF, 1)]),
        (b'{"v":1,"index":1}', "public", [(Part.COLUMN, 1)] * 5),
        (leaf("1", more=',"payload":"x"'), "public", [(Part.LEAF, 1)]),
        (leaf("1", more=',"payload":{"sha256":"","commitment":"","subject":"s"}'), "public", [(Part.PAYLOAD, 1)] * 2),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_another_value(
    copy: Path,
    original: tuple[Path, LogKeys],
    verifier: VerifierKey,
    second: bytes,
    label: object,
    expected: list[object],
) -> None:
    """The last of several values of one name counts, as for who reads the log."""
    signed(copy, original[1], [leaf("0"), second], (*COLUMNS[:-1], label))
    assert named(check(copy, verifier)) == expected


@pytest.mark.parametrize(
    "label", ["public", "", "\0", "a\nb", "\t\x7f", '"', "\\", "\\u0041", "'", "é\N{GRINNING FACE}\u2028"]
)
def test_tiles_that_are_read_at_once_are_read_as_their_rows_are(
    copy: Path, original: tuple[Path, LogKeys], verifier: VerifierKey, label: str
) -> None:
    leaves = [leaf(str(number), label=json.dumps(label, ensure_ascii=number % 2 == 0)) for number in range(600)]
    leaves[300] = leaves[300].replace(b",", b",\n", 1)
    signed(copy, original[1], leaves, (*COLUMNS[:-1], label))
    assert check(copy, verifier).findings == []
    for more in (b"x", "x"):
        with closing(sqlite3.connect(copy)) as connection:
            for number in (100, 400):
                change = 'UPDATE log_entries SET label = ? WHERE "index" = ?'
                connection.execute(change, (label + more if isinstance(more, str) else label.encode() + more, number))
            connection.commit()
        assert named(check(copy, verifier)) == [(Part.COLUMN, 100), (Part.COLUMN, 400)]


@pytest.mark.parametrize(
    ("other", "words"), [*((other, "where its number belongs") for other in (63, 287, 318, 320)), (575, "out of order")]
)
def test_a_row_under_another_number_in_a_damaged_file_is_noticed(
    copy: Path, verifier: VerifierKey, other: int, words: str
) -> None:
    """A row's number as SQLite writes it, seven bits a byte: where it stands no search for that number looks."""
    data = copy.read_bytes()
    [found] = re.finditer(rb"\x82\x3f(?=.{6,20}\{\"action\".{,400}\"index\":319,)", data, re.DOTALL)
    copy.write_bytes(data[: found.start()] + bytes([0x80 | other >> 7, other & 0x7F]) + data[found.end() :])
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute('SELECT count(*) FROM log_entries WHERE "index" = 319').fetchone() == (0,)
    findings = check(copy, verifier).findings
    assert findings[0].part is Part.DATABASE
    assert words in findings[0].text


def test_a_log_in_another_encoding_is_read_as_well(
    log_of: Callable[[int], Path], keys: LogKeys, tmp_path: Path
) -> None:
    other = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(log_of(300))) as connection, closing(sqlite3.connect(other)) as target:
        target.execute("PRAGMA encoding = 'UTF-16le'")
        target.executescript("\n".join(connection.iterdump()))
        assert target.execute("PRAGMA encoding").fetchone() == ("UTF-16le",)
    assert check(other, keys.verifier).findings == []


def test_what_is_no_log_is_said_to_be_none(tmp_path: Path) -> None:
    rubbish, empty = tmp_path / "rubbish", tmp_path / "empty"
    rubbish.write_bytes(b"rubbish" * 1000)
    sqlite3.connect(empty).close()
    empty.touch()
    for path, words in (
        (rubbish, "cannot be read"),
        (empty, "no Strongroom audit log"),
        (tmp_path / "x", "no database"),
    ):
        with pytest.raises(UnreadableLogError, match=words), open_database(path):
            pass
    with pytest.raises(UnreadableLogError, match="checkpoint"):
        open_directory(tmp_path)


def test_a_damaged_schema_is_said_to_be_unreadable(copy: Path) -> None:
    data = copy.read_bytes()
    copy.write_bytes(
        data.replace(b"log_tileslog_tiles", b"log_\xa0ileslog_tiles").replace(
            b"CREATE TABLE log_tiles", b"CREATE TABLE (og_tiles"
        )
    )
    with pytest.raises(UnreadableLogError, match="cannot be read as a SQLite database"), open_database(copy):
        pass


def test_verifying_changes_nothing_and_needs_no_writable_folder(copy: Path, verifier: VerifierKey) -> None:
    before = copy.read_bytes()
    copy.chmod(0o400)
    copy.parent.chmod(0o500)
    try:
        assert check(copy, verifier).ok
    finally:
        copy.parent.chmod(0o700)
    assert copy.read_bytes() == before
    assert [path.name for path in copy.parent.iterdir() if path.is_file()] == [copy.name]


# exported folders


@pytest.fixture
def exported(copy: Path, tmp_path: Path) -> Path:
    with open_database(copy) as log:
        store.export(log, tmp_path / "export", SIZE, log.note() or "")
    return tmp_path / "export"


def test_an_export_has_the_tlog_tiles_layout_and_verifies(exported: Path, verifier: VerifierKey) -> None:
    files = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert files == {
        "checkpoint",
        *(f"tile/{level}/{name}" for level in ("0", "entries") for name in ("000", "001", "002.p/188")),
        "tile/1/000.p/2",
    }
    report = verify(open_directory(exported), verifier)
    assert (report.findings, report.size) == ([], SIZE)


@pytest.mark.parametrize(
    ("number", "width", "path"),
    [
        (0, 256, "tile/0/000"),
        (5, 3, "tile/0/005.p/3"),
        (1234067, 256, "tile/0/x001/x234/067"),
        (1000, 1, "tile/0/x001/000.p/1"),
    ],
)
def test_tile_paths(number: int, width: int, path: str) -> None:
    assert store.tile_path("0", number, width) == Path(path)


@pytest.mark.parametrize("name", ["tile/entries/000", "tile/entries/002.p/188"])
@pytest.mark.parametrize("at", [0, 1, 2, 100, -1])
def test_a_changed_byte_of_an_exported_entry_is_named(
    exported: Path, verifier: VerifierKey, name: str, at: int
) -> None:
    content = (exported / name).read_bytes()
    (exported / name).write_bytes(flipped(content, at % len(content)))
    first = 0 if name.endswith("000") else 512
    width = 256 if first == 0 else 188
    changed = first if at >= 0 else first + width - 1
    findings = verify(open_directory(exported), verifier).findings
    assert findings[0].entry == changed
    assert findings[0].part is Part.LEAF


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/002.p/188", "tile/1/000.p/2", "checkpoint"])
@pytest.mark.parametrize("spoil", [lambda data: flipped(data, 30), lambda data: data[:-1], None])
def test_a_spoilt_exported_file_is_noticed(
    exported: Path, verifier: VerifierKey, name: str, spoil: Callable[[bytes], bytes] | None
) -> None:
    if spoil is not None:
        (exported / name).write_bytes(spoil((exported / name).read_bytes()))
    elif name != "checkpoint":
        (exported / name).unlink()
    else:
        (exported / name).write_bytes(b"")
    report = verify(open_directory(exported), verifier)
    assert {finding.part for finding in report.findings} == {Part.CHECKPOINT if name == "checkpoint" else Part.TILE}


def test_a_bundle_of_entries_that_was_cut_or_went_on_is_noticed(exported: Path, verifier: VerifierKey) -> None:
    bundle = exported / "tile" / "entries" / "001"
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[:-700])
    findings = verify(open_directory(exported), verifier).findings
    assert {finding.part for finding in findings} == {Part.LEAF, Part.INDEX}
    assert all(finding.entry is not None and 500 < finding.entry < 512 for finding in findings)
    for more in (b"\0", b"\0\0", b"\0\1x", b"\0\1", b"x" * 70_000):
        bundle.write_bytes(whole + more)
        findings = verify(open_directory(exported), verifier).findings
        assert [(finding.part, finding.entry) for finding in findings] == [(Part.LEAF, 511)]
    bundle.unlink()
    assert verify(open_directory(exported), verifier).findings == [
        Finding(Part.INDEX, 256, "entries 256 to 511 are missing")
    ]


def test_a_damaged_log_is_not_exported(copy: Path, tmp_path: Path) -> None:
    change(copy, 'DELETE FROM log_entries WHERE "index" = 300')
    with open_database(copy) as log, pytest.raises(UnreadableLogError, match="near entry 301"):
        store.export(log, tmp_path / "export", SIZE, log.note() or "")


def test_the_log_of_version_1_stays_readable() -> None:
    verifier = VerifierKey.parse((VECTOR / "log.vkey").read_text())
    report = verify(open_directory(VECTOR), verifier)
    assert (report.findings, report.size) == ([], 5)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257])
def test_logs_of_every_shape_are_sound(log_of: Callable[[int], Path], keys: LogKeys, tmp_path: Path, size: int) -> None:
    with open_database(log_of(size)) as log:
        assert verify(log, keys.verifier).findings == []
        store.export(log, tmp_path / "export", size, log.note() or "")
    assert len([p for p in (tmp_path / "export").rglob("*") if p.is_file()]) == 1 + len(list(tiles_of(size))) + (
        -(-size // 256)
    )
    assert verify(open_directory(tmp_path / "export"), keys.verifier).findings == []


def test_an_empty_log_is_sound(log_of: Callable[[int], Path], keys: LogKeys) -> None:
    report = check(log_of(0), keys.verifier)
    assert (report.findings, report.size) == ([], 0)
