"""REST for the Lab panels: thin handlers over control, vault and the workspace; every error is a problem in JSON."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import zipfile
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import PurePosixPath
from typing import IO, Any

from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from strongroom_hub.problems import MEDIA_TYPE, Problem
from strongroom_policy.labels import Label
from tornado import web
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketHandler

from strongroom_lab import frames, workfiles
from strongroom_lab.drafts import Draft, Kind
from strongroom_lab.settings import Settings
from strongroom_lab.values import encode
from strongroom_lab.vault import Vault
from strongroom_lab.withheld import is_file_of_output
from strongroom_lab.workspace import Workspace

HEARTBEAT = 15.0
CHUNK = 1 << 20
CELLS_SENT = 500
LONGEST_PATH = 1024
_ID = r"(?P<identifier>[A-Za-z0-9_-]{1,64})"
_NUMBER = re.compile(r"[0-9]{1,15}")
_DATASET = r"(?P<dataset>[a-z0-9][a-z0-9_-]{0,62}/[a-z0-9][a-z0-9_-]{0,62})"

Verb = Callable[..., Awaitable[None]]


def spoken(verb: Verb) -> Verb:
    """A problem that `verb` raises becomes the answer."""

    @wraps(verb)
    async def speaking(self: Handler, *args: str, **kwargs: str) -> None:
        try:
            await verb(self, *args, **kwargs)
        except Problem as problem:
            self.answer_problem(problem)

    return speaking


class Handler(APIHandler):
    """An authenticated handler that speaks JSON and problems."""

    def initialize(self, settings: Settings, workspace: Workspace, vault: Vault) -> None:
        self.server = settings
        self.workspace = workspace
        self.vault = vault

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
        self.set_header("Cache-Control", "no-store")

    def answer(self, body: dict[str, Any], status: int = 200) -> None:
        self.set_status(status)
        self.finish(json.dumps(body))

    def answer_problem(self, problem: Problem) -> None:
        self.set_status(problem.status)
        self.finish(json.dumps(problem.as_json()), set_content_type=MEDIA_TYPE)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """What Jupyter or tornado refuses, in the same shape; no traces, no texts of exceptions."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        words = error.log_message if isinstance(error, web.HTTPError) and error.log_message else ""
        self.answer_problem(
            Problem(
                status_code,
                "refused" if status_code < 500 else "internal",  # noqa: PLR2004 - HTTP's server errors
                "This request was refused" if status_code < 500 else "The server could not do this",  # noqa: PLR2004
                words or f"HTTP status {status_code}.",
                next="Reload the page; if it stays, tell the operator.",
            )
        )

    def body(self) -> dict[str, Any]:
        """The request's JSON object. Raises Problem."""
        try:
            found = json.loads(self.request.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Problem(400, "bad-request", "Not understood", "The request holds no JSON object.")
        return found


class Session(Handler):
    @web.authenticated
    @spoken
    async def get(self) -> None:
        mark = self.workspace.mark
        session = await self.workspace.control.session()
        self.workspace.learn(session, mark)
        server = self.server
        own = {
            "console_url": server.console_url,
            "weaker": server.weaker,
            "profile": server.profile,
            "log_key": server.log_key,
        }
        self.answer({**session, **self.workspace.label_event(), **own})


class Stream(Handler):
    """Server-sent events: label, notice, request, export."""

    @web.authenticated
    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("X-Accel-Buffering", "no")
        queue = self.workspace.listen()
        try:
            while True:
                try:
                    event, data = await asyncio.wait_for(queue.get(), HEARTBEAT)
                    self.write(f"event: {event}\ndata: {json.dumps(data)}\n\n")
                except TimeoutError:
                    self.write(": still here\n\n")
                await self.flush()
        except StreamClosedError:
            return
        finally:
            self.workspace.leave(queue)


class Datasets(Handler):
    @web.authenticated
    @spoken
    async def get(self) -> None:
        found = (await self.workspace.control.catalog()).get("datasets")
        told = [self._told(one) for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        self.answer({"datasets": told})

    def _told(self, dataset: dict[str, Any]) -> dict[str, Any]:
        """With the columns that code says it used; of a table that was saved where nothing may be shown, its name."""
        derived = dataset.get("derived")
        if isinstance(derived, dict) and derived.get("quiet") is not False:
            bare: dict[str, Any] = {
                "title": dataset.get("name"),
                "description": "",
                "rows": None,
                "columns": [],
                "used_by": [],
            }
            access = {**(dataset.get("access") or {}), "columns": [], "masked": {}}
            dataset = {**dataset, **bare, "access": access}
        known = [str(column.get("name")) for column in dataset.get("columns") or []]
        return {**dataset, "used": self.workspace.drafts.used(str(dataset.get("name")), known)}


class DatasetProfile(Handler):
    """Of a table that a project saved there is none."""

    @web.authenticated
    @spoken
    async def get(self, dataset: str) -> None:
        self.answer(await self.workspace.control.profile(dataset))


class Drafts(Handler):
    """What code prepared. Its words were counted when it did."""

    @web.authenticated
    @spoken
    async def get(self) -> None:
        self.answer({"drafts": self.workspace.drafts.listed()})


class DiscardDraft(Handler):
    @web.authenticated
    @spoken
    async def post(self, identifier: str) -> None:
        self.workspace.drafts.discard(identifier)
        self.workspace.publish("draft", {"id": identifier, "state": "discarded"})
        self.answer({})


class AccessRequests(Handler):
    @web.authenticated
    @spoken
    async def get(self) -> None:
        found = await self.workspace.control.access_requests()
        self.workspace.note_states("request", found.get("access_requests"))
        self.answer(found)

    @web.authenticated
    @spoken
    async def post(self) -> None:
        body = self.body()
        wanted = {name: body.get(name) for name in ("dataset", "columns", "purpose", "days")}
        draft = prepared(self.workspace, body, "access-request")
        if draft is not None:
            wanted |= {"dataset": draft.body["dataset"], "prepared": draft.entry}
        made = await self.workspace.control.request_access(wanted)
        submitted(self.workspace, draft)
        self.workspace.publish("request", {"id": made.get("id"), "state": made.get("state")})
        self.answer(made, 201)


def prepared(workspace: Workspace, body: dict[str, Any], kind: Kind) -> Draft | None:
    """The draft that a page submits, by its id in `body`; None for what the person wrote. Raises Problem."""
    identifier = body.get("draft")
    if identifier is None:
        return None
    draft = workspace.drafts.get(str(identifier))
    if draft.kind != kind:
        raise Problem(400, "bad-request", "Not understood", "That draft is of another kind.", next="Reload the page.")
    return draft


def submitted(workspace: Workspace, draft: Draft | None) -> None:
    """The draft is done with."""
    if draft is not None:
        workspace.drafts.discard(draft.id)
        workspace.publish("draft", {"id": draft.id, "state": "submitted"})


class WithdrawAccessRequest(Handler):
    @web.authenticated
    @spoken
    async def post(self, identifier: str) -> None:
        made = await self.workspace.control.withdraw_access_request(identifier)
        self.workspace.publish("request", {"id": made.get("id"), "state": made.get("state")})
        self.answer(made)


class MeteredHandler(Handler):
    """What tells of files that a kernel wrote (names, sizes, hashes, findings, refusals) is metered like output."""

    async def metered(self, export: Any) -> Any:
        """`export` with what its files tell, which counts once; without it where no more may be shown."""
        files = export.get("files") if isinstance(export, dict) else None
        if not isinstance(files, list):
            return export
        told = encode(files)
        silence = "" if self.workspace.was_told(told) else await self.workspace.count_shown(len(told))
        if not silence:
            self.workspace.remember_told(told)
            return export
        words = f"{silence} Reviewers see size, hash and findings."
        finding = {"check": "unreadable", "severity": "warn", "text": words, "evidence": {}}
        known = [file for file in files if isinstance(file, dict)]
        if known and all(is_file_of_output(file.get("name")) for file in known):
            known = [{**known[0], "name": "withheld outputs"}]
        nothing: dict[str, Any] = {"sha256": "", "bytes": 0, "type": None, "findings": [finding]}
        return {**export, "files": [{**file, **nothing} for file in known]}

    async def metered_refusal(self, problem: Problem) -> Problem:
        """`problem` counted each time: that a file exists, what it is and how large it is are answers of a kernel."""
        silence = await self.workspace.count_shown(len(encode(problem.as_json())))
        if not silence:
            return problem
        return _withheld("This was refused, and why is withheld", silence, self.workspace, "Try again tomorrow (UTC).")


def _withheld(title: str, silence: str, workspace: Workspace, what_next: str) -> Problem:
    rule = workspace.display.rule
    return Problem(403, "display-budget", title, silence, why=(rule,) if rule else (), next=what_next)


class Work(MeteredHandler):
    """The names in the work folder: kernels choose them, so they are metered like output."""

    @web.authenticated
    @spoken
    async def get(self) -> None:
        path = self.get_query_argument("path", "")
        try:
            found = await asyncio.to_thread(workfiles.listing, self.server.work, path)
        except Problem as problem:
            raise await self.metered_refusal(problem) from problem
        raw = encode(found)
        silence = await self.workspace.count_shown(len(raw))
        if silence:
            raise _withheld(
                "The list of work files is withheld",
                silence,
                self.workspace,
                "Files can still be exported by name in the Exports panel.",
            )
        self.finish(raw)


class ExportHandler(MeteredHandler):
    """Makes exports: draft, stage every file in the vault, submit. Control learns hashes only, the vault bytes only."""

    async def export(
        self, copies: list[workfiles.Copied], justification: str, cells: list[int], draft: Draft | None = None
    ) -> None:
        """Answer with the export of `copies`, which are closed; `cells`: the entries that it names."""
        try:
            made = await self._send(copies, justification, cells, draft)
        except Problem as problem:
            raise await self.metered_refusal(problem) from problem
        finally:
            for copy in copies:
                copy.file.close()
        submitted(self.workspace, draft)
        self.workspace.publish("export", {"id": made.get("id"), "state": made.get("state")})
        self.answer(await self.metered(made), 201)

    async def _send(
        self, copies: list[workfiles.Copied], justification: str, cells: list[int], draft: Draft | None
    ) -> dict[str, Any]:
        made = await self.workspace.control.draft_export(
            {
                "justification": justification,
                "files": [{"name": copy.name, "bytes": copy.size, "sha256": copy.sha256} for copy in copies],
                "cells": cells,
                "prepared": None if draft is None else draft.entry,
            }
        )
        identifier, tickets = str(made.get("id", "")), made.get("tickets")
        if not isinstance(tickets, list) or len(tickets) != len(copies):
            raise Problem.from_json(None)
        receipts = [
            await self.vault.stage(identifier, index, str(ticket), copy.file)
            for index, (copy, ticket) in enumerate(zip(copies, tickets, strict=True))
        ]
        return await self.workspace.control.submit_export(identifier, receipts)


def justification_in(body: dict[str, Any]) -> str:
    """Raises Problem."""
    justification = body.get("justification")
    if not isinstance(justification, str):
        raise Problem(400, "bad-request", "Not understood", "justification is a text.")
    return justification


class Exports(ExportHandler):
    @web.authenticated
    @spoken
    async def get(self) -> None:
        found = await self.workspace.control.exports()
        exports = found.get("exports")
        self.workspace.note_states("export", exports)
        shown = [await self.metered(export) for export in exports] if isinstance(exports, list) else []
        self.answer({**found, "exports": shown})

    @web.authenticated
    @spoken
    async def post(self) -> None:
        body = self.body()
        paths, justification = body.get("paths"), justification_in(body)
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise Problem(400, "bad-request", "Not understood", "paths is a list of file names below ~/work.")
        draft = prepared(self.workspace, body, "export")
        try:
            copies = await asyncio.to_thread(workfiles.copy_for_export, self.server.work, paths)
        except Problem as problem:
            raise await self.metered_refusal(problem) from problem
        await self.export(copies, justification, self.workspace.entries()[-CELLS_SENT:], draft)


class WithheldOutputs(Handler):
    """The withheld outputs that this server keeps."""

    @web.authenticated
    @spoken
    async def get(self) -> None:
        self.answer({"withheld": self.workspace.withheld.listed()})


class ReviewWithheld(ExportHandler):
    """An export of withheld outputs, from the cell: to the airlock they are files like any other."""

    @web.authenticated
    @spoken
    async def post(self) -> None:
        body = self.body()
        ids, justification = body.get("ids"), justification_in(body)
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids) or len(ids) > workfiles.MAX_FILES:
            raise Problem(
                400,
                "bad-request",
                "Not understood",
                f"ids is a list of at most {workfiles.MAX_FILES} withheld outputs.",
            )
        copies, cells = self.workspace.withheld.copies(ids)
        await self.export(copies, justification, cells)


class WithdrawExport(MeteredHandler):
    @web.authenticated
    @spoken
    async def post(self, identifier: str) -> None:
        made = await self.workspace.control.withdraw_export(identifier)
        self.workspace.publish("export", {"id": made.get("id"), "state": made.get("state")})
        self.answer(await self.metered(made))


class DownloadExport(Handler):
    """A released export as a zip: exactly the approved bytes, with the signed manifest."""

    @web.authenticated
    @spoken
    async def get(self, identifier: str) -> None:
        released = await self.workspace.control.download_export(identifier)
        with workfiles.memory() as archive:
            await self._pack(identifier, released, archive)
            archive.seek(0)
            self.set_header("Content-Type", "application/zip")
            self.set_header("Content-Disposition", f'attachment; filename="strongroom-export-{identifier}.zip"')
            while chunk := archive.read(CHUNK):
                self.write(chunk)
                await self.flush()
        self.finish()

    async def _pack(self, identifier: str, released: dict[str, Any], archive: IO[bytes]) -> None:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in released["files"]:
                with workfiles.memory() as plain:
                    await self.vault.fetch(identifier, str(file["sha256"]), str(file["ticket"]), plain)
                    plain.seek(0)
                    if hashlib.file_digest(plain, "sha256").hexdigest() != file["sha256"]:
                        raise _not_the_approved(identifier)
                    plain.seek(0)
                    with packed.open(_member(str(file["name"])), "w") as member:
                        while chunk := plain.read(CHUNK):
                            member.write(chunk)
            packed.writestr("manifest.json", _text(released["manifest"]))
            packed.writestr("manifest.json.sig", _text(released["signature"]))
            packed.writestr("release.tlog-proof", _text(released["proof"]))


class ExportHistory(Handler):
    """What the log says of an own export. Control leaves out what code chose, so nothing of it is metered."""

    @web.authenticated
    @spoken
    async def get(self, identifier: str) -> None:
        self.answer(await self.workspace.control.export_history(identifier))


class NotebookHistory(Handler):
    """What the log says of an own notebook; as of an export."""

    @web.authenticated
    @spoken
    async def get(self) -> None:
        notebook, before = self.get_query_argument("notebook", ""), self.get_query_argument("before", "")
        if not 0 < len(notebook) <= LONGEST_PATH or not (before == "" or (before.isascii() and before.isdigit())):
            raise Problem(400, "bad-request", "Not understood", "notebook is a path, before the number of an entry.")
        self.answer(await self.workspace.control.notebook_history(notebook, int(before) if before else None))


def _member(name: str) -> str:
    """A name in the archive that stays below the folder into which it is unpacked."""
    return "/".join(part for part in PurePosixPath(name).parts if part not in {"/", ".."})


def _text(value: Any) -> str:
    """What is signed comes as text: its exact bytes count."""
    if not isinstance(value, str):
        raise Problem.from_json(None)
    return value


def _not_the_approved(identifier: str) -> Problem:
    return Problem(
        502,
        "wrong-bytes",
        "The vault did not give back the approved bytes",
        f"A file of export {identifier} has another SHA-256 than the one that was approved.",
        next="Tell the operator: this must not happen.",
    )


class Cells(Handler):
    @web.authenticated
    @spoken
    async def get(self) -> None:
        self.answer({"cells": self.workspace.cells(self.get_query_argument("notebook", ""))})


class CellProof(Handler):
    """What the page checks before it says that a cell is in the log. Control tells it; it is passed on as it comes."""

    @web.authenticated
    @spoken
    async def get(self, entry: str) -> None:
        since = self.get_query_argument("since", "")
        if since and not _NUMBER.fullmatch(since):
            raise Problem(400, "bad-request", "Not understood", "`since` is a number of entries.")
        self.answer(await self.workspace.control.prove_cell(int(entry), int(since) if since else None))


class Frame(Handler):
    """The document that draws one kind of interactive output: a library, and no data. At public alone."""

    def check_xsrf_cookie(self) -> None:
        """The answer is the same for everybody who may ask, and a token in the address could be read in the frame."""

    @web.authenticated
    async def get(self, kind: str) -> None:
        shown = frames.words("Interactive output is shown at label public alone.")
        if self.workspace.label == Label.PUBLIC:
            try:
                shown = await asyncio.to_thread(frames.document, self.server.kernel_prefix, kind)
            except (OSError, UnicodeDecodeError):
                shown = frames.words("The library that draws this output is not installed in the kernels' environment.")
        self.set_header("Content-Security-Policy", shown.policy)
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Vary", "Accept-Encoding")
        packed = "gzip" in self.request.headers.get("Accept-Encoding", "")
        if packed:
            self.set_header("Content-Encoding", "gzip")
        self.finish(shown.packed if packed else shown.body, set_content_type="text/html; charset=UTF-8")


class NoConversions(Handler):
    """Lab asks which formats a notebook can be converted to: none, the converter would run in this trusted server."""

    @web.authenticated
    @spoken
    async def get(self) -> None:
        self.answer({})


class NoPaths(Handler):
    """Lab asks where a path in an output leads: nowhere, the stock answer would tell which files the host has."""

    @web.authenticated
    @spoken
    async def get(self) -> None:
        self.answer({"resolved": []})


class NoEvents(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """Lab listens for the server's events here. None are sent: theirs would carry kernels' error texts."""

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        await super().get(*args, **kwargs)

    def set_default_headers(self) -> None:
        """A websocket's answer has headers of its own."""

    def on_message(self, message: str | bytes) -> None:
        """Nothing that a page says here is heard."""


def routes(
    settings: Settings, workspace: Workspace, vault: Vault
) -> list[tuple[str, type[JupyterHandler], dict[str, Any]]]:
    """Patterns below the server's base URL, with what each handler needs."""
    table: list[tuple[str, type[Handler]]] = [
        ("session", Session),
        ("stream", Stream),
        ("datasets", Datasets),
        (f"datasets/{_DATASET}/profile", DatasetProfile),
        ("drafts", Drafts),
        (f"drafts/{_ID}/discard", DiscardDraft),
        ("access-requests", AccessRequests),
        (f"access-requests/{_ID}/withdraw", WithdrawAccessRequest),
        ("work", Work),
        ("exports", Exports),
        (f"exports/{_ID}/withdraw", WithdrawExport),
        (f"exports/{_ID}/download", DownloadExport),
        (f"exports/{_ID}/history", ExportHistory),
        ("history", NotebookHistory),
        ("withheld", WithheldOutputs),
        ("withheld/review", ReviewWithheld),
        ("cells", Cells),
        (rf"cells/(?P<entry>{_NUMBER.pattern})/proof", CellProof),
    ]
    shared = {"settings": settings, "workspace": workspace, "vault": vault}
    return [
        *((f"/strongroom/api/{path}", handler, shared) for path, handler in table),
        (f"/strongroom/frames/(?P<kind>{'|'.join(frames.LIBRARIES)})", Frame, shared),
        ("/api/nbconvert", NoConversions, shared),
        ("/api/resolvePath", NoPaths, shared),
        ("/api/events/subscribe", NoEvents, {}),
    ]
