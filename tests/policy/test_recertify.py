from __future__ import annotations

from datetime import date

import pytest
from random_policies import sources_of
from strongroom_policy.recertify import _back, key_of, standings

ROWS = """\
g, user:a, role:r

# certified 2026-03-01 by user:dora, for another year
p, R1, role:r, read, lab/d, *, , , allow, why
p, R2, role:r, discover, lab/d, *, , , allow, why

p, R3, role:r, export, lab/d, *, 2026-10-01, , allow, why
p2, O1, *, read, lab/d, *, mask, hash, , why
# Certified 2026-13-01 by user:dora
p, R4, role:r, train, lab/d, *, , , allow, why
"""


def found(today: date, months: int, seen=None) -> dict[str, tuple[str, str, bool]]:
    sources = sources_of(ROWS)
    told = standings({"policy.csv": ROWS.encode()}, sources, today, months, seen or {})
    return {one.row.fields[0]: (one.owner, str(one.on), one.overdue) for one in told}


def test_a_certification_holds_up_to_the_next_blank_line() -> None:
    rows = found(date(2026, 12, 1), 12)
    assert rows["R1"] == rows["R2"] == ("user:dora", "2026-03-01", False)
    assert rows["R3"] == ("nobody", "2026-10-01", False)
    # of what nothing is known, and what only looks like a certification, counts as old
    assert rows["O1"] == rows["R4"] == rows["user:a"] == ("nobody", "None", True)


def test_months_are_counted_to_the_day() -> None:
    assert found(date(2027, 2, 28), 12)["R1"][2] is False
    assert found(date(2027, 3, 1), 12)["R1"][2] is True


def test_history_says_more_than_since_and_less_than_people() -> None:
    seen = {key_of(row): date(2026, 11, 1) for row in sources_of(ROWS).rows}
    rows = found(date(2026, 12, 1), 12, seen)
    assert rows["R1"][:2] == ("user:dora", "2026-03-01")
    assert rows["R3"] == rows["O1"] == ("nobody", "2026-11-01", False)


@pytest.mark.parametrize(
    ("today", "months", "then"),
    [
        (date(2026, 3, 31), 1, date(2026, 2, 28)),
        (date(2028, 2, 29), 12, date(2027, 2, 28)),
        (date(2026, 1, 15), 1, date(2025, 12, 15)),
        (date(2026, 12, 15), 12, date(2025, 12, 15)),
    ],
)
def test_the_same_day_so_many_months_ago(today: date, months: int, then: date) -> None:
    assert _back(today, months) == then
