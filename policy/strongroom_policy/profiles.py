"""profiles.toml: the boxes that people may choose from, each with its tier and its limits.

Who may take which one, say rules: action `use` on the object `profile:NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from strongroom_policy.adapter import read_toml
from strongroom_policy.errors import Finding
from strongroom_policy.sizes import parse_size, written_size
from strongroom_policy.vocabulary import PROFILE, TIERS, suggest

PROFILES_FILE = "profiles.toml"
MISSING = (
    f"put the {PROFILES_FILE} of this release there, and say in policy.csv who may use its profiles, for example: "
    "p, U1, role:analyst, use, profile:standard, *, , , allow,"
)
"""What to do about a policy folder from before there were profiles."""
_KIB, _MIB, _TIB = 1 << 10, 1 << 20, 1 << 40
_MAX_TITLE = 80
_MAX_CPUS = 1024
_MAX_COUNT = 1 << 30


@dataclass(frozen=True, slots=True)
class Profile:
    """One box. Sizes in bytes; `memory_bytes`, `cpus`, `processes`, `open_files` are those of each kernel."""

    name: str
    title: str
    sandbox: str
    """The tier that its kernels get, one of TIERS."""
    memory_bytes: int
    cpus: float
    processes: int
    """Processes and threads together."""
    open_files: int
    file_bytes: int
    """The largest single file."""
    work_bytes: int
    work_files: int
    tmp_bytes: int
    shm_bytes: int

    def as_json(self) -> dict[str, Any]:
        """PROFILE of the wire formats."""
        return asdict(self)


def read_profiles(raw: bytes, findings: list[Finding]) -> tuple[Profile, ...]:
    """The profiles in file order; on findings they are not to be used."""
    said = read_toml(raw, PROFILES_FILE, findings)
    if said is None:
        return ()
    if not said:
        findings.append(Finding(PROFILES_FILE, 0, "there is no profile, so nobody could start a server", MISSING))
    read = (_profile(name, section, findings) for name, section in said.items())
    return tuple(profile for profile in read if profile is not None)


def _profile(name: str, section: Any, findings: list[Finding]) -> Profile | None:
    before = len(findings)

    def report(message: str, hint: str = "") -> None:
        findings.append(Finding(PROFILES_FILE, 0, f"[{name}] {message}", hint))

    if not isinstance(section, dict):
        report("is no section", "a profile is a section such as [standard] with its keys below it")
        return None
    if not PROFILE.fullmatch(f"profile:{name}"):
        report("cannot be a profile's name", "letters, digits, dot, dash, underscore; for example [standard]")
    for key in section.keys() - _KEYS.keys():
        report(f"unknown key {key!r}", suggest(key, _KEYS))
    values: dict[str, Any] = {}
    for key, (field, read) in _KEYS.items():
        if key not in section:
            report(f"{key} is missing", f"every profile says {', '.join(_KEYS)}")
            continue
        try:
            values[field] = read(section[key])
        except ValueError as error:
            report(f"{key}: {error}")
    if len(findings) > before:
        return None
    _plausible(values, report)
    return Profile(name=name, **values) if len(findings) == before else None


def _plausible(values: Mapping[str, int], report: Callable[[str], None]) -> None:
    for part, whole in (
        ("file_bytes", "work_bytes"),
        ("tmp_bytes", "memory_bytes"),
        ("shm_bytes", "memory_bytes"),
        ("work_files", "work_bytes"),
    ):
        if values[part] > values[whole]:
            report(f"{_NAMES[part]} is more than {_NAMES[whole]}")


def _title(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > _MAX_TITLE:
        raise ValueError(f"write a title of at most {_MAX_TITLE} characters in quotes")
    return value


def _tier(value: Any) -> str:
    if value not in TIERS:
        raise ValueError(f"unknown tier {value!r} - {suggest(str(value), TIERS)}")
    return str(value)


def _cpus(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MAX_CPUS:
        raise ValueError(f"{value!r} is not a number of processors, such as 2 or 0.5")
    return value


def _count(low: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= _MAX_COUNT:
            raise ValueError(f"{value!r} is not a whole number from {low} to {_MAX_COUNT}")
        return value

    return read


def _bytes(low: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        size = parse_size(value if isinstance(value, str) else "")
        if not low <= size <= _TIB << 10:
            raise ValueError(f"{value!r} is not between {written_size(low)} and {written_size(_TIB << 10)}")
        return size

    return read


_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "title": ("title", _title),
    "sandbox": ("sandbox", _tier),
    # less than these, and no kernel comes up
    "memory": ("memory_bytes", _bytes(256 * _MIB)),
    "cpus": ("cpus", _cpus),
    "processes": ("processes", _count(32)),
    "open-files": ("open_files", _count(64)),
    "file": ("file_bytes", _bytes(_MIB)),
    "work": ("work_bytes", _bytes(16 * _MIB)),
    "work-files": ("work_files", _count(100)),
    "tmp": ("tmp_bytes", _bytes(_MIB)),
    "shm": ("shm_bytes", _bytes(64 * _KIB)),
}
"""Each key, the field that it fills, and how it is read."""
_NAMES = {field: key for key, (field, _) in _KEYS.items()}
