"""Notebooks and text files that the browser writes: each save is recorded before it is done.

The root is written by nobody else, and kernels see it read-only, so what the contents API serves never came from a
kernel past the gate.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import nbformat
from jupyter_server.services.contents.filemanager import AsyncFileContentsManager
from strongroom_hub.problems import Problem
from tornado import web

from strongroom_lab.kernels import in_words
from strongroom_lab.workspace import Workspace

TEXT_SUFFIXES = frozenset(
    {".py", ".md", ".txt", ".sql", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".rst", ".r"}
)


class Notebooks(AsyncFileContentsManager):
    """The contents API over the notebooks folder. A save that cannot be recorded is refused."""

    @property
    def _workspace(self) -> Workspace:
        server: Any = self.parent
        found: Workspace = server.workspace
        return found

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Save notebooks, text files and new folders; refuse everything else (403) and what control does not record."""
        kind = model.get("type")
        suffix = Path(path).suffix.lower()
        is_text = kind == "file" and suffix in TEXT_SUFFIXES and model.get("format", "text") == "text"
        is_notebook = kind == "notebook" and suffix == ".ipynb"
        if "chunk" in model or not (kind == "directory" or is_text or is_notebook):
            raise web.HTTPError(
                403,
                "Only notebooks and text files can be saved here. Data comes in through the catalogue: ask a steward; "
                "files that code makes belong in ~/work.",
            )
        saved: dict[str, Any] = await super().save(model, path)
        return saved

    async def _save_notebook(self, os_path: str, nb: Any, capture_validation_error: Any = None) -> Any:
        written = nbformat.writes(nb, version=nbformat.NO_CONVERT)
        await self._record(os_path, (written if written.endswith("\n") else written + "\n").encode("utf-8"))
        return await super()._save_notebook(os_path, nb, capture_validation_error)

    async def _save_file(self, os_path: str, content: Any, format: str) -> Any:  # noqa: A002 - the base class's signature
        if format != "text" or not isinstance(content, str):
            raise web.HTTPError(403, "Only text can be saved here.")
        await self._record(os_path, content.encode("utf-8"))
        return await super()._save_file(os_path, content, format)

    async def _record(self, os_path: str, body: bytes) -> None:
        path = Path(os_path).relative_to(self.root_dir).as_posix()
        try:
            await self._workspace.control.save_file(path, len(body), hashlib.sha256(body).hexdigest())
        except Problem as problem:
            raise in_words(problem) from problem
