"""The one error shape of the product: RFC 9457 problem details with *why* and *next*.

Every refusal that a person can meet is a `Problem`: what happened (`detail`), why (`why`: the rules with file and
line, or the check that failed) and what to do next (`next`).
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:strongroom:problem:"


class Problem(Exception):  # noqa: N818 - RFC 9457's own word, and what the person reads is not "an error"
    """A refusal in words. `slug` is stable and machine-readable; the texts are for people."""

    def __init__(
        self,
        status: int,
        slug: str,
        title: str,
        detail: str,
        *,
        why: tuple[str, ...] = (),
        next: str = "",  # noqa: A002
    ) -> None:
        super().__init__(f"{title}: {detail}")
        self.status = status
        self.slug = slug
        self.title = title
        self.detail = detail
        self.why = why
        self.next = next

    def as_json(self) -> dict[str, Any]:
        """The problem as the wire carries it: type, title, status, detail, why, next."""
        return {
            "type": TYPE_PREFIX + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "why": list(self.why),
            "next": self.next,
        }

    def lines(self) -> list[str]:
        """What a person reads, in order: title, detail, the reasons, what to do next."""
        return [line for line in (self.title, self.detail, *self.why, self.next) if line]

    @classmethod
    def from_json(cls, body: Any, status: int = 502) -> Problem:
        """Rebuild a problem that another process answered with; anything that is not one becomes a plain refusal.

        `status` is what that process answered, for a body that does not say it itself.
        """
        if not isinstance(body, dict) or not isinstance(body.get("title"), str):
            return cls(
                max(status, 400),
                "unexpected-answer",
                "A Strongroom service answered in a way that was not understood",
                f"HTTP status {status}.",
                next="Try again; if it stays, tell the operator.",
            )
        told, why = body.get("status"), body.get("why")
        return cls(
            told if isinstance(told, int) else status,
            str(body.get("type", "")).removeprefix(TYPE_PREFIX) or "unknown",
            body["title"],
            str(body.get("detail", "")),
            why=tuple(str(line) for line in why) if isinstance(why, list) else (),
            next=str(body.get("next", "")),
        )


def unforeseen(error: Exception) -> str:
    """What a log says of an error that nobody foresaw where its text may quote an address or a secret: type, places."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    places = ", from ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {places or 'no known place'}"
