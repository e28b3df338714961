"""The verbs of the airlock: draft, submit, withdraw, vote, release, and what reviewers look at."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select
from strongroom_policy.obligations import Obligations

from strongroom_hub.access.rules import not_permitted
from strongroom_hub.airlock import rules
from strongroom_hub.airlock.models import Export, ExportFile, Vote
from strongroom_hub.airlock.rules import ExportState, RuleSet, Step, Verdict, WantedFile
from strongroom_hub.audit import reader
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.writer import AuditWriter, Tx
from strongroom_hub.catalog.service import manifest_digest, version_columns
from strongroom_hub.control.callers import ServerCaller
from strongroom_hub.control.context import Context, settle
from strongroom_hub.control.policykeeper import Question
from strongroom_hub.control.tickets import Receipt, bad_receipt
from strongroom_hub.control.times import iso, iso_or_none
from strongroom_hub.problems import Problem
from strongroom_hub.projects.models import Cell, source_view
from strongroom_hub.projects.rules import via
from strongroom_hub.projects.service import check_cells, check_member, entry_of, sources_of, workspace_of

RELEASE_FORMAT = "strongroom-release/1"


# -- questions to the policy --------------------------------------------------------------------------------------


def _export_questions(session: Session, export: Export) -> list[Question]:
    """May the requester ask for it: about every column that the workspace had read, or about an empty workspace."""
    if not export.sources:
        return [
            Question(user=export.user, project=export.project, action="export", object="workspace", label=export.label)
        ]
    questions = []
    for source in export.sources:
        tags = version_columns(session, source["dataset"], source["version"])
        questions += [
            Question(
                user=export.user,
                project=export.project,
                action="export",
                object=f"{source['dataset']}#{column}",
                label=source["label"],
                tags=tuple(tags.get(column, ())),
            )
            for column in source["columns"]
        ]
    return questions


def _review_questions(export: Export, user: str) -> list[Question]:
    """May this person decide on it: on every dataset that the workspace had read."""
    if not export.sources:
        return [Question(user=user, action="approve-export", object="workspace", label=export.label)]
    return [
        Question(user=user, action="approve-export", object=source["dataset"], label=source["label"])
        for source in export.sources
    ]


def _check_may_export(session: Session, context: Context, export: Export) -> None:
    questions = _export_questions(session, export)
    for question, decision in zip(questions, context.policy.decide_all(questions), strict=True):
        if not decision.allowed:
            raise not_permitted("export what was made from", question.object, tuple(decision.why()))


def _check_may_review(context: Context, export: Export, user: str) -> None:
    questions = _review_questions(export, user)
    for question, decision in zip(questions, context.policy.decide_all(questions), strict=True):
        if not decision.allowed:
            raise not_permitted("review exports made from", question.object, tuple(decision.why()))


def may_review(context: Context, export: Export, user: str) -> bool:
    """On every dataset that the workspace had read."""
    return all(decision.allowed for decision in context.policy.decide_all(_review_questions(export, user)))


def _obligations(session: Session, context: Context, export: Export) -> Obligations:
    return context.policy.obligations(_export_questions(session, export))


# -- the requester's verbs ----------------------------------------------------------------------------------------


def draft(
    writer: AuditWriter,
    context: Context,
    caller: ServerCaller,
    *,
    justification: str,
    files: list[WantedFile],
    cells: list[int],
    prepared: int | None = None,
) -> dict[str, Any]:
    """A draft and one stage ticket per file. Label and sources are those of this moment: the hashes are given now.

    Raises Problem 403 (membership, policy) or 422.
    """
    rules.check_request(justification, files)

    def work(tx: Tx) -> tuple[Export, RuleSet]:
        check_member(tx.session, context, caller.user, caller.project)
        workspace = workspace_of(tx.session, caller)
        check_cells(tx.session, caller, cells if prepared is None else [*cells, prepared])
        export = Export(
            id=secrets.token_hex(8),
            state=ExportState.DRAFT,
            workspace=caller.workspace,
            user=caller.user,
            project=caller.project,
            label=workspace.label,
            justification=justification,
            sources=[
                source_view(
                    source,
                    caller.project,
                    manifest=manifest_digest(tx.session, source.dataset, source.version),
                )
                for source in sources_of(tx.session, caller.workspace)
            ],
            cells=cells,
            prepared=prepared,
            rule_set="",
            created_at=context.clock(),
        )
        _check_may_export(tx.session, context, export)
        rule_set = RuleSet(min_count=_obligations(tx.session, context, export).min_count.value)
        export.rule_set = rule_set.digest
        tx.session.add(export)
        tx.session.flush()
        tx.session.add_all(
            ExportFile(export=export.id, index=index, name=file.name, sha256=file.sha256, bytes=file.bytes, findings=[])
            for index, file in enumerate(files)
        )
        tx.record(
            entry_of(
                caller,
                Action.EXPORT_DRAFT,
                object=f"export:{export.id}",
                label=export.label,
                sources=_source_names(export),
                detail={
                    "files": [{"name": file.name, "sha256": file.sha256, "bytes": file.bytes} for file in files],
                    "cells": cells[:100],
                    "via": via(prepared),
                    "prepared": prepared,
                },
                payload=justification,
                payload_subject=caller.actor,
            )
        )
        return export, rule_set

    export, rule_set = writer.transact(work)
    tickets = [
        context.tickets.stage(
            export=export.id, index=index, name=file.name, sources=export.sources, rules=rule_set.as_json()
        )
        for index, file in enumerate(files)
    ]
    with context.reading() as session:
        return _export_json(session, context, export, viewer=caller.user, code=False) | {"tickets": tickets}


def submit(
    writer: AuditWriter, context: Context, caller: ServerCaller, *, export_id: str, receipts: list[str]
) -> dict[str, Any]:
    """Hand a draft in with the vault's receipts: exactly one per file, and about exactly those bytes.

    A blocking finding makes it `blocked`. Raises Problem 404, 409 or 422.
    """
    read = [context.receipts.read(token) for token in receipts]

    def work(tx: Tx) -> Export:
        export = _own(tx.session, caller, export_id)
        check_member(tx.session, context, caller.user, caller.project)
        files = _files(tx.session, export_id)
        _check_receipts(export, files, read)
        _check_may_export(tx.session, context, export)
        by_index = {receipt.index: receipt for receipt in read}
        for file in files:
            file.type, file.findings = by_index[file.index].type, by_index[file.index].findings
            tx.session.add(file)
        blocking = [
            f"{file.name}: {finding.get('text', '')}"
            for file in files
            for finding in file.findings
            if finding.get("severity") not in {"warn", "pass"}
        ]
        export.state = rules.next_state(ExportState(export.state), Step.BLOCK if blocking else Step.PASS)
        export.submitted_at = context.clock()
        tx.session.add(export)
        _record(tx, caller.actor, export, Action.EXPORT_SUBMIT, files=[file.sha256 for file in files])
        if blocking:
            _record(tx, "system:control", export, Action.EXPORT_BLOCK, findings=blocking[:20])
        return export

    export = writer.transact(work)
    with context.reading() as session:
        return _export_json(session, context, export, viewer=caller.user, code=False)


def _check_receipts(export: Export, files: list[ExportFile], receipts: list[Receipt]) -> None:
    if sorted(receipt.index for receipt in receipts) != [file.index for file in files]:
        raise bad_receipt("there is not exactly one receipt for each file")
    by_index = {receipt.index: receipt for receipt in receipts}
    for file in files:
        receipt = by_index[file.index]
        if (receipt.export, receipt.name, receipt.sha256, receipt.bytes) != (
            export.id,
            file.name,
            file.sha256,
            file.bytes,
        ):
            raise bad_receipt(f"the vault received another file than the draft names as number {file.index}")


def withdraw(writer: AuditWriter, context: Context, caller: ServerCaller, export_id: str) -> dict[str, Any]:
    """Raises Problem 404 for another's export, 409 when it is decided or released."""

    def work(tx: Tx) -> Export:
        export = _own(tx.session, caller, export_id)
        export.state = rules.next_state(ExportState(export.state), Step.WITHDRAW)
        tx.session.add(export)
        _record(tx, caller.actor, export, Action.EXPORT_WITHDRAW)
        return export

    export = writer.transact(work)
    with context.reading() as session:
        return _export_json(session, context, export, viewer=caller.user, code=False)


