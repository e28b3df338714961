from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_policy.adapter import MODEL, CellError, cells, check_model, read_rows
from strongroom_policy.cases import read_cases
from strongroom_policy.decision import Request
from strongroom_policy.errors import Finding
from strongroom_policy.reader import Reader
from strongroom_policy.settings import Settings, read_settings


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("p, a , b", ["p", "a", "b"]),
        ('p, "one, two" ,x', ["p", "one, two", "x"]),
        ('"say ""no""",b', ['say "no"', "b"]),
        ("a,,", ["a", "", ""]),
        ("a, ,b,", ["a", "", "b", ""]),
        ("p, health/randhie#age", ["p", "health/randhie#age"]),
        ('"a # b",c', ["a # b", "c"]),
        ("p, f(x[1), b", ["p", "f(x[1)", "b"]),
    ],
)
def test_cells(line: str, expected: list[str]) -> None:
    assert cells(line) == expected


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('p, "open', "never closed"),
        ('p, "a" b, c', "behind a closing quote"),
        ('p, a"b', "a quote inside"),
        ("p, deny # never", "a comment behind a row"),
        ("p, allow, # never", "a comment behind a row"),
        ('"""', "never closed"),
    ],
)
def test_what_cannot_be_divided_is_refused(line: str, says: str) -> None:
    with pytest.raises(CellError, match=says):
        cells(line)


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])), min_size=1))
def test_quoting_gives_back_what_was_written(texts: list[str]) -> None:
    line = ",".join('"' + text.replace('"', '""') + '"' for text in texts)
    assert cells(line) == [text.strip() for text in texts]


def test_every_line_is_a_row_a_comment_blank_or_a_finding() -> None:
    findings: list[Finding] = []
    raw = b"\xef\xbb\xbfp, a\r\n# comment\n\n   \n\tg, b\nG, c"
    rows = read_rows(raw, "policy.csv", findings)
    assert [(row.ptype, row.line) for row in rows] == [("p", 1), ("g", 5), ("G", 6)]
    assert findings == []


@pytest.mark.parametrize(
    ("raw", "line", "says"),
    [
        (b"p, a\np, \xff\n", 2, "not UTF-8"),
        ("p, a".encode("utf-16"), 1, "not UTF-8"),
        ("p, al\u200blow".encode(), 1, "U+200B"),
        ("# fine\np, a\u2028p, b".encode(), 2, "line break"),
        (b"# comment\rp, R, *, read, *, *, , , deny,\n", 1, "line break"),
        (b"p, a\rp, b", 1, "line break"),
        (b"p, a\x00", 1, "U+0000"),
    ],
)
def test_hidden_characters_are_findings(raw: bytes, line: int, says: str) -> None:
    findings: list[Finding] = []
    read_rows(raw, "policy.csv", findings)
    assert [finding.line for finding in findings] == [line]
    assert says in findings[0].message


@given(st.binary(max_size=400))
def test_rubbish_bytes_never_crash_a_reader(raw: bytes) -> None:
    findings: list[Finding] = []
    reader = Reader(Settings())
    reader.read(read_rows(raw, "policy.csv", findings))
    read_cases(raw, "tests.csv", findings)
    read_settings(raw, "labels.toml", findings)
    check_model(raw, "model.conf", findings)
    assert findings  # no rubbish is a whole policy


_TEXT = (
    "p p2 g g2 g3 G allow deny user:a role:b * read read|export a/b a/b#c a/** ** label:public label:x 10 mask hash "
    'tag:direct-identifier 2026-01-01 2026-13-01 9999-12-31 2026-01-01T00:00:00Z " "x" # ² [ \\ project:c cell=1KiB'
)
_WORDS = st.sampled_from(["", *_TEXT.split()])


@given(st.lists(st.lists(_WORDS, max_size=11).map(",".join), max_size=5))
def test_rubbish_rows_never_crash_the_reader(lines: list[str]) -> None:
    findings: list[Finding] = []
    reader = Reader(Settings(tags={"tag:direct-identifier": ""}))
    rows = read_rows("\n".join(lines).encode(), "policy.csv", findings)
    typed = reader.read(rows)
    written = [line for line in lines if line.strip() and not line.strip().startswith("#")]
    assert len(rows) + len({finding.line for finding in findings}) == len(written)
    assert len(typed) + len({finding.line for finding in reader.findings}) == len(rows)


