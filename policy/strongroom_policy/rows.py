"""The rows of the policy files, and of the database, as typed values; each remembers where it came from."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from strongroom_policy.values import Value
from strongroom_policy.vocabulary import ANYONE

EFFECTS = ("allow", "deny")
FIELDS = {
    "p": ("id", "who", "may", "on", "purpose", "since", "until", "effect", "why"),
    "p2": ("id", "who", "when", "on", "purpose", "kind", "value", "unless", "why"),
    "g": ("who", "belongs to", "since", "until"),
    "g2": ("what", "tag"),
    "g3": ("action", "needs"),
}
"""The columns of each kind of row, after the first (the kind itself)."""
BUILT_IN = "built in"


@dataclass(frozen=True, slots=True)
class Row:
    """One row before it is understood. `origin` is a file's name (then with a `line`) or a text such as `grant 12`."""

    ptype: str
    fields: tuple[str, ...]
    origin: str
    line: int = 0

    @property
    def place(self) -> str:
        return f"{self.origin}:{self.line}" if self.line else self.origin


@dataclass(frozen=True, slots=True)
class _Named:
    """What rules and duties have in common."""

    id: str
    subject: str
    actions: frozenset[str]
    object: str
    purpose: str
    why: str
    row: Row

    @property
    def name(self) -> str:
        """`G2 (policy.csv:30)`: how people are told which row it was."""
        return f"{self.id} ({self.row.place})"

    @property
    def file(self) -> str:
        return self.row.origin

    @property
    def line(self) -> int:
        return self.row.line

    @property
    def acts(self) -> str:
        """The actions as they are written, `read|display`."""
        return self.row.fields[2]


@dataclass(frozen=True, slots=True)
class Rule(_Named):
    """A `p` row: who may (or may not) do what, on what, for which purpose, when. Instants are canonical or empty."""

    since: str
    until: str
    allows: bool

    @property
    def text(self) -> str:
        """The rule as a clause: `allows read|display on label:public to role:analyst`."""
        verb = "allows" if self.allows else "denies"
        text = f"{verb} {self.acts} on {self.object} to {'anyone' if self.subject == ANYONE else self.subject}"
        if self.purpose != ANYONE:
            text += f" for {self.purpose}"
        return text + self.window

    @property
    def window(self) -> str:
        """` from X until Y` as the row has it, or nothing."""
        since, until = self.row.fields[5:7]
        return (f" from {since}" if since else "") + (f" until {until}" if until else "")

    def casbin_row(self) -> tuple[str, ...]:
        """In the order of model.conf's policy_definition, instants canonical."""
        effect = "allow" if self.allows else "deny"
        return self.id, self.subject, self.acts, self.object, self.purpose, self.since, self.until, effect, self.why


@dataclass(frozen=True, slots=True)
class Duty(_Named):
    """A `p2` row: what a permission is tied to."""

    kind: str
    value: Value
    unless: str

    @property
    def text(self) -> str:
        return f"{self.kind} {self.value} on {self.object}" + (f" unless {self.unless}" if self.unless else "")


@dataclass(frozen=True, slots=True)
class Member:
    """A `g` row: `who` belongs to `of` from `since` (inclusive) to `until` (exclusive), where given."""

    who: str
    of: str
    since: str
    until: str
    row: Row


@dataclass(frozen=True, slots=True)
class Tagging:
    """A `g2` row: an object, and all below it, carries a tag."""

    what: str
    tag: str
    row: Row


@dataclass(frozen=True, slots=True)
class Need:
    """A `g3` row: a denial of `needs` denies `action` too."""

    action: str
    needs: str
    row: Row


Typed = Rule | Duty | Member | Tagging | Need


def invisible(text: str) -> str:
    """The first control, format or unassigned character in `text` as U+XXXX, or nothing."""
    if text.isascii() and text.isprintable():
        return ""
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
            return f"U+{ord(character):04X}"
    return ""
