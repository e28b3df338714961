"""Routes of the audit log: who may see what of it, and that seeing it is itself recorded."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from strongroom_hub.audit import erasure, origins, reader, rules, timelines
from strongroom_hub.audit.ends import with_ends
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.reach import Reach, operators_reach, own_reach, reach_of
from strongroom_hub.audit.replay import Notebook, replayed
from strongroom_hub.audit.search import Asked, find
from strongroom_hub.audit.texts import text_of
from strongroom_hub.audit.timelines import Book, Part, Timeline
from strongroom_hub.audit.tree import leaf_hash
from strongroom_hub.audit.writer import AuditWriter
from strongroom_hub.control.callers import Caller, Ctx, ServerCaller, Writer, require_operator
from strongroom_hub.control.context import Context
from strongroom_hub.control.session import Person
from strongroom_hub.control.times import iso, parse
from strongroom_hub.problems import Problem
from strongroom_hub.two_people import Verdict

internal = APIRouter()
public = APIRouter(prefix="/audit")

Limit = Annotated[int, Query(ge=1, le=1000)]
Word = Annotated[str | None, Query(max_length=200)]
Index = Annotated[int | None, Query(ge=0)]
Few = Annotated[int, Query(ge=1, le=200)]
Path = Annotated[str, Query(min_length=1, max_length=1024)]


def _page(context: Context, reach: Reach, asked: Asked) -> dict[str, Any]:
    found = find(context, asked, told=reach.told)
    return found | {"entries": with_ends(context, found["entries"]), "size": reader.size(context.engine)}


def _record_reading(writer: AuditWriter, actor: str, detail: dict[str, Any], text: str | None = None) -> None:
    writer.append(Entry(action=Action.LOG_READ, actor=actor, object="log", detail=detail, payload=text or None))


@internal.get("/audit")
def own_entries(context: Ctx, writer: Writer, caller: Caller, limit: Limit = 100) -> dict[str, Any]:
    _record_reading(writer, caller.actor, {"own": True, "limit": limit})
    asked = Asked({"actor": caller.actor, "project": caller.project}, None, None, limit)
    return _page(context, own_reach(context, caller.actor), asked)


@internal.get("/audit/timelines/notebook")
def own_notebook(  # noqa: PLR0917 - FastAPI passes them by name
    context: Ctx, writer: Writer, caller: Caller, notebook: Path, before: Index = None, limit: Few = 50
) -> dict[str, Any]:
    _record_reading(writer, caller.actor, {"own": True, "timeline": "notebook", "of": notebook, "before": before})
    book = Book(notebook, caller.user, caller.project)
    return timelines.of_notebook(context, own_reach(context, caller.actor), book, Part(before, limit))


@internal.get("/audit/timelines/export/{export}")
def own_export(export: str, context: Ctx, writer: Writer, caller: Caller) -> dict[str, Any]:
    _record_reading(writer, caller.actor, {"own": True, "timeline": "export", "of": export})
    return origins.of_export(context, own_reach(context, caller.actor), export, workspace=caller.workspace)


@internal.get("/audit/entries/{index}")
def own_run(
    index: int, context: Ctx, writer: Writer, caller: Caller, since: Annotated[int | None, Query(ge=1)] = None
) -> dict[str, Any]:
    """Proof, for whoever ran it, that a cell is in the log, and that the log goes on from the one of `since` entries.

    Of begins alone: they were written before the code ran. An end holds what was withheld, to the byte.
    """
    proven = reader.entry(context.engine, index)
    if proven is None or not _is_run_of(caller, proven.fields):
        raise Problem(
            404,
            "unknown-entry",
            "The log does not show this run",
            f"It has no entry {index} of a cell that {caller.user} ran in the project {caller.project}.",
            next="If this server told you that number, tell your auditor: an entry that was acknowledged is gone.",
        )
    _record_reading(writer, caller.actor, {"own": True, "entry": index})
    return {"proof": proven.proof(), "consistency": _extension(context, index, since, proven.size)}


def _extension(context: Context, index: int, since: int | None, size: int) -> list[str]:
    """Nothing where the log is shorter than it was: then there is no proof, and the two sizes say so."""
    if since is None or since > size:
        return []
    try:
        return [base64.b64encode(node).decode() for node in reader.consistency(context.engine, since, size)]
    except ValueError as error:
        raise reader.AlteredEntryError(index, str(error)) from error


def _is_run_of(caller: ServerCaller, entry: dict[str, Any]) -> bool:
    return (entry["action"], entry["actor"], entry["project"]) == (Action.CELL_BEGIN, caller.actor, caller.project)


@internal.get("/audit/replay", dependencies=[Depends(require_operator)])
def replay(  # noqa: PLR0917 - FastAPI passes them by name
    context: Ctx,
    writer: Writer,
    notebook: Path,
    user: Word = None,
    project: Word = None,
    before: Index = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    asked = Notebook(name=notebook, user=user, project=project)
    return replayed(writer, context, asked, before=before, limit=limit)


@internal.get("/audit/timeline", dependencies=[Depends(require_operator)])
def timeline(  # noqa: PLR0917 - FastAPI passes them by name
    context: Ctx,
    writer: Writer,
    kind: Timeline,
    of: Path,
    user: Word = None,
    project: Word = None,
    before: Index = None,
    limit: Few = 50,
) -> dict[str, Any]:
    asked = {"timeline": kind.value, "of": of, "user": user, "project": project, "before": before}
    _record_reading(writer, "operator", asked)
    reach, part = operators_reach(context), Part(before, limit)
    match kind:
        case Timeline.PERSON:
            return timelines.of_person(context, reach, of, part)
        case Timeline.DATASET:
            return timelines.of_dataset(context, reach, of, part)
        case Timeline.NOTEBOOK:
            return timelines.of_notebook(context, reach, Book(of, user, project), part)
        case Timeline.EXPORT:
            return origins.of_export(context, reach, of)


@public.get("/entries")
def entries(  # noqa: PLR0917 - FastAPI passes them by name
    context: Ctx,
    writer: Writer,
    person: Person,
    actor: Word = None,
    action: Word = None,
    object: Word = None,  # noqa: A002 - the wire's name
    project: Word = None,
    label: Word = None,
    since: Word = None,
    until: Word = None,
    text: Word = None,
    before: Index = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    reach = reach_of(context, person.user)
    filters = {"actor": actor, "action": action, "object": object, "project": project, "label": label}
    filters |= {"since": _time(since, reach), "until": _time(until, reach)}
    given: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    # What somebody searched for in others' texts is itself what they typed: kept as one.
    _record_reading(writer, person.actor, {**given, "before": before, "limit": limit}, text)
    if not reach.everything and (text or not reach.datasets):
        filters["actor"] = _own(reach, actor)
    return _page(context, reach, Asked(filters, text, before, limit))


def _own(reach: Reach, actor: str | None) -> str:
    """Who sees their own entries alone asks for those; for others' they get none."""
    return reach.actor if actor in {None, reach.actor} else ""


