"""How long searching the audit log takes: a log of two million entries, each kind of question and timeline.

Median and worst of 15, and the median of processor time.

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
from typing import Any, cast

from sqlalchemy import Engine
from sqlmodel import Session, select
from strongroom_hub.airlock.models import Export, ExportFile
from strongroom_hub.audit import origins, reader, timelines
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.reach import Reach
from strongroom_hub.audit.timelines import Book, Part
from strongroom_hub.audit.words import WordIndex
from strongroom_hub.audit.writer import AuditWriter, Tx, open_writer
from strongroom_hub.control.context import Context
from strongroom_hub.control.times import utc_now
from strongroom_hub.database import migrate, open_engine
from strongroom_hub.projects.models import Cell, Source, Workspace

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
    detail: dict[str, Any] = (
        {"begin": number - 1, "status": "ok", "shown": 10, "withheld": 0} if action == Action.CELL_END else {}
    )
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


STORIES, CELLS = 40, 300
MAKER: dict[str, Any] = {"actor": "user:maker", "project": "project7", "server": "a" * 16, "kernel": "k" * 36}


def story(tx: Tx, number: int) -> None:
    """An export with all that led to it: a read, cells with their ends, the request and its release."""
    now, name = utc_now(), f"{number:016x}"
    source = {"dataset": "health/set3", "version": 1, "label": "confidential", "columns": ["age"]}
    if number == 0:
        tx.session.add(Workspace(id=1, user="maker", project="project7", label="confidential"))
        tx.session.flush()
        read = tx.record(
            Entry(action=Action.READ_ALLOW, object="health/set3@1", label="confidential", **MAKER,
                  detail={"cell": None, "columns": ["age"], "masks": {}, "policy": "p"})
        )  # fmt: skip
        tx.session.add(Source(workspace=1, dataset="health/set3", version=1, label="confidential", columns=["age"],
                              masks={}, since=now, entry=read))  # fmt: skip
    told = {"label": "confidential", "sources": ("health/set3@1",), **MAKER}
    cells = []
    for cell in range(CELLS):
        begin = tx.record(
            Entry(action=Action.CELL_BEGIN, object="maker.ipynb", payload=f"x = {cell}", **told,
                  detail={"cell": f"c{cell}", "code_bytes": 5})
        )  # fmt: skip
        detail: dict[str, Any] = {
            "begin": begin,
            "status": "ok",
            "shown": 10,
            "withheld": 0,
            "outputs": [],
            "duration_ms": 3,
        }
        end = tx.record(Entry(action=Action.CELL_END, object="maker.ipynb", detail=detail, **told))
        tx.session.add(Cell(entry=begin, workspace=1, server="a" * 16, kernel="k" * 36, notebook="maker.ipynb",
                            kind="execute", label="confidential", began=now, ended=now, status="ok",
                            end_entry=end))  # fmt: skip
        cells.append(begin)
    file: dict[str, Any] = {"name": "table.csv", "sha256": "0" * 64, "bytes": 9}
    tx.session.add(Export(id=name, state="released", workspace=1, user="maker", project="project7",
                          label="confidential", justification="x", sources=[source], cells=cells, rule_set="",
                          created_at=now))  # fmt: skip
    tx.session.flush()
    tx.session.add(ExportFile(export=name, index=0, findings=[], **file))
    details: dict[Action, dict[str, Any]] = {
        Action.EXPORT_DRAFT: {"files": [file], "cells": cells[:100], "via": "panel", "prepared": None},
        Action.EXPORT_SUBMIT: {"files": [file["sha256"]]},
        Action.EXPORT_VOTE: {"verdict": "approve", "binding": "x"},
        Action.EXPORT_RELEASE: {"files": [file], "reviewers": ["steward"]},
    }
    for action, detail in details.items():
        tx.record(Entry(action=action, object=f"export:{name}", detail=detail, **told))


class Desk:
    """What timelines ask of control: its database and its keys, without a policy."""

    def __init__(self, engine: Engine, keys: LogKeys) -> None:
        self.engine, self.log_keys = engine, keys

    def reading(self) -> Session:
        return Session(self.engine)


def chains(engine: Engine, keys: LogKeys) -> dict[str, Callable[[], object]]:
    context = cast("Context", Desk(engine, keys))
    newest = Part(None, 50)

    def auditor() -> Reach:
        return Reach(context, "user:auditor", everything=True, datasets=frozenset())

    def own() -> Reach:
        return Reach(context, "user:maker", everything=False, datasets=frozenset())

    def steward() -> Reach:
        return Reach(context, "user:steward", everything=False, datasets=frozenset({"health/set3"}))

    return {
        "timeline of a person": lambda: timelines.of_person(context, auditor(), "person1", newest),
        "timeline of a person, to a steward": lambda: timelines.of_person(context, steward(), "person1", newest),
        "timeline of a dataset, its exports too": lambda: timelines.of_dataset(
            context, steward(), "health/set3", newest
        ),
        "timeline of a notebook of many people": lambda: timelines.of_notebook(
            context, auditor(), Book("book7.ipynb", None, None), newest
        ),
        "timeline of an own notebook, with code": lambda: timelines.of_notebook(
            context, own(), Book("maker.ipynb", "maker", "project7"), newest
        ),
        f"all that led to a file, {CELLS} cells": lambda: origins.of_export(context, auditor(), f"{3:016x}"),
    }


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
        "refusals of a person who is often there": lambda: ask(
            engine, actor="user:person1", action="control:read:deny"
        ),
        "refusals of who ran many cells and has none": lambda: ask(
            engine, actor="user:maker", action="control:read:deny"
        ),
        "a project's cells at one label": lambda: ask(
            engine, project="project7", action="server:cell:begin", label="secret"
        ),
        "a span of time": lambda: ask(engine, since=first, until=last),
        "a person in a span of time": lambda: ask(engine, actor="user:person150", since=first, until=last),
        "since a time": lambda: ask(engine, since=latest, action="control:read:deny"),
        "a person nobody knows": lambda: ask(engine, actor="user:nobody"),
        "a word in every text": text("print"),
        "a rare word": text("needle"),
        "a rare word and one in every text": text("print", "needle"),
        "an entry with its proof": lambda: reader.entry(engine, size // 3),
    }


def timed(question: Callable[[], object]) -> list[tuple[float, float]]:
    """Milliseconds by the clock and of the processor."""
    took = []
    for _ in range(ROUNDS):
        began, used = time.perf_counter(), time.process_time()
        question()
        took.append(((time.perf_counter() - began) * 1000, (time.process_time() - used) * 1000))
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
        with Session(engine) as session:
            told_already = session.exec(select(Export)).first() is not None
        if not told_already:
            writer = open_writer(engine, keys)
            for number in range(STORIES):
                writer.transact(lambda tx, number=number: story(tx, number))  # type: ignore[misc]
            writer.close()
        print(f"{reader.size(engine):,} entries, {(folder / 'log.sqlite').stat().st_size / 1e6:,.0f} MB")
        print(f"{'question':44} {'median ms':>10} {'worst ms':>10} {'processor':>10}")
        slow = []
        for name, question in {
            **questions(engine, words, reader.size(engine)),
            **chains(engine, keys),
        }.items():
            took, used = zip(*timed(question), strict=True)
            print(f"{name:44} {statistics.median(took):10.1f} {max(took):10.1f} {statistics.median(used):10.1f}")
            if statistics.median(took) > LIMIT_MS:
                slow.append(name)
        engine.dispose()
    print(f"slower than {LIMIT_MS:.0f} ms: {', '.join(slow) or 'none'}")
    raise SystemExit(1 if slow else 0)


if __name__ == "__main__":
    main()
