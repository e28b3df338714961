from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from strongroom_hub.demo_data import prepare
from strongroom_hub.demo_data.catalogue import DIRECT, SOURCES, SYNTHETIC
from strongroom_hub.demo_data.packages import PackagedFile, fetch
from strongroom_hub.problems import Problem

CONTENT = b"a,b\n1,2\n"
WANTED = PackagedFile("demo", "1.0", "demo/data/t.csv", hashlib.sha256(CONTENT).hexdigest())


def wheel(folder: Path, content: bytes = CONTENT, path: str = WANTED.path) -> Path:
    file = folder / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(path, content)
        archive.writestr("demo/__init__.py", "raise SystemExit('the package was run')")
    return file


def sdist(folder: Path, member: tarfile.TarInfo | None = None) -> Path:
    file = folder / "demo-1.0.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        info = member or tarfile.TarInfo(f"demo-1.0/{WANTED.path}")
        info.size = len(CONTENT) if info.isreg() else 0
        archive.addfile(info, io.BytesIO(CONTENT) if info.isreg() else None)
    return file


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """pip that finds nothing; what it was asked."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


@pytest.mark.parametrize("pack", [wheel, sdist])
def test_a_file_is_read_out_of_either_archive_and_kept(tmp_path: Path, no_pip: list[Any], pack: Any) -> None:
    archive = pack(tmp_path)
    assert fetch(WANTED, tmp_path) == CONTENT
    archive.unlink()
    assert fetch(WANTED, tmp_path) == CONTENT
    assert no_pip == []


def test_a_kept_file_that_changed_is_read_again(tmp_path: Path, no_pip: list[Any]) -> None:
    wheel(tmp_path)
    fetch(WANTED, tmp_path)
    (tmp_path / "demo-1.0-t.csv").write_bytes(b"a,b\n1,3\n")
    assert fetch(WANTED, tmp_path) == CONTENT


def test_other_content_is_refused(tmp_path: Path, no_pip: list[Any]) -> None:
    wheel(tmp_path, b"a,b\n1,3\n")
    with pytest.raises(Problem, match="not the one that this version"):
        fetch(WANTED, tmp_path)
    assert not (tmp_path / "demo-1.0-t.csv").exists()


def test_an_archive_without_the_file_or_with_a_link_is_refused(tmp_path: Path, no_pip: list[Any]) -> None:
    wheel(tmp_path, path="demo/other.csv").with_suffix(".whl")
    with pytest.raises(Problem, match="cannot be read out of"):
        fetch(WANTED, tmp_path)
    (tmp_path / "demo-1.0-py3-none-any.whl").write_bytes(b"rubbish")
    with pytest.raises(Problem, match="cannot be read out of"):
        fetch(WANTED, tmp_path)
    (tmp_path / "demo-1.0-py3-none-any.whl").unlink()
    link = tarfile.TarInfo(f"demo-1.0/{WANTED.path}")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    sdist(tmp_path, link)
    with pytest.raises(Problem):
        fetch(WANTED, tmp_path)


def test_a_failed_download_says_what_pip_said(tmp_path: Path, no_pip: list[Any]) -> None:
    with pytest.raises(Problem, match="could not download demo==") as refused:
        fetch(WANTED, tmp_path)
    assert refused.value.why == ("| ERROR: No matching distribution",)
    assert no_pip[0][1:4] == ["-I", "-m", "pip"]
    assert (tmp_path / "demo.requirements.txt").read_text() == "demo==1.0\n"


def test_every_demo_dataset_says_where_it_comes_from_and_who_decides() -> None:
    assert {source.name: source.label for source in SOURCES} == {
        "public/penguins": "public",
        "transport/flights": "internal",
        "health/randhie": "confidential",
        "surveys/anes96": "confidential",
        "surveys/fair": "secret",
        "health/lymph_node": "secret",
    }
    for source in SOURCES:
        assert all((source.title, source.description, source.source, source.licence, source.owner)), source.name
        assert "steward" in source.stewards
        assert all(description for description, _ in source.columns.values())
        for description, tags in source.columns.values():
            assert (DIRECT in tags) == (SYNTHETIC in tags) == ("made up for the demo" in description)


@pytest.mark.skipif("STRONGROOM_HOME" not in os.environ, reason="reads the packages that the demo downloaded")
def test_the_real_packages_give_the_real_data() -> None:
    found = {one.name: one for one in prepare(Path(os.environ["STRONGROOM_HOME"]) / "demo-packages")}
    shapes = {name: one.frame.shape for name, one in found.items()}
    assert shapes == {
        "public/penguins": (344, 8),
        "transport/flights": (336_776, 19),
        "health/randhie": (20_190, 11),
        "surveys/anes96": (944, 11),
        "surveys/fair": (6_366, 10),
        "health/lymph_node": (686, 16),
    }
    for one in found.values():
        for column in one.metadata["columns"]:
            if DIRECT in column["tags"]:
                assert one.frame[column["name"]].n_unique() == one.frame.height, one.name
