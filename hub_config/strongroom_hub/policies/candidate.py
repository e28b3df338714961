"""A policy that is to come into force: read, tested, guarded and compared with the one in force; nothing is changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypedDict

from strongroom_policy.catalogue import Dataset, catalogue_findings
from strongroom_policy.coverage import coverage
from strongroom_policy.diff import Difference, difference
from strongroom_policy.engine import Policy, Sources, parse_sources, prove, prove_with_grants
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.rows import Row

from strongroom_hub.policies.basis import Basis

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
    standing: tuple[Finding, ...] = ()
    """Guards that grants broke before, and break still."""
    basis: Basis = ()
    """What its guards were asked about."""

    def changes(self) -> dict[str, Any]:
        return {} if self.difference is None else self.difference.as_json(MAX_CHANGES)


def candidate(
    files: Mapping[str, bytes], old: Sources | None, known: World, grants: Sequence[Row], *, now: datetime, seen: Basis
) -> Candidate:
    """`old`: what is in force; `seen`: the basis of `known` and `grants`.

    Raises PolicyError with everything for which these files must not come into force.
    """
    try:
        return replace(_candidate(files, old, known, grants, now), basis=seen)
    except PolicyError:
        raise
    except Exception:  # what cannot be looked at to the end, or told, does not come into force
        log.exception("looking at policy files failed")
        told = "what these files mean and change could not be found out; the log of the service says why"
        raise PolicyError((Finding("policy folder", 0, told),)) from None


def _candidate(
    files: Mapping[str, bytes], old: Sources | None, known: World, grants: Sequence[Row], now: datetime
) -> Candidate:
    around: _Around = {"users": known.users, "projects": known.projects, "datasets": known.datasets}
    sources = parse_sources(files)
    prove(sources, now, **around)
    policy = Policy.build(sources, grants, now)  # a grant may have an id that a row has, too
    standing = prove_with_grants(sources, grants, now, before=lambda: old, **around)
    changes = None if old is None else difference(old, sources, now, extra=grants, **around)
    return Candidate(files, sources, policy, changes, known, standing)


class _Around(TypedDict):
    users: Mapping[str, frozenset[str]]
    projects: tuple[str, ...]
    datasets: tuple[Dataset, ...]


def results(one: Candidate) -> dict[str, Any]:
    """What checks, tests and guards say about it, for people who decide: notes, rows without a test, changes."""
    rows = coverage(one.sources)
    notes = (*one.standing, *one.policy.warnings, *catalogue_findings(one.policy, one.world.datasets))
    return {
        "notes": [str(note) for note in notes[:MAX_CHANGES]],
        "tests": len(one.sources.cases),
        "guards": [{"name": guard.name, "kind": guard.kind, "why": guard.why} for guard in one.sources.guards],
        "guards_broken": len({finding.line for finding in one.standing}),
        "rows": len(rows),
        "untested": [row.row.place for row in rows if not row.by][:MAX_CHANGES],
        "changes": one.changes(),
    }
