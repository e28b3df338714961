"""The bootstrap script: runs a step once, forgets failed ones, and says what a person must supply."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import subprocess
import sys
import threading
import time
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


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH with nothing but the programs that a test writes; each call is recorded."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    calls.touch()
    monkeypatch.setenv("PATH", str(folder))

    def add(name, script=""):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {calls}\n{script}\n', encoding="ascii")
        (folder / name).chmod(0o755)

    add.calls = lambda: calls.read_text(encoding="ascii").splitlines()
    return add


def test_a_user_whom_sudo_lets_install_packages_only_may_do_that(bootstrap, monkeypatch, programs):
    monkeypatch.setattr(bootstrap, "IS_ROOT", False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    programs("apt-get")
    assert bootstrap.apt_command() == []
    programs("sudo", 'test "$*" = "-n -l apt-get"')
    assert bootstrap.apt_command() == ["sudo", "apt-get"]
    programs("sudo", "exit 1")
    assert bootstrap.apt_command() == []


def test_all_missing_packages_are_installed_in_one_go_after_the_lists_were_read(bootstrap, monkeypatch, programs):
    answers = iter([("", "python3.11-venv"), ("/usr/bin/python3.11", "")])
    monkeypatch.setattr(bootstrap, "choose_python", lambda: next(answers))
    monkeypatch.setattr(bootstrap, "IS_ROOT", True)
    lists = bootstrap.ROOT / "lists"
    programs("apt-get", f'case "$1" in update) : > {lists};; *) test -e {lists};; esac')
    assert bootstrap.find_python(["bubblewrap"]) == "/usr/bin/python3.11"
    install = "apt-get install -y --no-install-recommends bubblewrap python3.11-venv"
    assert programs.calls() == [install, "apt-get update", install]


def test_without_rights_all_missing_packages_are_named_at_once(bootstrap, monkeypatch):
    monkeypatch.setattr(bootstrap, "choose_python", lambda: ("", "python3.11-venv"))
    monkeypatch.setattr(bootstrap, "apt_command", list)
    with pytest.raises(bootstrap.BootstrapError, match=r"apt-get install bubblewrap python3\.11-venv"):
        bootstrap.find_python(["bubblewrap"])


def test_no_browser_stops_only_the_browser_test(bootstrap, monkeypatch, programs, capsys):
    monkeypatch.setattr(bootstrap, "IS_ROOT", True)
    programs("apt-get", "echo Unable to locate package chromium; exit 100")
    bootstrap.install_browser()
    said = capsys.readouterr().out
    assert "the browser test cannot run" in said
    assert "Unable to locate package chromium" in said


def test_a_host_that_allows_no_sandbox_is_noticed(bootstrap, monkeypatch, programs):
    monkeypatch.setattr(bootstrap, "IS_ROOT", False)
    programs("bwrap", "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1")
    assert "Permission denied" in bootstrap.sandbox_problem()
    programs("bwrap")
    assert bootstrap.sandbox_problem() == ""


def test_what_has_not_begun_does_not_begin_after_a_failure(bootstrap):
    done = []

    def fail():
        raise bootstrap.BootstrapError("no")

    def slow():
        time.sleep(0.2)
        done.append("slow")

    with pytest.raises(bootstrap.BootstrapError):
        bootstrap.side_by_side(fail, slow, *[slow] * 4)
    assert len(done) <= 2


@pytest.fixture
def ctrl_c():
    """Ctrl-C raises KeyboardInterrupt, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_commands_that_do_not_listen_to_it(bootstrap):
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"

    def install():
        bootstrap.run([sys.executable, "-c", deaf], "installing")

    threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bootstrap.side_by_side(install, install)
    assert time.monotonic() - began < 20
    assert not bootstrap.children


def test_a_second_set_up_waits_for_the_first(bootstrap, capsys):
    bootstrap.HOME.mkdir()
    order = []

    def second():
        with bootstrap.alone():
            order.append("second")

    with bootstrap.alone():
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert "waiting for it" in capsys.readouterr().out


def test_a_version_is_pinned_for_builds_unless_another_file_pins_it(bootstrap, monkeypatch):
    frozen = {
        "dev": "packaging==26.3\njupyter-strongroom==0.1.0\n",
        "kernel": "numpy==2.4.6\nlocal @ file:///x\n",
        "builder": "hatchling==1.27.0\nPackaging==26.3\njupyter_builder==1.3.0\n",
    }
    (bootstrap.ROOT / "constraints").mkdir()
    monkeypatch.setattr(bootstrap, "run", lambda command, _: frozen[Path(command[0]).parents[1].name])
    bootstrap.pin()
    written = {file.stem: file.read_text(encoding="utf-8") for file in (bootstrap.ROOT / "constraints").iterdir()}
    assert written == {
        "trusted": "packaging==26.3\n",
        "kernel": "numpy==2.4.6\n",
        "build": "hatchling==1.27.0\njupyter_builder==1.3.0\n",
    }


def test_pinned_versions_survive_a_blank_in_the_checkouts_name(bootstrap, monkeypatch, tmp_path):
    folder = tmp_path / "my checkout" / "constraints"
    folder.mkdir(parents=True)
    (folder / "kernel.txt").touch()
    monkeypatch.setattr(bootstrap, "ROOT", folder.parent)
    value = bootstrap.pinned("kernel")["PIP_CONSTRAINT"]
    assert value.startswith("file://")
    assert " " not in value


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
