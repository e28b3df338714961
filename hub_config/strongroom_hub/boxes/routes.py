"""Routes of violations and machine checks: thin."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, BaseModel, Field

from strongroom_hub.boxes import rules, service
from strongroom_hub.control.callers import Caller, Ctx, Writer, require_hub
from strongroom_hub.control.permissions import check_may_look_after
from strongroom_hub.control.session import Person
from strongroom_hub.machine.check import Check as Found
from strongroom_hub.machine.check import State

internal = APIRouter()
public = APIRouter()
Name = Annotated[str, Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(max_length=1000)]
Count = Annotated[int, Field(ge=0, le=1 << 40)]


class NewViolation(BaseModel):
    kernel: Name
    kind: rules.Kind
    counts: Annotated[dict[Name, Count], Field(max_length=200)]
    text: Text = ""


class Check(BaseModel):
    name: Name
    state: State
    text: Text
    next: Text = ""


def _names_differ(checks: list[Check]) -> list[Check]:
    if len({check.name for check in checks}) != len(checks):
        raise ValueError("two checks have one name")
    return checks


class Machine(BaseModel):
    checks: Annotated[list[Check], Field(max_length=200), AfterValidator(_names_differ)]


@internal.post("/violations", status_code=201)
def report(body: NewViolation, context: Ctx, writer: Writer, caller: Caller) -> dict[str, int]:
    told = service.Report(body.kernel, body.kind, body.counts, body.text)
    return {"entry": service.report(writer, context, caller, told)}


@internal.post("/machine", status_code=204, dependencies=[Depends(require_hub)])
def machine(body: Machine, writer: Writer) -> None:
    checks = [Found(one.name, one.state, one.text, one.next) for one in body.checks]
    service.record_machine(writer, checks)


@public.get("/violations")
def violations(context: Ctx, person: Person, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
    check_may_look_after(context, person.user, "the violations")
    return {"violations": service.violations(context, limit=limit)}
