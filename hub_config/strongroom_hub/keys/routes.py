"""Routes about keys: orders of the operator; wishes to shred, and decisions on them, of people: thin."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from strongroom_hub.control.callers import Ctx, Writer, require_operator
from strongroom_hub.control.session import Person
from strongroom_hub.keys import rules, service
from strongroom_hub.keys.service import OPERATOR
from strongroom_hub.two_people import Verdict

internal = APIRouter(prefix="/keys", dependencies=[Depends(require_operator)])
public = APIRouter()


class Rekey(BaseModel):
    dataset: Annotated[str, Field(max_length=128)] | None = None
    version: Annotated[int, Field(ge=1)] | None = None


class Destroy(BaseModel):
    generation: Annotated[str, Field(min_length=1, max_length=128)]


class NewShred(BaseModel):
    dataset: Annotated[str, Field(max_length=128)]
    version: Annotated[int, Field(ge=1)]
    columns: Annotated[list[str], Field(max_length=4096)] | None = None
    why: Annotated[str, Field(max_length=rules.MAX_WHY)]


class ShredDecision(BaseModel):
    verdict: Verdict
    comment: Annotated[str, Field(max_length=rules.MAX_WHY)] = ""


@internal.get("")
def status(context: Ctx, writer: Writer) -> dict[str, Any]:
    return service.operate(writer, context, "status")


@internal.post("/rotate")
def rotate(context: Ctx, writer: Writer) -> dict[str, Any]:
    return service.operate(writer, context, "rotate")


@internal.post("/rekey")
def rekey(body: Rekey, context: Ctx, writer: Writer) -> dict[str, Any]:
    return service.operate(writer, context, "rekey", **body.model_dump())


@internal.post("/destroy")
def destroy(body: Destroy, context: Ctx, writer: Writer) -> dict[str, Any]:
    return service.operate(writer, context, "destroy", generation=body.generation)


@internal.get("/shreds")
def operators_shreds(context: Ctx) -> dict[str, Any]:
    return {"shreds": service.shreds(context, actor=OPERATOR)}


@internal.post("/shreds", status_code=201)
def operator_asks(body: NewShred, context: Ctx, writer: Writer) -> dict[str, Any]:
    return service.ask(writer, context, actor=OPERATOR, **body.model_dump())


@internal.post("/shreds/{shred_id}/decision")
def operator_decides(shred_id: str, body: ShredDecision, context: Ctx, writer: Writer) -> dict[str, Any]:
    return service.decide(writer, context, actor=OPERATOR, shred_id=shred_id, **body.model_dump())


@public.get("/shreds")
def shreds(context: Ctx, person: Person) -> dict[str, Any]:
    return {"shreds": service.shreds(context, actor=f"user:{person.user}")}


@public.post("/shreds", status_code=201)
def ask(body: NewShred, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    return service.ask(writer, context, actor=f"user:{person.user}", **body.model_dump())


@public.post("/shreds/{shred_id}/decision")
def decide(shred_id: str, body: ShredDecision, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    return service.decide(writer, context, actor=f"user:{person.user}", shred_id=shred_id, **body.model_dump())
