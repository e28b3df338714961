"""The words of the policy language: actions, obligation kinds, how names are spelt; and what a misspelt one meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from strongroom_policy.labels import Label

ACTIONS = {
    "discover": "know that a dataset exists, and see its catalogue entry",
    "read": "load it into a kernel",
    "display": "see output of a kernel that has read it",
    "export": "ask for a release of files made from it",
    "train": "fit a model on it that may leave",
    "reidentify": "turn pseudonyms back into identities",
    "approve-access": "decide on requests for access to it",
    "approve-export": "review files made from it",
    "administer": "change the policy or the system",
    "audit": "read the log",
    "save": "write a table back as a dataset of the project",
    "use": "start a server with this profile",
}
SYSTEM_ACTIONS = frozenset({"administer", "audit"})
"""Actions on the enclave itself: their objects are SYSTEM_OBJECTS and carry no label."""
PROFILE_ACTIONS = frozenset({"use"})
"""Actions on a profile: their objects are `profile:NAME` and carry no label."""
UNCLEARED_ACTIONS = SYSTEM_ACTIONS | PROFILE_ACTIONS | {"discover"}
"""Actions that show no data, so that no clearance is asked for."""
NEEDS = (("display", "read"), ("export", "read"), ("train", "read"), ("reidentify", "read"))
"""Built-in g3 rows: who is denied the right-hand action is denied the left-hand one as well."""

SYSTEM_OBJECTS = frozenset({"policy", "log", "system"})
WORKSPACE = "workspace"
"""A kernel or folder that is known by its label only (nothing, or nothing with a name, was read)."""

KINDS = {
    "mask": "read",
    "display": "display",
    "review": "export",
    "min-count": "export",
    "max-days": "read",
    "sandbox": "read",
    "rows": "read",
    "dp-budget": "read",
    "training": "read",
    "session": "read",
}
"""Each obligation kind and the action it is tied to."""
MASKS = (
    "null", "redact", "hash", "token", "generalise", "prefix", "date", "round", "topcode", "bottomcode", "shift-date",
)  # fmt: skip
"""The masks that the vault of this release carries out, strongest first; a policy that names another is refused."""
TIERS = ("launcher", "bubblewrap", "gvisor")
"""How strong the box of a kernel is, weakest first."""

ANYONE = "*"
NAME = r"[A-Za-z0-9][A-Za-z0-9._@+-]*"
ROW_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SUBJECT = re.compile(rf"(user|role|project|group|clearance):({NAME})")
TAG = re.compile(rf"tag:{NAME}")
DATASET = re.compile(rf"{NAME}(?:/{NAME})+")
NAMESPACE = re.compile(rf"(?:({NAME}(?:/{NAME})*))?/\*\*")
"""`ns/**`, everything below a namespace; `/**`, every dataset."""
PROFILE = re.compile(rf"profile:({NAME})")
COURSE = re.compile(NAME)
EXPORT = re.compile(rf"export:{NAME}")
CLEARANCES = tuple(f"clearance:{label}" for label in Label)
LABEL_OBJECTS = tuple(f"label:{label}" for label in Label)

_CLOSE = 0.75


def resembles(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` is probably a misspelling of."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=_CLOSE)
    return by_lower[found[0]] if found else None


def suggest(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown word: the one that was probably meant, otherwise all there are."""
    names = list(known)
    close = resembles(word, names)
    return f"did you mean {close!r}?" if close else f"known: {', '.join(names)}"


def is_data_object(name: str) -> bool:
    """Whether `name` is a dataset, a column, an export or the workspace: something that carries a label."""
    dataset, hash_sign, column = name.partition("#")
    if hash_sign:
        return DATASET.fullmatch(dataset) is not None and is_column(column)
    return DATASET.fullmatch(name) is not None or EXPORT.fullmatch(name) is not None or name == WORKSPACE


def carries_no_label(name: str) -> bool:
    """Whether `name` is one of the enclave's own objects or a profile."""
    return name in SYSTEM_OBJECTS or PROFILE.fullmatch(name) is not None


def is_object(name: str) -> bool:
    """Whether `name` is something that a question can be about."""
    return is_data_object(name) or carries_no_label(name)


def suits(action: str, name: str) -> bool:
    """Whether `action` can be done to the object or pattern `name` at all."""
    if action in SYSTEM_ACTIONS:
        return name in SYSTEM_OBJECTS
    if action in PROFILE_ACTIONS:
        return PROFILE.fullmatch(name) is not None
    return not carries_no_label(name)


def objects_of(action: str) -> str:
    """In words, what `action` is done to."""
    if action in SYSTEM_ACTIONS:
        return ", ".join(sorted(SYSTEM_OBJECTS))
    return "profile:NAME" if action in PROFILE_ACTIONS else "data"


def is_column(name: str) -> bool:
    """Whether `name` can be a column's: visible text without blanks at its ends, and no lone wildcard."""
    return bool(name) and name.isprintable() and name == name.strip() and name not in {"*", "**"}
