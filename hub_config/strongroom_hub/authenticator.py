"""Logs people in with password and one-time code. Control checks both, counts failures and keeps the record."""

from __future__ import annotations

from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.login import LogoutHandler
from tornado import web
from traitlets import Instance, default

from strongroom_hub import pages
from strongroom_hub.internal import ControlClient
from strongroom_hub.problems import Problem


class StrongroomAuthenticator(Authenticator):
    """Thin: asks control, shows what control says."""

    control = Instance(ControlClient, help="Control's internal API with the hub's credential.").tag(config=True)

    @default("request_otp")
    def _request_otp(self) -> bool:
        return True

    @default("otp_prompt")
    def _otp_prompt(self) -> str:
        return "One-time code:"

    @default("allow_all")
    def _allow_all(self) -> bool:
        """Whoever control logs in is allowed in; there is no second list of names."""
        return True

    @default("manage_groups")
    def _manage_groups(self) -> bool:
        return True

    async def authenticate(self, handler: BaseHandler, data: dict[str, str]) -> dict[str, Any]:
        """The hub's user model. Raises HTTPError in words for the login form; never says which part was wrong."""
        body = {
            "user": data.get("username", ""),
            "password": data.get("password", ""),
            "otp": data.get("otp", "").strip(),
            "address": handler.request.remote_ip,
        }
        try:
            answer = await self.control.call_async("POST", "logins", body)
        except Problem as problem:
            raise LoginRefusedError(problem) from None
        return {"name": answer["name"], "groups": answer["groups"], "admin": False}

    def get_handlers(self, app: Any) -> list[tuple[Any, ...]]:
        """The login form, and our own pages instead of the hub's: these come first, so they win."""
        return [*super().get_handlers(app), (r"/logout", StrongroomLogoutHandler), *pages.handlers()]


class StrongroomLogoutHandler(LogoutHandler):
    """Has the end of a session recorded."""

    async def get(self) -> None:
        """Log out here first: a record that cannot be written must not keep anybody logged in."""
        user = self.current_user
        await super().get()
        if user is not None:
            try:
                await self.authenticator.control.call_async("POST", "logouts", {"user": user.name})
            except Problem as problem:
                self.log.error("the logout of %s was not recorded: %s", user.name, problem)  # noqa: TRY400 - words suffice


class LoginRefusedError(web.HTTPError):
    """Carries its words under the name where the hub's pages look for them."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.status)
        self.jupyterhub_message = pages.sentences(problem)
