from __future__ import annotations

import pytest
from strongroom_policy.errors import PolicyError
from strongroom_policy.rows import Row

GOOD = "g, user:a, role:r\np, R1, role:r, read, lab/x, *, , , allow, fine\n"
P = "p, R2, role:r, read, lab/x, *, , , deny, why"
P2 = "p2, O1, *, read, lab/x, *, mask, hash, , why"


def test_the_good_rows_are_good(make) -> None:
    make(GOOD + P + "\n" + P2)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (P.replace("p, R2", "P, R2"), "did you mean 'p'"),
        (P.replace("p, R2", "p3, R2"), "unknown kind of row"),
        (P.replace(", why", ""), "9 fields after its first, this one has 8"),
        (P + ",", "this one has 10"),
        (P.replace("deny", "denny"), "did you mean 'deny'"),
        (P.replace("deny", "DENY"), "did you mean 'deny'"),
        (P.replace("deny", ""), "neither allow nor deny"),
        (P.replace("deny", "deny # really"), "comment behind a row"),
        (P.replace("read", "raed"), "did you mean 'read'"),
        (P.replace("read", "read|exprt"), "did you mean 'export'"),
        (P.replace("read", "read|read"), "not tidy"),
        (P.replace("read", "read | export"), "not tidy"),
        (P.replace("read", ""), "unknown action ''"),
        (P.replace("role:r", "rol:r"), "did you mean role:r"),
        (P.replace("role:r", "r"), "no subject"),
        (P.replace("role:r", "role:"), "no subject"),
        (P.replace("role:r", "role:rr r"), "no subject"),
        (P.replace("role:r", "role:s"), "no membership (g row) names role:s"),
        (P.replace("role:r", "clearance:secrt"), "did you mean 'clearance:secret'"),
        (P.replace("lab/x", "lab"), "no object"),
        (P.replace("lab/x", "lab/*"), "a wildcard stands only at the end"),
        (P.replace("lab/x", "lab/*/phi"), "a wildcard stands only at the end"),
        (P.replace("lab/x", "lab/x#*"), "a wildcard stands only at the end"),
        (P.replace("lab/x", "label:confidental"), "did you mean 'label:confidential'"),
        (P.replace("lab/x", "tag:direct-identifer"), "did you mean 'tag:direct-identifier'"),
        (P.replace("lab/x", "polcy"), "did you mean 'policy'"),
        (P.replace("lab/x", "policy"), "read on policy means nothing"),
        (P.replace("read, lab/x", "audit, lab/x"), "audit goes with"),
        (P.replace("*, ,", "cardio, ,"), "neither a project nor *"),
        (P.replace("*, ,", "project:c, ,"), "no membership (g row) names project:c"),
        (P.replace("*, ,", "*, 2026-02-30,"), "is no date"),
        (P.replace("*, ,", "*, 01.02.2026,"), "is no date"),
        (P.replace("*, ,", "*, 2026-01-01T10:00:00,"), "lacks its time zone"),
        (P.replace("*, , ,", "*, , 9999-12-31,"), "is no date"),
        (P.replace("*, , ,", "*, 2027-01-01, 2026-01-01,"), "is empty"),
        (P.replace("R2", "R1"), "the id R1 is taken by policy.csv:2"),
        (P.replace("R2", ""), "no row id"),
        (P.replace("why", "w\u202ehy"), "U+202E"),
        (P2.replace("O1", "R1"), "the id R1 is taken by policy.csv:2"),
        (P2.replace("mask, hash", "maks, hash"), "did you mean 'mask'"),
        (P2.replace("mask, hash", "mask, hsh"), "did you mean 'hash'"),
        (P2.replace("read", "display"), "mask is tied to read"),
        (P2.replace("hash, ,", "hash, role:q,"), "no membership (g row) names role:q"),
        (P2.replace("hash, ,", "hash, *,"), "binds nobody"),
        (P2.replace("read", "display").replace("mask, hash", "display, cel=1KiB"), "did you mean 'cell'"),
        (P2.replace("read", "display").replace("mask, hash", "display, cell=1KB"), "is no limit"),
        (P2.replace("read", "display").replace("mask, hash", "display,"), "no limit given"),
        (P2.replace("read", "display").replace("mask, hash", "display, cell=1 cell=2"), "given twice"),
        (P2.replace("read", "export").replace("mask, hash", "review, 0"), "not a number of reviewers"),
        (P2.replace("read", "export").replace("mask, hash", "min-count, ²"), "not a number"),
        (P2.replace("read", "export").replace("mask, hash", "min-count, -1"), "not a number"),
        (P2.replace("mask, hash", "max-days, 0"), "not a number of days"),
        ("g, user:a", "or all four"),
        ("g, user:a, role:r, 2026-12-31", "or all four"),
        ("g, user:b, role:rr", "did you mean 'role:r'"),
        ("g, user:b, user:a", "nobody can belong to a user"),
        ("g, *, role:r", "no subject"),
        ("g, role:r, role:r", "would belong to itself"),
        ("g, clearance:public, clearance:secret", "ordered already"),
        ("g, user:a, role:r", "the same row stands in policy.csv:1"),
        ("g2, lab/x", "2 fields"),
        ("g2, lab/x, tag:direct-identifer", "did you mean 'tag:direct-identifier'"),
        ("g2, lab/x, tag:sensitive", "no rule mentions tag:sensitive"),
        ("g2, lab/x, direct-identifier", "is no tag"),
        ("g2, lab, tag:sensitive", "cannot carry a tag"),
        ("g3, display, raed", "did you mean 'read'"),
        ("g3, read, export", "circle of needs"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(problems, line: str, says: str) -> None:
    found = [problem for problem in problems(GOOD + line) if problem.line == 3 and problem.file == "policy.csv"]
    assert any(says in str(problem) for problem in found), [str(problem) for problem in problems(GOOD + line)]


def test_all_that_is_wrong_is_told_at_once_in_order(problems) -> None:
    found = problems("P, x\np, \nq\n" + GOOD)
    assert [problem.line for problem in found] == [1, 2, 3]


def test_a_circle_and_a_deep_chain_are_refused(problems, make) -> None:
    circle = "g, role:a, role:b\ng, role:b, role:c\ng, role:c, role:a\np, R, role:a, read, lab/x, *, , , deny,\n"
    assert "circle of membership" in str(problems(circle)[0])

    def chain(length: int) -> str:
        rows = ["g, user:a, role:r1", *(f"g, role:r{n}, role:r{n + 1}" for n in range(1, length))]
        return "\n".join([*rows, f"p, R, role:r{length}, discover, lab/x, *, , , allow,"])

    assert "more than 9 links" in str(problems(chain(10))[0])
    make(chain(9))


def test_long_chains_and_circles_do_not_exhaust_the_stack(problems) -> None:
    rows = [f"g, role:r{n}, role:r{(n + 1) % 3000}" for n in range(3000)]
    assert "circle" in str(problems("\n".join(rows))[0])


def test_a_missing_file_is_named(folder, make) -> None:
    (folder / "model.conf").unlink()
    with pytest.raises(PolicyError) as caught:
        make(GOOD)
    assert caught.value.problems[0].file == "model.conf"
    assert "cannot be read" in str(caught.value)


def test_extra_rows_are_named_by_their_origin(problems) -> None:
    row = Row("p", ("grant-1", "user:a", "read", "lab", "*", "", "", "allow", ""), "grant 1")
    assert str(problems(GOOD, extra=[row])[0]).startswith("grant 1: 'lab' is no object")


def test_ended_rows_are_noted(make) -> None:
    policy = make("g, user:a, role:r, , 2026-11-30\n" + GOOD + "p, R3, role:r, read, lab/y, *, , 2025-01-01, allow,")
    assert [(note.line, note.message.split(" ended")[0]) for note in policy.warnings] == [
        (1, "user:a in role:r"),
        (4, "R3"),
    ]


def test_a_tag_of_the_catalogue_may_be_anything_but_a_misspelling(make, problems) -> None:
    make(GOOD, extra=[Row("g2", ("lab/x#c", "tag:outcome"), "catalogue lab/x")])
    found = problems(GOOD, extra=[Row("g2", ("lab/x#c", "tag:direct-identifer"), "catalogue lab/x")])
    assert str(found[0]) == (
        "catalogue lab/x: unknown tag 'tag:direct-identifer' - did you mean 'tag:direct-identifier'?"
    )
