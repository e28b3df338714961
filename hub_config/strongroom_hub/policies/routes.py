"""Routes of policies: thin. The operator's command line is one person, whoever types; people come by the console."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from strongroom_hub.control.callers import Ctx, Writer, require_operator
from strongroom_hub.control.permissions import check_may_look_after
from strongroom_hub.control.session import Person
from strongroom_hub.policies import rules, service
from strongroom_hub.two_people import Verdict

internal = APIRouter(prefix="/policy", dependencies=[Depends(require_operator)])
public = APIRouter(prefix="/policy")
LOOK = "the policy files"
Text = Annotated[str, Field(max_length=rules.MAX_WHY)]
Name = Annotated[str, Field(min_length=1, max_length=300)]
Word = Annotated[str, Query(min_length=1, max_length=300)]
Maybe = Annotated[str | None, Query(min_length=1, max_length=300)]
Version = Annotated[int | None, Query(ge=1)]
Months = Annotated[int, Query(ge=1, le=1200)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class NewProposal(BaseModel):
    why: Text


class NewDecision(BaseModel):
    verdict: Verdict
    digest: Digest
    comment: Text = ""


class Back(BaseModel):
    number: Annotated[int, Field(ge=1)]
    why: Text


class File(BaseModel):
    name: Name
    text: str


class Replay(BaseModel):
    """Without `files`: those in the policy folder."""

    files: Annotated[list[File] | None, Field(max_length=1000)] = None
    last: Annotated[int, Field(ge=1, le=2000)] = 100


# -- the operator's command line --------------------------------------------------------------------------------------


@internal.post("/reload")
def reload(context: Ctx, writer: Writer) -> dict[str, Any]:
    context.policy.poll(writer)
    return context.policy.state()


@internal.get("/known")
def known(context: Ctx) -> dict[str, Any]:
    return service.known_json(context)


@internal.get("/versions")
def versions(context: Ctx) -> dict[str, Any]:
    return {"versions": service.versions(context)}


@internal.get("/versions/{number}")
def version_files(number: int, context: Ctx) -> dict[str, Any]:
    return {"files": service.version_files(context, number)}


@internal.post("/rollback", status_code=201)
def rollback(body: Back, context: Ctx, writer: Writer) -> dict[str, Any]:
    return service.rollback(writer, context, actor=rules.OPERATOR, number=body.number, why=body.why)


@internal.get("/proposals")
def proposals(context: Ctx) -> dict[str, Any]:
    return {"proposals": service.proposals(context, rules.OPERATOR)}


@internal.post("/proposals", status_code=201)
def propose(body: NewProposal, context: Ctx, writer: Writer) -> dict[str, Any]:
    return service.propose(writer, context, actor=rules.OPERATOR, why=body.why)


@internal.post("/proposals/{proposal}/decision")
def decide(proposal: str, body: NewDecision, context: Ctx, writer: Writer) -> dict[str, Any]:
    return service.decide(
        writer,
        context,
        actor=rules.OPERATOR,
        proposal_id=proposal,
        verdict=body.verdict,
        digest=body.digest,
        comment=body.comment,
    )


@internal.post("/what-if")
def what_if(body: Replay, context: Ctx, writer: Writer) -> dict[str, Any]:
    files = None if body.files is None else {one.name: one.text.encode() for one in body.files}
    return service.what_if(writer, context, actor=rules.OPERATOR, files=files, last=body.last)


@internal.get("/recertify")
def recertify(context: Ctx, months: Months = 12) -> dict[str, Any]:
    return service.recertify(context, months=months)


# -- the console ------------------------------------------------------------------------------------------------------


@public.get("")
def policy(context: Ctx, person: Person) -> dict[str, Any]:
    check_may_look_after(context, person.user, LOOK)
    told = context.policy.state() | {"files": context.policy.files()}
    return told | service.overview(context, person.actor)


@public.get("/explain")
def explain(  # noqa: PLR0917 - FastAPI passes them by name
    context: Ctx,
    person: Person,
    user: Word,
    action: Word,
    object: Word,  # noqa: A002 - the wire's name
    project: Maybe = None,
) -> dict[str, Any]:
    check_may_look_after(context, person.user, LOOK)
    return service.explain(context, user=user, action=action, what=object, project=project)


@public.get("/who-can")
def who_can(
    context: Ctx,
    person: Person,
    action: Word,
    object: Word,  # noqa: A002 - the wire's name
    project: Maybe = None,
) -> dict[str, Any]:
    check_may_look_after(context, person.user, LOOK)
    return service.ask_who_can(context, action=action, what=object, project=project)


@public.get("/what-can")
def what_can(context: Ctx, person: Person, user: Word, project: Maybe = None) -> dict[str, Any]:
    check_may_look_after(context, person.user, LOOK)
    return service.ask_what_can(context, user=user, project=project)


@public.get("/diff")
def diff(context: Ctx, person: Person, old: Version = None, new: Version = None) -> dict[str, Any]:
    """Without `old`: what is in force; without `new`: the files in the policy folder."""
    check_may_look_after(context, person.user, LOOK)
    return service.compare(context, old=old, new=new)


@public.post("/what-if")
def what_if_here(body: Replay, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    """Under the files in the policy folder: a browser sends none."""
    check_may_look_after(context, person.user, LOOK)
    return service.what_if(writer, context, actor=person.actor, files=None, last=body.last)


@public.get("/recertify")
def recertify_here(context: Ctx, person: Person, months: Months = 12) -> dict[str, Any]:
    check_may_look_after(context, person.user, LOOK)
    return service.recertify(context, months=months)


@public.post("/proposals", status_code=201)
def propose_here(body: NewProposal, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    service.check_may_administer(context, person.user)
    return service.propose(writer, context, actor=person.actor, why=body.why)


@public.post("/proposals/{proposal}/decision")
def decide_here(proposal: str, body: NewDecision, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    service.check_may_administer(context, person.user)
    return service.decide(
        writer,
        context,
        actor=person.actor,
        proposal_id=proposal,
        verdict=body.verdict,
        digest=body.digest,
        comment=body.comment,
    )


@public.post("/rollback", status_code=201)
def rollback_here(body: Back, context: Ctx, writer: Writer, person: Person) -> dict[str, Any]:
    service.check_may_administer(context, person.user)
    return service.rollback(writer, context, actor=person.actor, number=body.number, why=body.why)
