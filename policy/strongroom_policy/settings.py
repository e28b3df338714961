"""labels.toml: the words of one installation, and what is owed where no row speaks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from strongroom_policy.adapter import read_toml
from strongroom_policy.errors import Finding
from strongroom_policy.grants import ACTIONS as GRANTED
from strongroom_policy.labels import Label
from strongroom_policy.values import Value, read_value
from strongroom_policy.vocabulary import ACTIONS, CLEARANCES, KINDS, SUBJECT, TAG, suggest

LABELS_FILE = "labels.toml"
SAFE = {"display": "0", "review": "2", "min-count": "10", "max-days": "30", "sandbox": "bubblewrap"}
"""What this release recommends where no row speaks. Kinds that are not among these are owed by rows alone."""
_SECTIONS = ("labels", "tags", "defaults")


@dataclass(frozen=True, slots=True)
class Settings:
    """What rows may speak of. The texts are shown to people; a section left out means all that there are."""

    tags: dict[str, str] = field(default_factory=dict)
    """By name as rows have it, `tag:NAME`."""
    labels: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, Value] = field(default_factory=dict)
    """By kind of obligation."""
    groups: dict[str, str] = field(default_factory=dict)
    """Groups that the identity provider tells of, as `group:NAME`; those of g rows need not be here."""
    clearances: Collection[str] = CLEARANCES
    """As rows have them, `clearance:LABEL`."""
    actions: Collection[str] = tuple(ACTIONS)
    obligations: Collection[str] = tuple(KINDS)


def read_settings(raw: bytes, file: str, findings: list[Finding]) -> Settings:
    """labels.toml; on findings the settings are not to be used."""
    said = read_toml(raw, file, findings)
    if said is None:
        return Settings()
    known = (*_SECTIONS, "groups", *_WORDS)
    findings += [
        Finding(file, 0, f"unknown section [{name}]", suggest(name, known)) for name in said if name not in known
    ]
    labels, tags, defaults = (_texts(said.get(name), name, file, findings) for name in _SECTIONS)
    groups = _texts(said.get("groups", {}), "groups", file, findings)
    if list(labels) != list(Label):
        findings.append(Finding(file, 0, "[labels] must name " + ", ".join(Label) + ", in this order"))
    findings += [Finding(file, 0, f"{tag!r} cannot be a tag's name") for tag in tags if not TAG.fullmatch(f"tag:{tag}")]
    findings += [
        Finding(file, 0, f"{name!r} cannot be a group's name")
        for name in groups
        if not SUBJECT.fullmatch(f"group:{name}")
    ]
    words = {name: tuple(_texts(said[name], name, file, findings)) for name in _WORDS if name in said}
    for name, chosen in words.items():
        findings += _misused(name, chosen, file)
    clearances, actions, obligations = (words.get(name, known_words) for name, (known_words, _) in _WORDS.items())
    return Settings(
        tags={f"tag:{tag}": meaning for tag, meaning in tags.items()},
        labels=labels,
        defaults=_defaults(defaults, file, findings),
        groups={f"group:{name}": meaning for name, meaning in groups.items()},
        clearances=tuple(f"clearance:{label}" for label in clearances),
        actions=actions,
        obligations=obligations,
    )


_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "clearances": (tuple(Label), ()),
    "actions": (tuple(ACTIONS), ("discover", *GRANTED)),
    "obligations": (tuple(KINDS), ("mask", *SAFE)),
}
"""For each optional section of words: all there are, and those that grants and defaults need."""


def _misused(section: str, chosen: Collection[str], file: str) -> Iterator[Finding]:
    known, needed = _WORDS[section]
    for word in chosen:
        if word not in known:
            yield Finding(file, 0, f"[{section}] unknown word {word!r}", suggest(word, known))
    for word in needed:
        if word not in chosen:
            yield Finding(
                file, 0, f"[{section}] {word} is missing: grants and defaults need it", f'add: {word} = "..."'
            )


def _texts(section: Any, name: str, file: str, findings: list[Finding]) -> dict[str, str]:
    if not isinstance(section, dict):
        findings.append(Finding(file, 0, f"section [{name}] is missing"))
        return {}
    for key, value in section.items():
        if not isinstance(value, str):
            findings.append(Finding(file, 0, f"[{name}] {key} must be a text in quotes"))
    return {key: str(value) for key, value in section.items()}


def _defaults(said: dict[str, str], file: str, findings: list[Finding]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    findings += [
        Finding(file, 0, f"[defaults] unknown obligation {kind!r}", suggest(kind, SAFE))
        for kind in said
        if kind not in SAFE
    ]
    for kind, safe in SAFE.items():
        if kind not in said:
            findings.append(Finding(file, 0, f"[defaults] {kind} is missing", f'add: {kind} = "{safe}"'))
            continue
        try:
            values[kind] = read_value(kind, said[kind])
        except ValueError as error:
            findings.append(Finding(file, 0, f"[defaults] {kind}: {error}"))
    return values
