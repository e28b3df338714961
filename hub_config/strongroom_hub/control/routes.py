"""Routes that are about the whole: who am I, how is the service, which policy is in force."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from strongroom_hub.access.discovery import console_datasets
from strongroom_hub.access.stewards import stewarded_datasets
from strongroom_hub.audit import reader
from strongroom_hub.boxes import service as boxes
from strongroom_hub.control.callers import Ctx, require_operator, require_scraper
from strongroom_hub.control.context import Context
from strongroom_hub.control.metrics import MEDIA_TYPE, Metrics
from strongroom_hub.control.permissions import check_may_look_after, may, may_look_after
from strongroom_hub.control.session import Person
from strongroom_hub.identity.service import full_name

internal = APIRouter(dependencies=[Depends(require_operator)])
public = APIRouter()
scraped = APIRouter(dependencies=[Depends(require_scraper)])

ONE_UID = (
    "Everything runs under one uid: a notebook server that was taken over could read keys and data. "
    "Kernels are sandboxed all the same. Install as root to separate them."
)


def status_of(context: Context) -> dict[str, Any]:
    one_uid = context.instance.uids is None
    return {
        "mode": "one-uid" if one_uid else "separate-uids",
        "weaker": [ONE_UID] if one_uid else [],
        "policy": context.policy.state(),
        "log": {
            "size": reader.size(context.engine),
            "alarms": [f"{one.name}: {one.text}" for one in context.witnessing.alarms()],
            "witnesses": [one.as_json() for one in context.witnessing.standings()],
            "push": None if context.push is None else context.push.as_json(),
        },
        "machine": boxes.machine(context),
        "violations": boxes.counted(context),
    }


@internal.get("/status")
def status(context: Ctx) -> dict[str, Any]:
    return status_of(context)


@public.get("/me")
def me(context: Ctx, person: Person) -> dict[str, Any]:
    return {
        "user": person.user,
        "full_name": full_name(context, person.user),
        "can": {
            "approve_access": bool(stewarded_datasets(context, user=person.user, action="approve-access")),
            "approve_exports": bool(stewarded_datasets(context, user=person.user, action="approve-export")),
            "administer": may(context, person.user, "administer", "policy"),
            "audit": may(context, person.user, "audit", "log"),
        },
    }


@public.get("/datasets")
def datasets(context: Ctx, person: Person) -> dict[str, Any]:
    return {"datasets": console_datasets(context, user=person.user)}


@public.get("/status")
def public_status(context: Ctx, person: Person) -> dict[str, Any]:
    """As for the operator; who may not read the policy learns how many problems it has, and where, not their words.

    Nor how many violations there were: code in a kernel chooses that number, and its author would read it here.
    """
    status = status_of(context)
    if not may_look_after(context, person.user):
        status["violations"] = {}
        for problem in status["policy"]["problems"]:
            problem["message"] = "Administrators and auditors see what is wrong here."
    return status


def _metrics(request: Request) -> Response:
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.text(), media_type=MEDIA_TYPE)


@scraped.get("/metrics")
def scrape(request: Request) -> Response:
    return _metrics(request)


@public.get("/metrics")
def public_metrics(request: Request, context: Ctx, person: Person) -> Response:
    check_may_look_after(context, person.user, "the metrics")
    return _metrics(request)
