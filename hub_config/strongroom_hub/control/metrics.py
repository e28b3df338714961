"""Numbers for operators, as Prometheus text: of nobody by name, with few labels, so that a scraper stays small.

Counters come out of the audit log itself: what was recorded is what is counted, from this process's start on.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import select
from sqlmodel import Session, col, func
from sqlmodel import select as rows_of

from strongroom_hub.access.models import AccessRequest
from strongroom_hub.access.rules import RequestState
from strongroom_hub.airlock.models import Export
from strongroom_hub.airlock.rules import ExportState
from strongroom_hub.audit import reader
from strongroom_hub.audit.entries import Action
from strongroom_hub.audit.models import LogEntry
from strongroom_hub.boxes.models import MachineCheck
from strongroom_hub.boxes.rules import Kind
from strongroom_hub.boxes.service import kernels_running
from strongroom_hub.control.context import Context
from strongroom_hub.control.times import parse
from strongroom_hub.machine.check import State

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PIECE = 5_000
"""Entries read at a time: the first look after a busy hour must not hold them all in memory."""
_ENTRIES = LogEntry.__table__  # type: ignore[attr-defined]


class LogCounts:
    """What the log says, summed over the entries since this was made. Thread-safe."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._next = reader.size(context.engine)
        self._lock = threading.Lock()
        self.entries: Counter[str] = Counter()
        self.shown: Counter[str] = Counter()
        self.withheld: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()

    def catch_up(self) -> None:
        """Count the entries that came since the last call."""
        with self._lock, self._context.engine.connect() as connection:
            while True:
                query = (
                    select(_ENTRIES.c.index, _ENTRIES.c.leaf)
                    .where(_ENTRIES.c.index >= self._next)
                    .order_by(_ENTRIES.c.index)
                    .limit(PIECE)
                )
                found = connection.execute(query).all()
                for index, leaf in found:
                    self._count(json.loads(leaf))
                    self._next = index + 1
                if len(found) < PIECE:
                    return

    def _count(self, entry: dict[str, Any]) -> None:
        action, label, detail = entry["action"], str(entry["label"]), entry["detail"]
        self.entries[action] += 1
        if action == Action.CELL_END:
            self.shown[label] += detail["shown"]
            self.withheld[label] += detail["withheld"]
        elif action == Action.DISPLAY_SHOW:
            self.shown[label] += detail["bytes"]
        elif action in {Action.KERNEL_VIOLATION, Action.KERNEL_LIMIT}:
            self.violations[detail["kind"]] += sum(detail["counts"].values())


class Metrics(Collector):
    """All of control's numbers; `text` is what a scraper gets."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._counts = LogCounts(context)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def describe(self) -> list[Metric]:
        """Nothing in advance: the registry would collect to learn the names."""
        return []

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        self._counts.catch_up()
        yield from self._of_the_log()
        yield from self._of_now()

    def _of_the_log(self) -> Iterator[Metric]:
        counts = self._counts
        yield _counter("entries", "Audit entries, by action.", "action", counts.entries)
        yield _counter("shown_bytes", "Bytes of output shown, by label.", "label", counts.shown)
        yield _counter("withheld_bytes", "Bytes of output withheld, by label.", "label", counts.withheld)
        kinds = {str(kind): counts.violations[kind] for kind in Kind}
        yield _counter("violations", "What kernels tried or ran into, by kind.", "kind", kinds)
        denied = CounterMetricFamily("strongroom_reads_denied", "Refused reads of datasets.")
        denied.add_metric([], counts.entries[Action.READ_DENY])
        yield denied
        cells = CounterMetricFamily("strongroom_cells", "Cells that were run.")
        cells.add_metric([], counts.entries[Action.CELL_BEGIN])
        yield cells

    def _of_now(self) -> Iterator[Metric]:
        context = self._context
        yield _gauge("kernels_running", "Kernels that have not ended, by tier.", "tier", kernels_running(context))
        with context.reading() as session:
            waiting = {
                "access": _count(session, AccessRequest, AccessRequest.state, RequestState.SUBMITTED),
                "export": _count(session, Export, Export.state, ExportState.IN_REVIEW),
            }
            checks = {str(state): _count(session, MachineCheck, MachineCheck.state, state) for state in State}
            last = session.exec(rows_of(LogEntry.time).order_by(col(LogEntry.index).desc()).limit(1)).first()
        yield _gauge("requests_open", "Requests that wait for a decision.", "kind", waiting)
        yield _gauge("machine_checks", "Checks of the machine at the hub's start, by state.", "state", checks)
        yield _number("log_entries", "Entries of the audit log.", reader.size(context.engine))
        if last is not None:
            # Each commit signs a checkpoint: the newest entry is as old as the newest checkpoint.
            yield _number(
                "log_checkpoint_age_seconds", "Age of the newest signed checkpoint.", _age(context, parse(last))
            )
        standings = context.witnessing.standings()
        alarms = {one.name: int(one in context.witnessing.alarms()) for one in standings}
        yield _gauge("log_alarm", "1 while the log, or a witness, is not as it must be.", "witness", alarms)
        ages = {one.name: int(_age(context, one.at)) for one in standings if one.at is not None}
        yield _gauge("witness_age_seconds", "Since a witness last co-signed.", "witness", ages)
        if context.push is not None:
            waiting_for_siem = context.push.as_json()["waiting"]
            yield _number("push_waiting", "Entries that the SIEM has not taken yet.", waiting_for_siem)
        policy = context.policy.state()
        info = InfoMetricFamily("strongroom_policy", "The policy in force.")
        info.add_metric([], {"version": policy["version"]})
        yield info
        refused = policy["state"] != "in-force"
        yield _number("policy_files_refused", "1 while the present files are not those in force.", int(refused))


def _counter(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"strongroom_{name}", text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _gauge(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(f"strongroom_{name}", text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _number(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"strongroom_{name}", text, value=value)


def _count(session: Session, table: Any, column: Any, value: str) -> int:
    return session.exec(rows_of(func.count()).select_from(table).where(column == value)).one()


def _age(context: Context, moment: datetime) -> float:
    return max(0.0, (context.clock() - moment).total_seconds())
