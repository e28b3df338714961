from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_policy.engine import load
from strongroom_policy.errors import PolicyError
from strongroom_policy.filter_types import Kind
from strongroom_policy.masks import METHODS, Mask, conflict, join, parse_mask, unsuited
from strongroom_policy.reader import Reader
from strongroom_policy.rows import Row
from strongroom_policy.settings import Settings

WRITTEN = [
    "null", "redact", "hash", "token", "shift-date", "prefix(1)", "prefix(3)", "prefix(64)", "date(year)",
    "date(quarter)", "date(month)", "date(day)", "round(-2)", "round(0)", "round(2)", "generalise(width=4)",
    "generalise(width=6)", "generalise(width=0.5)", "generalise(width=1000000000)", "generalise(width=999999999)",
    "topcode(0.99)", "topcode(0.5)",
]  # fmt: skip
masks = st.sampled_from(WRITTEN).map(parse_mask)


@pytest.mark.parametrize("text", WRITTEN)
def test_masks_are_written_as_they_are_read(text: str) -> None:
    assert str(parse_mask(text)) == text


@pytest.mark.parametrize(
    ("text", "again"), [("generalise(width=5.0)", "generalise(width=5)"), ("topcode(0.990)", "topcode(0.99)")]
)
def test_one_mask_has_one_text(text: str, again: str) -> None:
    assert str(parse_mask(text)) == again


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "unknown mask ''"),
        ("hsh", "did you mean 'hash'"),
        ("hash(3)", "write hash"),
        ("hash()", "write hash"),
        ("prefix", "write prefix(3)"),
        ("prefix(0)", "write prefix(3)"),
        ("prefix(65)", "write prefix(3)"),
        ("prefix(3", "write prefix(3)"),
        ("prefix(-1)", "write prefix(3)"),
        ("prefix(3.5)", "write prefix(3)"),
        ("generalise(5)", "write generalise(width=5)"),
        ("generalise(width=0)", "write generalise(width=5)"),
        ("generalise(width=nan)", "write generalise(width=5)"),
        ("generalise(width=1e3)", "write generalise(width=5)"),
        ("date(week)", "write date(month)"),
        ("topcode(1)", "write topcode(0.99)"),
        ("topcode(0.1)", "write topcode(0.99)"),
        ("round(10)", "write round(2)"),
        ("__import__('os')", "unknown mask"),
        ("null ", "did you mean 'null'"),
    ],
)
def test_what_is_no_mask_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"mask|write") as caught:
        parse_mask(text)
    assert says in str(caught.value)


def test_of_two_the_stricter_holds() -> None:
    order = [
        ("null", "redact"), ("redact", "hash"), ("hash", "token"), ("prefix(1)", "prefix(3)"),
        ("date(year)", "date(quarter)"), ("date(quarter)", "date(month)"), ("date(month)", "date(day)"),
        ("round(-2)", "round(0)"), ("round(0)", "round(2)"), ("generalise(width=10)", "generalise(width=5)"),
        ("topcode(0.5)", "topcode(0.99)"), ("redact", "date(year)"), ("null", "shift-date"),
    ]  # fmt: skip
    for strict, loose in order:
        assert join(parse_mask(strict), parse_mask(loose)) == parse_mask(strict)
        assert not conflict(parse_mask(strict), parse_mask(loose))


