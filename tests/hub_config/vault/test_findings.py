from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom_hub.problems import Problem
from strongroom_hub.vault import checksums
from strongroom_hub.vault.findings import Findings
from strongroom_hub.vault.looks import ColumnLook, Groups
from strongroom_hub.vault.profile import GROUP, column_profile
from strongroom_hub.vault.sensitive import by_name, by_values
from strongroom_hub.vault.tickets import Plan

NUMBERS = {
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "payment card": "4111 1111 1111 1111",
    "Dutch BSN": "111222333",
    "English NHS number": "943 476 5919",
    "German tax number": "86095742719",
    "Polish PESEL": "44051401359",
    "Spanish DNI or NIE": "12345678Z",
    "French social security number": "255081416802538",
    "Italian codice fiscale": "RSSMRA85T10A562S",
    "Swedish personal number": "811228-9874",
    "Finnish personal number": "131052-308T",
    "Swiss AHV number": "756.9217.0769.85",
    "Brazilian CPF": "529.982.247-25",
}


@pytest.mark.parametrize("kind", checksums.KINDS)
def test_check_digits_are_right_for_the_published_example_and_wrong_for_any_other_digit(kind: str) -> None:
    good = checksums.plain(NUMBERS[kind])
    assert checksums.holds(kind, good)
    at = max(place for place, mark in enumerate(good[:-2]) if mark.isdigit())
    others = [good[:at] + digit + good[at + 1 :] for digit in "0123456789" if digit != good[at]]
    assert not any(checksums.holds(kind, other) for other in others)
    assert not checksums.holds(kind, "")
    assert not checksums.holds(kind, good + "1")


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_check_digits_of_anything_are_a_plain_no(text: str) -> None:
    assert {checksums.holds(kind, checksums.plain(text)) for kind in checksums.KINDS} <= {True, False}


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("DateOfBirth", {"quasi-identifier"}),
        ("geburtsdatum", {"quasi-identifier"}),
        ("patient_id", {"direct-identifier"}),
        ("Apellidos", {"direct-identifier"}),
        ("E-Mail", {"direct-identifier"}),
        ("Straße", {"direct-identifier"}),
        ("code_postal", {"quasi-identifier"}),
        ("Leeftijd", {"quasi-identifier"}),
        ("reddito", {"sensitive"}),
        ("ICD10", {"sensitive"}),
        ("bill_length_mm", set()),
        ("page_count", set()),
        ("message", set()),
    ],
)
def test_names_in_several_languages(name: str, tags: set[str]) -> None:
    assert {sign.tag for sign in by_name(name)} == tags


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a.b@example.org", "e-mail"),
        ("+49 170 1234567", "phone"),
        ("(555) 555-0123", "phone"),
        ("10.0.0.1", "network"),
        ("2001:db8:0:0:1:0:0:1", "network"),
        ("078-05-1120", "US social security"),
        ("SW1A 1AA", "postcodes"),
        *((number, kind) for kind, number in NUMBERS.items()),
    ],
)
def test_forms_and_check_digits_of_values(value: str, words: str) -> None:
    assert any(words in sign.text for sign in by_values([value] * 6))
    assert by_values([value] * 2) == []  # too few to say anything
    assert not any(words in sign.text for sign in by_values([value, "x", "y", "z", "7", "-"]))


def people(rows: int = 600, seed: int = 1) -> pl.DataFrame:
    made = random.Random(seed)
    return pl.DataFrame(
        {
            "email": [f"u{n}@example.org" for n in range(rows)],
            "age": [made.randrange(18, 90) for _ in range(rows)],
            "sex": [made.choice("mf") for _ in range(rows)],
            "income": [round(made.lognormvariate(10, 0.6), 2) for _ in range(rows)],
            "seen": [dt.date(1930, 1, 1) + dt.timedelta(days=made.randrange(25_000)) for _ in range(rows)],
            "grade": [made.choice([1, 2, 3, 3, 3]) for _ in range(rows)],
            "remark": [f"{made.random():.15f} words that go on for quite a while, number {n}" for n in range(rows)],
        }
    )


