"""Login at the console through the hub: OAuth with state and PKCE, by JupyterHub's own client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from jupyterhub.services.auth import HubOAuth
from tornado.web import HTTPError

from strongroom_hub.problems import Problem

CACHE_SECONDS = 20
"""How long the hub's word on a token is believed: a logout there ends the console's session after at most this."""


@dataclass(frozen=True, slots=True)
class HubUser:
    """Whose token it is, with the groups that the hub knows of them."""

    name: str
    groups: tuple[str, ...] = ()


class HubLogin(Protocol):
    """What the console needs of the hub."""

    def new_verifier(self) -> tuple[str, str]:
        """A PKCE verifier and its S256 challenge."""
        ...

    def authorize_url(self, state: str, challenge: str) -> str: ...

    def token_for(self, code: str, verifier: str) -> str:
        """Raises Problem 403 when the hub does not accept the code."""
        ...

    def user_of(self, token: str) -> HubUser | None:
        """The user whose token it is, who may use this service; None for nobody."""
        ...


@dataclass(frozen=True)
class JupyterHubLogin:
    """HubOAuth, configured by the environment that the hub gives its managed service."""

    hub: HubOAuth

    @classmethod
    def from_environment(cls) -> JupyterHubLogin:
        return cls(HubOAuth(cache_max_age=CACHE_SECONDS))

    def new_verifier(self) -> tuple[str, str]:
        verifier, challenge, _ = self.hub.generate_pkce_code_challenge()
        return verifier, challenge

    def authorize_url(self, state: str, challenge: str) -> str:
        added = urlencode({"state": state, "code_challenge": challenge, "code_challenge_method": "S256"})
        return f"{self.hub.login_url}&{added}"

    def token_for(self, code: str, verifier: str) -> str:
        try:
            return str(self.hub.token_for_code(code, code_verifier=verifier, sync=True))
        except HTTPError as error:
            raise _refused() from error

    def user_of(self, token: str) -> HubUser | None:
        try:
            model: dict[str, Any] | None = self.hub.user_for_token(token, sync=True)
        except HTTPError as error:
            raise _hub_away() from error
        if model is None or not self.hub.check_scopes(self.hub.access_scopes, model):
            return None
        return HubUser(str(model["name"]), tuple(str(group) for group in model.get("groups", ())))


def _refused() -> Problem:
    return Problem(
        403,
        "login-refused",
        "The hub did not confirm this login",
        "The one-time code of the login was not accepted.",
        next="Open the console's page again.",
    )


def _hub_away() -> Problem:
    return Problem(
        503,
        "hub-unavailable",
        "The hub does not answer",
        "Who you are cannot be checked now, so nothing is shown.",
        next="Try again in a minute.",
    )
