"""The metadata file of a dataset: TOML, checked by the same models as control's door (`catalog.schema`)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from strongroom_hub.catalog.schema import About, mistakes
from strongroom_hub.cli.common import fail


def describe(name: str, file: Path | None) -> dict[str, Any]:
    """What the file tells about the dataset `name`; ends in words that name every mistake and its place."""
    raw: dict[str, Any] = {}
    if file is not None:
        try:
            raw = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            fail(f"{file} cannot be read: {error.strerror}")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            fail(f"{file} is not TOML: {error}")
    if not raw.get("stewards"):
        fail('a dataset needs a steward: put stewards = ["NAME"] into the file that --metadata names')
    raw.setdefault("title", name)
    if isinstance(raw["stewards"], list):
        raw.setdefault("owner", raw["stewards"][0])
    try:
        return About.model_validate(raw).stored()
    except ValidationError as error:
        fail("\n".join(f"{file}: {line}" for line in mistakes(error)))
