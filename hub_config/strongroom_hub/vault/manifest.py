"""The manifest of one dataset version: what its parts are and must hash to. Control signs it, the vault checks it.

A version is one table, or one or more files that are no tables. Beside its table it may have companions: tables of
their own (a synthetic twin), with parts, columns and keys of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from strongroom_hub.problems import Problem
from strongroom_hub.vault.tickets import DatasetName, Sha256, Size, Version

FORMAT: Literal["strongroom-manifest/2"] = "strongroom-manifest/2"
FOOTER = ""
"""The name under which a table's footer key stands among its column keys (no column has an empty name)."""
TABLE: Literal["table"] = "table"
FILES: Literal["files"] = "files"
SYNTHETIC: Literal["synthetic"] = "synthetic"
"""Groups of keys: those of the version's own table, and those of its files. A companion's group is its name."""

_NAME = r"[a-z0-9][a-z0-9_-]{0,63}"
Tag = Annotated[str, StringConstraints(pattern=rf"^{_NAME}$")]
SourceName = Annotated[str, StringConstraints(pattern=rf"^{_NAME}/{_NAME}@[1-9][0-9]{{0,8}}$")]
CompanionName = Annotated[str, StringConstraints(pattern=r"^[a-z]{1,32}$")]
FILE_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_. +()-]{0,118}[A-Za-z0-9_.+()-])?"
FileName = Annotated[str, StringConstraints(pattern=rf"^{FILE_NAME}$")]


class _Strict(BaseModel):
    # what the vault does not understand in a signed manifest it does not serve
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """A column, its polars type in words (`Datetime(time_unit='us', time_zone='UTC')`), and what control tagged it."""

    name: Annotated[str, StringConstraints(min_length=1)]
    type: str
    tags: list[Tag] = []


class Part(_Strict):
    """One encrypted Parquet file: hash and size in bytes of what lies on disk."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z]{1,32}-[0-9]{5}\.parquet$")]
    sha256: Sha256
    bytes: Size
    rows: Size


class File(_Strict):
    """One file that is no table: its own name, where it lies sealed, hash and size of that, its length in clear."""

    name: FileName
    stored: Annotated[str, StringConstraints(pattern=r"^file-[0-9]{5}\.sealed$")]
    sha256: Sha256
    bytes: Size
    length: Size
    tags: list[Tag] = []


class Table(_Strict):
    """A table in parts."""

    rows: Size
    columns: Annotated[list[Column], Field(min_length=1)]
    parts: Annotated[list[Part], Field(min_length=1)]

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]


class Manifest(_Strict):
    """One immutable version of one dataset."""

    format: Literal["strongroom-manifest/2"]
    dataset: DatasetName
    version: Version
    kind: Literal["table", "files"] = "table"
    label: str
    rows: Size = 0
    columns: list[Column] = []
    parts: list[Part] = []
    files: list[File] = []
    companions: dict[CompanionName, Table] = {}
    sources: list[SourceName] = []
    """The versions that this one was derived from: `namespace/name@version`."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        is_table = self.kind == TABLE
        if bool(self.columns) != is_table or bool(self.parts) != is_table or bool(self.files) == is_table:
            raise ValueError(f"a version of kind {self.kind!r} does not hold these members")
        if self.rows and not is_table:
            raise ValueError("files have no rows")
        for names in self._names():
            if len(set(names)) != len(names):
                raise ValueError("a name occurs twice")
        if {TABLE, FILES, "part"} & set(self.companions):
            raise ValueError("a companion has the name of another group")
        for group, table in self.tables().items():
            prefix = "part" if group == TABLE else group
            if not all(part.name.startswith(f"{prefix}-") for part in table.parts):
                raise ValueError("a part is named after another group")
        return self

    def _names(self) -> Iterator[list[str]]:
        yield self.stored_names
        yield [file.name for file in self.files]
        for table in self.tables().values():
            yield table.column_names

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Manifest:
        """Check the shape. Raises Problem."""
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            fields = {".".join(str(part) for part in item["loc"]) or item["msg"] for item in error.errors()}
            raise Problem(
                422,
                "bad-manifest",
                "The manifest cannot be used",
                f"These members are missing, unknown or wrong: {', '.join(sorted(fields))}.",
                next="Sign exactly the manifest that the vault answered with when it took the file in.",
            ) from error

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def visible_names(self) -> list[str]:
        """What a view can name: the columns of a table, or the files."""
        return [file.name for file in self.files] if self.kind == FILES else self.column_names

    @property
    def stored_names(self) -> list[str]:
        """Every data file of the version's folder."""
        parts = [part.name for table in self.tables().values() for part in table.parts]
        return parts + [file.stored for file in self.files]

    def tables(self) -> dict[str, Table]:
        """The version's own table, if it is one, and its companions, by group."""
        own = {TABLE: Table(rows=self.rows, columns=self.columns, parts=self.parts)} if self.kind == TABLE else {}
        return own | dict(self.companions)

    def table(self, group: str = TABLE) -> Table:
        """The version's own table, or a companion. Raises Problem (404)."""
        tables = self.tables()
        if group not in tables:
            raise self._holds_no(f"table {group!r}")
        return tables[group]

    def file(self, name: str) -> File:
        """Raises Problem (404)."""
        for file in self.files:
            if file.name == name:
                return file
        raise self._holds_no(f"file {name!r}")

    def slots(self) -> set[tuple[str, str]]:
        """Every key that the version has: (group, column or file name), each table's footer key as `FOOTER`."""
        found: set[tuple[str, str]] = {(FILES, file.name) for file in self.files}
        for group, table in self.tables().items():
            found |= {(group, name) for name in (FOOTER, *table.column_names)}
        return found

    def as_stored(self) -> Manifest:
        """What the vault itself can vouch for: without what control decides (label, tags, sources)."""
        bare = [column.model_copy(update={"tags": []}) for column in self.columns]
        files = [file.model_copy(update={"tags": []}) for file in self.files]
        return self.model_copy(update={"label": "", "columns": bare, "files": files, "sources": []})

    def _holds_no(self, what: str) -> Problem:
        return Problem(
            404,
            "not-in-version",
            "There is no such thing in this version",
            f"{self.dataset} version {self.version} holds no {what}.",
            next="See the catalogue: it lists what each version holds.",
        )


def digest(jws: str) -> str:
    """SHA-256 of a signed manifest's exact text, hex: by this, tickets name the version that control means."""
    return hashlib.sha256(jws.encode()).hexdigest()


def aad_prefix(dataset: str, version: int, part: str) -> bytes:
    """What a part's ciphertext is bound to: it opens as this part of this version and as nothing else."""
    return str(PurePosixPath(dataset, str(version), part)).encode()
