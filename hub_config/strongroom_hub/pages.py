"""The hub's own pages: the list of projects, and refusals of what this hub does not offer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.utils import url_path_join
from tornado import web

from strongroom_hub.internal import quoted
from strongroom_hub.problems import Problem

ASSETS = Path(__file__).parent / "assets"
TEMPLATES = Path(__file__).parent / "templates"
CONSOLE_GROUPS = frozenset({"role:steward", "role:admin", "role:auditor"})


def sentences(problem: Problem) -> str:
    """A problem as one paragraph: title, what happened, why, what to do next."""
    parts = [f"{problem.title}.", problem.detail, *problem.why, problem.next]
    return " ".join(part.strip() for part in parts if part.strip())


class ProjectsHandler(BaseHandler):
    """The page after login: the projects one may work in, each with its state. Nothing else can be started."""

    @web.authenticated
    async def get(self) -> None:
        user = self.current_user
        problem: Problem | None = None
        projects: list[dict[str, Any]] = []
        try:
            answer = await self.authenticator.control.call_async("GET", f"users/{quoted(user.name)}/projects")
            projects = answer["projects"]
        except Problem as raised:
            problem = raised
            self.set_status(problem.status)
        groups = {group.name for group in user.orm_user.groups}
        page = await self.render_template(
            "home.html",
            projects=[{**project, **self._server(project["name"])} for project in projects],
            problem=problem,
            console_url=url_path_join(self.base_url, "services", "control/") if groups & CONSOLE_GROUPS else "",
        )
        self.finish(page)

    def _server(self, project: str) -> dict[str, str]:
        """State and address of this person's server of a project."""
        user = self.current_user
        spawner = user.spawners.get(project)
        state = "stopped"
        if spawner is not None and spawner.ready:
            state = "running"
        elif spawner is not None and spawner.pending:
            state = str(spawner.pending)
        return {
            "state": state,
            "url": user.server_url(project),
            "start_url": url_path_join(self.hub.base_url, "spawn", user.escaped_name, quoted(project)),
            "stop_url": url_path_join(self.hub.base_url, "api/users", user.escaped_name, "servers", quoted(project)),
        }


class ChooseProjectHandler(BaseHandler):
    """There is no server without a project: whoever asks for one gets the list of projects."""

    @web.authenticated
    def get(self, _user_name: str = "") -> None:
        self.redirect(url_path_join(self.hub.base_url, "home"))


class NotOfferedHandler(BaseHandler):
    """Pages of the hub that have no place in an enclave: tokens, shares, the hub's own administration."""

    @web.authenticated
    def get(self, *_: str) -> None:
        raise web.HTTPError(404, "This hub does not offer that page. Accounts, access and records are in the console.")

    post = get


def handlers() -> list[tuple[Any, ...]]:
    """Routes below `/hub` that replace the hub's own."""
    return [
        (r"/home", ProjectsHandler),
        (r"/spawn/?", ChooseProjectHandler),
        (r"/spawn/([^/]+)/?", ChooseProjectHandler),
        (r"/(token|admin|accept-share)", NotOfferedHandler),
        (r"/assets/(.*)", web.StaticFileHandler, {"path": str(ASSETS)}),
    ]
