from __future__ import annotations

import pytest
from strongroom_policy.rows import Row

BASE = """\
g, user:a, role:r
g, user:a, project:x
g, user:b, project:y
g, role:r, role:s
g, user:a, clearance:internal
p, BASE, role:s, discover, lab/**, *, , , allow,
"""
P = "p, {}, {}, {}, {}, *, {}, {}, {},\n"


def rule(name: str, who: str, acts: str, what: str, effect: str = "allow", since: str = "", until: str = "") -> str:
    return P.format(name, who, acts, what, since, until, effect)


def rows(*filters: str, purpose: str = "*") -> str:
    """Filters on lab/d; `purpose`: of the last one."""
    last = len(filters) - 1
    return "".join(
        f'p2, O{n}, *, read, lab/d, {purpose if n == last else "*"}, rows, "{one}", , w\n'
        for n, one in enumerate(filters)
    )


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (rule("N", "role:r", "discover", "lab/d"), "N allows nothing that BASE (policy.csv:6) does not allow"),
        (rule("N", "role:s", "discover", "lab/**"), "N allows nothing that BASE"),
        (rule("N", "role:s", "discover|read", "lab/**"), "BASE allows nothing that N"),
        (rule("N", "role:s", "read", "lab/**"), ""),
        (rule("N", "role:s", "discover", "*"), "BASE allows nothing that N"),
        (rule("N", "*", "discover", "lab/d"), ""),
        (rule("N", "role:r", "discover", "lab2/d"), ""),
        (rule("W", "*", "read", "lab/**", "deny") + rule("N", "role:r", "read|export", "lab/d#c"),
         "N allows nothing: W (policy.csv:7) denies all of it"),
        (rule("W", "*", "read", "lab/**", "deny") + rule("N", "role:r", "read|discover", "lab2/d#c"), ""),
        (rule("W", "role:s", "read", "lab/**", "deny") + rule("N", "role:r", "display", "lab/d", "deny"),
         "N denies nothing that W (policy.csv:7) does not deny"),
        (rule("W", "*", "read", "lab/d", "deny", "2026-02-01", "2026-12-31")
         + rule("N", "*", "read", "lab/d", "deny", "2026-03-01", "2026-12-30"), "N denies nothing"),
        (rule("W", "*", "read", "lab/d", "deny", "2026-02-01", "2027-12-31")
         + rule("N", "*", "read", "lab/d", "deny", "2026-01-01", "2027-12-30"), ""),
        (rule("W", "*", "read", "lab/d", "deny", "2026-02-01", "2027-12-31")
         + rule("N", "*", "read", "lab/d", "deny", "2026-03-01"), ""),
        ("g2, lab/d#c, tag:sensitive\n" + rule("W", "*", "read", "tag:sensitive", "deny")
         + rule("N", "role:r", "read", "lab/d#c"), "N allows nothing: W"),
        ("p2, A, *, read, lab/**, *, mask, hash, ,\np2, N, role:r, read, lab/d#c, *, mask, hash, ,\n",
         "N asks for nothing that A (policy.csv:7) does not ask for"),
        ("p2, A, *, read, lab/**, *, mask, hash, ,\np2, N, role:r, read, lab/d#c, *, mask, null, ,\n", ""),
        ("p2, A, *, read, lab/**, *, mask, hash, role:s,\np2, N, role:r, read, lab/d#c, *, mask, hash, ,\n", ""),
        (rows("n > 3", "n < 2"), "no row passes O1 and O0 (policy.csv:7) together: no n is as both say"),
        (rows("n > 3", "n < 4"), ""),
        (rows("n >= 3", "n <= 3"), ""),
        (rows("n > 3 or n is null", "n < 2"), "no row passes O1 and O0"),
        (rows("n > 3 or n is null", "n is null"), ""),
        (rows("n is null", "n = 1"), "no row passes O1 and O0"),
        (rows("n > 3", "m < 2"), ""),
        (rows("site in ('A', 'B')", "site = 'C'"), "no row passes O1 and O0"),
        (rows("site in ('A', 'B')", "not (site = 'B')"), ""),
        (rows("site > 'A'", "site < 'B'"), ""),
        (rows("d between 2026-01-01 and 2026-12-31", "d > 2026-12-31"), "no row passes O1 and O0"),
        (rows("consent", "not consent"), "no row passes O1 and O0"),
        (rows("consent", "consent = true"), ""),
        (rows("n > today()", "n < 3"), ""),
        (rows("n > 3 and n < 2"), "no row passes O0: no n is as it says"),
        (rows("n > 3", "n < 2", purpose="project:y"), "no row passes O1 and O0"),
        ("p2, A, role:r, read, lab/d, *, rows, n > 3, , w\np2, B, user:b, read, lab/d, *, rows, n < 2, , w\n", ""),
        ("g, role:empty, role:s\n" + rule("N", "role:empty", "read", "lab/d"), "N reaches nobody: no user belongs to"),
        ("p, N, role:r, read, lab/d, project:y, , , allow,\n", "N reaches nobody: none of role:r is a"),
        ("p, N, role:r, read, lab/d, project:x, , , allow,\n", ""),
        ("p, N, user:b, discover|approve-access, lab/d, project:y, , , allow,\n", ""),
        (rule("N", "role:r", "read", "label:secret"), "N reaches nobody: none of role:r is cleared for secret"),
        (rule("N", "role:r", "read|discover", "label:secret"), ""),
        (rule("N", "role:r", "read", "label:internal"), ""),
        ("g, group:staff, role:r\n" + rule("N", "role:r", "read", "label:secret"), ""),
        (rule("N", "role:r", "read", "lab/d", until="2026-11-30"), "N ended at 2026-12-01 00:00 UTC"),
    ],
)  # fmt: skip
def test_rows_that_say_nothing_are_noted_and_no_others(make, rows: str, says: str) -> None:
    found = make(BASE + rows).warnings
    assert [one.message for one in found if not one.message.startswith(says or "?")] == []
    assert len(found) == bool(says)


def test_two_rows_that_say_the_same_are_noted_once_at_the_later(make) -> None:
    found = make(BASE + rule("M", "*", "read", "lab/d") + rule("N", "*", "read", "lab/d")).warnings
    assert [(one.line, one.message) for one in found] == [(8, "N allows nothing that M (policy.csv:7) does not allow")]


def test_what_holds_for_a_time_makes_nothing_needless(make) -> None:
    rows = BASE.replace("g, role:r, role:s", "g, role:r, role:s, , 2027-01-01")
    assert make(rows + rule("N", "role:r", "discover", "lab/d")).warnings == ()


def test_a_tier_that_no_profile_has_is_noted(make, folder) -> None:
    row = "p2, T, *, read, lab/d, *, sandbox, gvisor, ,\n"
    assert make(BASE + row).warnings == ()
    file = folder / "profiles.toml"
    file.write_text(file.read_text().replace('"gvisor"', '"bubblewrap"'))
    (found,) = make(BASE + row).warnings
    assert "no profile of profiles.toml has" in found.message


def test_rows_of_the_database_are_not_the_admins_to_tidy(make) -> None:
    extra = [Row("p", ("grant-1", "role:r", "discover", "lab/d", "*", "", "", "allow", ""), "grant 1")]
    assert make(BASE, extra=extra).warnings == ()
