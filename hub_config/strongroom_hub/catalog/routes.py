"""Routes by which the operator fills the catalogue and stewards look after it: thin."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, field_validator

from strongroom_hub.catalog import changes, decisions, pages, service
from strongroom_hub.catalog.findings import Decision
from strongroom_hub.catalog.schema import About
from strongroom_hub.control.callers import Ctx, Writer, require_operator
from strongroom_hub.control.session import Person

internal = APIRouter(prefix="/datasets", dependencies=[Depends(require_operator)])
public = APIRouter()
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


class Receipt(BaseModel):
    receipt: str


class OperatorDecision(BaseModel):
    decision: Decision | None = None
    """None: all as the vault proposes."""


class Twin(BaseModel):
    allowed: bool


class Why(BaseModel):
    why: str = Field(max_length=2000)


class NewLabel(Why):
    label: str


class RelabelDecision(BaseModel):
    verdict: Literal["approve", "refuse"]


@internal.post("", status_code=201)
def draft(body: NewDataset, context: Ctx, writer: Writer) -> dict[str, Any]:
    new = service.NewDataset(name=body.name, label=body.label, file_format=body.format, about=body.about())
    version, ticket = service.draft(writer, context, new)
    return {"dataset": body.name, "version": version, "ticket": ticket}


@internal.post("/{namespace}/{name}/{version}/ticket")
def ticket(namespace: str, name: str, version: int, context: Ctx) -> dict[str, str]:
    return {"ticket": service.ticket(context, dataset=f"{namespace}/{name}", version=version)}


@internal.get("")
def datasets(context: Ctx) -> dict[str, Any]:
    with context.reading() as session:
        return {"datasets": service.all_versions(session)}


@internal.post("/{namespace}/{name}/{version}/loaded")
def loaded(  # noqa: PLR0917 - FastAPI passes them by name
    namespace: str, name: str, version: int, body: Receipt, context: Ctx, writer: Writer
) -> dict[str, Any]:
    return decisions.load(writer, context, dataset=f"{namespace}/{name}", version=version, receipt=body.receipt)


@internal.post("/{namespace}/{name}/{version}/decision", status_code=204)
def operator_decides(  # noqa: PLR0917
    namespace: str, name: str, version: int, body: OperatorDecision, context: Ctx, writer: Writer
) -> None:
    dataset = f"{namespace}/{name}"
    decisions.decide(writer, context, dataset, version, body.decision, "operator")
    decisions.release(writer, context, dataset, version, "operator")


@internal.post("/{namespace}/{name}/{version}/release", status_code=204)
def operator_releases(namespace: str, name: str, version: int, context: Ctx, writer: Writer) -> None:
    decisions.release(writer, context, f"{namespace}/{name}", version, "operator")


@internal.post("/{namespace}/{name}/{version}/retire", status_code=204)
def operator_retires(  # noqa: PLR0917
    namespace: str, name: str, version: int, body: Why, context: Ctx, writer: Writer
) -> None:
    changes.retire(writer, context, f"{namespace}/{name}", version, why=body.why, actor="operator")


@internal.put("/{namespace}/{name}/synthetic", status_code=204)
def allow_twin(namespace: str, name: str, body: Twin, writer: Writer) -> None:
    changes.allow_twin(writer, f"{namespace}/{name}", allowed=body.allowed, actor="operator")


@internal.post("/{namespace}/{name}/{version}/relabel")
def operator_relabels(  # noqa: PLR0917
    namespace: str, name: str, version: int, body: NewLabel, context: Ctx, writer: Writer
) -> dict[str, Any]:
    return changes.relabel(
        writer, context, f"{namespace}/{name}", version, label=body.label, why=body.why, actor="operator"
    )


@internal.get("/{namespace}/{name}")
def operator_page(namespace: str, name: str, context: Ctx) -> dict[str, Any]:
    return pages.page(context, f"{namespace}/{name}", None)


@internal.get("/{namespace}/{name}/diff")
def operator_diff(namespace: str, name: str, context: Ctx, before: int, after: int | None = None) -> dict[str, Any]:
    return pages.difference(context, f"{namespace}/{name}", before, after, None)


@internal.get("/{namespace}/{name}/{version}")
def operator_version(namespace: str, name: str, version: str, context: Ctx) -> dict[str, Any]:
    return pages.version(context, f"{namespace}/{name}", pages.latest_or(version), None)


# -- people in the console ------------------------------------------------------------------------------------------


@public.get("/drafts")
def drafts(context: Ctx, person: Person) -> dict[str, Any]:
    return {"drafts": pages.drafts(context, person.user)}


@public.get("/datasets/{namespace}/{name}")
def page(namespace: str, name: str, context: Ctx, person: Person) -> dict[str, Any]:
    return pages.page(context, f"{namespace}/{name}", person.user)


@public.get("/datasets/{namespace}/{name}/diff")
def diff(  # noqa: PLR0917
    namespace: str, name: str, context: Ctx, person: Person, before: int, after: int | None = None
) -> dict[str, Any]:
    return pages.difference(context, f"{namespace}/{name}", before, after, person.user)


@public.get("/datasets/{namespace}/{name}/{version}")
def one_version(namespace: str, name: str, version: str, context: Ctx, person: Person) -> dict[str, Any]:
    return pages.version(context, f"{namespace}/{name}", pages.latest_or(version), person.user)


@public.post("/datasets/{namespace}/{name}/{version}/decision")
def decide(  # noqa: PLR0917
    namespace: str, name: str, version: int, body: Decision, context: Ctx, writer: Writer, person: Person
) -> dict[str, Any]:
    dataset = f"{namespace}/{name}"
    pages.check_steward(context, person.user, dataset, version)
    decisions.decide(writer, context, dataset, version, body, f"user:{person.user}")
    decisions.release(writer, context, dataset, version, f"user:{person.user}")
    return pages.version(context, dataset, version, None)


@public.post("/datasets/{namespace}/{name}/{version}/release")
def release(  # noqa: PLR0917
    namespace: str, name: str, version: int, context: Ctx, writer: Writer, person: Person
) -> dict[str, Any]:
    dataset = f"{namespace}/{name}"
    pages.check_steward(context, person.user, dataset, version)
    decisions.release(writer, context, dataset, version, f"user:{person.user}")
    return pages.version(context, dataset, version, None)


@public.put("/datasets/{namespace}/{name}/synthetic")
def allow_twin_as_steward(  # noqa: PLR0917
    namespace: str, name: str, body: Twin, context: Ctx, writer: Writer, person: Person
) -> dict[str, Any]:
    dataset = f"{namespace}/{name}"
    pages.check_steward_of_newest(context, person.user, dataset)
    changes.allow_twin(writer, dataset, allowed=body.allowed, actor=f"user:{person.user}")
    return pages.page(context, dataset, person.user)


@public.post("/datasets/{namespace}/{name}/{version}/retire")
def retire(  # noqa: PLR0917
    namespace: str, name: str, version: int, body: Why, context: Ctx, writer: Writer, person: Person
) -> dict[str, Any]:
    dataset = f"{namespace}/{name}"
    pages.check_steward(context, person.user, dataset, version)
    changes.retire(writer, context, dataset, version, why=body.why, actor=f"user:{person.user}")
    return pages.page(context, dataset, person.user)


@public.post("/datasets/{namespace}/{name}/{version}/relabel")
def relabel(  # noqa: PLR0917
    namespace: str, name: str, version: int, body: NewLabel, context: Ctx, writer: Writer, person: Person
) -> dict[str, Any]:
    dataset = f"{namespace}/{name}"
    pages.check_steward(context, person.user, dataset, version)
    return changes.relabel(
        writer, context, dataset, version, label=body.label, why=body.why, actor=f"user:{person.user}"
    )


@public.post("/relabellings/{relabelling}/decision")
def decide_relabelling(
    relabelling: str, body: RelabelDecision, context: Ctx, writer: Writer, person: Person
) -> dict[str, Any]:
    pages.stewards_of_relabelling(context, person.user, relabelling)
    return changes.decide_relabelling(writer, context, relabelling, approve=body.verdict == "approve", user=person.user)
