"""Drawing tokens: texts that keep the form of a value and say nothing else of it to who lacks the key. Pure.

The form of a text is the text with every digit as `0`, every small letter as `a` and every capital as `A`: `Ab-12` has
the form `Aa-00`. Other marks stand in the token as they stand in the value. Whole numbers have a form of their own,
whose first digit, `1`, is never a zero. A form with too little room for its values is given up for a longer one.

What is drawn for a value follows from the key: SHAKE256(key, domain, attempt, value), turned into marks. The first draw
that is free is its token. So a map that lost its newest rows gives the same values the same tokens again, but for those
(few, where there is room) whose draw another value has taken meanwhile.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import polars as pl

from strongroom_hub.vault.checksums import KINDS, luhn, passes

ROOM = 4
"""Tokens that a form has at least for each value in it: with fewer, what is drawn next could be guessed."""
REAL = 9
"""Marks from which on a token must not pass for a real number with check digits."""
_SHORTEST = 5
_ROUNDS = 5_000
_SPARE = 24
"""Bytes beyond twice the marks of a run."""
_ALPHABETS = {"0": b"0123456789", "1": b"123456789", "a": bytes(range(97, 123)), "A": bytes(range(65, 91))}
_RUN = re.compile(r"0+|1|a+|A+|[^01aA]+")
_MOST_COUNTED = 40  # marks of one kind; more than 10^40 is room enough
_INT_64, _UINT_64 = 2**63 - 1, 2**64 - 1
_DIGITS_OF_INT_64 = 19


class Domain(StrEnum):
    """What shares tokens in a project: equal texts, or equal whole numbers."""

    TEXT = "text"
    NUMBER = "number"

    @classmethod
    def of(cls, dtype: pl.DataType) -> Domain:
        """That of a column of this type."""
        return cls.NUMBER if dtype.is_integer() else cls.TEXT


class _Marks(dict[int, str]):
    """How each character stands in a form, for `str.translate`."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        if category[0] == "N":
            mark = "0"
        elif category in ("Lu", "Lt"):
            mark = "A"
        else:
            mark = "a" if category[0] in "LM" else chr(code)
        self[code] = mark
        return mark


_MARKS = _Marks()


def form_of(text: str, domain: Domain) -> str:
    """The form that a token of this value keeps."""
    form = text.translate(_MARKS)
    return form.replace("0", "1", 1) if domain is Domain.NUMBER else form


def room(form: str) -> int:
    """How many texts have this form."""
    found = 1
    for mark, alphabet in _ALPHABETS.items():
        found *= len(alphabet) ** min(form.count(mark), _MOST_COUNTED)
    return found


def longer(form: str, domain: Domain) -> str:
    """A form with more room, which keeps no mark of the other: of `+` and `-` the mark would say all."""
    length = max(_SHORTEST, len(form) + 1)
    return "a" * length if domain is Domain.TEXT else "1" + "0" * (length - 1)


