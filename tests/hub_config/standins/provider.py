"""Stands in for an identity provider: whoever comes with the right password, with groups as a file says them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from traitlets import Unicode


class ProviderAuthenticator(Authenticator):
    directory = Unicode(help="A JSON file: groups by user.").tag(config=True)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:  # noqa: ARG002
        if data["password"] != "right":
            return None
        return {"name": data["username"], "groups": self._groups(data["username"]), "admin": True}

    async def refresh_user(self, user: Any, handler: Any = None) -> dict[str, Any]:  # noqa: ARG002
        return {"name": user.name, "groups": self._groups(user.name)}

    def _groups(self, user: str) -> list[str]:
        known: dict[str, list[str]] = json.loads(Path(self.directory).read_text(encoding="utf-8"))
        return known.get(user, [])
