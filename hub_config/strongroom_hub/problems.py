"""The one error shape of the product: RFC 9457 problem details with *why* and *next*.

Every refusal that a person can meet is a `Problem`: what happened (`detail`), why (`why`: the rules with file and
line, or the check that failed) and what to do next (`next`).
"""

from __future__ import annotations

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

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Problem:
        """Rebuild a problem that another process answered with; unknown members are ignored."""
        return cls(
            int(body.get("status", 500)),
            str(body.get("type", "")).removeprefix(TYPE_PREFIX) or "unknown",
            str(body.get("title", "Refused")),
            str(body.get("detail", "")),
            why=tuple(str(line) for line in body.get("why", ())),
            next=str(body.get("next", "")),
        )
