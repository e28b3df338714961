from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_hub.airlock import rules
from strongroom_hub.airlock.rules import ExportState as S
from strongroom_hub.airlock.rules import Step, Verdict, WantedFile
from strongroom_hub.problems import Problem

TABLE = {
    (S.DRAFT, Step.PASS): S.IN_REVIEW,
    (S.DRAFT, Step.BLOCK): S.BLOCKED,
    (S.DRAFT, Step.WITHDRAW): S.WITHDRAWN,
    (S.IN_REVIEW, Step.APPROVE): S.APPROVED,
    (S.IN_REVIEW, Step.REJECT): S.REJECTED,
    (S.IN_REVIEW, Step.RETURN): S.RETURNED,
    (S.IN_REVIEW, Step.WITHDRAW): S.WITHDRAWN,
    (S.BLOCKED, Step.WITHDRAW): S.WITHDRAWN,
    (S.APPROVED, Step.RELEASE): S.RELEASED,
    (S.APPROVED, Step.VOID): S.IN_REVIEW,
    (S.APPROVED, Step.WITHDRAW): S.WITHDRAWN,
    (S.RETURNED, Step.WITHDRAW): S.WITHDRAWN,
}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("step", Step)
def test_transitions(state: S, step: Step) -> None:
    expected = TABLE.get((state, step))
    assert rules.can_step(state, step) is (expected is not None)
    if expected is None:
        with pytest.raises(Problem) as refused:
            rules.next_state(state, step)
        assert refused.value.status == 409
    else:
        assert rules.next_state(state, step) is expected


def test_tables_cover_every_state_and_only_approved_files_leave() -> None:
    assert set(rules.TRANSITIONS) == set(rules.TURN) == set(S)
    into_release = [state for state, steps in rules.TRANSITIONS.items() if S.RELEASED in steps.values()]
    into_approved = [state for state, steps in rules.TRANSITIONS.items() if S.APPROVED in steps.values()]
    assert into_release == [S.APPROVED]
    assert into_approved == [S.IN_REVIEW]
    assert {S.APPROVED, S.RELEASED} == rules.DOWNLOADABLE


@pytest.mark.parametrize(
    ("review", "label", "needed"),
    [(0, "public", 1), (1, "confidential", 1), (3, "internal", 3), (1, "secret", 2), (4, "secret", 4), (1, "odd", 2)],
)
def test_reviewers_needed(review: int, label: str, needed: int) -> None:
    assert rules.reviewers_needed(review, label) == needed


@given(st.integers(0, 9), st.integers(1, 9))
def test_only_enough_approvals_approve_and_any_rejection_rejects(approvals: int, needed: int) -> None:
    assert rules.step_for(Verdict.REJECT, approvals, needed) is Step.REJECT
    assert rules.step_for(Verdict.CHANGES, approvals, needed) is Step.RETURN
    assert (rules.step_for(Verdict.APPROVE, approvals, needed) is Step.APPROVE) is (approvals >= needed)


NAMES = ["table.csv", "Tabelle für Köln.csv", "a" * 116 + ".csv"]
BAD_NAMES = [
    "",
    "a" * 121,
    "../up.csv",
    "a/b.csv",
    "a\\b.csv",
    "C:evil.csv",
    ".hidden",
    "..",
    " padded.csv",
    "padded.csv ",
    "new\nline.csv",
    "nul\0.csv",
    "bidi\u202ecsv.exe",
    "mark\u200f.csv",
    "zero\u200bwidth.csv",
    "isolate\u2066.csv",
    "line\u2028.csv",
    "private\ue000.csv",
    "surrogate\ud800.csv",
]


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_file_names(name: str) -> None:
    rules.check_file_name(name)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_file_names_that_carry_more_than_a_name(name: str) -> None:
    with pytest.raises(Problem) as refused:
        rules.check_file_name(name)
    assert refused.value.status == 422
    assert not name or len(name) < 5 or name not in str(refused.value.as_json())


@given(st.text(max_size=130))
def test_what_passes_is_short_visible_and_one_segment(name: str) -> None:
    try:
        rules.check_file_name(name)
    except Problem:
        return
    assert 1 <= len(name) <= 120
    assert name.isprintable()
    assert "/" not in name
    assert not name.startswith(".")


def file(name: str = "t.csv", size: int = 10) -> WantedFile:
    return WantedFile(name, size, "0" * 64)


@pytest.mark.parametrize(
    ("justification", "files"),
    [
        ("", [file()]),
        ("why", []),
        ("why", [file(f"{n}.csv") for n in range(21)]),
        ("why", [file(), file()]),
        ("why", [file("T.csv"), file("t.CSV")]),
        ("why", [file("manifest.json")]),
        ("why", [file("MANIFEST.json.sig")]),
        ("why", [file(size=3 << 30)]),
    ],
)
def test_requests_that_are_refused(justification: str, files: list[WantedFile]) -> None:
    with pytest.raises(Problem) as refused:
        rules.check_request(justification, files)
    assert refused.value.status == 422
    assert refused.value.why


@given(st.lists(st.tuples(st.integers(0, 5), st.text(max_size=5), st.text("0123456789abcdef", max_size=4)), max_size=4))
def test_a_binding_changes_with_everything_it_stands_for(files: list[tuple[int, str, str]]) -> None:
    bound = rules.binding(files, "p", "r", 1)
    assert bound == rules.binding(reversed(files), "p", "r", 1)
    assert bound != rules.binding(files, "other", "r", 1)
    assert bound != rules.binding(files, "p", "other", 1)
    assert bound != rules.binding(files, "p", "r", 2)
    assert bound != rules.binding([*files, (9, "x", "y")], "p", "r", 1)
    for place, (index, name, sha256) in enumerate(files):
        for other in ((index + 10, name, sha256), (index, name + "x", sha256), (index, name, sha256 + "0")):
            assert bound != rules.binding([*files[:place], other, *files[place + 1 :]], "p", "r", 1)
