"""Internal routes by which the operator fills the catalogue: thin."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from strongroom_hub.catalog import service
from strongroom_hub.control.callers import Ctx, Writer, require_operator

internal = APIRouter(prefix="/datasets", dependencies=[Depends(require_operator)])


class ColumnText(BaseModel):
    description: str = Field(default="", max_length=2000)
    tags: list[str] = Field(default_factory=list, max_length=20)


class NewDataset(BaseModel):
    name: str = Field(max_length=128)
    title: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=10_000)
    label: str
    owner: str = Field(min_length=1, max_length=64)
    stewards: list[str] = Field(max_length=20)
    source: str = Field(default="", max_length=2000)
    licence: str = Field(default="", max_length=200)
    columns: dict[str, ColumnText | str] | list[dict[str, Any]] | None = None
    format: Literal["csv", "parquet", "arrow"] = "csv"


class Manifest(BaseModel):
    manifest: dict[str, Any]


@internal.post("", status_code=201)
def draft(body: NewDataset, context: Ctx, writer: Writer) -> dict[str, Any]:
    new = service.NewDataset(
        name=body.name,
        title=body.title,
        description=body.description,
        label=body.label,
        owner=body.owner,
        stewards=body.stewards,
        source=body.source,
        licence=body.licence,
        columns=_column_texts(body.columns),
        file_format=body.format,
    )
    version, ticket = service.draft(writer, context, new)
    return {"dataset": body.name, "version": version, "ticket": ticket}


def _column_texts(given: dict[str, ColumnText | str] | list[dict[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """One form for the ways of describing columns: a list as in DATASET, `{name: text}` or `{name: {...}}`."""
    if given is None:
        return {}
    if isinstance(given, list):
        return {str(one.get("name", "")): ColumnText.model_validate(one).model_dump() for one in given}
    return {
        name: (ColumnText(description=told) if isinstance(told, str) else told).model_dump()
        for name, told in given.items()
    }


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