def own_exports(context: Context, caller: ServerCaller) -> list[dict[str, Any]]:
    with context.reading() as session:
        found = session.exec(
            select(Export)
            .where(Export.user == caller.user, Export.project == caller.project)
            .order_by(col(Export.created_at).desc())
        ).all()
        return [_export_json(session, context, export, viewer=caller.user, code=False) for export in found]


def download(writer: AuditWriter, context: Context, caller: ServerCaller, export_id: str) -> dict[str, Any]:
    """Release at the first download, when the approvals still hold; the same signed manifest at each further one.

    Approvals that no longer hold send the export back to review. Raises Problem 403, 404 or 409.
    """

    def work(tx: Tx) -> tuple[Export, list[ExportFile]] | Problem:
        export = _own(tx.session, caller, export_id)
        state = ExportState(export.state)
        if state not in rules.DOWNLOADABLE:
            raise rules.not_downloadable(state)
        files = _files(tx.session, export_id)
        if state is ExportState.APPROVED:
            problem = _release(tx, context, caller, export, files)
            if problem is not None:
                return problem
        _record(tx, caller.actor, export, Action.EXPORT_DOWNLOAD, files=[file.sha256 for file in files])
        return export, files

    export, files = settle(writer.transact(work))
    return {
        "manifest": export.manifest,
        "signature": export.signature,
        "proof": reader.proof(context.engine, json.loads(export.manifest or "{}")["entry"]).text(),
        "files": [
            {
                "name": file.name,
                "sha256": file.sha256,
                "ticket": context.tickets.fetch(export=export.id, sha256=file.sha256),
            }
            for file in files
        ],
    }


