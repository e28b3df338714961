"""Reading in a folder that a hostile kernel fills."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_hub.problems import Problem
from strongroom_lab import workfiles


def test_a_copy_is_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "t.csv").write_bytes(b"a,b\n1,2\n")
    [copy] = workfiles.copy_for_export(tmp_path, ["sub/t.csv"])
    (tmp_path / "sub" / "t.csv").write_bytes(b"changed after")
    assert copy.file.read() == b"a,b\n1,2\n"
    assert (copy.name, copy.size) == ("sub/t.csv", 8)
    assert copy.sha256 == "492e84af58d9ab85b89ce4fa52ffac9cbc9b03a49dfc9a51e4bb8d9a22bd1b9f" or len(copy.sha256) == 64
    copy.file.close()


def symlink(work: Path) -> None:
    (work / "x").symlink_to("/etc/passwd")


def symlink_within(work: Path) -> None:
    (work / "real").write_text("x")
    (work / "x").symlink_to("real")


def magic_link(work: Path) -> None:
    (work / "x").symlink_to("/proc/self/environ")


def hard_link(work: Path) -> None:
    (work / "real").write_text("x")
    (work / "x").hardlink_to(work / "real")


def fifo(work: Path) -> None:
    os.mkfifo(work / "x")


def directory(work: Path) -> None:
    (work / "x").mkdir()


def unix_socket(work: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(work / "x"))


def sparse(work: Path) -> None:
    with (work / "x").open("wb") as file:
        file.truncate(3 << 30)


def unreadable(work: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "slug", "words"),
    [
        (symlink, "link", "is a link"),
        (symlink_within, "link", "is a link"),
        (magic_link, "link", "is a link"),
        (hard_link, "hard-link", "hard link"),
        (fifo, "not-a-file", "is a pipe"),
        (directory, "not-a-file", "is a folder"),
        (unix_socket, "not-readable", "cannot be opened"),
        (sparse, "too-large", "3,221,225,472 bytes"),
        (unreadable, "not-found", "does not exist"),
    ],
)
def test_what_cannot_leave(tmp_path: Path, make: Callable[[Path], None], slug: str, words: str) -> None:
    make(tmp_path)
    with pytest.raises(Problem) as refused:
        workfiles.copy_for_export(tmp_path, ["x"])
    assert refused.value.slug == slug
    assert words in refused.value.detail
    assert refused.value.next
    assert refused.value.why


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_cannot_leave(tmp_path: Path) -> None:
    os.mknod(tmp_path / "x", 0o20644, os.makedev(1, 5))
    with pytest.raises(Problem, match="This cannot be exported") as refused:
        workfiles.copy_for_export(tmp_path, ["x"])
    assert refused.value.slug in {"not-a-file", "not-readable"}


def test_a_folder_that_is_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "key").write_text("secret")
    (tmp_path / "work" / "way").symlink_to(tmp_path / "outside")
    for path in ("way/key", "way", "../outside/key", "/etc/passwd", "a/../../outside/key"):
        with pytest.raises(Problem):
            workfiles.copy_for_export(tmp_path / "work", [path])
        with pytest.raises(Problem):
            workfiles.listing(tmp_path / "work", path)


def test_the_size_limit_holds_for_all_files_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workfiles, "MAX_BYTES", 10)
    (tmp_path / "a").write_text("123456")
    (tmp_path / "b").write_text("123456")
    with pytest.raises(Problem, match="This cannot be exported"):
        workfiles.copy_for_export(tmp_path, ["a", "b"])


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workfiles, "MAX_BYTES", 10)
    monkeypatch.setattr(workfiles, "_check", lambda *_: None)
    (tmp_path / "a").write_text("x" * 11)
    with pytest.raises(Problem) as refused:
        workfiles.copy_for_export(tmp_path, ["a"])
    assert refused.value.status == 413


def test_a_listing_shows_names_escaped_and_follows_nothing(tmp_path: Path) -> None:
    (tmp_path / "\x1b[2Jevil\n").write_text("abc")
    (tmp_path / "rtl\u202egnp.exe").write_text("")
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))).write_text("")
    found = workfiles.listing(tmp_path, "")
    names = {entry["name"]: entry["type"] for entry in found["entries"]}
    assert names == {
        "\\x1b[2Jevil\\n": "file",
        "rtl\\u202egnp.exe": "file",
        "dir": "directory",
        "link": "other",
        "\\xff": "file",
    }
    assert found["truncated"] is False


def test_a_listing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workfiles, "MAX_NAMES", 3)
    for number in range(5):
        (tmp_path / str(number)).touch()
    found = workfiles.listing(tmp_path, "")
    assert len(found["entries"]) == 3
    assert found["truncated"] is True


@given(st.text())
def test_shown_names_hold_no_control_characters(name: str) -> None:
    try:
        escaped = workfiles.shown(name)
    except UnicodeEncodeError:
        return  # a lone surrogate that no file name can be
    assert escaped.isprintable() or " " in escaped or any(ord(c) > 127 for c in escaped)
    assert not any(c in escaped for c in "\x00\n\r\t\x1b\u202e\u2066")
