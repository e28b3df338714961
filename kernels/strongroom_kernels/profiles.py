"""The profile that this server runs under, and those that its person may take instead, as the hub told them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from strongroom_kernels.box import BoxError

_STEP, _SMALL_NUMBER = 1024, 10
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class Profile:
    """PROFILE of docs/developers/wire-formats.md, 9: sizes in bytes, `cpus`, `memory_bytes` ... of each kernel."""

    name: str
    title: str
    sandbox: str
    memory_bytes: int
    cpus: float
    processes: int
    open_files: int
    file_bytes: int
    work_bytes: int
    work_files: int
    tmp_bytes: int
    shm_bytes: int

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Raises BoxError where a field is missing."""
        try:
            return cls(**{field.name: told[field.name] for field in fields(cls)})
        except (KeyError, TypeError) as error:
            raise BoxError(
                "No kernel can start: the hub told this server a profile that it does not understand. Update hub and "
                "server together, then start the server again."
            ) from error


@dataclass(frozen=True, slots=True)
class Profiles:
    """What was chosen for this server, and all that could have been chosen."""

    chosen: Profile | None
    """None: this server was started without a profile."""
    allowed: tuple[Profile, ...]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read STRONGROOM_PROFILE and STRONGROOM_PROFILES. Raises BoxError for what is no profile."""
        found = os.environ if environment is None else environment
        try:
            chosen = json.loads(found.get("STRONGROOM_PROFILE") or "null")
            allowed = json.loads(found.get("STRONGROOM_PROFILES") or "[]")
        except ValueError as error:
            raise BoxError("No kernel can start: the hub told this server a profile that is no JSON.") from error
        return cls(Profile.of(chosen) if chosen else None, tuple(Profile.of(one) for one in allowed))

    def larger(self, field: str) -> Profile | None:
        """The smallest profile that this person may take and that has more of `field`; None where there is none."""
        if self.chosen is None:
            return None
        have = getattr(self.chosen, field)
        more = [profile for profile in self.allowed if getattr(profile, field) > have]
        return min(more, key=lambda profile: float(getattr(profile, field)), default=None)

    def advice(self, field: str) -> str:
        """What to do about a limit, as a sentence: the profile that has more of `field`, and how to take it."""
        profile = self.larger(field)
        if profile is None:
            return "No profile that you may take has more of it."
        value = getattr(profile, field)
        amount = words_for_bytes(value) if field.endswith("_bytes") else f"{value:,}"
        how = "stop the server on your projects page and open it with that one."
        return f'The profile "{profile.title}" has {amount}: {how}'


def words_for_bytes(count: float) -> str:
    """A size as people read it: `4 GiB`, `1.5 MiB`."""
    size, unit = float(count), 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size /= _STEP
        unit += 1
    text = f"{size:.1f}" if size < _SMALL_NUMBER and size != int(size) else f"{size:.0f}"
    return f"{text} {_UNITS[unit]}"
