"""The four labels and their order. Standard library only: the notebook server imports this module too."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Label(StrEnum):
    """How closely data is held: `public < internal < confidential < secret`.

    A label is a string (JSON and databases see `"confidential"`), but it compares by rank. Comparing it with a plain
    string by `<` or `>` would be alphabetical nonsense, so that raises TypeError: parse first.
    """

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    SECRET = "secret"  # noqa: S105 - a label, not a password

    @property
    def rank(self) -> int:
        """0 for public to 3 for secret."""
        return _RANKS[self._value_]

    @classmethod
    def parse(cls, text: object) -> Label:
        """The label of that exact name; anything else, None included, is `secret`."""
        return _BY_NAME.get(text, cls.SECRET) if isinstance(text, str) else cls.SECRET

    def __lt__(self, other: str) -> bool:
        return self.rank < _rank_of(other)

    def __le__(self, other: str) -> bool:
        return self.rank <= _rank_of(other)

    def __gt__(self, other: str) -> bool:
        return self.rank > _rank_of(other)

    def __ge__(self, other: str) -> bool:
        return self.rank >= _rank_of(other)


_RANKS = {label.value: rank for rank, label in enumerate(Label)}
_BY_NAME: dict[str, Label] = {label.value: label for label in Label}


def _rank_of(other: object) -> int:
    if not isinstance(other, Label):
        raise TypeError(f"a label compares only with a label, not with {other!r}: use Label.parse")
    return other.rank


def highest(labels: Iterable[Label | str | None]) -> Label:
    """The highest of `labels` (unknown and None count as secret); of none at all: public, for nothing was read."""
    return max((Label.parse(label) for label in labels), default=Label.PUBLIC)
