"""What is told about a dataset: one shape for control's door, for the metadata file and for the console. Pure.

Everything is checked here, at the edge; what is stored has been through these models.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

Line = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)]
Text = Annotated[str, StringConstraints(max_length=10_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Person = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
SourceName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}/[a-z0-9][a-z0-9_-]{0,62}@[1-9][0-9]{0,8}$")
]
ColumnType = Literal["integer", "number", "text", "boolean", "date", "datetime"]
MAX_COLUMNS, MAX_CODES, MAX_CHECKS = 4096, 2000, 500


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Retention(_Told):
    """How long a version is kept: until the end of that day, or so many days from when it became visible."""

    until: date | None = None
    days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    then: Literal["review", "retire", "shred"] = "review"
    """`review`: a steward is reminded. `retire`: reading ends. `shred`: reading ends, and an operator destroys it."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.until is None) == (self.days is None):
            raise ValueError("give either `until` (a date) or `days`")
        return self


class ColumnAbout(_Told):
    """One column. `tags` absent: nobody has decided yet; an empty list: decided, there are none."""

    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    unit: Line = ""
    codes: Annotated[dict[Line, Line], Field(max_length=MAX_CODES)] = Field(default_factory=dict)
    """What coded values mean: value as text -> meaning."""
    tags: Annotated[list[Tag], Field(max_length=20)] | None = None
    nullable: bool = True
    type: ColumnType | None = None
    """What every value must be; absent: what the values themselves say."""


class Check(_Told):
    """Something that the data must satisfy. An `error` that fails blocks the version, a `warn` informs."""

    kind: Literal["not-null", "unique", "range", "codes", "pattern", "rows", "fresh"]
    columns: Annotated[list[Name], Field(max_length=20)] = Field(default_factory=list)
    min: float | date | None = None
    max: float | date | None = None
    pattern: Annotated[str, StringConstraints(max_length=500)] | None = None
    days: Annotated[int, Field(ge=0)] | None = None
    """For `fresh`: the newest date of the column is at most so many days before the day of the check."""
    severity: Literal["error", "warn"] = "error"
    why: Line = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind == "rows") == bool(self.columns):
            raise ValueError(f"a check of kind {self.kind!r} names {'no columns' if self.columns else 'its columns'}")
        if self.kind in {"range", "rows"} and self.min is None and self.max is None:
            raise ValueError(f"a check of kind {self.kind!r} needs `min`, `max` or both")
        if (self.kind == "pattern") != (self.pattern is not None):
            raise ValueError("`pattern` belongs to checks of kind 'pattern', and they need it")
        if (self.kind == "fresh") != (self.days is not None):
            raise ValueError("`days` belongs to checks of kind 'fresh', and they need it")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"`pattern` is no regular expression: {error}") from error
        return self


class Reading(_Told):
    """How the file is to be understood where it does not say so itself."""

    encoding: Literal["utf-8", "latin-1", "windows-1252"] = "utf-8"
    separator: Annotated[str, StringConstraints(min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] = "."
    dates: Annotated[str, StringConstraints(max_length=40)] | None = None
    """The form of dates, as in `%d.%m.%Y`; absent: ISO dates."""
    missing: Annotated[list[Line], Field(max_length=50)] = Field(default_factory=list)
    """Texts that mean: no value."""
    sheet: Line | None = None


class About(_Told):
    """All that is told about one version of a dataset."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    description: Text = ""
    owner: Person
    stewards: Annotated[list[Person], Field(min_length=1, max_length=20)]
    source: Annotated[str, StringConstraints(max_length=2000)] = ""
    licence: Line = ""
    legal_basis: Annotated[str, StringConstraints(max_length=2000)] = ""
    retention: Retention | None = None
    consent_column: Name | None = None
    """The column that says whether the person of a row consents to its use."""
    contact: Line = ""
    columns: Annotated[dict[Name, ColumnAbout], Field(max_length=MAX_COLUMNS)] = Field(default_factory=dict)
    checks: Annotated[list[Check], Field(max_length=MAX_CHECKS)] = Field(default_factory=list)
    reading: Reading = Reading()
    sources: Annotated[list[SourceName], Field(max_length=100)] = Field(default_factory=list)
    """The versions that this one was derived from."""

    def stored(self) -> dict[str, Any]:
        """As JSON for the database and the wire."""
        return self.model_dump(mode="json")


def mistakes(error: ValidationError) -> list[str]:
    """What is wrong, one line per place, in words: `columns.age.unit: ...`."""
    found = []
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) for part in one["loc"])
        words = _WORDS.get(one["type"], one["msg"].removeprefix("Value error, "))
        found.append(f"{place}: {words}" if place else words)
    return found


_WORDS = {
    "extra_forbidden": "no such field",
    "missing": "is missing",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "too_short": "needs at least one",
}