def test_the_model_may_be_commented_and_broken_into_lines_but_not_changed() -> None:
    def refused(text: str) -> list[Finding]:
        findings: list[Finding] = []
        check_model(text.encode(), "model.conf", findings)
        return findings

    assert refused(MODEL) == []
    assert refused("# hello\n\n" + MODEL.replace(" && ", " \\\n  && ")) == []
    assert refused(MODEL.replace("&& !some", "|| some"))[0].line == 11
    assert refused(MODEL.replace("&& cleared(r.sub, r.act, r.label, p.eft)", ""))
    assert refused(MODEL.replace("isA(r.sub, p.sub) && ", ""))
    assert refused(MODEL + "m2 = true\n")[0].message.endswith("beyond its end")
    assert "lacks" in refused("\n".join(MODEL.splitlines()[:-3]))[0].message
    assert refused("")


def test_a_changed_model_is_refused_with_the_whole_policy(make, problems, folder) -> None:
    make("")
    (folder / "model.conf").write_text(MODEL.replace("&& cleared(r.sub, r.act, r.label, p.eft)", ""))
    assert [problem.file for problem in problems("")] == ["model.conf"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("internal = ", "internl = ", "must name public, internal"),
        ("[defaults]", "[default]", "unknown section"),
        ("review = ", "reviews = ", "did you mean 'review'"),
        ('review = "2"', 'review = "0"', "not a number of reviewers"),
        ('review = "2"', "review = 2", "must be a text"),
        ("[tags]", "[tags", "not TOML"),
    ],
)
def test_labels_file(default_folder, old: str, new: str, says: str) -> None:
    text = (default_folder / "labels.toml").read_text()
    assert old in text
    findings: list[Finding] = []
    read_settings(text.replace(old, new).encode(), "labels.toml", findings)
    assert any(says in str(finding) for finding in findings), findings


WORDS = """
[groups]
guests = "Visitors"
[clearances]
internal = "After an interview"
[actions]
discover = ""
read = ""
display = ""
export = ""
[obligations]
mask = ""
display = ""
review = ""
min-count = ""
max-days = ""
sandbox = ""
"""


def test_an_installation_may_use_fewer_words(make, problems, folder, noon) -> None:
    file = folder / "labels.toml"
    file.write_text(file.read_text() + WORDS)
    make("g, user:a, clearance:internal\np, A, group:guests, read, lab/d, *, , , allow,\n")
    refused = {
        "g, user:a, clearance:secret\n": "clearance 'clearance:secret' is not used in this installation - labels.toml",
        "p, A, *, train, lab/d, *, , , allow,\n": "action 'train' is not used in this installation",
        "p, A, *, trian, lab/d, *, , , allow,\n": "unknown action 'trian'",
        "p2, O, *, read, lab/d, *, session, 8h, ,\n": "obligation 'session' is not used in this installation",
        "p2, O, *, read, lab/d, *, sessoin, 8h, ,\n": "unknown obligation 'sessoin'",
    }
    for row, says in refused.items():
        assert says in str(problems(row)[0])
    request = Request("user:a", "train", "lab/d", label="public", now=noon)
    assert "unknown action 'train'" in make("").decide(request).reason


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('export = ""', "", "[actions] export is missing: grants and defaults need it"),
        ('export = ""', 'exprt = ""', "did you mean 'export'?"),
        ('sandbox = ""', "", "[obligations] sandbox is missing"),
        ("internal = ", "intern = ", "[clearances] unknown word 'intern'"),
        ("guests = ", '"a b" = ', "'a b' cannot be a group's name"),
        ('"Visitors"', "1", "[groups] guests must be a text"),
        ("[actions]", "[action]", "did you mean 'actions'?"),
    ],
)
def test_words_of_an_installation_are_checked(default_folder, old: str, new: str, says: str) -> None:
    text = (default_folder / "labels.toml").read_text() + WORDS
    assert old in text
    findings: list[Finding] = []
    read_settings(text.replace(old, new).encode(), "labels.toml", findings)
    assert any(says in str(finding) for finding in findings), findings