def _release(tx: Tx, context: Context, caller: ServerCaller, export: Export, files: list[ExportFile]) -> Problem | None:
    check_member(tx.session, context, caller.user, caller.project)
    _check_may_export(tx.session, context, export)
    approvals = _valid_approvals(tx.session, context, export)
    needed = _needed(tx.session, context, export)
    if len(approvals) < needed or export.rule_set != _rule_set_now(tx.session, context, export):
        export.state = rules.next_state(ExportState.APPROVED, Step.VOID)
        export.review += 1
        tx.session.add(export)
        _record(tx, "system:control", export, Action.EXPORT_VOID, approvals=len(approvals), needed=needed)
        return rules.approvals_void(len(approvals), needed)
    export.state = rules.next_state(ExportState.APPROVED, Step.RELEASE)
    export.released_at = context.clock()
    entry = _record(
        tx,
        caller.actor,
        export,
        Action.EXPORT_RELEASE,
        files=[{"name": file.name, "sha256": file.sha256, "bytes": file.bytes} for file in files],
        reviewers=approvals,
        policy=context.policy.digest,
    )
    export.manifest, export.signature = context.tickets.release(
        {
            "format": RELEASE_FORMAT,
            "export": export.id,
            "project": export.project,
            "requester": export.user,
            "label": export.label,
            "sources": list(_source_names(export)),
            "justification_sha256": hashlib.sha256(export.justification.encode()).hexdigest(),
            "files": [{"name": file.name, "sha256": file.sha256, "bytes": file.bytes} for file in files],
            "reviewers": approvals,
            "policy_version": context.policy.version,
            "entry": entry,
            "released_at": iso(export.released_at),
        }
    )
    tx.session.add(export)
    return None


# -- the reviewers' verbs -----------------------------------------------------------------------------------------


