"""How much of the log somebody may see, and of each entry as much as pages may be told.

An entry of what a kernel did can hold what code chose: how many bytes were withheld, the name in a refused read, the
hash of a file. The gate keeps that from pages above `public`, so their author, who may be the one who wrote the code,
is not told it by the log either. Auditors see all, stewards all that came of their datasets to others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import select
from strongroom_policy.labels import Label

from strongroom_hub.access.stewards import stewarded_datasets
from strongroom_hub.audit.entries import Action
from strongroom_hub.control.context import Context
from strongroom_hub.control.policykeeper import Question
from strongroom_hub.projects.models import Source, Workspace

TOLD: Mapping[Action, frozenset[str]] = {
    Action.KERNEL_STOP: frozenset(),
    Action.KERNEL_VIOLATION: frozenset({"kind"}),
    Action.KERNEL_LIMIT: frozenset({"kind"}),
    Action.CELL_END: frozenset(
        # what was shown the person has seen, and it was charged
        {"begin", "cell", "status", "count", "label_before", "new_sources"}
        | {"shown", "charged", "outputs", "outputs_in_all"}
    ),
    Action.READ_ALLOW: frozenset({"cell", "policy", "rows", "synthetic"}),
    Action.READ_DENY: frozenset({"cell", "problem"}),
    Action.READ_END: frozenset({"read", "state", "why"}),
    Action.EXPORT_DRAFT: frozenset({"cells", "via", "prepared"}),
    Action.EXPORT_SUBMIT: frozenset(),
    Action.EXPORT_BLOCK: frozenset(),
    Action.EXPORT_VOTE: frozenset({"verdict"}),
    Action.EXPORT_VIEW: frozenset(),
    Action.DATASET_SAVE: frozenset({"cell", "policy", "quiet"}),
    Action.DATASET_REFUSE_SAVE: frozenset({"cell", "problem"}),
    Action.DATASET_PUBLISH: frozenset({"stage"}),
}
"""Of entries in whose detail code has a say: what of it is told to their own author above `public`; of others all."""
NAMED_BY_CODE = frozenset({Action.READ_DENY, Action.DATASET_REFUSE_SAVE})
"""Whose object may be any text."""
RANDOM = frozenset({"salt", "payload"})
"""What keeps an entry's hash, which proofs show, from telling whoever guesses what the entry says."""
REVIEWS = frozenset({Action.EXPORT_VOTE, Action.EXPORT_VIEW})
"""What reviewers do with others' files."""
UNLABELLED = frozenset({Action.KERNEL_STOP, Action.KERNEL_VIOLATION, Action.KERNEL_LIMIT}) | {
    Action.READ_ALLOW,
    Action.READ_DENY,
    Action.READ_END,
}
"""Whose label is none, or not that of the workspace."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A workspace as it is now."""

    label: str
    first_reads: frozenset[int]
    """Entries by which its sources came in: pages are told of those, and of no further reads."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How much of the log a person may see. For one request: what it looked up it remembers."""

    context: Context
    actor: str
    everything: bool
    datasets: frozenset[str]
    """Those that they decide on."""
    _known: dict[str | None, _Known] = field(default_factory=dict)

    def sees(self, entry: Mapping[str, Any]) -> bool:
        """Auditors all; everybody their own; stewards what is about their datasets or came of them."""
        if self.everything or entry["actor"] == self.actor:
            return True
        touched = {str(entry["object"] or ""), *entry["sources"]}
        return any(name.partition("@")[0] in self.datasets for name in touched)

    def told(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        """The entry as this person may see it, or None. With `narrowed` where something was left out of it."""
        if not self.sees(entry):
            return None
        own = entry["actor"] == self.actor and entry["action"] not in REVIEWS
        return self.told_of_own(entry) if own else entry

    def told_of_own(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        """The entry as somebody may see it who is its author, or whose export it is about."""
        action = entry["action"]
        if self.everything or action not in TOLD or self._is_free(entry):
            return entry
        if action in {Action.READ_ALLOW, Action.READ_END} and not self._is_first(entry):
            return None
        told = TOLD[action]
        narrow = {
            **{name: value for name, value in entry.items() if name not in RANDOM},
            # to the second: when code asks for something is its choice, too
            "time": f"{entry['time'][:19]}.000Z",
            "detail": {name: value for name, value in entry["detail"].items() if name in told},
            "narrowed": True,
        }
        return narrow | ({"object": None, "label": None} if action in NAMED_BY_CODE else {})

    def reads_payload(self, entry: Mapping[str, Any]) -> bool:
        """Code and justifications: auditors, and whoever wrote them."""
        return self.everything or bool(entry["actor"] == self.actor)

    def _is_free(self, entry: Mapping[str, Any]) -> bool:
        if entry["action"] == Action.DATASET_PUBLISH and str(entry["object"]).partition("@")[0] in self.datasets:
            return True
        label = self._workspace(entry["project"]).label if entry["action"] in UNLABELLED else entry["label"]
        return bool(label == Label.PUBLIC)

    def _is_first(self, entry: Mapping[str, Any]) -> bool:
        read = entry["index"] if entry["action"] == Action.READ_ALLOW else entry["detail"]["read"]
        return read in self._workspace(entry["project"]).first_reads

    def _workspace(self, project: str | None) -> _Known:
        """Labels of workspaces never come down: one that is public now was so whenever an entry was made."""
        if project not in self._known:
            self._known[project] = self._looked_up(project)
        return self._known[project]

    def _looked_up(self, project: str | None) -> _Known:
        user = self.actor.removeprefix("user:")
        with self.context.reading() as session:
            found = session.exec(
                select(Workspace).where(Workspace.user == user, Workspace.project == project)
            ).one_or_none()
            if found is None:
                return _Known(Label.SECRET, frozenset())
            reads = session.exec(select(Source.entry).where(Source.workspace == found.id)).all()
            return _Known(found.label, frozenset(reads))


def reach_of(context: Context, user: str) -> Reach:
    """By what the policy in force says."""
    audit = Question(user=user, action="audit", object="log", label="public")
    return Reach(
        context,
        actor=f"user:{user}",
        everything=context.policy.decide(audit).allowed,
        datasets=frozenset(stewarded_datasets(context, user=user, action="approve-access")),
    )


def operators_reach(context: Context) -> Reach:
    """Of whoever works on the host, with the operator's token: what an auditor sees."""
    return Reach(context, "operator", everything=True, datasets=frozenset())


def own_reach(context: Context, actor: str) -> Reach:
    """Of a person in their notebook server: their own entries, whatever else they are."""
    return Reach(context, actor, everything=False, datasets=frozenset())
