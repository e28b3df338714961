"""What can still change about a version that people see: its label, and whether it can be read. Never its data."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, select
from strongroom_policy.labels import Label

from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.catalog import rules, service
from strongroom_hub.catalog.models import Dataset, DatasetVersion, Relabelling, VersionState
from strongroom_hub.control.context import Context
from strongroom_hub.control.tickets import Abandoned
from strongroom_hub.control.times import iso, iso_or_none
from strongroom_hub.policies.trial import Trial, tried
from strongroom_hub.problems import Problem
from strongroom_hub.projects.models import Source, Workspace

_TOLD = 500
"""Characters of a broken guard in an entry."""


def retire(writer: AuditWriter, context: Context, dataset: str, version: int, *, why: str, actor: str) -> None:
    """End reading of a version; its data stays until it is shredded. Raises Problem 404, 409, 422."""
    rules.check_why(why)

    def work(tx: Tx) -> None:
        found = service.version_of(tx.session, dataset, version)
        rules.check_transition(dataset, version, VersionState(found.state), VersionState.RETIRED)
        found.state, found.retired = VersionState.RETIRED, context.clock()
        found.retired_by, found.retired_why = actor, why
        tx.session.add(found)
        tx.record(
            Entry(
                action=Action.DATASET_RETIRE,
                actor=actor,
                object=f"{dataset}@{version}",
                label=found.label,
                detail={"why": why},
            )
        )

    writer.transact(work)
    context.policy.rebuild(writer)


def allow_twin(writer: AuditWriter, dataset: str, *, allowed: bool, actor: str) -> None:
    """Let whoever may discover the dataset read its synthetic twins, or withhold them. Raises Problem 404."""

    def work(tx: Tx) -> None:
        found = tx.session.get(Dataset, dataset)
        if found is None:
            raise rules.unknown_dataset(dataset)
        found.twin_allowed = allowed
        tx.session.add(found)
        tx.record(Entry(action=Action.DATASET_TWIN, actor=actor, object=dataset, detail={"allowed": allowed}))

    writer.transact(work)


def retire_outlived(writer: AuditWriter, context: Context) -> int:
    """Retire what is kept no longer and is not only to be reviewed; how many."""
    now = context.clock()
    with context.reading() as session:
        found = session.exec(select(DatasetVersion).where(DatasetVersion.state == VersionState.ACTIVE)).all()
        over = [
            (one.dataset, one.version)
            for one in found
            if (retention := one.described.get("retention")) is not None
            and retention["then"] != "review"
            and (until := rules.retained_until(retention, one.activated)) is not None
            and until <= now
        ]
    for dataset, version in over:
        retire(writer, context, dataset, version, why="its retention has ended", actor="system:control")
    return len(over)


def abandon(writer: AuditWriter, found: Sequence[Abandoned]) -> list[bool]:
    """Of each, whether the vault may remove it: it is no draft that anybody can go on with from here on.

    A draft can become visible no more; one whose upload goes can be filled anew.
    """

    def work(tx: Tx) -> list[bool]:
        return [_abandoned(tx, one) for one in found]

    return writer.transact(work)


def _abandoned(tx: Tx, one: Abandoned) -> bool:
    version = tx.session.get(DatasetVersion, (one.dataset, one.version))
    if version is None or version.state == VersionState.ABANDONED:
        return True
    if one.what == "draft":
        if not rules.can_transition(VersionState(version.state), VersionState.ABANDONED):
            return False  # visible: the vault has it under another name
        version.state = VersionState.ABANDONED
        tx.session.add(version)
    tx.record(
        Entry(
            action=Action.DATASET_ABANDON,
            actor="system:vault",
            object=f"{one.dataset}@{one.version}",
            label=version.label,
            detail={"what": one.what, "hours": one.hours},
        )
    )
    return True


def relabel(
    writer: AuditWriter, context: Context, dataset: str, version: int, *, label: str, why: str, actor: str
) -> dict[str, Any]:
    """A higher label acts at once; a lower one waits for a second person. Raises Problem 404, 409, 422.

    A higher label holds even where a guard of the policy is broken by it: the data is what it is, and under the lower
    label more would be possible. The answer and the entry say which. The same label again hands the signed manifest to
    the vault once more, should that have failed.
    """
    rules.check_label(label)
    rules.check_why(why)

    def about(session: Session) -> Trial | None:
        found = service.version_of(session, dataset, version)
        raised = Label.parse(label) > Label.parse(found.label)
        return service.trial_of(session, dataset, version, label=label) if raised else None

    def work(tx: Tx, broken: tuple[str, ...]) -> tuple[Relabelling | None, tuple[str, ...]]:
        found = _active(tx, dataset, version)
        if label == found.label:
            return None, ()
        open_one = tx.session.exec(
            select(Relabelling).where(
                Relabelling.dataset == dataset, Relabelling.version == version, Relabelling.state == "open"
            )
        ).first()
        raised = Label.parse(label) > Label.parse(found.label)
        if open_one is not None and not raised:
            raise rules.relabelling_open(dataset, version, open_one.proposed_by)
        change = Relabelling(
            id=secrets.token_hex(8),
            state="done" if raised else "open",
            dataset=dataset,
            version=version,
            before=found.label,
            after=label,
            why=why,
            proposed_by=actor,
            at=context.clock(),
        )
        if raised:
            if open_one is not None:
                open_one.state, open_one.decided_by, open_one.decided_at = "outdated", actor, context.clock()
                tx.session.add(open_one)
            _apply(tx, context, found, change, actor=actor, broken=broken)
        else:
            _record(tx, change, actor, "proposed")
        tx.session.add(change)
        return change, broken

    change, broken = tried(writer, context, about, work)
    if change is None or change.state == "done":
        _hand_over(context, dataset, version)
        context.policy.rebuild(writer)
    return {"state": "unchanged"} if change is None else relabelling_json(change) | {"broken_guards": list(broken)}


def decide_relabelling(
    writer: AuditWriter, context: Context, relabelling: str, *, approve: bool, user: str
) -> dict[str, Any]:
    """A second person agrees to a lower label, or does not. Raises Problem 403, 404, 409 (a guard forbids it, too)."""
    actor = f"user:{user}"

    def decidable(session: Session) -> Relabelling:
        change = session.get(Relabelling, relabelling)
        if change is None or change.state != "open":
            raise rules.unknown_relabelling()
        if approve and change.proposed_by == actor:
            raise rules.own_relabelling()
        return change

    def about(session: Session) -> Trial | None:
        change = decidable(session)
        return service.trial_of(session, change.dataset, change.version, label=change.after) if approve else None

    def work(tx: Tx, broken: tuple[str, ...]) -> Relabelling:
        change = decidable(tx.session)
        found = _active(tx, change.dataset, change.version)
        if broken:
            raise rules.guards_forbid(f"the label {change.after} on {found.dataset} version {found.version}", broken)
        change.state, change.decided_by, change.decided_at = "done" if approve else "refused", actor, context.clock()
        if approve:
            _apply(tx, context, found, change, actor=actor)
        else:
            _record(tx, change, actor, "refused")
        tx.session.add(change)
        return change

    change = tried(writer, context, about, work)
    if approve:
        _hand_over(context, change.dataset, change.version)
        context.policy.rebuild(writer)
    return relabelling_json(change)


def relabelling_json(change: Relabelling) -> dict[str, Any]:
    return {
        "id": change.id,
        "state": change.state,
        "dataset": change.dataset,
        "version": change.version,
        "before": change.before,
        "after": change.after,
        "why": change.why,
        "proposed_by": change.proposed_by,
        "at": iso(change.at),
        "decided_by": change.decided_by,
        "decided_at": iso_or_none(change.decided_at),
    }


def _active(tx: Tx, dataset: str, version: int) -> DatasetVersion:
    found = service.version_of(tx.session, dataset, version)
    if found.state != VersionState.ACTIVE:
        raise rules.wrong_state(dataset, version, found.state, "relabelled")
    return found


def _apply(
    tx: Tx,
    context: Context,
    found: DatasetVersion,
    change: Relabelling,
    *,
    actor: str,
    broken: tuple[str, ...] = (),
) -> None:
    """The new label, signed; who has read the version is raised with it, and never lowered.

    `broken`: guards that a higher label breaks, as sentences.
    """
    manifest = {**context.tickets.manifest_of(found.manifest_jws or ""), "label": change.after}
    found.label, found.manifest_jws = change.after, context.tickets.manifest(manifest)
    tx.session.add(found)
    tx.session.flush()
    entry = _record(tx, change, actor, "done", broken)
    if Label.parse(change.after) < Label.parse(change.before):
        return
    readers = tx.session.exec(
        select(Source, Workspace)
        .join(Workspace, col(Workspace.id) == col(Source.workspace))
        .where(Source.dataset == found.dataset, Source.version == found.version)
    ).all()
    for source, workspace in readers:
        if Label.parse(source.label) < Label.parse(change.after):
            source.label = change.after
            tx.session.add(source)
        if Label.parse(workspace.label) < Label.parse(change.after):
            before, workspace.label = workspace.label, change.after
            tx.session.add(workspace)
            tx.record(
                Entry(
                    action=Action.LABEL_RAISE,
                    actor=f"user:{workspace.user}",
                    project=workspace.project,
                    object=f"workspace:{workspace.user}/{workspace.project}",
                    label=change.after,
                    detail={"from": before, "to": change.after, "relabel": entry},
                )
            )


def _record(tx: Tx, change: Relabelling, actor: str, stage: str, broken: tuple[str, ...] = ()) -> int:
    return tx.record(
        Entry(
            action=Action.DATASET_RELABEL,
            actor=actor,
            object=f"{change.dataset}@{change.version}",
            label=change.after if stage == "done" else change.before,
            detail={
                "relabelling": change.id,
                "stage": stage,
                "before": change.before,
                "after": change.after,
                "why": change.why,
                "proposed_by": change.proposed_by,
                "broken_guards": tuple(told[:_TOLD] for told in broken),
            },
        )
    )


def _hand_over(context: Context, dataset: str, version: int) -> None:
    """The vault's copy of the signed manifest. Raises Problem: then nothing is read until it has it."""
    with context.reading() as session:
        jws = service.version_of(session, dataset, version).manifest_jws or ""
    try:
        context.vault.publish(dataset=dataset, version=version, jws=jws)
    except Problem as problem:
        raise Problem(
            problem.status,
            problem.slug,
            "The label is decided, but the vault does not have it yet",
            f"{dataset} version {version} cannot be read until the vault has the new signed manifest.",
            why=(problem.detail, *problem.why),
            next="Repeat this when the vault answers again: it then only hands the manifest over.",
        ) from problem
