from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from strongroom_hub.problems import Problem
from strongroom_hub.vault import stream

MODEL = b"Zephyrine-model " * 200_000  # four chunks
FILES = {"model.skops": MODEL, "notes (1).txt": b"Zephyrine-notes", "empty": b""}


def archive(files: dict[str, bytes], **about: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in about.items():
                setattr(member, field, value)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def read(room: Any, name: str, **changed: Any) -> bytes:
    answer = room.read("lab/models", [name], **changed)
    try:
        assert (answer.rows, answer.bytes) == (0, os.fstat(answer.fd).st_size)
        return os.pread(answer.fd, answer.bytes, 0)
    finally:
        os.close(answer.fd)


def test_files_come_back_and_lie_sealed(room: Any) -> None:
    manifest = room.publish("lab/models", archive(FILES), fmt="files")
    assert manifest["kind"] == "files"
    assert {file["name"]: file["length"] for file in manifest["files"]} == {
        name: len(content) for name, content in FILES.items()
    }
    for name, content in FILES.items():
        assert read(room, name) == content
    for file in [path for path in room.instance.data.rglob("*") if path.is_file()]:
        assert b"Zephyrine" not in file.read_bytes(), file
    assert room.vault.store.verify("lab/models", 1).kind == "files"


def test_only_the_key_of_the_wanted_file_is_opened(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    room.publish("lab/models", archive(FILES), fmt="files")
    keys, opened = room.vault.keys, []
    unwrap = keys.unwrap
    monkeypatch.setattr(keys, "unwrap", lambda key, use: (opened.append(use.words[-1]), unwrap(key, use))[1])
    read(room, "notes (1).txt")
    assert opened == ["notes (1).txt"]


def test_what_cannot_be_done_with_files_is_refused(room: Any) -> None:
    room.publish("lab/models", archive(FILES), fmt="files")
    with pytest.raises(Problem, match="holds files"):
        room.read("lab/models", list(FILES))
    with pytest.raises(Problem, match="holds files"):
        read(room, "empty", masks={"empty": {"method": "redact"}})
    with pytest.raises(Problem, match="has no column 'other'"):
        read(room, "other")
    with pytest.raises(Problem, match="may go into one kernel"):
        read(room, "model.skops", max_bytes=1000)


Spoil = Callable[[bytes], bytes]
SPOILT: dict[str, Spoil] = {
    "a flip": lambda data: data[:99] + bytes([data[99] ^ 1]) + data[100:],
    "cut off": lambda data: data[: stream.HEAD + stream.CHUNK + stream.TAG],
    "more": lambda data: data + b"x",
    "swapped chunks": lambda data: data[:11] + data[11 + 1048592 : 11 + 2 * 1048592] + data[11 : 11 + 1048592],
    "in clear": lambda _: MODEL,
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_changed_file_is_refused_by_name_and_the_others_are_read(room: Any, how: str) -> None:
    room.publish("lab/models", archive(FILES), fmt="files")
    file = room.folder("lab/models") / "file-00000.sealed"
    file.write_bytes(SPOILT[how](file.read_bytes()))
    for attempt in (lambda: read(room, "model.skops"), lambda: room.vault.store.verify("lab/models", 1)):
        with pytest.raises(Problem, match=r"file-00000\.sealed") as refused:
            attempt()
        assert refused.value.slug == "dataset-damaged"
    assert read(room, "empty") == b""


def test_two_files_swapped_do_not_open_even_under_a_signed_manifest(room: Any) -> None:
    manifest = room.publish("lab/models", archive(FILES), fmt="files")
    folder = room.folder("lab/models")
    one, two, *rest = manifest["files"]
    for file, name in ((one, "spare"), (two, one["stored"])):
        (folder / file["stored"]).rename(folder / name)
    (folder / "spare").rename(folder / two["stored"])
    kept = ("sha256", "bytes", "length")
    swapped = [one | {key: two[key] for key in kept}, two | {key: one[key] for key in kept}, *rest]
    (folder / "manifest.jws").write_text(room.signer.activate(manifest | {"files": swapped}))
    with pytest.raises(Problem, match="does not open"):
        read(room, "notes (1).txt")


def test_a_file_of_another_version_is_refused(room: Any) -> None:
    room.publish("lab/models", archive(FILES), fmt="files")
    room.publish("lab/others", archive(FILES), fmt="files")
    shutil.copy(room.folder("lab/others") / "file-00001.sealed", room.folder("lab/models") / "file-00001.sealed")
    with pytest.raises(Problem, match="SHA-256"):
        read(room, "notes (1).txt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (archive({}), "holds no files"),
        (b"rubbish" * 999, "cannot be read"),
        (archive({"../up": b"x"}), "name is not made of"),
        (archive({"a/b": b"x"}), "name is not made of"),
        (archive({".hidden": b"x"}), "name is not made of"),
        (archive({"a": b""}, type=tarfile.SYMTYPE, linkname="/etc/passwd"), "not an ordinary file"),
        (archive({"a": b""}, type=tarfile.DIRTYPE), "not an ordinary file"),
        (archive({"a": b"x" * 600})[:700], "cannot be read"),
        (archive({"a": b"x"})[:1024] + archive({"a": b"y"}), "Two files"),
    ],
)
def test_a_bad_archive_is_refused_and_leaves_nothing(room: Any, content: bytes, words: str) -> None:
    with pytest.raises(Problem, match=words):
        room.ingest("lab/models", content, fmt="files")
    assert [path for path in (room.instance.vault_dir / "store").rglob("*") if path.is_file()] == []


def test_an_export_after_reading_files_says_that_nothing_was_compared(room: Any) -> None:
    room.publish("lab/models", archive(FILES), fmt="files")
    receipt = room.stage(b"town,n\na,20\n", sources=[room.view("lab/models", list(FILES))])
    (said,) = [finding for finding in receipt["findings"] if finding["check"] == "row-overlap"]
    assert said["severity"] == "warn"
    assert "lab/models@1" in said["text"]