def _time(given: str | None, reach: Reach) -> str | None:
    """As the log writes times; to the second for who is told own times to the second. Raises Problem 422."""
    try:
        if given is None:
            return None
        time = parse(given)
        return iso(time if reach.everything else time.replace(microsecond=0))
    except ValueError:
        raise Problem(
            422,
            "no-time",
            "This is not a time",
            "Times are written like 2026-11-21 or 2026-11-21T05:00:00Z.",
            next="Write the time so and ask again.",
        ) from None


@public.get("/entries/{index}")
def entry(index: int, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    reach = reach_of(context, person.user)
    proven = reader.entry(context.engine, index)
    told = None if proven is None else reach.told(proven.fields)
    if proven is None or told is None:
        raise Problem(
            404,
            "unknown-entry",
            "No such entry for you",
            f"The log has no entry {index} that you may see.",
            next="The list shows the entries that you may see.",
        )
    _record_reading(writer, person.actor, {"entry": index})
    return {
        **with_ends(context, [told])[0],
        "payload_reference": told.get("payload"),
        **text_of(context, proven.fields, may_read=reach.reads_payload(proven.fields)),
        "proof": _proof(proven, narrowed="narrowed" in told),
    }


def _proof(proven: reader.ProvenEntry, *, narrowed: bool) -> dict[str, Any]:
    """With the hash in place of the bytes where those say more than is told: it proves the same."""
    proof = proven.proof()
    if narrowed:
        del proof["leaf"]
        proof["leaf_hash"] = base64.b64encode(leaf_hash(proven.leaf)).decode()
    return proof


# -- timelines ----------------------------------------------------------------------------------------------------


@public.get("/timelines/person/{user}")
def person_timeline(  # noqa: PLR0917 - FastAPI passes them by name
    user: str, context: Ctx, writer: Writer, person: Person, before: Index = None, limit: Few = 50
) -> dict[str, Any]:
    _record_reading(writer, person.actor, {"timeline": "person", "of": user, "before": before})
    return timelines.of_person(context, reach_of(context, person.user), user, Part(before, limit))


@public.get("/timelines/dataset/{namespace}/{name}")
def dataset_timeline(  # noqa: PLR0917 - FastAPI passes them by name
    namespace: str, name: str, context: Ctx, writer: Writer, person: Person, before: Index = None, limit: Few = 50
) -> dict[str, Any]:
    dataset = f"{namespace}/{name}"
    _record_reading(writer, person.actor, {"timeline": "dataset", "of": dataset, "before": before})
    return timelines.of_dataset(context, reach_of(context, person.user), dataset, Part(before, limit))


@public.get("/timelines/notebook")
def notebook_timeline(  # noqa: PLR0917 - FastAPI passes them by name
    context: Ctx,
    writer: Writer,
    person: Person,
    notebook: Path,
    user: Word = None,
    project: Word = None,
    before: Index = None,
    limit: Few = 50,
) -> dict[str, Any]:
    asked = {"timeline": "notebook", "of": notebook, "user": user, "project": project, "before": before}
    _record_reading(writer, person.actor, asked)
    book = Book(notebook, user, project)
    return timelines.of_notebook(context, reach_of(context, person.user), book, Part(before, limit))


@public.get("/timelines/export/{export}")
def export_timeline(export: str, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    _record_reading(writer, person.actor, {"timeline": "export", "of": export})
    return origins.of_export(context, reach_of(context, person.user), export)


@public.get("/checkpoint", response_class=PlainTextResponse)
def checkpoint(context: Ctx, _: Person) -> str:
    return reader.checkpoint(context.engine)


# -- erasure ------------------------------------------------------------------------------------------------------


class NewErasure(BaseModel):
    person: Annotated[str, Field(pattern="^user:.+$", max_length=80)]
    why: Annotated[str, Field(max_length=rules.MAX_WHY)]


class ErasureDecision(BaseModel):
    verdict: Verdict
    comment: Annotated[str, Field(max_length=rules.MAX_WHY)] = ""


@public.get("/erasures")
def erasures(context: Ctx, person: Person) -> dict[str, Any]:
    return {"setting": context.instance.audit.erasure, "erasures": erasure.erasures(context, user=person.user)}


@public.post("/erasures", status_code=201)
def ask_for_erasure(body: NewErasure, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    return erasure.ask(writer, context, user=person.user, person=body.person, why=body.why)


@public.post("/erasures/{erasure_id}/decision")
def decide_on_erasure(
    erasure_id: str, body: ErasureDecision, context: Ctx, writer: Writer, person: Person
) -> dict[str, Any]:
    decided = erasure.decide(
        writer, context, user=person.user, erasure_id=erasure_id, verdict=body.verdict, comment=body.comment
    )
    erasure.clear_up(writer, context)
    return decided
