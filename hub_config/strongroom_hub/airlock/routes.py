"""Routes of the airlock: thin."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from strongroom_hub.airlock import rules, service
from strongroom_hub.airlock.previews import preview
from strongroom_hub.control.callers import Caller, Ctx, Writer
from strongroom_hub.control.session import Person

internal = APIRouter(prefix="/exports")
public = APIRouter(prefix="/exports")
Text = Annotated[str, Field(max_length=10_000)]


class NewFile(BaseModel):
    name: Annotated[str, Field(max_length=4096)]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class NewExport(BaseModel):
    justification: Text
    files: Annotated[list[NewFile], Field(max_length=1000)]
    cells: Annotated[list[int], Field(default_factory=list, max_length=rules.MAX_CELLS)]
    prepared: int | None = None


class Receipts(BaseModel):
    receipts: Annotated[list[str], Field(max_length=rules.MAX_FILES)]


class NewVote(BaseModel):
    verdict: rules.Verdict
    comment: Text = ""


@internal.post("", status_code=201)
def draft(body: NewExport, context: Ctx, writer: Writer, caller: Caller) -> dict[str, Any]:
    files = [rules.WantedFile(file.name, file.bytes, file.sha256) for file in body.files]
    return service.draft(
        writer,
        context,
        caller,
        justification=body.justification,
        files=files,
        cells=body.cells,
        prepared=body.prepared,
    )


@internal.get("")
def own_exports(context: Ctx, caller: Caller) -> dict[str, Any]:
    return {"exports": service.own_exports(context, caller)}


@internal.post("/{export}/submit")
def submit(export: str, body: Receipts, context: Ctx, writer: Writer, caller: Caller) -> dict[str, Any]:
    return service.submit(writer, context, caller, export_id=export, receipts=body.receipts)


@internal.post("/{export}/withdraw")
def withdraw(export: str, context: Ctx, writer: Writer, caller: Caller) -> dict[str, Any]:
    return service.withdraw(writer, context, caller, export)


@internal.post("/{export}/download")
def download(export: str, context: Ctx, writer: Writer, caller: Caller) -> dict[str, Any]:
    return service.download(writer, context, caller, export)


@public.get("")
def reviewable(context: Ctx, person: Person, state: Literal["open", "all"] = "open") -> dict[str, Any]:
    return {"exports": service.reviewable(context, user=person.user, only_open=state == "open")}


@public.get("/{export}")
def view(export: str, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    return service.view(writer, context, user=person.user, export_id=export)


@public.get("/{export}/files/{sha256}")
def file(export: str, sha256: str, context: Ctx, writer: Writer, person: Person) -> Response:
    found = service.content(writer, context, user=person.user, export_id=export, sha256=sha256)
    return Response(
        found.content,
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name, safe='')}",
            "Content-Security-Policy": "sandbox",
        },
    )


@public.get("/{export}/files/{sha256}/preview")
def file_preview(export: str, sha256: str, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    return preview(service.content(writer, context, user=person.user, export_id=export, sha256=sha256))


@public.post("/{export}/votes")
def vote(export: str, body: NewVote, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    return service.vote(writer, context, user=person.user, export_id=export, verdict=body.verdict, comment=body.comment)
