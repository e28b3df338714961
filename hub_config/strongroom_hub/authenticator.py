"""Who gets in: local accounts with password and one-time code, or whom an identity provider confirms.

Local accounts are control's: it checks, counts failures and keeps the record. With an identity provider the hub uses
one of JupyterHub's authenticators, joined with what every hub of ours does (`enclave_authenticator`): our own pages,
entries of logins and logouts, and the provider's groups handed to control, which decides with them.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.login import LogoutHandler
from tornado import web
from traitlets import Instance, default

from strongroom_hub import pages
from strongroom_hub.internal import ControlClient, quoted
from strongroom_hub.problems import Problem


class InEnclave(Authenticator):
    """What every authenticator of this hub has."""

    control = Instance(ControlClient, help="Control's internal API with the hub's credential.").tag(config=True)

    def get_handlers(self, app: Any) -> list[tuple[Any, ...]]:
        """The way to log in, and our own pages instead of the hub's: the first one that fits wins."""
        own = [(r"/logout", StrongroomLogoutHandler), *pages.handlers()]
        theirs = [handler for handler in super().get_handlers(app) if handler[0] != r"/logout"]
        return [*theirs, *own]


class StrongroomAuthenticator(InEnclave):
    """Local accounts. Thin: asks control, shows what control says."""

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


class Provided(InEnclave):
    """Mixed into an authenticator that asks an identity provider."""

    async def run_post_auth_hook(self, handler: BaseHandler, auth_model: dict[str, Any]) -> dict[str, Any]:
        """The last step of each login. Raises HTTPError in words where control cannot record it."""
        found: dict[str, Any] = await super().run_post_auth_hook(handler, auth_model)
        login = {
            "user": found["name"],
            "groups": _names(found.get("groups")),
            "address": handler.request.remote_ip,
        }
        try:
            await self.control.call_async("POST", "provided-logins", login)
        except Problem as problem:
            raise LoginRefusedError(problem) from None
        return {**found, "admin": False}

    async def refresh_user(self, user: Any, handler: BaseHandler | None = None) -> bool | dict[str, Any]:
        """As the authenticator does it; groups that it brings act at once. Where control refuses them: a new login."""
        found: bool | dict[str, Any] = await super().refresh_user(user, handler)
        if isinstance(found, dict) and found.get("groups") is not None:
            try:
                groups = {"groups": _names(found["groups"])}
                await self.control.call_async("PUT", f"users/{quoted(user.name)}/groups", groups)
            except Problem as problem:
                self.log.error("the groups of %s were not taken: %s", user.name, problem)  # noqa: TRY400 - words suffice
                return False
        return found


def enclave_authenticator(base: type[Authenticator]) -> type[Authenticator]:
    """`base` as this hub uses it. What is configured for `base` holds for it, too."""
    return base if issubclass(base, InEnclave) else type(f"Strongroom{base.__name__}", (Provided, base), {})


def _names(groups: Any) -> list[str]:
    return [str(group) for group in groups or ()]


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
