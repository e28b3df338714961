"""Internal routes by which the operator fills the catalogue: thin."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, field_validator

from strongroom_hub.catalog import service
from strongroom_hub.catalog.schema import About
from strongroom_hub.control.callers import Ctx, Writer, require_operator

internal = APIRouter(prefix="/datasets", dependencies=[Depends(require_operator)])
Format = Literal["csv", "parquet", "arrow", "excel", "sas", "xport", "stata", "spss", "files"]


class NewDataset(About):
    name: str = Field(max_length=128)
    label: str
    format: Format = "csv"

    @field_validator("columns", mode="before")
    @classmethod
    def _one_form(cls, given: Any) -> Any:
        """The ways of describing columns become one: a list as in DATASET, `{name: text}` or `{name: {...}}`."""
        if given is None:
            return {}
        if isinstance(given, list) and all(isinstance(one, dict) for one in given):
            return {str(one.get("name", "")): {key: one[key] for key in one if key != "name"} for one in given}
        if isinstance(given, dict):
            return {name: {"description": told} if isinstance(told, str) else told for name, told in given.items()}
        return given

    def about(self) -> About:
        return About.model_validate(self.model_dump(exclude={"name", "label", "format"}))


class Manifest(BaseModel):
    manifest: dict[str, Any]


@internal.post("", status_code=201)
def draft(body: NewDataset, context: Ctx, writer: Writer) -> dict[str, Any]:
    new = service.NewDataset(name=body.name, label=body.label, file_format=body.format, about=body.about())
    version, ticket = service.draft(writer, context, new)
    return {"dataset": body.name, "version": version, "ticket": ticket}


@internal.post("/{namespace}/{name}/{version}/ticket")
def ticket(namespace: str, name: str, version: int, context: Ctx) -> dict[str, str]:
    return {"ticket": service.ticket(context, dataset=f"{namespace}/{name}", version=version)}


@internal.post("/{namespace}/{name}/{version}/publish")
def publish(  # noqa: PLR0917 - FastAPI passes them by name
    namespace: str, name: str, version: int, body: Manifest, context: Ctx, writer: Writer
) -> dict[str, str]:
    jws = service.sign_manifest(writer, context, dataset=f"{namespace}/{name}", version=version, manifest=body.manifest)
    return {"manifest_jws": jws}


@internal.post("/{namespace}/{name}/{version}/activate", status_code=204)
def activate(namespace: str, name: str, version: int, context: Ctx, writer: Writer) -> None:
    service.activate(writer, context, dataset=f"{namespace}/{name}", version=version)


@internal.get("")
def datasets(context: Ctx) -> dict[str, Any]:
    with context.reading() as session:
        return {"datasets": service.all_versions(session)}