def vote(
    writer: AuditWriter, context: Context, *, user: str, export_id: str, verdict: Verdict, comment: str
) -> dict[str, Any]:
    """One vote on exactly these files under the policy in force. A rejection decides alone.

    Raises Problem 403 (own export, not permitted), 404 or 409 (decided, voted already, checks outdated).
    """

    def work(tx: Tx) -> Export:
        export = tx.session.get(Export, export_id)
        if export is None or ExportState(export.state) not in rules.REVIEWABLE:
            raise rules.unknown_export()
        rules.check_not_requester(export.user, user)
        _check_may_review(context, export, user)
        state = ExportState(export.state)
        rules.next_state(state, Step.APPROVE)  # only what is in review can be voted on
        rules.check_rule_set(export.rule_set, _rule_set_now(tx.session, context, export))
        bound = _binding(tx.session, context, export)
        _check_not_voted(tx.session, export_id, user, bound)
        entry = _record(tx, f"user:{user}", export, Action.EXPORT_VOTE, comment, verdict=verdict, binding=bound)
        tx.session.add(
            Vote(
                export=export_id,
                reviewer=user,
                verdict=verdict,
                comment=comment,
                binding=bound,
                at=context.clock(),
                entry=entry,
            )
        )
        tx.session.flush()
        approvals = _valid_approvals(tx.session, context, export)
        step = rules.step_for(verdict, len(approvals), _needed(tx.session, context, export))
        if step is not None:
            export.state = rules.next_state(state, step)
            tx.session.add(export)
            action = Action.EXPORT_APPROVE if step is Step.APPROVE else Action.EXPORT_REJECT
            _record(tx, f"user:{user}", export, action, reviewers=approvals, state=export.state)
        return export

    export = writer.transact(work)
    with context.reading() as session:
        return _export_json(session, context, export, viewer=user, code=True)


def _check_not_voted(session: Session, export_id: str, user: str, bound: str) -> None:
    earlier = session.exec(
        select(Vote).where(Vote.export == export_id, Vote.reviewer == user, Vote.binding == bound)
    ).first()
    if earlier is not None:
        raise Problem(
            409,
            "already-voted",
            "You have voted on this",
            f"You voted {earlier.verdict} at {iso(earlier.at)}; each reviewer votes once.",
            next="Another reviewer has to vote.",
        )


def _valid_approvals(session: Session, context: Context, export: Export) -> list[str]:
    """Reviewers whose approval is for these files under this policy, and who could still give it."""
    bound = _binding(session, context, export)
    votes = session.exec(
        select(Vote).where(Vote.export == export.id, Vote.verdict == Verdict.APPROVE, Vote.binding == bound)
    ).all()
    return sorted(
        {one.reviewer for one in votes if one.reviewer != export.user and may_review(context, export, one.reviewer)}
    )


def _binding(session: Session, context: Context, export: Export) -> str:
    files = [(file.index, file.name, file.sha256) for file in _files(session, export.id)]
    return rules.binding(files, context.policy.digest, export.rule_set, export.review)


def _needed(session: Session, context: Context, export: Export) -> int:
    return rules.reviewers_needed(_obligations(session, context, export).review.value, export.label)


def _rule_set_now(session: Session, context: Context, export: Export) -> str:
    return RuleSet(min_count=_obligations(session, context, export).min_count.value).digest


def reviewable(context: Context, *, user: str, only_open: bool) -> list[dict[str, Any]]:
    """Exports on which the user may decide, or could if they had not made them, newest first."""
    states = {ExportState.IN_REVIEW} if only_open else rules.REVIEWABLE
    query = select(Export).where(col(Export.state).in_(states)).order_by(col(Export.submitted_at).desc())
    with context.reading() as session:
        return [
            _export_json(session, context, export, viewer=user, code=False)
            for export in session.exec(query).all()
            if may_review(context, export, user)
        ]


def view(writer: AuditWriter, context: Context, *, user: str, export_id: str) -> dict[str, Any]:
    """An export with the code of its cells; looking at it is an entry. Raises Problem 404."""
    with context.reading() as session:
        export = _reviewed(session, context, export_id, user)
    _record_view(writer, user, export, None)
    with context.reading() as session:
        return _export_json(session, context, export, viewer=user, code=True)


@dataclass(frozen=True, slots=True)
class FileContent:
    name: str
    type: str
    content: bytes


def content(writer: AuditWriter, context: Context, *, user: str, export_id: str, sha256: str) -> FileContent:
    """A staged file for its reviewer; looking at it is an entry, made first.

    A requester who reviews exports too gets nothing here: that would be a release without anybody's approval. Nor does
    anybody get what is not, or not any more, up for review. Raises Problem 403, 404, 409 or 503.
    """
    with context.reading() as session:
        export = _reviewed(session, context, export_id, user)
        rules.check_not_requester(export.user, user)
        rules.check_shown(ExportState(export.state))
        file = next((one for one in _files(session, export_id) if one.sha256 == sha256), None)
    if file is None:
        raise rules.unknown_export()
    _record_view(writer, user, export, sha256)
    ticket = context.tickets.fetch(export=export_id, sha256=sha256)
    fetched = context.vault.fetch(export=export_id, sha256=sha256, ticket=ticket)
    return FileContent(file.name, file.type or "", fetched)


