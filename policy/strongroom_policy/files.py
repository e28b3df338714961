"""The files of a policy folder: which there are, in which order, and their common hash.

Rules stand in `policy.csv` and, where there are several, in the files of the folder `policy.d`: `policy.d/*.csv`, read
after it in the order of their names. Order never decides anything; it is the order in which mistakes are told.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.guards import GUARDS_FILE
from strongroom_policy.profiles import MISSING, PROFILES_FILE
from strongroom_policy.settings import LABELS_FILE

MODEL_FILE, RULES_FILE, TESTS_FILE = "model.conf", "policy.csv", "tests.csv"
FILES = (MODEL_FILE, RULES_FILE, LABELS_FILE, PROFILES_FILE, TESTS_FILE)
"""What every policy folder has; what it may have besides are guards.toml and the files of policy.d."""
RULES_FOLDER = "policy.d"
_RULES = re.compile(rf"{re.escape(RULES_FOLDER)}/[A-Za-z0-9][A-Za-z0-9._-]*\.csv")
_OF_EDITORS = re.compile(r"\..*(?<!\.csv)|.*~|#.*#")
"""Swap and backup files that editors leave beside what they edit."""


def file_names(folder: Path) -> tuple[str, ...]:
    """The names of all files of the policy in `folder`, relative to it, in the order in which they are read.

    Raises PolicyError where `policy.d` holds anything that would not be read: somebody may take it for rules.
    """
    found: list[str] = []
    findings: list[Finding] = []
    for entry in _entries(folder / RULES_FOLDER):
        name = f"{RULES_FOLDER}/{entry.name}"
        if _OF_EDITORS.fullmatch(entry.name):
            continue
        if not is_rules(name) or not entry.is_file():
            hint = f"{RULES_FOLDER} holds files NAME.csv and nothing else: rename or remove it"
            findings.append(Finding(name, 0, "this would not be read", hint))
        found.append(name)
    if (folder / GUARDS_FILE).exists():
        found.append(GUARDS_FILE)
    if findings:
        raise PolicyError(tuple(findings))
    return tuple(sorted((*FILES, *found), key=rank))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PolicyError((Finding(RULES_FOLDER, 0, f"cannot be listed: {error.strerror}"),)) from None


def read_folder(folder: Path) -> dict[str, bytes]:
    """All files by name. Raises PolicyError where one is missing or cannot be read."""
    findings: list[Finding] = []
    files: dict[str, bytes] = {}
    for name in file_names(folder):
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            hint = f"it belongs into {folder}" + (f": {MISSING}" if name == PROFILES_FILE else "")
            findings.append(Finding(name, 0, f"cannot be read: {error.strerror}", hint))
    if findings:
        raise PolicyError(tuple(findings))
    return files


def is_rules(name: str) -> bool:
    """Whether the file of that name (relative to the folder) holds rules."""
    return name == RULES_FILE or _RULES.fullmatch(name) is not None


def rank(name: str) -> tuple[int, str]:
    """The order of files: model.conf, policy.csv, policy.d, labels.toml, profiles.toml, tests.csv, all else."""
    after = FILES.index(RULES_FILE) if _RULES.fullmatch(name) else len(FILES)
    return (FILES.index(name), "") if name in FILES else (after, name)


def digest_of(files: Mapping[str, bytes]) -> str:
    """SHA-256 (hex) over names and bytes."""
    whole = hashlib.sha256()
    for name in sorted(files, key=rank):
        whole.update(f"{name} {len(files[name])}\n".encode())
        whole.update(files[name])
    return whole.hexdigest()
