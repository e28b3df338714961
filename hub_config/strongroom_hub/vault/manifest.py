"""The manifest of one dataset version: what its parts are and must hash to. Control signs it, the vault checks it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from strongroom_hub.problems import Problem
from strongroom_hub.vault.tickets import DatasetName, Sha256, Size, Version

FORMAT: Literal["strongroom-manifest/1"] = "strongroom-manifest/1"


class _Strict(BaseModel):
    # what the vault does not understand in a signed manifest it does not serve
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """A column and its polars type in words, for example `Datetime(time_unit='us', time_zone='UTC')`."""

    name: Annotated[str, StringConstraints(min_length=1)]
    type: str


class Part(_Strict):
    """One encrypted Parquet file: hash and size in bytes of what lies on disk."""

    name: Annotated[str, StringConstraints(pattern=r"^part-[0-9]{5}\.parquet$")]
    sha256: Sha256
    bytes: Size
    rows: Size


class Manifest(_Strict):
    """One immutable version of one dataset."""

    format: Literal["strongroom-manifest/1"]
    dataset: DatasetName
    version: Version
    label: str
    rows: Size
    columns: Annotated[list[Column], Field(min_length=1)]
    parts: Annotated[list[Part], Field(min_length=1)]

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Manifest:
        """Check the shape. Raises Problem."""
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            fields = ", ".join(sorted({".".join(str(part) for part in item["loc"]) for item in error.errors()}))
            raise Problem(
                422,
                "bad-manifest",
                "The manifest cannot be used",
                f"These members are missing, unknown or wrong: {fields}.",
                next="Sign exactly the manifest that the vault answered with when it took the file in.",
            ) from error

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]


def aad_prefix(dataset: str, version: int, part: str) -> bytes:
    """What a part's ciphertext is bound to: it opens as this part of this version and as nothing else."""
    return str(PurePosixPath(dataset, str(version), part)).encode()
