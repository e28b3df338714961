"""Routes about tokens to be turned back: thin. There is none for notebook servers, so none for kernels."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from strongroom_hub.control.callers import Ctx, Writer
from strongroom_hub.control.session import Person
from strongroom_hub.reidentification import rules, service
from strongroom_hub.two_people import Verdict

public = APIRouter(prefix="/reidentifications")


class Wish(BaseModel):
    project: Annotated[str, Field(max_length=128)]
    dataset: Annotated[str, Field(max_length=128)]
    version: Annotated[int, Field(ge=1)] | None = None
    column: Annotated[str, Field(max_length=1024)]
    tokens: Annotated[list[str], Field(max_length=rules.MAX_TOKENS)]
    shown_to: rules.ShownTo = rules.ShownTo.ASKER
    why: Annotated[str, Field(max_length=rules.MAX_WHY)]


class Decision(BaseModel):
    verdict: Verdict
    comment: Annotated[str, Field(max_length=rules.MAX_WHY)] = ""


@public.get("")
def listed(context: Ctx, person: Person) -> dict[str, Any]:
    return {"reidentifications": service.listed(context, user=person.user)}


@public.post("", status_code=201)
def ask(body: Wish, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    return service.ask(writer, context, user=person.user, wish=service.Wish(**body.model_dump()))


@public.post("/{reidentification}/decision")
def decide(reidentification: str, body: Decision, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    return service.decide(writer, context, user=person.user, wanted=reidentification, **body.model_dump())


@public.post("/{reidentification}/values")
def values(reidentification: str, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    return service.show(writer, context, user=person.user, wanted=reidentification)
