"""The language of row filters: a condition on the columns of a dataset, as `site in ('A', 'B') and consent`.

    condition = both {"or" both}            both = term {"and" term}           term = "not" term | test
    test      = operand [ ("=" | "!=" | "<" | "<=" | ">" | ">=") operand
                        | ["not"] "in" "(" operand {"," operand} ")"
                        | ["not"] "between" operand "and" operand
                        | "is" ["not"] "null" ]
              | "(" condition ")"
    operand   = column | "column with blanks" | 'text' | 12 | -0.5 | 2026-12-31 | true | false | today() | user.project

Words are written in any case, quotes inside quotes twice. A row is kept where the condition is true: where a value is
missing, a comparison is neither true nor false, and the row is dropped. Nothing is ever evaluated as code: a text
becomes a tree of the classes below, or is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date
from operator import eq, ge, gt, le, lt, ne
from typing import Any

MAX_LENGTH = 20_000
"""Characters of one filter, with the names of projects filled in."""
MAX_WRITTEN = 2000
"""Characters of one filter in a policy file."""
MAX_DEPTH = 20
"""Parentheses and `not`s inside each other."""
MAX_TESTS = 200
"""Operands of one filter."""


COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
"""What each sign does, with values as with expressions for them."""
EQUALITY = frozenset({"=", "!="})
"""The signs that need no order."""


class FilterError(ValueError):
    """A text that is no filter; the words say what was expected, `at` is the place (characters, from 1)."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(f"{message} (character {at} of the filter)")
        self.at = at


@dataclass(frozen=True, slots=True)
class Column:
    name: str

    def __str__(self) -> str:
        if _BARE.fullmatch(self.name) and self.name.lower() not in _WORDS:
            return self.name
        return '"' + self.name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Text:
    value: str

    def __str__(self) -> str:
        return "'" + self.value.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Number:
    value: int | float

    def __str__(self) -> str:
        if isinstance(self.value, int):
            return str(self.value)
        whole, _, decimals = f"{self.value:.12f}".partition(".")
        return f"{whole}.{decimals.rstrip('0') or '0'}"


@dataclass(frozen=True, slots=True)
class Day:
    value: date

    def __str__(self) -> str:
        return self.value.isoformat()


@dataclass(frozen=True, slots=True)
class Truth:
    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(frozen=True, slots=True)
class Today:
    """The day (UTC) on which the data is read."""

    def __str__(self) -> str:
        return "today()"


@dataclass(frozen=True, slots=True)
class UserProject:
    """The bare name of the project for which the data is read."""

    def __str__(self) -> str:
        return "user.project"


Operand = Column | Text | Number | Day | Truth | Today | UserProject


@dataclass(frozen=True, slots=True)
class Compare:
    operator: str
    left: Operand
    right: Operand

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True, slots=True)
class In:
    operand: Operand
    among: tuple[Operand, ...]
    negated: bool

    def __str__(self) -> str:
        return f"{self.operand}{' not' if self.negated else ''} in ({', '.join(map(str, self.among))})"


@dataclass(frozen=True, slots=True)
class Between:
    """Both ends included."""

    operand: Operand
    low: Operand
    high: Operand
    negated: bool

    def __str__(self) -> str:
        return f"{self.operand}{' not' if self.negated else ''} between {self.low} and {self.high}"


@dataclass(frozen=True, slots=True)
class IsNull:
    operand: Operand
    negated: bool

    def __str__(self) -> str:
        return f"{self.operand} is{' not' if self.negated else ''} null"


@dataclass(frozen=True, slots=True)
class Is:
    """An operand that is itself true or false."""

    operand: Operand

    def __str__(self) -> str:
        return str(self.operand)


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition

    def __str__(self) -> str:
        return f"not {_inner(self.part, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " and ".join(_inner(part, And, Or) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " or ".join(_inner(part, Or) for part in self.parts)


Condition = Compare | In | Between | IsNull | Is | Not | And | Or

NOTHING = Is(Truth(False))
"""The filter that keeps no row."""


def parse(text: str) -> Condition:
    """The condition that `text` says. Raises FilterError in words for anything that is none, or is too large."""
    if len(text) > MAX_LENGTH:
        raise FilterError(f"the filter is longer than {MAX_LENGTH} characters", MAX_LENGTH)
    return _Parser(text).whole()


def columns(condition: Condition) -> frozenset[str]:
    """The names of the columns that must be read to decide it."""
    return frozenset(operand.name for operand in operands(condition) if isinstance(operand, Column))


def bound(condition: Condition, *, project: str, today: date) -> Condition:
    """The same condition with `user.project` (a bare name) and `today()` replaced by what they are for one reading."""

    def known(operand: Operand) -> Operand:
        if isinstance(operand, UserProject):
            return Text(project)
        return Day(today) if isinstance(operand, Today) else operand

    return _replaced(condition, known)


def operands(condition: Condition) -> Iterator[Operand]:
    """All operands, left to right."""
    for one in fields(condition):
        value = getattr(condition, one.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Operand):
                yield item
            elif not isinstance(item, str | bool):
                yield from operands(item)


def _replaced(condition: Condition, known: Callable[[Operand], Operand]) -> Condition:  # noqa: PLR0911 - one a node
    match condition:
        case Compare(operator, left, right):
            return Compare(operator, known(left), known(right))
        case In(operand, among, negated):
            return In(known(operand), tuple(known(one) for one in among), negated)
        case Between(operand, low, high, negated):
            return Between(known(operand), known(low), known(high), negated)
        case IsNull(operand, negated):
            return IsNull(known(operand), negated)
        case Is(operand):
            return Is(known(operand))
        case Not(part):
            return Not(_replaced(part, known))
        case And(parts):
            return And(tuple(_replaced(part, known) for part in parts))
        case Or(parts):
            return Or(tuple(_replaced(part, known) for part in parts))


