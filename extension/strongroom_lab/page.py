"""What the Lab page gets: its content security policy, and the plugins that are switched off and locked.

The locks are a signpost for people; what they hide is closed by the routes (`routes`) and by the policy.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

LAB_EXTENSIONS = frozenset({"jupyter-strongroom", "@jupyter-widgets/jupyterlab-manager", "jupyterlab_pygments"})
LOCKED = (
    "@jupyterlab/filebrowser-extension:download",
    "@jupyterlab/docmanager-extension:download",
    "@jupyterlab/filebrowser-extension:open-browser-tab",
    "@jupyterlab/docmanager-extension:open-browser-tab",
    "@jupyterlab/filebrowser-extension:share-file",
    "@jupyterlab/notebook-extension:export",
    "@jupyterlab/notebook-extension:copy-output",
    "@jupyterlab/apputils-extension:print",
    "@jupyterlab/apputils-extension:announcements",
    "@jupyterlab/terminal-extension",
    "@jupyterlab/lsp-extension",
    "@jupyterlab/notebook-extension:language-server",
    "@jupyterlab/fileeditor-extension:language-server",
    "@jupyterlab/extensionmanager-extension:plugin",
    "@jupyterlab/pluginmanager-extension:plugin",
)
NO_FRAMES = "frame-src 'none'"
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?\Z")
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)

Hook = Callable[[Any, dict[str, Any]], dict[str, Any]]


def policy(index_html: Path) -> str:
    """The content security policy: nothing from or to other hosts, no inline script but Lab's own, known by hash.

    `unsafe-eval` is what Lab's schema validation needs; therefore JavaScript is on no list of output types.
    """
    inline = _INLINE.findall(index_html.read_text(encoding="utf-8")) if index_html.exists() else []
    hashes = "".join(
        f" 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in inline
    )
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' 'unsafe-eval'{hashes}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            NO_FRAMES,
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def _with_frames(handler: Any) -> str:
    """The page's own policy: frames of interactive outputs (`frames`), which can therefore go nowhere else."""
    policy: str = handler.settings["headers"]["Content-Security-Policy"]
    host = handler.request.host
    if not _HOST.match(host):
        return policy
    return policy.replace(NO_FRAMES, f"frame-src {host}{handler.base_url}strongroom/frames/")


content_security_policy = property(_with_frames)
"""For the handler of Lab's page."""


def hardened(hook: Hook | None) -> Hook:
    """A page config hook that adds the locks to what `hook` gives."""

    def add_locks(handler: Any, config: dict[str, Any]) -> dict[str, Any]:
        if hook is not None:
            config = hook(handler, config)
        for name in ("disabledExtensions", "lockedExtensions"):
            given = config.get(name) or []
            config[name] = sorted({*given, *LOCKED})
        # Lab would ask routes for these that are not there.
        config["buildAvailable"] = config["buildCheck"] = False
        config["federated_extensions"] = [
            extension for extension in config.get("federated_extensions", []) if extension["name"] in LAB_EXTENSIONS
        ]
        return config

    return add_locks