class Drawing:
    """Tokens for values that have none yet, each unlike all in `taken` and all others."""

    def __init__(self, domain: Domain, taken: pl.Series, key: bytes) -> None:
        """`taken`: the tokens of the domain that were given before. `key`: 32 random bytes, the same for ever."""
        self._domain = domain
        self._key = key
        self._taken = taken
        self._occupied: Mapping[str, int] | None = None

    def draw(self, values: Sequence[str]) -> list[str]:
        """One token for each of these values, of which no two are equal, in their order."""
        forms = [""] * len(values)
        for form, rows in self._spread(values).items():
            for row in rows:
                forms[row] = form
        tokens = [""] * len(values)
        given: set[str] = set()
        left = list(range(len(values)))
        for attempt in range(_ROUNDS):
            if not left:
                return tokens
            drawn = [self._drawn(values[row], forms[row], attempt) for row in left]
            refused = self._refused(drawn)
            again = []
            for row, token in zip(left, drawn, strict=True):
                if token not in refused and token not in given and token != values[row]:
                    given.add(token)
                    tokens[row] = token
                else:
                    again.append(row)
            left = again
        raise ValueError("no free tokens were found")  # each draw has a fair chance: this cannot be

    def _spread(self, values: Sequence[str]) -> dict[str, list[int]]:
        """The values' places by the form that their tokens get."""
        own: dict[str, list[int]] = {}
        for row, value in enumerate(values):
            own.setdefault(form_of(value, self._domain), []).append(row)
        settled: dict[str, list[int]] = {}
        for first in sorted(own, key=len):  # a longer form is looked at after all that may be given up for it
            form, rows = first, own[first]
            while room(form) < ROOM * (len(rows) + len(settled.get(form, ())) + self._crowd(form, len(values))):
                form = longer(form, self._domain)
            settled.setdefault(form, []).extend(rows)
        return settled

    def _crowd(self, form: str, more: int) -> int:
        """How many tokens of this form were given before, where that can matter."""
        if room(form) >= ROOM * (len(self._taken) + more):
            return 0
        if self._occupied is None:
            forms = (
                self._taken.str.replace_all("[0-9]", "0").str.replace_all("[a-z]", "a").str.replace_all("[A-Z]", "A")
            )
            if self._domain is Domain.NUMBER:
                forms = forms.str.replace("0", "1", literal=True)
            self._occupied = dict(forms.alias("form").value_counts().iter_rows())
        return self._occupied.get(form, 0)

    def _drawn(self, value: str, form: str, attempt: int) -> str:
        """A text of this form; another one at each attempt."""
        start = b"%s%s\0%d\0" % (self._key, self._domain.encode(), attempt)
        return text_of(form, hashlib.shake_256(start + value.encode()))

    def _refused(self, drawn: list[str]) -> set[str]:
        """Those that were given before, do not fit into their type, or could be taken for a real number."""
        tokens = pl.Series("token", drawn, dtype=pl.String)
        refused = set(self._taken.filter(self._taken.is_in(tokens.implode()))) | pass_for_real(tokens)
        if self._domain is Domain.NUMBER:
            refused |= {token for token in drawn if not _fits(token)}
        return refused


def pass_for_real(tokens: pl.Series) -> set[str]:
    """Those of these texts that could be taken for a number of a person or account: their check digits are right.

    Whole rows of digits count as well where their Luhn digit is right, whatever they are the number of.
    """
    found: set[str] = set()
    plain = tokens.str.replace_all(r"[\s.\-/]", "").str.to_uppercase()
    checks = [(f"^(?:{shape})$", check) for shape, check in KINDS.values()]
    for shape, check in [*checks, (f"^[0-9]{{{REAL},}}$", luhn)]:
        rows = (plain.str.contains(shape) & (plain.str.len_chars() >= REAL)).arg_true()
        pairs = zip(tokens.gather(rows), plain.gather(rows), strict=True)
        found.update(token for token, text in pairs if passes(check, text))
    return found


def _fits(number: str) -> bool:
    digits = number.lstrip("-")
    return int(digits) <= (_INT_64 if len(digits) <= _DIGITS_OF_INT_64 else _UINT_64)


class Source(Protocol):
    """Bytes without end that look random; of the same source always the same."""

    def digest(self, length: int, /) -> bytes: ...


def text_of(form: str, source: Source) -> str:
    """The text of this form that the source says: each mark is equally probable."""
    runs = _RUN.findall(form)
    extra = _SPARE
    while True:
        # more bytes than marks: those that would favour some marks are left out
        sizes = [2 * len(run) + extra if run[0] in _ALPHABETS else 0 for run in runs]
        stream = source.digest(sum(sizes))
        pieces, at = [], 0
        for run, size in zip(runs, sizes, strict=True):
            pieces.append(stream[at : at + size].translate(*_TABLES[run[0]])[: len(run)].decode() if size else run)
            at += size
        text = "".join(pieces)
        if len(text) == len(form):
            return text
        extra *= 2


def _table(alphabet: bytes) -> tuple[bytes, bytes]:
    """How a byte becomes a mark, and the bytes that would favour the first marks."""
    fair = 256 - 256 % len(alphabet)
    return bytes(alphabet[byte % len(alphabet)] for byte in range(256)), bytes(range(fair, 256))


_TABLES = {mark: _table(alphabet) for mark, alphabet in _ALPHABETS.items()}
