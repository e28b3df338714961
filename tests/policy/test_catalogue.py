from __future__ import annotations

import pytest
from strongroom_policy.catalogue import Column, Dataset, catalogue_findings
from strongroom_policy.engine import load
from strongroom_policy.filter_types import Kind
from strongroom_policy.labels import Label
from strongroom_policy.masks import METHODS

NUMBER, TEXT, DATE = Column(Kind.NUMBER), Column(Kind.TEXT), Column(Kind.DATE)
PATIENTS = Dataset(
    "registry/patients",
    Label.CONFIDENTIAL,
    {"site": TEXT, "age": NUMBER, "born": DATE, "ssn": Column(Kind.TEXT, frozenset({"tag:direct-identifier"}))},
)
OPEN = Dataset("open/birds", Label.PUBLIC, {"wing": NUMBER})


def findings(make, rows: str) -> list[str]:
    return [str(one) for one in catalogue_findings(make(rows), [PATIENTS, OPEN])]


@pytest.mark.parametrize(
    ("what", "fits"),
    [
        ("registry/patients", True),
        ("registry/**", True),
        ("tag:direct-identifier", True),
        ("label:confidential", True),
        ("registry/patients#age", True),
        ("open/**", False),
        ("label:public", False),
        ("*", False),
        ("/**", False),
    ],
)
def test_a_filter_must_fit_every_dataset_that_it_binds(make, what: str, fits: bool) -> None:
    found = findings(make, f"p2, F, *, read, {what}, *, rows, \"site in ('A', 'B') and age >= 18\", ,\n")
    assert (
        found == [] if fits else all("the filter does not fit open/birds: there is no column" in one for one in found)
    )
    assert bool(found) is not fits


def test_what_does_not_fit_is_told_with_its_row(make) -> None:
    rows = "# one\np2, F, *, read, registry/patients, *, rows, \"stie = 'A' or born > 18\", ,\n"
    assert findings(make, rows) == [
        "policy.csv:2: the filter does not fit registry/patients: there is no column stie - did you mean 'site'?",
        "policy.csv:2: the filter does not fit registry/patients: born > 18: born is a date, 18 is a number",
    ]


def test_names_that_the_catalogue_does_not_have(make) -> None:
    rows = (
        "p, A, *, read, registry/pateints, *, , , deny,\n"
        "p, B, *, read, registry/patients#agee, *, , , deny,\n"
        "p, C, *, read, regsitry/**, *, , , deny,\n"
        "p, D, *, read, registry/patients#age, *, , , deny,\n"
        "p, E, *, read, /**, *, , , deny,\n"
        "g2, registry/other, tag:sensitive\n"
        "p2, O, *, read, tag:sensitive, *, mask, null, ,\n"
    )
    assert findings(make, rows) == [
        "policy.csv:1: the catalogue has no dataset registry/pateints - did you mean 'registry/patients'?",
        "policy.csv:2: the catalogue has no column registry/patients#agee - did you mean 'age'?",
        "policy.csv:3: the catalogue has no namespace regsitry - did you mean 'registry'?",
        "policy.csv:6: the catalogue has no dataset registry/other - right if it is still to come",
    ]


def test_masks_must_suit_their_columns(make, folder, noon) -> None:
    rows = (f"p2, M{name}, *, read, registry/patients#{name}, *, mask, round(2), ,\n" for name in ("site", "age"))
    (folder / "policy.csv").write_text("".join(rows))
    found = catalogue_findings(load(folder, now=noon, masks=METHODS), [PATIENTS])
    assert [one.message for one in found] == [
        "registry/patients#site: round(2) is for columns of number, this one holds text"
    ]