def report(frame: pl.DataFrame, label: str = "internal", *, pieces: int = 1, **plan: Any) -> dict[str, Any]:
    findings = Findings(dict(frame.schema), label, Plan(**plan))
    size = -(-frame.height // pieces)
    for start in range(0, frame.height, size):
        findings.see(frame.slice(start, size))
    return findings.report()


def test_signs_are_proposed_with_evidence_that_quotes_no_value() -> None:
    frame = people()
    found = report(frame)["proposals"]
    assert {name: told["tags"] for name, told in found["columns"].items()} == {
        "email": ["direct-identifier"],
        "age": ["quasi-identifier"],
        "sex": ["quasi-identifier"],
        "income": ["sensitive"],
        "seen": ["quasi-identifier"],
        "remark": ["direct-identifier", "sensitive"],
    }
    kinds = [one["kind"] for one in found["columns"]["email"]["evidence"]]
    assert kinds == ["name", "pattern", "uniqueness"]
    assert found["label"]["label"] == "confidential"
    text = json.dumps(found)
    assert not [value for name in ("email", "remark") for value in frame[name] if value in text]


def test_groups_of_quasi_identifiers_are_counted() -> None:
    frame = people()
    groups = {tuple(one["columns"]): one for one in report(frame)["proposals"]["groups"]}
    counts = frame.group_by("age", "sex").len()["len"]
    assert groups["age", "sex"]["smallest"] == counts.min()
    alone = round(int((counts == 1).sum()) / frame.height, 3)
    assert (groups["age", "sex"]["alone"], groups["age", "sex"]["exact"]) == (alone, True)
    assert groups["sex",]["small"] == 0


def test_what_was_decided_is_not_proposed_again_and_counts() -> None:
    found = report(people(), tags={"email": [], "grade": ["quasi-identifier"]})["proposals"]
    assert found["columns"]["email"]["decided"] is True
    assert ("grade",) in {tuple(one["columns"]) for one in found["groups"]}


def test_numbers_of_people_with_sensitive_columns_call_for_secret() -> None:
    refs = [f"{n:09d}" for n in range(100_000_000, 100_000_400) if checksums.holds("Dutch BSN", str(n))]
    frame = pl.DataFrame({"ref": refs[:12], "income": range(12)})
    found = report(frame)["proposals"]
    assert found["columns"]["ref"]["evidence"][0]["kind"] == "checksum"
    assert found["label"]["label"] == "secret"


def test_many_groups_are_judged_by_a_part_of_them() -> None:
    groups = Groups(["n"], limit=1000)
    for start in range(0, 40_000, 10_000):
        groups.see(pl.DataFrame({"n": [n // 2 for n in range(start, start + 10_000)]}))
    assert not groups.exact
    assert (groups.smallest, groups.share_below(2), groups.share_below(3)) == (2, 0.0, 1.0)


@given(st.integers(1, 5), st.integers(1, 3000))
@settings(max_examples=20, deadline=None)
def test_distinct_values_are_counted_whatever_the_pieces(pieces: int, distinct: int) -> None:
    values = pl.Series("n", [n % distinct for n in range(max(3 * distinct, 100))])
    look = ColumnLook(pl.Int64())
    for start in range(0, len(values), -(-len(values) // pieces)):
        look.see(values.slice(start, -(-len(values) // pieces)))
    assert abs(look.distinct - distinct) <= (0 if distinct <= 2048 else distinct * 0.1)


# -- what a profile tells -----------------------------------------------------------------------------------------


def told(series: pl.Series, label: str, tags: tuple[str, ...] = ()) -> dict[str, Any]:
    look = ColumnLook(series.dtype)
    for start in range(0, len(series), 500):
        look.see(series.slice(start, 500))
    return column_profile(look, label, tags)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in leaves(one)]
    return [leaf for one in value for leaf in leaves(one)] if isinstance(value, list) else [value]


@given(st.integers(0, 2**32), st.sampled_from(["lognormal", "age", "date", "text"]))
@settings(max_examples=40, deadline=None)
def test_no_extreme_and_no_rare_value_is_told_above_internal(seed: int, kind: str) -> None:
    made = random.Random(seed)
    usual: list[Any]
    if kind == "lognormal":
        usual = [round(made.lognormvariate(10, 0.6), 2) + 0.0037 for _ in range(1500)]  # on no round grid
        rare: list[Any] = [123456789.87, -4242.42]
    elif kind == "age":
        usual = [made.randrange(18, 80) for _ in range(1500)]
        rare = [113, 2]
    elif kind == "date":
        usual = [dt.date(1950, 1, 1) + dt.timedelta(days=made.randrange(15_000)) for _ in range(1500)]
        rare = [dt.date(1901, 5, 17), dt.date(2019, 11, 3)]
    else:
        usual = [made.choice(["Adelie", "Gentoo", "Chinstrap"]) for _ in range(1500)]
        rare = ["Quuxian", "Zephyrine"]
    series = pl.Series("c", usual + rare * made.randrange(1, GROUP // 2))
    for label in ("confidential", "secret", "no such label"):
        shown = leaves(told(series, label))
        counts = dict(series.value_counts().rows())
        raw = {value.isoformat() if isinstance(value, dt.date) else value for value, n in counts.items() if n < GROUP}
        extremes = {series.min(), series.max()} if kind != "text" else set(rare)
        hidden = {value.isoformat() if isinstance(value, dt.date) else value for value in [*rare, *extremes]}
        assert not hidden & set(shown)
        if kind in {"lognormal", "text"}:  # rounded days and years may well be somebody's
            assert not raw & set(shown)
    assert told(series, "secret").keys() == {"missing", "different"}


def test_few_rows_and_direct_identifiers_have_next_to_no_profile() -> None:
    few = told(pl.Series("n", range(20 * GROUP - 1)), "confidential")
    names = told(pl.Series("n", ["a", "b"] * 500), "confidential", ("direct-identifier",))
    assert few.keys() == names.keys() == {"missing", "different", "rounded"}


def test_up_to_internal_a_profile_is_plain() -> None:
    shown = told(pl.Series("n", [1, 2, 2, None]), "internal")
    assert (shown["min"], shown["max"], shown["missing"], shown["different"]) == (1, 2, 0.25, 2)
    assert shown["values"] == [[2, 2], [1, 1]]


def test_shares_in_a_profile_s_histogram_hide_small_bins() -> None:
    series = pl.Series("n", [float(n % 100) for n in range(2000)] + [500.0] * 3)
    shown = told(series, "confidential")["histogram"]
    assert all(share is None or share * len(series) >= GROUP - 0.01 * len(series) for share in shown["shares"])
    assert max(shown["edges"]) < 500


def test_the_profile_is_made_for_the_label_that_is_proposed() -> None:
    found = report(people(), "internal")
    assert found["profile"]["label"] == "confidential"
    assert "min" not in found["profile"]["columns"]["income"]


# -- checks -------------------------------------------------------------------------------------------------------


def check(kind: str, *columns: str, severity: str = "error", **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("min", "max", "pattern", "days"))
    return {"kind": kind, "columns": list(columns), "severity": severity, "why": "", **empty, **more}


FRAME = pl.DataFrame(
    {
        "id": [1, 2, 2, 4],
        "code": ["a", "b", "x", None],
        "day": [dt.date(2020, 1, 1), dt.date(2020, 1, 2), None, dt.date(2019, 1, 1)],
    }
)


@pytest.mark.parametrize(
    ("made", "failed", "rows"),
    [
        (check("not-null", "code"), 1, [5]),
        (check("unique", "id"), 1, [4]),
        (check("unique", "id", "code"), 0, []),
        (check("range", "id", min=2), 1, [2]),
        (check("range", "id", min=1, max=3), 1, [5]),
        (check("range", "day", min="2019-06-01"), 1, [5]),
        (check("codes", "code"), 1, [4]),
        (check("pattern", "code", pattern="[ab]"), 1, [4]),
        (check("rows", min=5), 1, []),
        (check("rows", max=4), 0, []),
        (check("fresh", "day", days=10), 0, []),
        (check("fresh", "day", days=5), 1, []),
    ],
)
@pytest.mark.parametrize("pieces", [1, 4])
def test_checks_say_how_often_and_in_which_rows(
    made: dict[str, Any], failed: int, rows: list[int], pieces: int
) -> None:
    plan = {"codes": {"code": ["a", "b"]}, "today": "2020-01-10", "pieces": pieces}
    (result,) = report(FRAME, checks=[{**made, "severity": "warn"}], **plan)["quality"]
    assert (result["failed"], result["rows"]) == (failed, rows)
    assert result["state"] == ("failed" if failed else "passed")
    if failed:
        with pytest.raises(Problem) as refused:
            report(FRAME, checks=[made], **plan)
        assert refused.value.slug == "quality-failed"
        assert not {"x", "2019"} & set(" ".join(refused.value.why).replace("'", " ").split())


def test_a_check_that_makes_no_sense_is_refused_in_words() -> None:
    for made in (check("range", "code", min=1), check("pattern", "code", pattern="(?<=a)b")):
        with pytest.raises(Problem, match="Check 1"):
            report(FRAME, checks=[made])
    with pytest.raises(Problem, match="there is no such column"):
        report(FRAME, checks=[check("unique", "gone")])
