"""tests.csv: decisions and obligations that the admin expects of the policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from strongroom_policy import times
from strongroom_policy.adapter import csv_lines
from strongroom_policy.decision import Decision, Request
from strongroom_policy.errors import Finding
from strongroom_policy.labels import Label
from strongroom_policy.obligations import Obligations
from strongroom_policy.rows import EFFECTS
from strongroom_policy.settings import SAFE
from strongroom_policy.values import Value, read_value
from strongroom_policy.vocabulary import ACTIONS, KINDS, suggest

COLUMNS = ("expect", "who", "may", "on", "label", "tags", "project", "at", "owing", "why")
_NONE = "none"
_MAY_BE_NONE = frozenset(KINDS) - SAFE.keys()
_BY, _BY_NOTHING = "by ", "nothing"


@dataclass(frozen=True, slots=True)
class Case:
    """One expected answer: allow or deny, by which rule, and the obligations by kind (`owing`)."""

    allowed: bool
    request: Request
    owing: tuple[tuple[str, Value | None], ...]
    by: str
    """The rule that must decide; `nothing` = no rule grants it, empty = any."""
    why: str
    line: int

    @property
    def text(self) -> str:
        return f"{'allow' if self.allowed else 'deny'} {self.request.text}"

    def problem(self, decision: Decision, obligations: Obligations) -> str:
        """What is otherwise than expected; empty where nothing is."""
        if decision.allowed != self.allowed:
            return f"expected {'allow' if self.allowed else 'deny'}, but\n{_indented(decision.explain())}"
        by = self._decided_by_another(decision)
        if by:
            return f"{by}\n{_indented(decision.explain())}"
        wrong = [
            f"expected {kind} {value or _NONE}, but {obligations.value(kind) or _NONE} is owed for {self.request.text}"
            for kind, value in self.owing
            if obligations.value(kind) != value
        ]
        return "; ".join(wrong)

    def _decided_by_another(self, decision: Decision) -> str:
        ids = [rule.id for rule in decision.rules]
        if not self.by or self.by in (ids or [_BY_NOTHING]):
            return ""
        return f"expected {self.text} by {self.by}, but it is by {' and '.join(ids) or _BY_NOTHING}"


def read_cases(raw: bytes, file: str, findings: list[Finding]) -> list[Case]:
    """All cases; a line that is none is a finding."""
    cases: list[Case] = []
    for line, cells in csv_lines(raw, file, findings):
        try:
            cases.append(_case(cells, line))
        except ValueError as error:
            findings.append(Finding(file, line, str(error)))
    return cases


def _case(cells: list[str], line: int) -> Case:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"a test has {len(COLUMNS)} fields ({', '.join(COLUMNS)}), this one has {len(cells)}")
    expect, who, action, what, label, tags, project, at, owing, why = cells
    if not who:
        raise ValueError("nobody asks: write user:NAME, and behind it the groups of the identity provider, if any")
    for word, known in ((expect, EFFECTS), (action, ACTIONS), (label or "secret", [str(one) for one in Label])):
        if word not in known:
            raise ValueError(f"unknown word {word!r} - {suggest(word, known)}")
    if not at:
        raise ValueError(
            "the time is missing: a test must give the same answer on any day, so write for example 2026-12-01"
        )
    now = datetime.fromisoformat(times.parse(at))
    user, *groups = who.split()
    request = Request(user, action, what, project, label or None, frozenset(tags.split()), now, frozenset(groups))
    parts = [part.strip() for part in owing.split(";") if part.strip()]
    by = [part.removeprefix(_BY).strip() for part in parts if part.startswith(_BY)]
    if len(by) > 1:
        raise ValueError("name one rule that decides")
    owed = tuple(_owed(part) for part in parts if not part.startswith(_BY))
    return Case(expect == "allow", request, owed, "".join(by), why, line)


def _owed(text: str) -> tuple[str, Value | None]:
    kind, _, value = text.strip().partition(" ")
    if kind not in KINDS:
        raise ValueError(f"unknown obligation {kind!r} - {suggest(kind, KINDS)}")
    if kind in _MAY_BE_NONE and value.strip() == _NONE:
        return kind, None
    return kind, read_value(kind, value.strip())


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
