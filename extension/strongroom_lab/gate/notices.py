"""What a cell says in the place of outputs that were withheld, in the gate's own words.

Where nothing free is shown there is one notice in a cell, in constant words: no sizes, no types, no number. What
remains is that there was something, and when.
"""

from __future__ import annotations

from typing import Any

from strongroom_policy.sizes import size

from strongroom_lab import mime
from strongroom_lab.budget import Verdict, coarse
from strongroom_lab.canon import Message
from strongroom_lab.display import View
from strongroom_lab.gate.pages import Pages
from strongroom_lab.gate.requests import Request
from strongroom_lab.withheld import Kept, form_of
from strongroom_lab.workspace import Workspace

PLACES = 8
"""Notices of single outputs in one cell; further outputs are summed up."""
NEXT_REVIEW = "It can be sent to review from here. "
NEXT = (
    "Print less, or write the result to a file in ~/work and ask for its release in the Exports panel. "
    "The kernel goes on running and keeps everything."
)
NO_FORM = b"This output has no form that can be reviewed: write the result to a file.\n"


class Notices:
    """The notices in the cells of one kernel; withheld outputs are kept for review."""

    def __init__(self, kernel_id: str, workspace: Workspace, pages: Pages) -> None:
        self._kernel_id = kernel_id
        self._workspace = workspace
        self._pages = pages

    def withheld(self, request: Request, message: Message, verdict: Verdict, view: View) -> None:
        """Say that (a part of) `message` is not shown, where the cell has room for that."""
        if request.meter.withheld and not request.told:
            request.told = True
            amount = 0 if view.sealed else coarse(request.meter.withheld)
            words = self._summary(request, view)
            event = {"kernel": self._kernel_id, "rule": request.meter.rule, "text": words, "bytes": amount}
            self._workspace.publish("notice", event)
        if request.kind != "execute":
            return
        if message.type in {"display_data", "execute_result"} and request.places < PLACES:
            self._in_place(request, message, verdict, view)
        else:
            self._summed(request, message, verdict, view)

    def _in_place(self, request: Request, message: Message, verdict: Verdict, view: View) -> None:
        request.places += 1
        form = form_of(message)
        if view.sealed:
            # Neither whether an output can be reviewed nor how many there are must tell what they are.
            self._sealed(request, self._kept(request, *(form or ("text/plain", "txt", NO_FORM)), view), view)
            return
        kept = None if form is None else self._kept(request, *form, view)
        amount = "" if form is None else f", {form[0]}, at most {size(coarse(verdict.withheld))}"
        text = f"Strongroom withheld this output{amount}. {verdict.reason}"
        content: dict[str, Any] = {"data": _data(kept, text, view.display.rule), "metadata": {}}
        if message.type == "execute_result" and verdict.part is None:
            self._publish(request, "execute_result", {**content, "execution_count": request.count})
        else:
            self._publish(request, "display_data", {**content, "transient": {}})

    def _summed(self, request: Request, message: Message, verdict: Verdict, view: View) -> None:
        """One notice for streams, errors, widgets and what finds no place: it is kept as one text."""
        first = request.kept is None
        if request.kept is None:
            request.kept = self._kept(request, "text/plain", "txt", b"", view)
        form = form_of(message) if message.type in {"stream", "error"} else None
        if form is not None:
            shown = len(verdict.part.content["text"].encode()) if verdict.part is not None else 0
            self._workspace.withheld.extend(request.kept, form[2][shown:])
        if view.sealed:
            self._sealed(request, request.kept, view)
        elif first:
            self._say_sum(request, request.kept, view, "display_data")

    def _sealed(self, request: Request, kept: Kept, view: View) -> None:
        """The one notice of a cell that may tell nothing; all that the cell holds back goes to review together."""
        if request.sealed:
            return
        request.sealed = True
        text = f"Strongroom withheld output of this cell. {request.meter.reason}"
        self._publish(
            request, "display_data", {"data": _data(kept, text, view.display.rule), "metadata": {}, "transient": {}}
        )

    def finish(self, request: Request, view: View) -> None:
        """Bring the figures of a cell's summing notice up to date, where figures may be told."""
        if request.kept is not None and request.meter.withheld != request.summed and not view.sealed:
            self._say_sum(request, request.kept, view, "update_display_data")

    def _say_sum(self, request: Request, kept: Kept, view: View, kind: str) -> None:
        request.summed = request.meter.withheld
        data = _data(kept, self._summary(request, view), request.meter.rule, coarse(request.meter.withheld))
        identity = {"display_id": f"strongroom-notice-{request.entry}"}
        self._publish(request, kind, {"data": data, "metadata": {}, "transient": identity})

    def _summary(self, request: Request, view: View) -> str:
        meter = request.meter
        amount = ""
        if not view.sealed:
            amount = f": at most {size(coarse(meter.withheld))} not shown, {size(meter.shown)} shown"
        return f"Strongroom withheld output of this cell{amount}. {meter.reason}"

    def _kept(self, request: Request, kind: str, suffix: str, raw: bytes, view: View) -> Kept:
        kept = Kept(request.entry, request.notebook, request.cell, kind, suffix, bytearray(raw), told=not view.sealed)
        if view.sealed:
            kept.id = request.sealed_id
        self._workspace.withheld.keep(kept)
        return kept

    def _publish(self, request: Request, kind: str, content: dict[str, Any]) -> None:
        self._pages.publish(Message("iopub", kind, content), request.parent)


def _data(kept: Kept | None, text: str, rule: str, amount: int | None = None) -> dict[str, Any]:
    """The notice as pages get it; without `kept` there is nothing to review."""
    what_next = NEXT_REVIEW + NEXT if kept is not None else NEXT
    told = kept is not None and kept.told
    notice = {
        "id": kept.id if kept is not None else "",
        "bytes": amount or coarse(len(kept.raw)) if kept is not None and told else None,
        "mime": kept.mime if kept is not None and told else None,
        "rule": rule,
        "text": text,
        "next": what_next,
        "reviewable": kept is not None,
    }
    return {"text/plain": f"{text}{f' Rule {rule}.' if rule else ''} {what_next}", mime.WITHHELD: notice}
