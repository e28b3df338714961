"""The audit log against what it is made of, in one run: appends by 1 to 100 writers, cost as it grows, verification.

The measure is one SQLite insert and commit with the same durability (WAL, `synchronous=FULL`) on the same disk; rounds
of both in turn, medians. How the log grows is told as processor time, so that a busy disk does not count.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.store import StoredLog, export, open_database, open_directory
from strongroom_hub.audit.verify import verify
from strongroom_hub.audit.writer import AuditWriter, Tx, open_writer
from strongroom_hub.database import migrate, open_engine

UNIT = 256
"""Entries of one transaction where the log is filled."""
WRITERS = (1, 10, 100)


def entry(number: int, payload: str | None = None) -> Entry:
    """Entries of 40 people in 8 projects, in an order that has no period a tree or an index could profit from."""
    drawn = number * 2_654_435_761 % 2**32
    person, notebook = drawn >> 16, drawn >> 8
    return Entry(
        action=(Action.CELL_BEGIN, Action.CELL_END, Action.DISPLAY_SHOW, Action.READ_ALLOW)[drawn >> 30],
        actor=f"user:analyst{person % 40}", project=f"project{person % 8}", server="a" * 16, kernel="k" * 36,
        object=f"notebooks/day{notebook % 200}.ipynb", label=("public", "internal", "secret")[drawn % 3],
        detail={"cell": f"cell-{number}", "code_bytes": 12}, payload=payload,
    )  # fmt: skip


def rate(writers: int, seconds: float, append: Callable[[], Callable[[], None]]) -> tuple[float, float]:
    """Appends a second of all writers together, and the median seconds of one; `append` makes one writer's verb."""
    end = time.monotonic() + seconds
    taken: list[float] = []

    def run() -> None:
        one, mine = append(), []
        while (began := time.perf_counter()) and time.monotonic() < end:
            one()
            mine.append(time.perf_counter() - began)
        taken.extend(mine)

    threads = [threading.Thread(target=run) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(taken) / seconds, statistics.median(taken) if taken else float("inf")


def plain(place: Path) -> Callable[[], Callable[[], None]]:
    """Insert and commit, each writer over a connection of its own."""
    with sqlite3.connect(place) as made:
        made.execute("PRAGMA journal_mode = wal")
        made.execute("CREATE TABLE line (number INTEGER PRIMARY KEY, text TEXT)")
    made.close()

    def writer() -> Callable[[], None]:
        connection = sqlite3.connect(place, isolation_level=None, timeout=60)
        connection.execute("PRAGMA synchronous = FULL")

        def one() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO line (text) VALUES (?)", ("x" * 300,))
            connection.execute("COMMIT")

        return one

    return writer


def logged(writer: AuditWriter) -> Callable[[], Callable[[], None]]:
    def one() -> None:
        writer.append(entry(1))

    return lambda: one


def compare(folder: Path, rounds: int, seconds: float) -> None:
    engine = open_engine(folder / "log.sqlite")
    migrate(engine)
    log = open_writer(engine, LogKeys.create(folder / "keys"))
    sides = {"log": logged(log), "plain": plain(folder / "plain.sqlite")}
    print(f"{'writers':<10}{'log /s':>10}{'plain /s':>10}{'ratio':>8}{'log ms':>10}{'plain ms':>10}{'ratio':>8}")
    for writers in WRITERS:
        found: dict[str, list[tuple[float, float]]] = {"log": [], "plain": []}
        for number in range(rounds):
            for side in sorted(sides, reverse=bool(number % 2)):
                found[side].append(rate(writers, seconds, sides[side]))
        ours, theirs = found["log"], found["plain"]
        speeds = statistics.median(a / max(b, 1e-9) for (a, _), (b, _) in zip(ours, theirs, strict=True))
        waits = statistics.median(a / b for (_, a), (_, b) in zip(ours, theirs, strict=True))
        speed = [statistics.median(one for one, _ in side) for side in (ours, theirs)]
        wait = [statistics.median(one for _, one in side) * 1000 for side in (ours, theirs)]
        print(
            f"{writers:<10}{speed[0]:>10.0f}{speed[1]:>10.0f}{speeds:>8.2f}{wait[0]:>10.2f}{wait[1]:>10.2f}{waits:>8.2f}",
            flush=True,
        )
    log.close()
    engine.dispose()


def grow(folder: Path, entries: int) -> None:
    """Fill a log, verify it and what is exported of it; a tenth of the entries have a payload."""
    place = folder / "grown.sqlite"
    engine = open_engine(place)
    migrate(engine)
    keys = LogKeys.create(folder / "grown-keys")
    log = open_writer(engine, keys)
    tenth, costs = entries // 10, []

    def unit(first: int, count: int) -> Callable[[Tx], Any]:
        def work(tx: Tx) -> None:
            for number in range(first, first + count):
                tx.record(entry(number, "x = 1" if number % 10 == 0 else None))

        return work

    for part in range(10):
        began = time.process_time()
        for first in range(part * tenth, (part + 1) * tenth, UNIT):
            log.transact(unit(first, min(UNIT, (part + 1) * tenth - first)))
        costs.append((time.process_time() - began) / tenth * 1e6)
    log.close()
    engine.dispose()
    size = place.stat().st_size / tenth / 10
    print(
        f"{tenth * 10:,} entries: first tenth {costs[0]:.1f} us of processor each, last tenth {costs[-1]:.1f}, ", end=""
    )
    print(f"{size:.0f} bytes each")
    exported = folder / "exported"
    with open_database(place) as stored:
        verified("the database, with all that lies beside the entries", stored, keys)
        export(stored, exported, tenth * 10, stored.note() or "")
    verified("an exported folder: entries, tree and signature", open_directory(exported), keys)


def verified(what: str, stored: StoredLog, keys: LogKeys) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    report = verify(stored, keys.verifier)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    state = "sound" if report.ok else "NOT SOUND"
    print(f"verified ({state}) {what}: {report.size / cpu:,.0f} /s of processor, {report.size / wall:,.0f} /s of wall")


def main() -> None:
    parser = argparse.ArgumentParser(description="the audit log against plain inserts, as it grows, and verified")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each side in each round")
    parser.add_argument("--entries", type=int, default=1_000_000, help="to which the log grows")
    parser.add_argument("--folder", type=Path, help="where the files lie while it runs: the disk that is measured")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        if chosen.rounds:
            compare(Path(name), chosen.rounds, chosen.seconds)
        grow(Path(name), chosen.entries)


if __name__ == "__main__":
    main()
