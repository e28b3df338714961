"""The display rule as control decided it, and as it applies to the next output. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from strongroom_policy.labels import Label


@dataclass(frozen=True, slots=True)
class Display:
    """How much may be shown, as control decided. None = no limit."""

    allowed: bool
    cell_bytes: int | None
    day_bytes_left: int | None
    image_bytes: int | None
    rule: str
    text: str

    @classmethod
    def parse(cls, body: Any) -> Display:
        """Read DISPLAY from the wire; whatever is not well formed allows nothing."""
        if not isinstance(body, dict) or body.get("allowed") is not True:
            shape = body if isinstance(body, dict) else {}
            return nothing(str(shape.get("rule", "")), str(shape.get("text", "")))
        return cls(
            allowed=True,
            cell_bytes=_limit(body.get("cell_bytes", 0)),
            day_bytes_left=_limit(body.get("day_bytes_left", 0)),
            image_bytes=_limit(body.get("image_bytes", 0)),
            rule=str(body.get("rule", "")),
            text=str(body.get("text", "")),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "allowed": self.allowed,
            "cell_bytes": self.cell_bytes,
            "day_bytes_left": self.day_bytes_left,
            "image_bytes": self.image_bytes,
            "rule": self.rule,
            "text": self.text,
        }


def _limit(value: Any) -> int | None:
    """None is no limit; what is no number of bytes is zero."""
    if value is None:
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def nothing(rule: str, text: str) -> Display:
    """The rule under which nothing is shown."""
    return Display(allowed=False, cell_bytes=0, day_bytes_left=0, image_bytes=0, rule=rule, text=text)


@dataclass(frozen=True, slots=True)
class View:
    """The rule for the next output: label, limits, and why nothing may be shown (`silence`, empty if something may)."""

    label: Label
    display: Display
    day_left: int | None
    silence: str

    @property
    def sealed(self) -> str:
        """Why not one byte of free form is shown, empty if some may be.

        Then what pages are told of withheld outputs is constant too: no sizes, no types.
        """
        if self.silence or self.label == Label.PUBLIC:
            return self.silence
        if self.display.cell_bytes == 0:
            return f"At label {self.label} no output is shown."
        return "The display budget of this day is spent." if self.day_left == 0 else ""
