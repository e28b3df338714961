"""The hub's own pages: the list of projects, and refusals of what this hub does not offer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.utils import url_path_join
from strongroom_kernels.profiles import words_for_bytes
from tornado import web

from strongroom_hub.internal import quoted
from strongroom_hub.problems import Problem

ASSETS = Path(__file__).parent / "assets"
TEMPLATES = Path(__file__).parent / "templates"
SANDBOX_WORDS = {
    "launcher": "a box within the server's own",
    "bubblewrap": "a box of its own",
    "gvisor": "a box with an operating system of its own (gVisor)",
}


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
        console = False
        try:
            answer = await self.authenticator.control.call_async("GET", f"users/{quoted(user.name)}/projects")
            projects, console = answer["projects"], answer["console"]
        except Problem as raised:
            problem = raised
            self.set_status(problem.status)
        lacks = self.settings["spawner_class"].machine.lacks
        page = await self.render_template(
            "home.html",
            projects=[choices({**project, **self._server(project["name"])}, lacks) for project in projects],
            problem=problem,
            console_url=url_path_join(self.base_url, "services", "control/") if console else "",
        )
        self.finish(page)

    def _server(self, project: str) -> dict[str, Any]:
        """State and address of this person's server of a project, and the profile they took last."""
        user = self.current_user
        spawner = user.spawners.get(project)
        state = "stopped"
        if spawner is not None and spawner.ready:
            state = "running"
        elif spawner is not None and spawner.pending:
            state = str(spawner.pending)
        return {
            "state": state,
            "last_profile": spawner.last_profile if spawner is not None else "",
            "url": user.server_url(project),
            "start_url": url_path_join(self.hub.base_url, "spawn", user.escaped_name, quoted(project)),
            "stop_url": url_path_join(self.hub.base_url, "api/users", user.escaped_name, "servers", quoted(project)),
        }


def choices(project: dict[str, Any], lacks: Callable[[str], str]) -> dict[str, Any]:
    """The project with what each profile has in words; chosen is the last one taken, or the first that can start.

    `lacks`: tier of box -> why this machine starts none, empty where it does.
    """
    profiles = [
        {
            "name": profile["name"],
            "title": profile["title"],
            "has": profile_words(profile),
            "lacks": lacks(profile["sandbox"]),
        }
        for profile in project["profiles"]
    ]
    startable = [profile["name"] for profile in profiles if not profile["lacks"]]
    last = project["last_profile"]
    chosen = last if last in startable else next(iter(startable), None)
    return {**project, "profiles": profiles, "chosen": chosen}


def profile_words(profile: dict[str, Any]) -> str:
    """What a kernel of this profile may use, as one line: `4 GiB memory, 2 processors, ...`."""
    cpus = f"{profile['cpus']:g}"
    return ", ".join(
        (
            f"{words_for_bytes(profile['memory_bytes'])} memory",
            f"{cpus} processor{'' if cpus == '1' else 's'}",
            f"{profile['processes']:,} processes",
            f"{words_for_bytes(profile['work_bytes'])} work folder",
            SANDBOX_WORDS[profile["sandbox"]],
        )
    )


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
