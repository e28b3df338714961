"""Which routes this server has: an allow-list that is enforced before the socket opens.

Jupyter's authorizer does not reach JupyterLab's own handlers, so routes are removed, not refused. A handler class that
stands in neither list is removed as well, and a test fails, so that a person decides about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tornado.routing import PathMatches, Rule, RuleRouter
from tornado.web import Application

from strongroom_lab.page import content_security_policy

READ = ("GET", "HEAD")
OWN = "strongroom_lab.handlers."
LAB_PAGE = "jupyterlab_server.handlers.LabHandler"

OPEN: dict[str, tuple[str, ...]] = {
    # the page and its files
    "jupyter_server.base.handlers.FileFindHandler": READ,
    "jupyter_server.base.handlers.TrailingSlashHandler": READ,
    "jupyter_server.base.handlers.APIVersionHandler": READ,
    "jupyter_server.base.handlers.RedirectWithParams": READ,
    "jupyter_server.base.handlers.Template404": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
    LAB_PAGE: READ,
    "jupyterlab_server.settings_handler.SettingsHandler": ("GET", "PUT"),
    "jupyterlab_server.workspaces_handler.WorkspacesHandler": ("GET", "PUT", "POST", "DELETE"),
    "jupyterlab_server.themes_handler.ThemesHandler": READ,
    "jupyterlab_server.translations_handler.TranslationsHandler": READ,
    # who one is
    "jupyter_server.services.api.handlers.IdentityHandler": READ,
    "jupyter_server.services.api.handlers.APIStatusHandler": READ,
    "jupyterhub.singleuser.extension.JupyterHubLogoutHandler": READ,
    "jupyterhub.singleuser.extension.JupyterHubOAuthCallbackHandler": READ,
    # notebooks, which the browser writes
    "jupyter_server.services.contents.handlers.ContentsHandler": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
    "jupyter_server.services.contents.handlers.CheckpointsHandler": ("GET", "POST"),
    "jupyter_server.services.contents.handlers.ModifyCheckpointsHandler": ("POST", "DELETE"),
    "jupyter_server.services.contents.handlers.TrustNotebooksHandler": ("POST",),
    "jupyter_server.services.config.handlers.ConfigHandler": READ,
    # kernels, behind their gates
    "jupyter_server.services.kernelspecs.handlers.MainKernelSpecHandler": READ,
    "jupyter_server.services.kernelspecs.handlers.KernelSpecHandler": READ,
    "jupyter_server.services.kernels.handlers.MainKernelHandler": ("GET", "HEAD", "POST"),
    "jupyter_server.services.kernels.handlers.KernelHandler": ("GET", "HEAD", "DELETE"),
    "jupyter_server.services.kernels.handlers.KernelActionHandler": ("POST",),
    "jupyter_server.services.kernels.websocket.KernelWebsocketHandler": ("GET",),
    "jupyter_server.services.sessions.handlers.SessionRootHandler": ("GET", "HEAD", "POST"),
    "jupyter_server.services.sessions.handlers.SessionHandler": ("GET", "HEAD", "PATCH", "DELETE"),
}
"""Handler class -> the methods it may answer."""

TOKEN_LOGIN: dict[str, tuple[str, ...]] = {
    "jupyter_server.auth.login.LoginFormHandler": ("GET", "POST"),
    "jupyter_server.auth.logout.LogoutHandler": READ,
}
"""Only where the server runs without a hub."""

CLOSED = frozenset(
    {
        "jupyter_server.services.api.handlers.APISpecHandler",
        "jupyter_server.services.api.handlers.PathResolverHandler",
        "jupyter_server.services.contents.handlers.NotebooksRedirectHandler",
        "jupyter_server.base.handlers.PrometheusMetricsHandler",
        "jupyter_server.base.handlers.AuthenticatedFileHandler",
        "jupyter_server.kernelspecs.handlers.KernelSpecResourceHandler",
        "jupyterlab_server.handlers.NotFoundHandler",
        "jupyter_server.base.handlers.PublicStaticFileHandler",
        "jupyterlab.handlers.build_handler.BuildHandler",
        "jupyterlab.handlers.extension_manager_handler.ExtensionHandler",
        "jupyterlab.handlers.plugin_manager_handler.PluginHandler",
        "jupyterlab.handlers.announcements.CheckForUpdateHandler",
        "jupyterlab.handlers.announcements.NewsHandler",
        "jupyterlab_server.listings_handler.ListingsHandler",
        "jupyterlab_server.licenses_handler.LicensesHandler",
    }
)
"""Handler classes that are known and were decided against."""

SERVICES = ("api", "auth", "config", "contents", "kernels", "kernelspecs", "sessions")
"""Of Jupyter's services those whose handlers are made at all; files, nbconvert, view, events and others are not."""


def name_of(target: Any) -> str:
    return f"{target.__module__}.{target.__qualname__}" if isinstance(target, type) else repr(target)


def leaves(router: RuleRouter) -> Iterator[tuple[RuleRouter, Rule]]:
    """Every rule that leads to a handler, with the router that it is in."""
    for rule in list(router.rules):
        if isinstance(rule.target, RuleRouter):
            yield from leaves(rule.target)
        else:
            yield router, rule


def prune(application: Application, *, hub: bool) -> list[str]:
    """Remove each route whose handler is not allowed and restrict the methods of the rest; returns what was removed."""
    allowed = OPEN if hub else OPEN | TOKEN_LOGIN
    removed: list[str] = []
    seen: set[int] = set()
    for root in (application.default_router, application.wildcard_router):
        for router, rule in leaves(root):
            if id(rule) in seen:
                continue
            seen.add(id(rule))
            name = name_of(rule.target)
            if name.startswith(OWN):
                continue
            if name not in allowed:
                router.rules.remove(rule)
                removed.append(f"{name} {pattern_of(rule)}")
                continue
            body = restriction(rule.target, allowed[name])
            if name == LAB_PAGE:
                body["content_security_policy"] = content_security_policy
            rule.target = type(rule.target.__name__, (rule.target,), body)
    return removed


def restriction(target: type, methods: tuple[str, ...]) -> dict[str, Any]:
    return {
        "SUPPORTED_METHODS": methods,
        "__module__": target.__module__,
        "__qualname__": target.__qualname__,
        "__doc__": target.__doc__,
    }


def pattern_of(rule: Rule) -> str:
    return rule.matcher.regex.pattern if isinstance(rule.matcher, PathMatches) else repr(rule.matcher)
