"""Coverage-guided fuzzing of everything that reads an admin's text; run by test_fuzz.py with atheris' own options.

A reader may refuse (with a finding or a ValueError) or understand; whatever it understands it must write back so that
it is understood in the same way. Anything else ends the run with a crash.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["strongroom_policy"]):
    from strongroom_policy import engine, filters, fmt, masks, profiles, reader, rows, settings, values
    from strongroom_policy.adapter import MODEL, read_rows
    from strongroom_policy.cases import read_cases
    from strongroom_policy.decision import Request
    from strongroom_policy.errors import Finding, PolicyError
    from strongroom_policy.guards import FIELDS, GUARDS_FILE, read_guards
    from strongroom_policy.labels import Label
    from strongroom_policy.vocabulary import KINDS, is_object

_SETTINGS = settings.Settings(tags={"tag:sensitive": ""})
_SHIPPED = Path(__file__).parents[2] / "policy"
_FILES = {name: (_SHIPPED / name).read_bytes() for name in ("labels.toml", "profiles.toml")} | {
    "model.conf": MODEL.encode(), "tests.csv": b"",
}  # fmt: skip
_NOW = datetime(2026, 6, 1, tzinfo=UTC)


def read_filter(text: str) -> None:
    try:
        condition = filters.parse(text)
    except filters.FilterError:
        return
    assert filters.parse(str(condition)) == condition


def read_mask(text: str) -> None:
    try:
        mask = masks.parse_mask(text)
    except ValueError:
        return
    assert masks.parse_mask(str(mask)) == mask


def read_value(text: str) -> None:
    for kind in KINDS:
        try:
            value = values.read_value(kind, text)
        except ValueError:
            continue
        assert values.read_value(kind, str(value)) == value
        assert values.stricter(kind, value, value) == value


def read_policy(text: str) -> None:
    findings: list[Finding] = []
    raw = text.encode("utf-8", "surrogatepass")
    found = read_rows(raw, "policy.csv", findings)
    understood = reader.Reader(_SETTINGS, masks.METHODS)
    for typed in understood.read(found):
        if isinstance(typed, rows.Rule):
            assert typed.row.fields[7] in ("allow", "deny")
            assert typed.allows == (typed.row.fields[7] == "allow")
            assert typed.actions <= set(_SETTINGS.actions)
            assert typed.object in ("*", typed.row.fields[3])
            assert "*" not in typed.object.removesuffix("/**").removesuffix("*") or is_object(typed.object)
    if not findings and all(row.ptype in rows.FIELDS for row in found):
        try:
            text = fmt.formatted(raw, "policy.csv")
        except PolicyError as error:
            raise AssertionError("what can be read can be formatted") from error
        again = [(row.ptype, row.fields, row.line) for row in read_rows(text.encode(), "policy.csv", findings)]
        assert again == [(row.ptype, row.fields, row.line) for row in found]
        assert fmt.formatted(text.encode(), "policy.csv") == text


def read_profiles(text: str) -> None:
    findings: list[Finding] = []
    found = profiles.read_profiles(text.encode("utf-8", "surrogatepass"), findings)
    assert bool(findings) or bool(found)


def read_labels(text: str) -> None:
    settings.read_settings(text.encode("utf-8", "surrogatepass"), "labels.toml", [])


def read_guard(text: str) -> None:
    findings: list[Finding] = []
    for guard in read_guards(text.encode("utf-8", "surrogatepass"), findings):
        assert guard.kind in FIELDS
        assert guard.why


def read_tests(text: str) -> None:
    findings: list[Finding] = []
    raw = text.encode("utf-8", "surrogatepass")
    found = read_cases(raw, "tests.csv", findings)
    if not findings:
        try:
            again = read_cases(fmt.formatted(raw, "tests.csv").encode(), "tests.csv", findings)
        except PolicyError as error:
            raise AssertionError("what can be read can be formatted") from error
        assert again == found


def read_all(text: str) -> None:
    """A policy that loads decides, and an obligation on it can be told."""
    halves = text.partition("\n[")  # rules, then guards
    guards = (halves[1] + halves[2]).encode("utf-8", "surrogatepass")
    try:
        sources = engine.parse_sources(
            _FILES | {"policy.csv": halves[0].encode("utf-8", "surrogatepass"), GUARDS_FILE: guards}
        )
        policy = engine.Policy.build(sources, (), _NOW)
    except PolicyError:
        return
    assert all(note.line for note in policy.warnings)
    for user in policy.named("user:")[:3]:
        for action, what in (("read", "lab/d#c"), ("administer", "policy")):
            request = Request(user, action, what, "", Label.SECRET, frozenset(), _NOW)
            decision = policy.decide(request)
            assert "policy engine failed" not in decision.reason
            assert not (decision.allowed and policy.matching(request)[0][0].allows is False)
            assert decision.explain()
    with suppress(PolicyError):
        engine.prove(sources, _NOW)


READERS = (
    read_filter, read_mask, read_value, read_policy, read_profiles, read_labels, read_guard, read_tests, read_all,
)  # fmt: skip


def attempt(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    read = READERS[provider.ConsumeIntInRange(0, len(READERS) - 1)]
    read(provider.ConsumeUnicode(4096))


if __name__ == "__main__":
    atheris.Setup(sys.argv, attempt)
    atheris.Fuzz()
