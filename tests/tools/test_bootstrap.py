"""The bootstrap script: runs a step once, forgets failed ones, and says what a person must supply."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "checkout").mkdir()
    monkeypatch.setattr(module, "ROOT", tmp_path / "checkout")
    monkeypatch.setattr(module, "HOME", tmp_path / "home")
    return module


def test_it_needs_the_standard_library_only():
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Usage:" in done.stderr


def test_a_step_runs_once_per_fingerprint(bootstrap):
    runs = []
    for fingerprint in ("a", "a", "b", "b"):
        bootstrap.step("one", fingerprint, "title", lambda: runs.append(1))
    assert len(runs) == 2


def test_a_failed_step_runs_again(bootstrap):
    def fail():
        raise bootstrap.BootstrapError("no")

    bootstrap.step("one", "a", "title", lambda: None)
    with pytest.raises(bootstrap.BootstrapError):
        bootstrap.step("one", "b", "title", fail)
    assert not bootstrap.is_current("one", "a")
    assert not bootstrap.is_current("one", "b")


def test_a_digest_sees_contents_names_and_facts_but_no_build_products(bootstrap):
    folder = bootstrap.ROOT / "src"
    folder.mkdir()
    (folder / "a.py").write_text("1", encoding="utf-8")
    seen = [bootstrap.digest([folder]), bootstrap.digest([folder], "fact")]
    (folder / "a.py").write_text("2", encoding="utf-8")
    seen.append(bootstrap.digest([folder]))
    (folder / "a.py").rename(folder / "b.py")
    seen.append(bootstrap.digest([folder]))
    assert len(set(seen)) == 4
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "b.pyc").write_text("x", encoding="utf-8")
    assert bootstrap.digest([folder]) == seen[-1]


def test_a_closed_folder_anywhere_above_counts(bootstrap, tmp_path):
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    assert not bootstrap.searchable_by_others(inner)
    assert bootstrap.searchable_by_others(Path("/usr/bin"))


def test_root_keeps_environments_where_other_uids_can_enter(bootstrap, monkeypatch):
    monkeypatch.setattr(bootstrap, "IS_ROOT", True)
    monkeypatch.setattr(bootstrap, "searchable_by_others", lambda _: False)
    assert bootstrap.home_folder().parent == Path("/var/lib/strongroom-dev")
    monkeypatch.setattr(bootstrap, "IS_ROOT", False)
    assert bootstrap.home_folder() == bootstrap.ROOT / ".strongroom"


def test_an_ordinary_user_without_sudo_is_told_the_packages(bootstrap, monkeypatch):
    monkeypatch.setattr(bootstrap, "apt_command", list)
    with pytest.raises(bootstrap.BootstrapError, match="apt-get install bubblewrap libseccomp2"):
        bootstrap.install_packages(["bubblewrap", "libseccomp2"], "for the sandbox")


def test_a_failed_command_shows_its_last_words(bootstrap):
    bootstrap.ROOT.mkdir(exist_ok=True)
    with pytest.raises(bootstrap.BootstrapError, match=r"(?s)trying.*exit code 3.*the reason"):
        bootstrap.run([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"], "trying")


def test_a_home_of_somebody_else_is_refused(bootstrap, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    bootstrap.HOME.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(bootstrap.BootstrapError, match="belongs to another user"):
        bootstrap.prepare_home()


def test_pinned_versions_name_no_place():
    for file in (SCRIPT.parents[1] / "constraints").glob("*.txt"):
        for line in file.read_text(encoding="utf-8").splitlines():
            assert "==" in line
            assert not {"/", "@", ":"} & set(line), line
