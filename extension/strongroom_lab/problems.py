"""Refusals in words, as the wire carries them: RFC 9457 problem details with *why* and *next*.

The single-user server is installed without the hub's packages, so it has this small class of its own for the same JSON.
"""

from __future__ import annotations

from typing import Any

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:strongroom:problem:"


class Problem(Exception):  # noqa: N818 - RFC 9457's own word, and what the person reads is not "an error"
    """A refusal. `slug` is stable and machine-readable; the texts are for people."""

    def __init__(
        self,
        status: int,
        slug: str,
        title: str,
        detail: str,
        *,
        why: tuple[str, ...] = (),
        next: str = "",  # noqa: A002 - the member's name on the wire
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
    def from_json(cls, status: int, body: Any) -> Problem:
        """Rebuild a problem that another process answered with; anything that is not one becomes a plain refusal."""
        if not isinstance(body, dict) or not isinstance(body.get("title"), str):
            return cls(
                status if status >= 400 else 502,  # noqa: PLR2004 - HTTP's first error status
                "unexpected-answer",
                "A Strongroom service answered in a way that was not understood",
                f"HTTP status {status}.",
                next="Try again; if it stays, tell the operator.",
            )
        why = body.get("why")
        return cls(
            status,
            str(body.get("type", "")).removeprefix(TYPE_PREFIX) or "unknown",
            body["title"],
            str(body.get("detail", "")),
            why=tuple(str(line) for line in why) if isinstance(why, list) else (),
            next=str(body.get("next", "")),
        )


def control_silent() -> Problem:
    """Control did not answer: nothing may run or be shown on an old decision."""
    return Problem(
        503,
        "control-unreachable",
        "The control service does not answer",
        "Strongroom could not reach the service that decides and keeps the audit log, so this was not done.",
        next="Try again in a moment; if it stays so, tell the operator.",
    )