def _reviewed(session: Session, context: Context, export_id: str, user: str) -> Export:
    export = session.get(Export, export_id)
    if export is None or ExportState(export.state) not in rules.REVIEWABLE or not may_review(context, export, user):
        raise rules.unknown_export()
    return export


def _record_view(writer: AuditWriter, user: str, export: Export, sha256: str | None) -> None:
    writer.append(
        Entry(
            action=Action.EXPORT_VIEW,
            actor=f"user:{user}",
            project=export.project,
            object=f"export:{export.id}",
            label=export.label,
            sources=_source_names(export),
            detail={"file": sha256},
        )
    )


# -- shapes -------------------------------------------------------------------------------------------------------


def _record(tx: Tx, actor: str, export: Export, action: Action, text: str = "", **detail: Any) -> int:
    return tx.record(
        Entry(
            action=action,
            actor=actor,
            project=export.project,
            object=f"export:{export.id}",
            label=export.label,
            sources=_source_names(export),
            detail=detail,
            payload=text or None,
            payload_subject=actor if text else None,
        )
    )


def _own(session: Session, caller: ServerCaller, export_id: str) -> Export:
    export = session.get(Export, export_id)
    if export is None or export.workspace != caller.workspace:
        raise rules.unknown_export()
    return export


def _files(session: Session, export_id: str) -> list[ExportFile]:
    return list(
        session.exec(select(ExportFile).where(ExportFile.export == export_id).order_by(col(ExportFile.index))).all()
    )


def _source_names(export: Export) -> tuple[str, ...]:
    return tuple(f"{source['dataset']}@{source['version']}" for source in export.sources)


def _export_json(session: Session, context: Context, export: Export, *, viewer: str, code: bool) -> dict[str, Any]:
    state = ExportState(export.state)
    bound = _binding(session, context, export)
    votes = session.exec(select(Vote).where(Vote.export == export.id).order_by(col(Vote.at))).all()
    voted = any(one.reviewer == viewer and one.binding == bound for one in votes)
    own = viewer == export.user
    return {
        "id": export.id,
        "state": export.state,
        "user": export.user,
        "project": export.project,
        "label": export.label,
        "justification": export.justification,
        "prepared": export.prepared,
        "submitted_at": iso_or_none(export.submitted_at),
        "files": [
            {
                "index": file.index,
                "name": file.name,
                "sha256": file.sha256,
                "bytes": file.bytes,
                "type": file.type,
                "findings": list(file.findings),
            }
            for file in _files(session, export.id)
        ],
        "sources": [
            {"dataset": source["dataset"], "version": source["version"], "label": source["label"]}
            for source in export.sources
        ],
        "cells": list(_cells_json(session, context, export, code=code)),
        "votes": [
            {
                "reviewer": one.reviewer,
                "verdict": one.verdict,
                "comment": one.comment,
                "at": iso(one.at),
                "valid": one.binding == bound,
            }
            for one in votes
        ],
        "reviewers_needed": _needed(session, context, export),
        "turn": rules.TURN[state],
        "may": {
            "vote": state is ExportState.IN_REVIEW and not own and not voted and may_review(context, export, viewer),
            "withdraw": own and rules.can_step(state, Step.WITHDRAW),
            "download": own and state in rules.DOWNLOADABLE,
        },
        "released_at": iso_or_none(export.released_at),
    }


def _cells_json(session: Session, context: Context, export: Export, *, code: bool) -> Iterable[dict[str, Any]]:
    cells = session.exec(select(Cell).where(col(Cell.entry).in_(export.cells)).order_by(col(Cell.entry))).all()
    for cell in cells:
        told: dict[str, Any] = {"entry": cell.entry, "time": iso(cell.began), "notebook": cell.notebook}
        if code:
            told["code"] = _code(context, cell.entry)
        yield told


def _code(context: Context, entry: int) -> str | None:
    """None where the text was erased on a person's demand; the entry still stands."""
    try:
        return reader.payload(context.engine, context.log_keys, entry)
    except reader.PayloadUnreadableError:
        return None
