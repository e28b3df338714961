from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from strongroom_hub.audit import entries, payloads
from strongroom_hub.audit.entries import MAX_LEAF_BYTES, Action, Entry, EntryRefusedError

SCHEMA = Draft202012Validator(json.loads(entries.SCHEMA_FILE.read_text(encoding="utf-8")))
CONTRACT = Path(__file__).parents[3] / "docs" / "developers" / "wire-formats.md"
text_st = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_st = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text_st,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text_st, inner, max_size=3),
    max_leaves=6,
)
TIME = "2026-11-21T05:00:00.000Z"
written_st = st.fixed_dictionaries(
    {"v": st.just("1"), "index": st.integers(0, 9).map(str)}
    | dict.fromkeys(entries.SEARCH_COLUMNS, (st.none() | text_st).map(json.dumps))
)
odd_st = st.sampled_from(
    [
        "true",
        "1.0",
        "1e0",
        "01",
        "-0",
        '"1"',
        "null",
        "[1]",
        '{"a":1}',
        "",
        '"\\ud800"',
        '"\n"',
        '"\\x"',
        "9" * 40,
    ]
)


@given(
    st.sampled_from(Action),
    st.one_of(st.just("operator"), text_st.filter(bool).map("user:{}".format)),
    st.none() | text_st,
    st.lists(text_st, max_size=3),
    st.dictionaries(text_st, json_st, max_size=3),
    st.booleans(),
)
def test_a_leaf_says_what_the_entry_said_and_fits_the_schema(
    action: Action, actor: str, value: str | None, sources: list[str], detail: dict[str, object], with_payload: bool
) -> None:
    entry = Entry(action=action, actor=actor, project=value, label=value, sources=tuple(sources), detail=detail)  # type: ignore[arg-type]
    reference = payloads.seal(payloads.new_key(), payloads.new_subject(), "x")[1] if with_payload else None
    leaf = entries.encode(entry, 7, TIME, reference)
    fields = entries.parse(leaf)
    SCHEMA.validate(fields)
    assert fields["detail"] == json.loads(json.dumps(detail))
    assert (fields["index"], fields["time"], fields["actor"], fields["project"]) == (7, TIME, actor, value)
    assert entries.payload_reference(fields) == reference
    assert leaf == json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_actions_are_those_of_the_contract() -> None:
    section = CONTRACT.read_text(encoding="utf-8").split("## 8. Audit actions")[1].split("\n## ")[0]
    assert {action.value for action in Action} == set(re.findall(r"\b(?:hub|server|control):[a-z-]+:[a-z-]+", section))


def test_the_time_fits_the_schema() -> None:
    assert re.match(SCHEMA.schema["properties"]["time"]["pattern"], entries.now())


@pytest.mark.parametrize("payload", [None, "x"])
def test_nobody_finds_out_from_its_hash_what_an_entry_says(payload: str | None) -> None:
    """Proofs show the hashes of neighbours: of two entries that say the same nothing is the same."""
    entry, key, subject = Entry(action=Action.CELL_END, actor="user:a"), payloads.new_key(), payloads.new_subject()
    seen = []
    for _ in range(2):
        reference = payloads.seal(key, subject, payload)[1] if payload is not None else None
        fields = entries.parse(entries.encode(entry, 7, TIME, reference))
        seen.append(fields.get("salt") or fields["payload"]["commitment"])
    assert len(set(seen)) == 2
    assert all(len(one) >= 22 for one in seen)


def leaf_of(detail: dict[str, object]) -> bytes:
    return entries.encode(Entry(action=Action.CELL_BEGIN, actor="user:a", detail=detail), 0, TIME, None)  # type: ignore[arg-type]


def test_the_largest_leaf_fits_and_one_byte_more_is_refused() -> None:
    room = MAX_LEAF_BYTES - len(leaf_of({"t": ""}))
    assert len(leaf_of({"t": "x" * room})) == MAX_LEAF_BYTES
    with pytest.raises(EntryRefusedError, match=r"65,536 bytes; the limit is 65,535"):
        leaf_of({"t": "x" * (room + 1)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1, 2}, "\ud800", object(), {(1, 2): 3}])
def test_what_json_cannot_say_is_refused_without_repeating_it(value: object) -> None:
    with pytest.raises(EntryRefusedError) as refused:
        leaf_of({"secret-word": value})
    assert "secret-word" not in str(refused.value)


@pytest.mark.parametrize("actor", ["", "analyst", "user:", "system:", "root:x", "operator:x", "user"])
def test_an_entry_needs_an_actor(actor: str) -> None:
    with pytest.raises(EntryRefusedError, match="actor"):
        Entry(action=Action.CELL_BEGIN, actor=actor)


@pytest.mark.parametrize("leaf", [b"", b"[]", b"{}", b'{"v":2}', b'{"v":1', b"\xff"])
def test_other_bytes_are_no_leaf(leaf: bytes) -> None:
    with pytest.raises(ValueError):
        entries.parse(leaf)


def test_a_payload_named_in_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="payload"):
        entries.payload_reference({"payload": {"sha256": "x", "more": 1}})


def test_every_action_has_its_detail_described_and_nothing_else_has() -> None:
    described = json.loads(entries.DETAIL_SCHEMA_FILE.read_text(encoding="utf-8"))["properties"]
    assert sorted(described) == sorted(action.value for action in Action)
    for action, schema in described.items():
        Draft202012Validator.check_schema(schema)
        assert schema["description"], action
        assert set(schema.get("required", [])) <= set(schema["properties"]), action


def test_every_action_is_recorded_somewhere() -> None:
    sources = [
        file.read_text(encoding="utf-8")
        for file in (Path(entries.__file__).parents[1]).rglob("*.py")
        if file.name not in {"entries.py", "ocsf.py", "exports.py", "metrics.py", "asked.py"}
    ]
    named = set(re.findall(r"\bAction\.([A-Z_]+)\b", "\n".join(sources)))
    assert {action.name for action in Action} - named == set()


@given(
    written_st,
    st.lists(
        st.tuples(st.sampled_from(["v", "index", *entries.SEARCH_COLUMNS, "detail", "payload"]), odd_st), max_size=2
    ),
    st.none() | st.sampled_from(entries.SEARCH_COLUMNS),
    st.just(b"") | st.sampled_from([b" ", b"{}", b"\xff", b"\x00"]),
)
@example({"v": "1", "index": "0"} | dict.fromkeys(entries.SEARCH_COLUMNS, "null"), [("label", "1.0")], None, b"")
def test_plain_fields_are_those_of_the_leaf_or_refused(
    written: dict[str, str], odd: list[tuple[str, str]], left_out: str | None, after: bytes
) -> None:
    """Verifying reads by it: what it takes must be what a reader of JSON reads, and of the kinds that are compared."""
    members = [(name, value) for name, value in written.items() if name != left_out] + odd
    leaf = ("{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in members) + "}").encode() + after
    try:
        read = json.loads(leaf)
    except ValueError:
        read = {}
    kinds = dict.fromkeys(("v", "index"), (int,)) | dict.fromkeys(entries.SEARCH_COLUMNS, (str, type(None)))
    plain = all(name in read and type(read[name]) in kind for name, kind in kinds.items())
    try:
        fields = entries.plain_fields(leaf)
    except ValueError:
        assert not plain or b"ud800" in leaf  # half a character: json.loads takes it
        return
    assert plain
    assert fields == {name: read[name] for name in [*kinds, "payload"] if name in read}
