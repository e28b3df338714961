from __future__ import annotations

from strongroom_policy.coverage import coverage
from strongroom_policy.engine import read_sources

RULES = """\
g, user:a, role:r
g, user:a, project:x
g, user:a, clearance:internal
g, role:r, role:s, , 2026-11-30
g, group:staff, role:s
g2, lab/d#ssn, tag:sensitive
g2, lab/e, tag:sensitive
g3, approve-export, read
p, R1, role:r, read, lab/d, project:x, , , allow,
p, R2, role:s, read, tag:sensitive, *, , , deny,
p, R3, role:s, discover, lab/**, *, , , allow,
p2, O1, *, read, tag:sensitive, *, mask, hash, ,
p2, O2, *, display, lab/**, *, display, 0, ,
"""


def reached(folder, tests: str) -> dict[str, tuple[int, ...]]:
    (folder / "policy.csv").write_text(RULES)
    (folder / "tests.csv").write_text(tests)
    found = coverage(read_sources(folder))
    names = {"p": 0, "p2": 0}
    return {
        one.row.fields[0] if one.row.ptype in names else f"{one.row.fields[0]}>{one.row.fields[1]}": one.by
        for one in found
    }


def test_without_tests_nothing_is_reached(folder) -> None:
    assert set(reached(folder, "").values()) == {()}


def test_a_test_reaches_its_rule_and_what_led_there(folder) -> None:
    found = reached(folder, "allow, user:a, read, lab/d, internal, , project:x, 2026-12-01, ,\n")
    hit = {name for name, by in found.items() if by}
    assert hit == {"R1", "user:a>role:r", "user:a>project:x", "user:a>clearance:internal"}
    assert found["R1"] == (1,)


def test_an_obligation_is_reached_only_where_a_test_names_it(folder) -> None:
    line = "deny, user:b group:staff, read, lab/d#ssn, public, , , 2026-12-01, {},\n"
    for owing, expected in (("", set()), ("mask hash", {"O1"}), ("display 0", {"O2"})):
        hit = {name for name, by in reached(folder, line.format(owing)).items() if by}
        assert {name for name in hit if name.startswith("O")} == expected
        assert {"R2", "lab/d#ssn>tag:sensitive", "group:staff>role:s"} <= hit
        assert "lab/e>tag:sensitive" not in hit


def test_memberships_count_at_the_time_of_the_test(folder) -> None:
    line = "deny, user:a, read, lab/e, public, , , {}, ,\n"
    assert reached(folder, line.format("2026-11-30"))["role:r>role:s"] == (1,)
    assert reached(folder, line.format("2026-12-01"))["role:r>role:s"] == ()


def test_needs_are_reached_by_what_they_deny(folder) -> None:
    line = "deny, user:b group:staff, {}, lab/e, public, , , 2026-12-01, ,\n"
    assert reached(folder, line.format("approve-export"))["approve-export>read"] == (1,)
    assert reached(folder, line.format("display"))["approve-export>read"] == ()


def test_the_shipped_policy_is_covered(default_folder) -> None:
    assert [one.row.place for one in coverage(read_sources(default_folder)) if not one.by] == []
