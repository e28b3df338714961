"""Routes by which a notebook server saves tables for its kernels: thin."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from strongroom_hub.control.callers import Caller, Ctx, Writer
from strongroom_hub.derived import rules, service

internal = APIRouter(prefix="/saves")
Name = Annotated[str, Field(max_length=200)]


class NewSave(BaseModel):
    kernel: Name
    cell: int | None = None
    dataset: Name
    title: Annotated[str, Field(max_length=rules.MAX_TITLE)] = ""
    description: Annotated[str, Field(max_length=rules.MAX_DESCRIPTION)] = ""
    columns: Annotated[
        dict[Name, Annotated[str, Field(max_length=rules.MAX_COLUMN_TEXT)]], Field(max_length=rules.MAX_COLUMNS)
    ] = Field(default_factory=dict)
    quiet: bool
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Receipt(BaseModel):
    receipt: str


@internal.post("", status_code=201)
def begin(body: NewSave, context: Ctx, writer: Writer, caller: Caller) -> dict[str, Any]:
    return service.begin(writer, context, caller, service.Save(**body.model_dump()))


@internal.post("/{namespace}/{name}/{version}/finish", status_code=204)
def finish(  # noqa: PLR0917 - FastAPI passes them by name
    namespace: str, name: str, version: int, body: Receipt, context: Ctx, writer: Writer, caller: Caller
) -> None:
    service.finish(writer, context, caller, dataset=f"{namespace}/{name}", version=version, receipt=body.receipt)
