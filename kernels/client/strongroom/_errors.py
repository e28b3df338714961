"""What can go wrong, in words: a notebook shows the message and no traceback."""

from __future__ import annotations

from typing import Any

_HOW_TO_ASK = (
    "Ask for access: open the Datasets panel in the left sidebar, choose {dataset}, and press Request access, or let "
    'strongroom.request("{dataset}", purpose="...") fill in the form. A data steward decides; then run this cell again.'
)


class StrongroomError(Exception):
    """A refusal or failure. `title`, `detail`, `why` (lines) and `next` are its parts; `slug` names its kind."""

    def __init__(
        self, title: str, detail: str = "", why: tuple[str, ...] = (), next_step: str = "", slug: str = ""
    ) -> None:
        super().__init__(title)
        self.title = title
        self.detail = detail
        self.why = why
        self.next = next_step
        self.slug = slug

    def __str__(self) -> str:
        parts = [self.title, self.detail, *(f"  because {line}" for line in self.why)]
        return "\n".join([part for part in parts if part] + ([f"Next: {self.next}"] if self.next else []))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return str(self).splitlines()


class AccessDenied(StrongroomError):  # noqa: N818 - the words a person reads
    """The rules do not let you read this, or not now."""


class UnknownDataset(StrongroomError):  # noqa: N818
    """There is no such dataset that you may discover."""


class Unavailable(StrongroomError):  # noqa: N818
    """A part of the Strongroom does not answer; nothing was read."""


def from_problem(problem: Any, dataset: str = "") -> StrongroomError:
    """The error for a problem object of the wire; a refused dataset always comes with the way to ask for it."""
    body = problem if isinstance(problem, dict) else {}
    status = body.get("status")
    kind = (
        {403: AccessDenied, 404: UnknownDataset}.get(status, StrongroomError)
        if isinstance(status, int)
        else Unavailable
    )
    if isinstance(status, int) and status >= 500:  # noqa: PLR2004 - HTTP's own classes
        kind = Unavailable
    why = body.get("why")
    next_step = str(body.get("next") or "")
    if kind is AccessDenied and dataset and not next_step:
        next_step = _HOW_TO_ASK.format(dataset=dataset)
    return kind(
        str(body.get("title") or "Refused"),
        str(body.get("detail") or ""),
        tuple(str(line) for line in why) if isinstance(why, list) else (),
        next_step,
        str(body.get("type") or "").removeprefix("urn:strongroom:problem:"),
    )
