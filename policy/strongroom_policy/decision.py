"""What is asked, and what is answered: with the rows, the membership path and the near misses, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from strongroom_policy.labels import Label
from strongroom_policy.obligations import CLOSED, Obligations
from strongroom_policy.rows import Rule
from strongroom_policy.vocabulary import carries_no_label


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the policy.

    `subject`: `user:NAME`. `purpose`: `project:NAME`, or empty outside projects. `object`: `ns/dataset`,
    `ns/dataset#column`, `export:ID`, `workspace`, `profile:NAME`, `policy`, `log` or `system`. `label`: of that data;
    None = secret. `tags`: names `tag:...` which it carries beyond those of g2 rows. `now`: with time zone.
    `groups`: names `group:...` to which the identity provider says that the user belongs.
    """

    subject: str
    action: str
    object: str
    purpose: str = ""
    label: Label | str | None = None
    tags: frozenset[str] = frozenset()
    now: datetime = field(default_factory=_now)
    groups: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        """`user:alice read health/randhie (label confidential) for project:cardio`."""
        purpose = f" for {self.purpose}" if self.purpose else ""
        label = "" if carries_no_label(self.object) else f" (label {Label.parse(self.label)})"
        return f"{self.subject} {self.action} {self.object}{label}{purpose}"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. A denial's obligations are CLOSED.

    `rules`: for an allow every rule that grants it, for a denial by rule the (first) one that denies; empty where
    nothing grants it. `path`: how the subject belongs to the first rule's subject. `near_misses`: rules that nearly
    granted it, as sentences. `reason`: why, where no rule made the decision.
    """

    allowed: bool
    request: Request
    policy_version: str
    rules: tuple[Rule, ...] = ()
    path: tuple[str, ...] = ()
    near_misses: tuple[str, ...] = ()
    reason: str = ""
    obligations: Obligations = CLOSED

    def why(self) -> tuple[str, ...]:
        """Short lines for a problem's `why`: the rules with file and line, or what stood in the way."""
        lines = [f"rule {rule.name} {rule.text}{_quoted(rule.why)}" for rule in self.rules]
        if self.reason:
            lines.append(self.reason)
        return (*lines, *self.near_misses)

    def explain(self) -> str:
        """The whole decision as lines that can be pasted into a mail."""
        verdict = "ALLOW" if self.allowed else "DENY"
        lines = [f"{verdict}: {self.request.text}  policy {self.policy_version}"]
        path = f" ; {' -> '.join(self.path)}" if len(self.path) > 1 else ""
        for number, rule in enumerate(self.rules):
            word = "because" if number == 0 else "and because"
            lines.append(
                f"  {word} rule {rule.name} {rule.text}{path if number == 0 else ''}{_quoted(rule.why, ' ; ')}"
            )
        if self.reason:
            lines.append(f"  because {self.reason}")
        if self.near_misses:
            lines.append("  closest:")
            lines += [f"   - {miss}" for miss in self.near_misses]
        if self.allowed:
            lines += [f"  owing {kind} {due.value} by {due.rule}" for kind, due in self.obligations.all().items()]
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """Plain values for `--json`, the log and the console."""
        return {
            "allowed": self.allowed,
            "subject": self.request.subject,
            "groups": sorted(self.request.groups),
            "purpose": self.request.purpose,
            "action": self.request.action,
            "object": self.request.object,
            "label": str(Label.parse(self.request.label)),
            "rules": [
                {"id": rule.id, "file": rule.file, "line": rule.line, "text": rule.text, "why": rule.why}
                for rule in self.rules
            ],
            "path": list(self.path),
            "near_misses": list(self.near_misses),
            "reason": self.reason,
            "obligations": self.obligations.as_json(),
            "policy_version": self.policy_version,
        }


@dataclass(frozen=True, slots=True)
class View:
    """The decisions over the columns of one dataset, each on its own."""

    decisions: Mapping[str, Decision]

    @property
    def columns(self) -> tuple[str, ...]:
        """The allowed columns, in the order asked."""
        return tuple(name for name, decision in self.decisions.items() if decision.allowed)

    @property
    def allowed(self) -> bool:
        """Whether every column is allowed (and there is one)."""
        return bool(self.decisions) and all(decision.allowed for decision in self.decisions.values())

    @property
    def masks(self) -> dict[str, str]:
        """`{column: mask}`, as policy.csv has it, of the allowed columns that are masked."""
        return {
            name: decision.obligations.mask.value
            for name, decision in self.decisions.items()
            if decision.allowed and decision.obligations.mask.value is not None
        }

    def why(self) -> tuple[str, ...]:
        """The distinct reasons of the columns that are denied; of all where none is."""
        denied = [decision for decision in self.decisions.values() if not decision.allowed]
        return tuple(dict.fromkeys(line for one in denied or self.decisions.values() for line in one.why()))


def _quoted(why: str, before: str = ": ") -> str:
    return f'{before}"{why}"' if why else ""
