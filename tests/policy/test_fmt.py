from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_policy.adapter import read_rows
from strongroom_policy.cases import read_cases
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.fmt import formatted

UGLY = '''\
# Who is who


g,user:a , role:analyst
# a remark, about people
g, user:somebody,   role:r
#id,who, may
p,R1,role:r,read,lab/d,*,,,allow,"because, of that"
p2 , O1,*,read,"lab/d#a ""b""",*,rows,"x in ('A','B')",,why   \r
'''
NEAT = '''\
# Who is who


g, user:a       , role:analyst
# a remark, about people
g, user:somebody, role:r
#  id, who   , may
p, R1, role:r, read, lab/d, *, , , allow, "because, of that"
p2, O1, *, read, "lab/d#a ""b""", *, rows, "x in ('A','B')", , "why"
'''


def rows(text: str) -> list[tuple[str, tuple[str, ...], int]]:
    findings: list[Finding] = []
    found = [(row.ptype, row.fields, row.line) for row in read_rows(text.encode(), "policy.csv", findings)]
    assert not findings
    return found


def test_rows_are_aligned_quoted_where_needed_and_comments_stay() -> None:
    assert formatted(UGLY.encode(), "policy.csv") == NEAT
    assert formatted(NEAT.encode(), "policy.csv") == NEAT
    assert rows(NEAT) == rows(UGLY)


@pytest.mark.parametrize("name", ["policy.csv", "tests.csv"])
def test_the_shipped_files_are_written_that_way(default_folder, name: str) -> None:
    raw = (default_folder / name).read_bytes()
    assert formatted(raw, name) == raw.decode()


def test_what_is_not_understood_is_not_touched() -> None:
    for text, line in (('g, a, "b\n', 1), ("# x\np, R # now\n", 2), ('""', 1), ("q, x", 1)):
        with pytest.raises(PolicyError) as caught:
            formatted(text.encode(), "policy.csv")
        assert [problem.line for problem in caught.value.problems] == [line]
    with pytest.raises(PolicyError, match="a test has 10 fields"):
        formatted(b'""', "tests.csv")
    with pytest.raises(PolicyError, match="UTF-8"):
        formatted(b"# caf\xe9\n", "policy.csv")


def test_empty_files_stay_empty() -> None:
    assert formatted(b"", "policy.csv") == ""
    assert formatted(b"\n\n", "policy.csv") == ""
    assert formatted(b"\xef\xbb\xbf# x", "policy.csv") == "# x\n"


_cell = st.text(alphabet="ab:#\"', /*\t=", max_size=6).map(str.strip)
_written = _cell.map(lambda cell: '"' + cell.replace('"', '""') + '"')
_row = st.lists(_written, min_size=1, max_size=10).map(",".join)
_line = st.one_of(
    _row.map(lambda row: "p," + row),
    _row.map(lambda row: "p2 ,  " + row),
    _row.map(lambda row: "g," + row),
    st.sampled_from(["", "  ", "# a comment", "#  id, who, may", "# who, belongs to", "#"]),
)


@given(st.lists(_line, max_size=8))
def test_formatting_changes_no_row_and_formatting_again_changes_nothing(lines: list[str]) -> None:
    text = "\n".join(lines)
    once = formatted(text.encode(), "policy.csv")
    assert rows(once) == rows(text)
    assert formatted(once.encode(), "policy.csv") == once
    comments = [line.strip() for line in lines if line.strip().startswith("#")]
    kept = [line for line in once.splitlines() if line.startswith("#")]
    assert [kept_one.replace(" ", "") for kept_one in kept] == [comment.replace(" ", "") for comment in comments]


def test_tests_are_aligned_too() -> None:
    text = (
        "# expect, who, may\n"
        "allow,user:a,read,lab/d,public,,,2026-12-01,,fine\n"
        "deny,user:abc,read,lab/d,,,,2026-12-01,,\n"
    )
    once = formatted(text.encode(), "tests.csv")
    assert once.splitlines() == [
        "# expect, who     , may",
        'allow   , user:a  , read, lab/d, public, , , 2026-12-01, , "fine"',
        "deny    , user:abc, read, lab/d,       , , , 2026-12-01, ,",
    ]
    findings: list[Finding] = []
    assert len(read_cases(once.encode(), "tests.csv", findings)) == 2
    assert not findings
