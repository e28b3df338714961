"""How long searching the audit log takes: a log of two million entries, each kind of question, median and worst of 15.

    python benchmarks/audit_search.py [--entries 2000000] [--folder DIR]

The log is written by the product's own writer, with texts at every fiftieth entry. With `--folder` it is kept and used
again.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine
from strongroom_hub.audit import reader
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.words import WordIndex
from strongroom_hub.audit.writer import AuditWriter, open_writer
from strongroom_hub.database import migrate, open_engine

PEOPLE, PROJECTS, DATASETS = 200, 40, 60
LABELS = ("public", "internal", "confidential", "secret")
ACTIONS = (
    *[Action.CELL_BEGIN, Action.CELL_END] * 20,
    *[Action.READ_ALLOW] * 5,
    Action.READ_DENY,
    Action.DISPLAY_SHOW,
    Action.KERNEL_START,
)
UNIT = 5_000
LIMIT_MS = 50.0
ROUNDS = 15


def one(number: int, random: random.Random) -> Entry:
    action = random.choice(ACTIONS)
    dataset = f"health/set{random.randrange(DATASETS)}@1"
    detail = {"begin": number - 1, "status": "ok", "shown": 10, "withheld": 0} if action == Action.CELL_END else {}
    rare = " needle" if number % 100_000 == 0 else ""
    return Entry(
        action=action,
        actor=f"user:person{int(random.paretovariate(1)) % PEOPLE}",
        project=f"project{random.randrange(PROJECTS)}",
        object=dataset if action in {Action.READ_ALLOW, Action.READ_DENY} else f"book{random.randrange(500)}.ipynb",
        label=random.choice(LABELS),
        detail=detail,
        payload=f"frame{number % 1000} = read(x)\nprint(frame.head()){rare}" if number % 50 == 0 else None,
    )


def fill(writer: AuditWriter, size: int) -> None:
    generator = random.Random(1)  # noqa: S311 - the same log in each run
    for first in range(0, size, UNIT):
        entries = [one(number, generator) for number in range(first, min(size, first + UNIT))]
        writer.transact(lambda tx, entries=entries: [tx.record(entry) for entry in entries])  # type: ignore[misc]


def questions(engine: Engine, words: WordIndex, size: int) -> dict[str, Callable[[], object]]:
    first = reader.entries_at(engine, [size // 2])[0]["time"]
    last = reader.entries_at(engine, [size // 2 + 5_000])[0]["time"]
    latest = reader.entries_at(engine, [size - 10_000])[0]["time"]

    def text(*wanted: str) -> Callable[[], object]:
        def ask() -> object:
            with engine.connect() as connection:
                return reader.entries_at(engine, words.candidates(connection, wanted, None, 100))

        return ask

    ask = reader.entries
    return {
        "the latest": lambda: ask(engine),
        "a person who is often there": lambda: ask(engine, actor="user:person1"),
        "a person who is seldom there": lambda: ask(engine, actor="user:person150"),
        "a project": lambda: ask(engine, project="project7"),
        "a dataset": lambda: ask(engine, object="health/set3@1"),
        "a label": lambda: ask(engine, label="secret"),
        "an action": lambda: ask(engine, action="control:read:deny"),
        "refusals of a person who is seldom there": lambda: ask(
            engine, actor="user:person150", action="control:read:deny"
        ),
        "refusals in a project": lambda: ask(engine, project="project7", action="control:read:deny"),
        "refusals of a dataset": lambda: ask(engine, object="health/set3@1", action="control:read:deny"),
        "a span of time": lambda: ask(engine, since=first, until=last),
        "a person in a span of time": lambda: ask(engine, actor="user:person150", since=first, until=last),
        "since a time": lambda: ask(engine, since=latest, action="control:read:deny"),
        "a person nobody knows": lambda: ask(engine, actor="user:nobody"),
        "a word in every text": text("print"),
        "a rare word": text("needle"),
        "a rare word and one in every text": text("print", "needle"),
        "an entry with its proof": lambda: reader.entry(engine, size // 3),
    }


def timed(question: Callable[[], object]) -> list[float]:
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        question()
        took.append((time.perf_counter() - began) * 1000)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=2_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        new = not (folder / "keys").exists()
        keys = LogKeys.create(folder / "keys") if new else LogKeys.load(folder / "keys")
        engine = open_engine(folder / "log.sqlite")
        migrate(engine)
        words = WordIndex(engine, keys)
        if new:
            began = time.perf_counter()
            writer = open_writer(engine, keys)
            fill(writer, options.entries)
            told = time.perf_counter()
            while words.step(writer):
                pass
            writer.close()
            print(f"written in {told - began:.0f} s, words in {time.perf_counter() - told:.0f} s")
        print(f"{reader.size(engine):,} entries, {(folder / 'log.sqlite').stat().st_size / 1e6:,.0f} MB")
        print(f"{'question':44} {'median ms':>10} {'worst ms':>10}")
        slow = []
        for name, question in questions(engine, words, reader.size(engine)).items():
            took = timed(question)
            print(f"{name:44} {statistics.median(took):10.1f} {max(took):10.1f}")
            if statistics.median(took) > LIMIT_MS:
                slow.append(name)
        engine.dispose()
    print(f"slower than {LIMIT_MS:.0f} ms: {', '.join(slow) or 'none'}")
    raise SystemExit(1 if slow else 0)


if __name__ == "__main__":
    main()
