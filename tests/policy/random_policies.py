"""Small random policies with every kind of row, for the tools that look at whole policies."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import strategies as st
from strongroom_policy.engine import Policy, Sources, parse_sources
from strongroom_policy.files import RULES_FILE, TESTS_FILE, read_folder
from strongroom_policy.guards import GUARDS_FILE

DEFAULT = Path(__file__).parents[2] / "policy"
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
USERS = ("user:a", "user:b", "user:c")
HIGHER = ("group:g", "role:r", "role:s", "project:x", "project:y")
CLEARANCES = ("clearance:internal", "clearance:secret")
OBJECTS = (
    "*", "/**", "lab/**", "lab/d", "lab/d#ssn", "lab/e", "tag:sensitive", "tag:direct-identifier",
    "label:public", "label:internal", "label:secret",
)  # fmt: skip
ACTIONS = ("read", "display", "approve-access", "read|display", "read|approve-access", "export|approve-access")
DUTIES = {"mask": "read", "display": "display", "review": "export"}
VALUES = {"mask": ("null", "redact", "hash"), "display": ("0", "cell=1KiB", "none"), "review": ("1", "2")}

_subject = st.sampled_from(("*", *USERS, *HIGHER, *CLEARANCES))
_purpose = st.sampled_from(("*", "*", "project:x", "project:y"))
_window = st.sampled_from(("", "", "", "2027-01-01", "2026-11-01"))
_effect = st.sampled_from(("allow", "allow", "allow", "deny"))
_rule = st.builds(
    "{}, {}, {}, {}, {}, , {}, why".format,
    _subject, st.sampled_from(ACTIONS), st.sampled_from(OBJECTS), _purpose, _window, _effect,
)  # fmt: skip
_system = st.builds(
    "{}, {}, *, , , {}, why".format,
    _subject, st.sampled_from(("administer, policy", "audit, log", "use, profile:standard", "use, profile:large")),
    _effect,
)  # fmt: skip
_duty = st.sampled_from(sorted(DUTIES)).flatmap(
    lambda kind: st.builds(
        "{}, {}, {}, {}, {}, {}, {}, why".format,
        _subject,
        st.just(DUTIES[kind]),
        st.sampled_from(OBJECTS),
        _purpose,
        st.just(kind),
        st.sampled_from(VALUES[kind]),
        st.sampled_from(("", "", "role:r")),
    )
)
_links = [(low, high) for n, low in enumerate(HIGHER) for high in (*HIGHER[n + 1 :], *CLEARANCES)]
_links += [(low, high) for low in USERS for high in (*HIGHER, *CLEARANCES)]
_member = st.tuples(st.sampled_from(_links), st.sampled_from(("", "", "", ", 2027-02-01, ", ", , 2026-12-31")))
_tagging = st.tuples(st.sampled_from(("lab/d", "lab/d#ssn", "lab/**")), st.sampled_from(OBJECTS[6:8])).map(", ".join)
# every name and tag is mentioned, so that nothing is undefined or dead
_FILLER = [
    *(f"g, user:filler, {name}" for name in (*HIGHER, *CLEARANCES)),
    *(f"g, {name}, role:filler" for name in USERS),
    *(f"p, F{n}, {name}, discover, filler/x, *, , , allow, " for n, name in enumerate((*HIGHER, "role:filler"))),
    *(f"p, T{n}, *, discover, {tag}, project:x, , 1999-01-01, allow, " for n, tag in enumerate(OBJECTS[6:8])),
]


@st.composite
def policies(draw: st.DrawFn) -> str:
    """The text of a policy.csv."""
    rows = list(_FILLER)
    rules = draw(st.lists(_rule, min_size=1, max_size=8)) + draw(st.lists(_system, max_size=2))
    rows += [f"p, R{n}, {rule}" for n, rule in enumerate(rules)]
    rows += [f"p2, O{n}, {duty}" for n, duty in enumerate(draw(st.lists(_duty, max_size=4)))]
    members = draw(st.lists(_member, min_size=3, max_size=10, unique_by=lambda row: row[0]))
    rows += [f"g, {low}, {high}{window}" for (low, high), window in members]
    rows += [f"g2, {row}" for row in draw(st.lists(_tagging, max_size=3, unique=True))]
    return "\n".join(rows) + "\n"


def sources_of(rows: str, tests: str = "", guards: str = "") -> Sources:
    """The default model, words and profiles with these rows, tests.csv and guards.toml."""
    files = {RULES_FILE: rows, TESTS_FILE: tests, GUARDS_FILE: guards}
    return parse_sources(read_folder(DEFAULT) | {name: text.encode() for name, text in files.items()})


def policy_of(rows: str, now: datetime = NOW) -> Policy:
    return Policy.build(sources_of(rows), (), now)
