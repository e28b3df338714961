"""From a file that the vault has taken in to a version that people see: report, steward's decision, release."""

from __future__ import annotations

from typing import Any

from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.catalog import findings, rules, service
from strongroom_hub.catalog.models import DatasetVersion, VersionState
from strongroom_hub.control.context import Context
from strongroom_hub.control.times import iso


def load(writer: AuditWriter, context: Context, *, dataset: str, version: int, receipt: str) -> dict[str, Any]:
    """Take down what the vault found in a draft: `{"state","undecided","proposals"}`. Raises Problem 404, 409 or 422.

    Where nothing is left to decide (no sign of anything, or metadata that has said it all), the draft is ready.
    """
    taken = context.receipts.read_taken(receipt, dataset=dataset, version=version)

    def work(tx: Tx) -> dict[str, Any]:
        found = service.version_of(tx.session, dataset, version)
        rules.check_transition(dataset, version, VersionState(found.state), VersionState.LOADED)
        described = dict(found.described)
        if taken.report is not None:
            described = findings.with_told(described, taken.report)
        rules.check_manifest(
            taken.manifest, dataset=dataset, version=version, label=found.label, described=described["columns"]
        )
        found.described = described
        found.state, found.manifest, found.report = VersionState.LOADED, taken.manifest, taken.report
        tx.session.add(found)
        still = findings.undecided(taken.report, described)
        tx.record(
            Entry(
                action=Action.DATASET_LOAD,
                actor="operator",
                object=f"{dataset}@{version}",
                label=found.label,
                detail={
                    "rows": taken.manifest.get("rows", 0),
                    "undecided": tuple(still),
                    "label_proposed": taken.report["proposals"]["label"]["label"] if taken.report else found.label,
                },
            )
        )
        return waiting(found)

    return writer.transact(work)


def waiting(found: DatasetVersion) -> dict[str, Any]:
    """What is still to be decided about a version."""
    return {
        "state": found.state,
        "undecided": findings.undecided(found.report, found.described) if found.state == VersionState.LOADED else [],
        "raises_label": found.state == VersionState.LOADED and findings.raises_label(found.report, found.label),
        "proposals": found.report["proposals"] if found.report else None,
        "quality": found.report["quality"] if found.report else [],
        "notes": found.report["notes"] if found.report else [],
    }


def decide(  # noqa: PLR0917 - the decision and what it is about
    writer: AuditWriter, context: Context, dataset: str, version: int, decision: findings.Decision | None, actor: str
) -> str:
    """Settle tags and label of a loaded draft and sign its manifest: the JWS. `decision` None: all as proposed.

    Raises Problem 404, 409, or 422 where something is left open.
    """

    def work(tx: Tx) -> tuple[dict[str, Any], str]:
        found = service.version_of(tx.session, dataset, version)
        if found.state != VersionState.LOADED or found.manifest is None:
            raise rules.wrong_state(dataset, version, found.state, "decided on")
        answer = decision
        if answer is None:
            answer = (
                findings.accept_all(found.report, found.described, found.label) if found.report else findings.Decision()
            )
        label = answer.label or found.label
        rules.check_label(label)
        tags = findings.decided_tags(found.report, found.described, answer) if found.report else {}
        for name, (_, given) in tags.items():
            service.check_tags(context, name, given)
        drafted, found.label = found.label, label
        found.described = findings.with_tags(found.described, tags)
        verdicts = {verdict: tuple(n for n, (v, _) in tags.items() if v == verdict) for verdict in _VERDICTS}
        found.decided = {"by": actor, "at": iso(context.clock()), "comment": answer.comment, **verdicts}
        tx.session.add(found)
        tx.record(
            Entry(
                action=Action.DATASET_DECIDE,
                actor=actor,
                object=f"{dataset}@{version}",
                label=label,
                detail={
                    **verdicts,
                    "tags": {name: tuple(given) for name, (verdict, given) in tags.items() if verdict == "change"},
                    "drafted": drafted,
                    "proposed": found.report["proposals"]["label"]["label"] if found.report else drafted,
                },
                payload=answer.comment or None,
                payload_subject=actor if answer.comment else None,
            )
        )
        return {**found.manifest, "label": label}, label

    manifest, _ = writer.transact(work)
    return service.sign_manifest(writer, context, dataset=dataset, version=version, manifest=manifest, actor=actor)


_VERDICTS = ("accept", "change", "refuse")


def release(writer: AuditWriter, context: Context, dataset: str, version: int, actor: str) -> None:
    """Hand the signed manifest to the vault and make the version visible. Raises Problem; it can be tried again."""
    with context.reading() as session:
        found = service.version_of(session, dataset, version)
        rules.check_transition(dataset, version, VersionState(found.state), VersionState.ACTIVE)
        jws = found.manifest_jws or ""
    context.vault.publish(dataset=dataset, version=version, jws=jws)
    service.activate(writer, context, dataset=dataset, version=version, actor=actor)
