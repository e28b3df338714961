"""Client of control's internal API: one coroutine for each call that a single-user server may make.

Every call returns the answer's JSON object or raises `Problem`: control's own refusal, or a 503 where control is
silent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from strongroom_hub.problems import Problem
from tornado.log import app_log

from strongroom_lab.cells import CellDoor
from strongroom_lab.problems import control_silent

TIMEOUT = aiohttp.ClientTimeout(total=15.0, connect=3.0)
QUICK = aiohttp.ClientTimeout(total=1.5)
"""For the display decision, on which waiting output depends."""
KEPT_OPEN = 60.0
"""Seconds that an idle connection is kept: less than control does, so that no call meets one that it just closed."""


class Control:
    """Control's internal API as one server sees it, with the server's own credential."""

    def __init__(self, socket: Path, cells: Path, credential: str) -> None:
        """`cells`: the door of begins and ends of cells."""
        self._socket = socket
        self._cells = CellDoor(cells, credential)
        self._headers = {"Authorization": f"Bearer {credential}", "Content-Type": "application/json"}
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        self._cells.close()
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        """Made at the first call, because it belongs to the loop that runs then."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                "http://control/internal/v1/",
                connector=aiohttp.UnixConnector(str(self._socket), keepalive_timeout=KEPT_OPEN),
                headers=self._headers,
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=TIMEOUT,
            )
        return self._session

    async def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        patience: aiohttp.ClientTimeout = TIMEOUT,
    ) -> dict[str, Any]:
        sent = None if body is None else json.dumps(body).encode()
        try:
            async with self._client().request(
                method, path, data=sent, timeout=patience, allow_redirects=False
            ) as response:
                status, raw = response.status, await response.read()
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            raise control_silent() from error
        try:
            answer = json.loads(raw) if raw else {}
        except ValueError:
            answer = None
        if not 200 <= status < 300 or not isinstance(answer, dict):  # noqa: PLR2004 - HTTP's successes
            raise Problem.from_json(answer, status)
        return answer

    async def session(self) -> dict[str, Any]:
        """SESSION: who, project, label, sources, display rule."""
        return await self._call("GET", "session")

    async def open_kernel(self, kernel: str, notebook: str, tier: str) -> dict[str, Any]:
        """Record that a kernel starts, before it does. `tier` of its box: what it may read depends on that."""
        return await self._call("POST", "kernels", {"kernel": kernel, "notebook": notebook, "tier": tier})

    async def close_kernel(self, kernel: str, reason: str) -> dict[str, Any]:
        return await self._call("DELETE", f"kernels/{kernel}", {"reason": reason})

    async def begin_cell(
        self, *, kernel: str, notebook: str, cell: str, kind: str, code: str, silent: bool
    ) -> dict[str, Any]:
        """Append a cell entry; returns when it is durable. `kind`: execute, complete, inspect, comm or input.

        `silent`: a run that shows no number and leaves no trace in the kernel's history.
        """
        body = {"kernel": kernel, "notebook": notebook, "cell": cell, "kind": kind, "code": code, "silent": silent}
        return await self._cells.ask({"op": "begin", **body})

    async def end_cells(self, ends: list[dict[str, Any]]) -> None:
        """Close cells, each named by its `entry`. What control refuses of them is noted in the server's log.

        Raises Problem where it took none: they have to be sent again.
        """
        answer = await self._cells.ask({"op": "end", "ends": ends})
        for told in answer.get("ends", ()):
            if not told.get("ok"):
                app_log.error("control refused the end of a cell: %s", Problem.from_json(told.get("problem")).title)

    async def prove_cell(self, entry: int, since: int | None) -> dict[str, Any]:
        """Proof that a begin is in the log, and that the log goes on from the one of `since` entries."""
        asked = "" if since is None else f"?since={since}"
        return await self._call("GET", f"audit/entries/{entry}{asked}")

    async def report_violation(self, kernel: str, kind: str, counts: dict[str, int], text: str) -> dict[str, Any]:
        """Record what a kernel tried or ran into; `kind`: syscall, limit, start, message or rate."""
        body = {"kernel": kernel, "kind": kind, "counts": counts, "text": text}
        return await self._call("POST", "violations", body)

    async def read(
        self,
        *,
        kernel: str,
        cell: int,
        dataset: str,
        version: Any,
        columns: Any,
        synthetic: bool = False,
        stream: bool = False,
    ) -> dict[str, Any]:
        """Decide on one dataset read; the answer carries the ticket and the label that it raises."""
        body = {"kernel": kernel, "cell": cell, "dataset": dataset, "version": version, "columns": columns}
        asked = {name: True for name, wanted in (("synthetic", synthetic), ("stream", stream)) if wanted}
        return await self._call("POST", "reads", body | asked)

    async def display(self) -> dict[str, Any]:
        """The display rule, decided now."""
        return await self._call("GET", "display", patience=QUICK)

    async def charge(self, kernel: str | None, route: str, amount: int) -> dict[str, Any]:
        """Charge bytes to the day's budget before they are shown (`route`: cell or work)."""
        return await self._call("POST", "display", {"kernel": kernel, "route": route, "bytes": amount})

    async def save_file(self, path: str, size: int, sha256: str) -> dict[str, Any]:
        return await self._call("POST", "files", {"path": path, "bytes": size, "sha256": sha256})

    async def catalog(self) -> dict[str, Any]:
        return await self._call("GET", "catalog")

    async def profile(self, dataset: str) -> dict[str, Any]:
        """What the label of its newest version lets be told of the data, and of its checks."""
        return await self._call("GET", f"catalog/{dataset}/profile")

    async def access_requests(self) -> dict[str, Any]:
        return await self._call("GET", "access-requests")

    async def request_access(self, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call("POST", "access-requests", body)

    async def withdraw_access_request(self, request: str) -> dict[str, Any]:
        return await self._call("POST", f"access-requests/{request}/withdraw")

    async def begin_save(self, body: dict[str, Any]) -> dict[str, Any]:
        """A draft version for a kernel's table; the answer carries its ticket, label and sources."""
        return await self._call("POST", "saves", body)

    async def finish_save(self, dataset: str, version: int, receipt: str) -> None:
        """Have what the vault took in, by its own receipt, signed and made visible to the project."""
        await self._call("POST", f"saves/{dataset}/{version}/finish", {"receipt": receipt})

    async def exports(self) -> dict[str, Any]:
        return await self._call("GET", "exports")

    async def draft_export(self, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call("POST", "exports", body)

    async def submit_export(self, export: str, receipts: list[str]) -> dict[str, Any]:
        return await self._call("POST", f"exports/{export}/submit", {"receipts": receipts})

    async def withdraw_export(self, export: str) -> dict[str, Any]:
        return await self._call("POST", f"exports/{export}/withdraw")

    async def download_export(self, export: str) -> dict[str, Any]:
        return await self._call("POST", f"exports/{export}/download")

    async def export_history(self, export: str) -> dict[str, Any]:
        """All that led to its files, as far as its author may be told; looking is an entry."""
        return await self._call("GET", f"audit/timelines/export/{export}")

    async def notebook_history(self, notebook: str, before: int | None) -> dict[str, Any]:
        """How a notebook ran, newest first, as far as its author may be told; looking is an entry."""
        asked = {"notebook": notebook} | ({} if before is None else {"before": before})
        return await self._call("GET", f"audit/timelines/notebook?{urlencode(asked)}")