def test_classes_of_two_widths_fit_into_wider_ones() -> None:
    assert str(join(parse_mask("generalise(width=4)"), parse_mask("generalise(width=6)"))) == "generalise(width=12)"
    assert str(join(parse_mask("generalise(width=0.4)"), parse_mask("generalise(width=0.25)"))) == "generalise(width=2)"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("hash", "date(month)"), ("prefix(3)", "token"), ("round(2)", "topcode(0.99)"), ("shift-date", "date(year)"),
        ("generalise(width=5)", "round(0)"), ("generalise(width=1000000000)", "generalise(width=999999999)"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_a_conflict_and_redacted(one: str, other: str) -> None:
    assert conflict(parse_mask(one), parse_mask(other))
    assert join(parse_mask(one), parse_mask(other)) == Mask("redact")


@given(masks, masks, masks)
def test_strictness_is_a_lattice(one: Mask, other: Mask, third: Mask) -> None:
    assert join(one, other) == join(other, one)
    assert join(one, one) == one
    assert join(join(one, other), third) == join(one, join(other, third))
    assert join(join(one, other), one) == join(one, other)
    assert parse_mask(str(join(one, other))) == join(one, other)
    assert conflict(one, other) == conflict(other, one)


def test_masks_suit_some_columns_only() -> None:
    for name, method in METHODS.items():
        mask = parse_mask(method.form)
        fits = {kind for kind in Kind if not unsuited(mask, kind)}
        assert fits == method.suits, name
    assert unsuited(parse_mask("round(2)"), Kind.TEXT) == "round(2) is for columns of number, this one holds text"
    assert not unsuited(parse_mask("null"), Kind.OTHER)


def test_every_mask_of_the_language_is_carried_out(make) -> None:
    for method in METHODS.values():
        make(f"p2, O1, *, read, tag:direct-identifier, *, mask, {method.form}, ,\n")


def test_a_mask_that_a_vault_cannot_carry_out_keeps_the_policy_from_loading() -> None:
    reader = Reader(Settings(), masks=("null", "prefix"))
    for value, understood in (("prefix(3)", True), ("hash", False)):
        row = Row("p2", ("O1", "*", "read", "lab/d#c", "*", "mask", value, "", ""), "policy.csv", 1)
        assert bool(reader.read([row])) is understood
    (found,) = reader.findings
    assert "cannot mask by hash" in found.message
    assert "null, prefix" in found.hint


TAGGED = "g2, lab/d#c, tag:sensitive\n"
TWICE = TAGGED + "g2, lab/d#c, tag:synthetic\n"


@pytest.mark.parametrize(
    ("more", "one", "other", "refused"),
    [
        # the same column, a column and its dataset, its tag, two tags that it carries
        ("", "* lab/d#c * hash", "* lab/d#c * prefix(3)", True),
        ("", "* lab/d * hash", "* lab/d#c * prefix(3)", True),
        (TAGGED, "* tag:sensitive * hash", "* lab/d#c * prefix(3)", True),
        (TWICE, "* tag:sensitive * hash", "* tag:synthetic * prefix(3)", True),
        # only the catalogue could bring these together
        ("", "* tag:sensitive * hash", "* tag:synthetic * prefix(3)", False),
        # another column, project or person; somebody with both roles; an exemption; one that is stricter; a join
        ("", "* lab/d#c * hash", "* lab/d#e * prefix(3)", False),
        ("", "* lab/d#c project:x hash", "* lab/d#c project:y prefix(3)", False),
        ("", "role:r lab/d#c * hash", "role:s lab/d#c * prefix(3)", False),
        ("", "role:r lab/d#c * hash", "role:t lab/d#c * prefix(3)", True),
        ("", "* lab/d#c * hash role:r", "role:r lab/d#c * prefix(3)", False),
        ("", "* lab/d#c * redact", "* lab/d#c * prefix(3)", False),
        ("", "* lab/d#c * generalise(width=4)", "* lab/d#c * generalise(width=6)", False),
    ],
)
def test_contradictions_that_the_files_alone_show(folder, noon, more: str, one: str, other: str, refused: bool) -> None:
    rows = (
        "g, user:a, role:r\ng, user:b, role:s\ng, user:a, role:t\ng, user:a, project:x\ng, user:a, project:y\n"
        "p, P, role:r, read, lab/d, *, , , allow,\np, Q, role:s, read, lab/d, *, , , allow,\n"
        "p, T, role:t, read, lab/d, *, , , allow,\n" + more
    )
    for name, duty in (("A", one), ("B", other)):
        who, what, purpose, mask, *unless = duty.split()
        rows += f"p2, {name}, {who}, read, {what}, {purpose}, mask, {mask}, {''.join(unless)},\n"
    (folder / "policy.csv").write_text(rows)
    if not refused:
        load(folder, now=noon, masks=METHODS)
        return
    with pytest.raises(PolicyError) as caught:
        load(folder, now=noon, masks=METHODS)
    (found,) = caught.value.problems
    assert "neither is stricter" in found.message
    assert "A (policy.csv:" in found.message