def _inner(part: Condition, *weaker: type) -> str:
    return f"({part})" if isinstance(part, weaker) else str(part)


_WORDS = frozenset({"and", "or", "not", "in", "between", "is", "null", "true", "false"})
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(
    r"""
    (?P<blank>[ \t]+)
  | (?P<text>'(?:[^']|'')*')
  | (?P<quoted>"(?:[^"]|"")+")
  | (?P<call>today\(\)|user\.project)
  | (?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9A-Za-z_.]))
  | (?P<number>-?[0-9]{1,18}(?:\.[0-9]{1,12})?(?![0-9A-Za-z_.]))
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<wrong><>|==|&&|\|\||!(?!=))
  | (?P<sign><=|>=|!=|[=<>(),])
    """,
    re.VERBOSE,
)
_MAX_DECIMAL = 1e15
"""A double holds no decimals beyond."""
_MEANT = {"<>": "!=", "==": "=", "&&": "and", "||": "or", "!": "not"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int

    @property
    def word(self) -> str:
        """The keyword or sign that this is; empty for names, texts and numbers."""
        if self.kind == "name" and self.text.lower() in _WORDS:
            return self.text.lower()
        return self.text if self.kind == "sign" else ""


class _Parser:
    """Recursive descent; depth and size are counted, so that no text can exhaust the stack."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0
        self._operands = 0

    def whole(self) -> Condition:
        condition = self._condition()
        if self._peek.kind != "end":
            raise self._wrong("an end, and, or")
        return condition

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *words: str) -> str:
        """The next token's word if it is one of these, which then is consumed; otherwise nothing."""
        word = self._peek.word
        if word and word in words:
            self._next += 1
            return word
        return ""

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._wrong(word)

    def _wrong(self, expected: str) -> FilterError:
        token = self._peek
        found = "it ends" if token.kind == "end" else f"{token.text[:40]!r} stands there"
        return FilterError(f"expected {expected}, but {found}", token.at)

    def _condition(self) -> Condition:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _both(self) -> Condition:
        parts = [self._term()]
        while self._take("and"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _term(self) -> Condition:
        start = self._peek.at
        word = self._take("not", "(")
        if not word:
            return self._test()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FilterError(f"more than {MAX_DEPTH} parentheses or nots inside each other", start)
        if word == "not":
            result: Condition = Not(self._term())
        else:
            result = self._condition()
            self._expect(")")
        self._depth -= 1
        return result

    def _test(self) -> Condition:
        left = self._operand()
        operator = self._take(*COMPARISONS)
        if operator:
            return Compare(operator, left, self._operand())
        if self._take("is"):
            negated = bool(self._take("not"))
            self._expect("null")
            return IsNull(left, negated)
        negated = bool(self._take("not"))
        if self._take("in"):
            return In(left, self._list(), negated)
        if self._take("between"):
            low = self._operand()
            self._expect("and")
            return Between(left, low, self._operand(), negated)
        if negated:
            raise self._wrong("in or between")
        return Is(left)

    def _list(self) -> tuple[Operand, ...]:
        self._expect("(")
        found = [self._operand()]
        while self._take(","):
            found.append(self._operand())
        self._expect(")")
        return tuple(found)

    def _operand(self) -> Operand:
        token = self._peek
        read = _OPERANDS.get(token.kind)
        if token.word in ("true", "false"):
            operand: Operand = Truth(token.word == "true")
        elif read is None or token.word:
            raise self._wrong("a column, a text in 'quotes', a number or a date")
        else:
            operand = read(token)
        self._next += 1
        self._operands += 1
        if self._operands > MAX_TESTS:
            raise FilterError(f"more than {MAX_TESTS} columns and values", token.at)
        return operand


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _unreadable(text, position)
        kind = found.lastgroup or ""
        if kind == "wrong":
            raise FilterError(f"{found[0]!r} means nothing here: write {_MEANT[found[0]]}", position + 1)
        if kind != "blank":
            yield _Token(kind, found[0], position + 1)
        position = found.end()
    yield _Token("end", "", len(text) + 1)


def _unreadable(text: str, position: int) -> FilterError:
    if text[position] in "'\"":
        return FilterError(f"the quote before {text[position + 1 : position + 21]!r} is never closed", position + 1)
    return FilterError(f"{text[position : position + 10]!r} means nothing here", position + 1)


def _day(token: _Token) -> Day:
    try:
        return Day(date.fromisoformat(token.text))
    except ValueError:
        raise FilterError(f"{token.text} is no day of the calendar", token.at) from None


def _number(token: _Token) -> Number:
    if "." not in token.text:
        return Number(int(token.text))
    value = float(token.text)
    if abs(value) >= _MAX_DECIMAL:
        raise FilterError(f"{token.text} has too many digits", token.at)
    return Number(value)


def _call(token: _Token) -> Today | UserProject:
    return Today() if token.text == "today()" else UserProject()


_OPERANDS: dict[str, Callable[[_Token], Operand]] = {
    "name": lambda token: Column(token.text),
    "quoted": lambda token: Column(token.text[1:-1].replace('""', '"')),
    "text": lambda token: Text(token.text[1:-1].replace("''", "'")),
    "day": _day,
    "number": _number,
    "call": _call,
}
