"""Internal routes of identity: thin."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from strongroom_hub.control.callers import Ctx, Writer, require_hub, require_operator
from strongroom_hub.identity import groups, service

internal = APIRouter()
LoginName = Annotated[str, Field(max_length=64)]


class NewLogin(BaseModel):
    user: LoginName
    password: str = Field(max_length=256)
    otp: str = Field(max_length=16)
    address: str = Field(default="", max_length=64)


Groups = Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=10_000)]


class ProvidedLogin(BaseModel):
    user: str = Field(max_length=256)
    groups: Groups
    address: str = Field(default="", max_length=64)


class HeldGroups(BaseModel):
    groups: Groups


class Logout(BaseModel):
    user: LoginName


class NewAccount(BaseModel):
    user: LoginName
    full_name: str = Field(min_length=1, max_length=200)
    password: str = Field(max_length=256)
    otp_secret: str = Field(max_length=128)


@internal.post("/logins", dependencies=[Depends(require_hub)])
def login(body: NewLogin, context: Ctx, writer: Writer) -> dict[str, Any]:
    attempt = service.LoginAttempt(body.user, body.password, body.otp, body.address)
    identity = service.login(writer, context, attempt)
    return {"name": identity.name, "groups": identity.groups, "admin": False}


@internal.post("/provided-logins", dependencies=[Depends(require_hub)])
def provided_login(body: ProvidedLogin, context: Ctx, writer: Writer) -> dict[str, list[str]]:
    roles = groups.provided_login(writer, context, user=body.user, names=body.groups, address=body.address)
    return {"roles": roles}


@internal.put("/users/{user}/groups", dependencies=[Depends(require_hub)])
def refresh_groups(user: LoginName, body: HeldGroups, context: Ctx, writer: Writer) -> dict[str, tuple[str, ...]]:
    return {"groups": groups.take_groups(writer, context, user, body.groups, "refresh")}


@internal.post("/logouts", status_code=204, dependencies=[Depends(require_hub)])
def logout(body: Logout, writer: Writer) -> None:
    service.logout(writer, body.user)


@internal.post("/accounts", status_code=201, dependencies=[Depends(require_operator)])
def create_account(body: NewAccount, context: Ctx, writer: Writer) -> dict[str, str]:
    service.create_account(
        writer,
        context,
        user=body.user,
        full_name=body.full_name,
        password=body.password,
        otp_secret=body.otp_secret,
    )
    return {"user": body.user}
