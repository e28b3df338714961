"""A policy that is to come into force: read, tested, guarded and compared with the one in force; nothing is changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from strongroom_policy.catalogue import Dataset, catalogue_findings
from strongroom_policy.coverage import coverage
from strongroom_policy.diff import Difference, difference
from strongroom_policy.engine import Policy, Sources, parse_sources, prove
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.rows import Row

log = logging.getLogger("strongroom.control.policy")

MAX_CHANGES = 200
"""Changes that are kept with a version or a proposal."""


@dataclass(frozen=True, slots=True)
class World:
    """Whom and what to ask about: `user:NAME`, `project:NAME`, and the newest version of each dataset."""

    users: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """With the groups that the identity provider says."""
    projects: tuple[str, ...] = ()
    datasets: tuple[Dataset, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    files: Mapping[str, bytes]
    sources: Sources
    policy: Policy
    """With the grants of this moment: whoever brings it into force joins it with those of theirs."""
    difference: Difference | None
    """To the policy in force; None where there is none."""
    world: World

    def changes(self) -> dict[str, Any]:
        return {} if self.difference is None else self.difference.as_json(MAX_CHANGES)


def candidate(
    files: Mapping[str, bytes], old: Sources | None, known: World, grants: Sequence[Row], now: datetime
) -> Candidate:
    """`old`: what is in force. Raises PolicyError with everything for which these files must not come into force."""
    sources = parse_sources(files)
    prove(sources, now, users=known.users, projects=known.projects, datasets=known.datasets)
    policy = Policy.build(sources, grants, now)  # a grant may have an id that a row has, too
    return Candidate(files, sources, policy, _difference(old, sources, grants, known, now), known)


def _difference(
    old: Sources | None, new: Sources, grants: Sequence[Row], known: World, now: datetime
) -> Difference | None:
    if old is None:
        return None
    try:
        return difference(
            old, new, now, extra=grants, users=known.users, projects=known.projects, datasets=known.datasets
        )
    except PolicyError:
        raise
    except Exception:  # a change that nobody can be told of does not come into force
        log.exception("comparing two policies failed")
        told = "what these files change could not be found out; the log of the service says why"
        raise PolicyError((Finding("policy folder", 0, told),)) from None


def results(one: Candidate) -> dict[str, Any]:
    """What checks, tests and guards say about it, for people who decide: notes, rows without a test, changes."""
    rows = coverage(one.sources)
    notes = (*one.policy.warnings, *catalogue_findings(one.policy, one.world.datasets))
    return {
        "notes": [str(note) for note in notes[:MAX_CHANGES]],
        "tests": len(one.sources.cases),
        "guards": [{"name": guard.name, "kind": guard.kind, "why": guard.why} for guard in one.sources.guards],
        "rows": len(rows),
        "untested": [row.row.place for row in rows if not row.by][:MAX_CHANGES],
        "changes": one.changes(),
    }
