"""The real hub and proxy with a stand-in control: who gets in, what a server is given, what is left afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import ssl
import stat
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pytest
from strongroom_hub import cgroups, setup, supervisor, work_images
from strongroom_hub.internal import ControlClient
from strongroom_hub.problems import Problem
from strongroom_hub.tour.person import Person, TourError

pytestmark = pytest.mark.e2e

LOG_KEY = "log.test/1+00000000+AQ=="
STANDINS = Path(__file__).parent / "standins"
AS_ROOT = os.geteuid() == 0
PATIENCE = 30


class StandInInstance(supervisor.RunningInstance):
    """The supervisor as it is, with the stand-in hub's command and without a vault to wait for."""

    def _command(self) -> list[str]:
        return [sys.executable, str(self.instance.data / STANDINS.name / "hub.py"), str(self.instance.path)]

    def _vault_answers(self) -> bool:
        return True

    def calls(self, what: str) -> list[dict]:
        lines = (self.instance.control_dir / "calls.jsonl").read_text(encoding="utf-8").splitlines()
        return [body for kind, body in map(json.loads, lines) if kind == what]


class StandInPerson(Person):
    def login(self) -> None:
        assert self.try_login("right", "123456") == (True, "")


@contextlib.contextmanager
def new_instance():
    home = os.environ.get("STRONGROOM_TEST_HOME", "")
    assert home, "STRONGROOM_TEST_HOME is not set: run these tests with `make test`"
    data = Path(tempfile.mkdtemp(prefix="hub-", dir=home))
    (port,) = setup.free_ports(1)
    # The stand-ins run as other users, who may not be able to enter the checkout.
    standins = shutil.copytree(STANDINS, data / STANDINS.name)
    python = data / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {standins / 'server.py'}\n", encoding="utf-8")
    python.chmod(0o755)
    runtime = dataclasses.replace(setup.Runtime.load(Path(home)), server_python=str(python))
    try:
        instance = setup.new_instance(data, runtime, port=port)
        setup.create(instance)
        yield instance
    finally:
        shutil.rmtree(data)
        shutil.rmtree(instance.run, ignore_errors=True)


@pytest.fixture(scope="module")
def running():
    with new_instance() as instance, StandInInstance(instance) as running:
        (instance.public_dir / "log.vkey").write_text(LOG_KEY + "\n", encoding="ascii")
        yield running


def person(running, name="analyst") -> StandInPerson:
    instance = running.instance
    return StandInPerson(instance.public_url, str(instance.tls_dir / "ca.pem"), name, "right", "")


@pytest.fixture(scope="module")
def analyst(running):
    with person(running) as somebody:
        somebody.login()
        yield somebody


@pytest.fixture(scope="module")
def seen(running, analyst):
    analyst.open_project("cardio")
    return look(running, "cardio")


def look(running, project):
    path = running.instance.projects_dir / project / "work" / "analyst" / "seen.json"
    return json.loads(path.read_text(encoding="utf-8"))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(holds, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.1)


# -------------------------------------------------------------------------------- logging in


def test_wrong_password_shows_what_control_said(running):
    with person(running) as somebody:
        worked, said = somebody.try_login("wrong", "123456")
    assert not worked
    assert said == "Wrong user name, password or code. what happened rule R1 (policy.csv:7) what to do"


def test_control_hears_where_a_login_came_from(running, analyst):
    assert {"user": "analyst", "address": "127.0.0.1"} in running.calls("login")


def test_logout_is_recorded_and_ends_the_session(running):
    with person(running, "leaver") as somebody:
        somebody.login()
        assert "Your projects" in somebody.follow("/hub/home").text
        somebody.follow("/hub/logout")
        assert "/hub/login" in str(somebody.follow("/hub/home").url)
    wait_until(lambda: {"user": "leaver"} in running.calls("logout"), "the logout is not recorded")  # after the answer


def test_the_authority_is_needed_to_trust_the_page(running):
    with pytest.raises(httpx.ConnectError):
        httpx.get(running.instance.public_url, verify=ssl.create_default_context())


def test_pages_carry_a_strict_policy_and_no_inline_script(running, analyst):
    for path in ("/hub/login", "/hub/home", "/hub/no-such-page"):
        page = analyst.follow(path)
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "<script>" not in page.text
        assert page.headers["strict-transport-security"]


# -------------------------------------------------------------------------------- what is not offered


def test_a_token_cannot_be_made(analyst):
    headers = {"X-XSRFToken": analyst.cookie("_xsrf", "/hub/")}
    answer = analyst.http.post("/hub/api/users/analyst/tokens", json={}, headers=headers)
    assert answer.status_code in {403, 404}
    assert analyst.http.get("/hub/api/users/analyst/tokens", headers=headers).status_code in {403, 404}


def test_a_server_cannot_be_shared(running, analyst, seen):
    headers = {"X-XSRFToken": analyst.cookie("_xsrf", "/hub/")}
    answer = analyst.http.post("/hub/api/shares/analyst/cardio", json={"user": "leaver"}, headers=headers)
    assert answer.status_code in {403, 404}
    answer = analyst.http.post("/hub/api/share-codes/analyst/cardio", json={}, headers=headers)
    assert answer.status_code in {403, 404}


@pytest.mark.parametrize("path", ["/hub/token", "/hub/admin", "/hub/accept-share?code=x"])
def test_pages_with_no_place_here_are_gone(analyst, path):
    assert analyst.follow(path).status_code == 404


@pytest.mark.parametrize("path", ["/hub/spawn", "/hub/spawn/analyst"])
def test_without_a_project_one_gets_the_list(analyst, path):
    assert analyst.follow(path).url.path == "/hub/home"


def test_the_default_server_is_refused_in_words(analyst):
    headers = {"X-XSRFToken": analyst.cookie("_xsrf", "/hub/")}
    answer = analyst.http.post("/hub/api/users/analyst/server", headers=headers)
    assert answer.status_code == 400
    assert "No project chosen" in answer.text


def test_anothers_server_cannot_be_started_or_reached(running, seen):
    with person(running, "leaver") as somebody:
        somebody.login()
        assert somebody.follow("/hub/spawn/analyst/cardio").status_code in {403, 404}
        headers = {"X-XSRFToken": somebody.cookie("_xsrf", "/hub/")}
        answer = somebody.http.delete("/hub/api/users/analyst/servers/cardio", headers=headers)
        assert answer.status_code in {403, 404}


def test_home_lists_projects_and_nothing_else(analyst):
    page = analyst.follow("/hub/home").text
    assert 'data-project="cardio"' in page
    assert "new-server" not in page


# -------------------------------------------------------------------------------- what a server is given


def test_a_refusal_by_control_is_shown_in_full(analyst):
    with pytest.raises(TourError, match=r"not a member of this project.*policy\.csv:7.*what to do"):
        analyst.open_project("other")


def test_environment_is_built_from_nothing(running, seen):
    environment = seen["environment"]
    allowed = {"PATH", "LANG", "HOME", "TMPDIR", "LC_CTYPE", "PWD", "SHLVL", "_", "OLDPWD"}
    strange = [n for n in environment if n not in allowed and not n.startswith(("JUPYTER", "STRONGROOM_", "PYTHON"))]
    assert strange == []
    for file in (running.instance.hub_token_file, running.instance.operator_token_file):
        assert file.read_text(encoding="ascii").strip() not in json.dumps(seen)
    assert "CONFIGPROXY_AUTH_TOKEN" not in environment
    assert environment["STRONGROOM_LOG_KEY"] == LOG_KEY


def test_the_credential_comes_in_a_file_of_the_servers_own(seen):
    server = seen["environment"]["STRONGROOM_SERVER_ID"]
    assert seen["credential"] == f"credential-of-{server}"
    assert seen["credential_mode"] == "0o400"
    assert seen["credential"] not in json.dumps([seen["environment"], seen["arguments"]])


def test_the_server_cannot_gain_privileges_and_holds_nothing_of_the_hub(seen):
    assert seen["no_new_privs"] == "1"
    assert seen["umask"] == "0077"
    assert max(seen["descriptors"]) <= 4  # 0-2, and those of the listing itself


@pytest.mark.skipif(not AS_ROOT, reason="separate uids need root")
def test_the_server_has_a_uid_of_its_own_and_a_mount_that_follows_no_links(running, seen):
    uid = running.instance.uids.first_server + 7
    assert seen["uids"] == seen["gids"] == [uid] * 3
    assert seen["groups"] == []
    for flag in ("nosymfollow", "nosuid", "nodev", "noexec", "size=8192k", "nr_inodes=512"):
        assert flag in seen["mount"]


def test_folders_are_private(running, seen):
    for kind in ("notebooks", "work", "state"):
        folder = running.instance.projects_dir / "cardio" / kind / "analyst"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.stat().st_uid == seen["uids"][0]


def test_control_runs_apart_from_the_hub(running, analyst):
    told = analyst.follow("/services/control/").json()
    assert told["uid"] == (running.instance.uids.control if AS_ROOT else os.geteuid())


# -------------------------------------------------------------------------------- profiles and limits


@pytest.fixture(scope="module")
def large(running, analyst):
    """What a server saw that was opened with the larger profile; the standard one runs again afterwards."""
    stop(analyst, "cardio")
    analyst.open_project("cardio", profile="large")
    before = look(running, "cardio")
    yield before
    stop(analyst, "cardio")
    wait_until(lambda: all_gone(running, before), "the larger server")


def test_home_says_what_each_profile_has(running, analyst):
    with person(running, "newcomer") as somebody:
        somebody.login()
        page = somebody.follow("/hub/home").text
    cardio = page.partition('data-project="cardio"')[2].partition("</section>")[0]
    assert re.findall(r'value="(\w+)"', cardio) == ["standard", "large", "sealed"]
    assert "2 GiB memory, 1 processor, 128 processes, 256 MiB work folder" in cardio
    assert re.search(r'value="standard"[^>]*checked', cardio)
    stubborn = page.partition('data-project="stubborn"')[2].partition("</section>")[0]
    assert "radio" not in stubborn


def test_the_chosen_profile_reaches_control_and_server(running, large):
    assert running.calls("register")[-1] == {
        "user": "analyst",
        "project": "cardio",
        "profile": "large",
        "groups": ["role:analyst"],
    }
    told = large["environment"]
    assert json.loads(told["STRONGROOM_PROFILE"])["memory_bytes"] == 2 << 30
    assert [one["name"] for one in json.loads(told["STRONGROOM_PROFILES"])] == ["standard", "large", "sealed"]


def test_a_profile_that_is_not_allowed_starts_nothing_and_is_not_remembered(running, analyst):
    with pytest.raises(TourError, match="You may not take this profile"):
        analyst.open_project("stubborn", profile="large")
    headers = {"X-XSRFToken": analyst.cookie("_xsrf", "/hub/")}
    address = "/hub/api/users/analyst/servers/stubborn"
    assert analyst.http.post(address, json={"profile": "large"}, headers=headers).status_code == 403
    analyst.open_project("stubborn")
    assert running.calls("register")[-1]["profile"] is None
    stop(analyst, "stubborn")
    wait_until(lambda: len(list(running.instance.servers_run.iterdir())) <= 1, "the server is gone")


@pytest.mark.skipif(not AS_ROOT, reason="mounting needs root")
def test_work_is_an_image_of_the_profiles_size(running, large):
    work = running.instance.projects_dir / "cardio" / "work" / "analyst"
    about = os.statvfs(work)
    assert about.f_flag & os.ST_NOSUID
    assert about.f_flag & os.ST_NODEV
    assert about.f_flag & os.ST_NOEXEC
    assert 200 << 20 < about.f_blocks * about.f_frsize <= 256 << 20


@pytest.mark.skipif(not AS_ROOT or cgroups.find() is None, reason="control groups need root")
def test_the_server_and_its_kernels_have_groups_of_their_own(running, large):
    told = json.loads(large["environment"]["STRONGROOM_CGROUP"])
    uid = large["uids"][0]
    for folder in map(Path, told["folders"].values()):
        assert folder.stat().st_uid == uid
        server = folder.parent / "server" / "cgroup.procs"
        assert str(large["pid"]) in server.read_text(encoding="ascii").split()
        assert server.stat().st_uid == 0
    memory = Path(told["folders"].get("memory") or told["folders"][""])
    limit = memory / ("memory.limit_in_bytes" if told["version"] == 1 else "memory.max")
    assert int(limit.read_text(encoding="ascii")) == 4 << 30
    assert limit.stat().st_uid == 0
    assert not limit.stat().st_mode & 0o022


# -------------------------------------------------------------------------------- what is left behind


def test_a_server_that_dies_at_start_fails_at_once_and_in_words(running, analyst):
    began = time.monotonic()
    with pytest.raises(TourError, match=r"did not start.*exit code 3"):
        analyst.open_project("crash")
    assert time.monotonic() - began < 8
    wait_until(lambda: len(list(running.instance.servers_run.iterdir())) <= 1, "the run folder is gone")


def stop(somebody, project: str) -> None:
    headers = {"X-XSRFToken": somebody.cookie("_xsrf", "/hub/")}
    somebody.http.delete(f"/hub/api/users/{somebody.name}/servers/{project}", headers=headers)


def all_gone(running, seen) -> bool:
    run = Path(seen["environment"]["STRONGROOM_RUN_DIR"])
    mounted = str(run) in Path("/proc/self/mounts").read_text(encoding="utf-8")
    child_left = AS_ROOT and alive(seen["child"])  # in one-uid mode the sandbox, not the spawner, ends kernels
    image = work_images.folder(running.instance) / seen["environment"]["STRONGROOM_PROJECT"] / "analyst.ext4"
    left = mounted or work_images.devices_of(image)
    groups = json.loads(seen["environment"].get("STRONGROOM_CGROUP", '{"folders": {}}'))["folders"].values()
    grouped = [folder for folder in groups if Path(folder).parent.exists()]
    return not (alive(seen["pid"]) or child_left or run.exists() or left or grouped)


def ended(running, seen) -> bool:
    server = seen["environment"]["STRONGROOM_SERVER_ID"]
    return any(call["server"] == server for call in running.calls("end"))


def test_where_the_box_does_not_hold_no_server_starts_and_the_page_says_why():
    with new_instance() as instance:
        (instance.data / STANDINS.name / "weak").touch()
        with StandInInstance(instance) as running, person(running) as somebody:
            somebody.login()
            with pytest.raises(TourError, match=r"A wall is missing.*Build the wall"):
                somebody.open_project("cardio")
            wait_until(lambda: running.calls("machine"), "control is told")
            (told,) = running.calls("machine")
            assert told["checks"][0]["state"] == "broken"
            wait_until(lambda: running.calls("end"), "the credential is void")
            assert list(running.instance.servers_run.iterdir()) == []


@pytest.mark.parametrize("project", ["cardio", "stubborn"])
def test_stop_leaves_nothing(running, analyst, project):
    analyst.open_project(project)
    before = look(running, project)
    stop(analyst, project)
    wait_until(lambda: all_gone(running, before) and ended(running, before), "server, child, run folder, credential")


def test_a_killed_server_leaves_nothing(running, analyst):
    analyst.open_project("cardio")
    before = look(running, "cardio")
    os.kill(before["pid"], signal.SIGKILL)
    wait_until(lambda: all_gone(running, before) and ended(running, before), "server, child, run folder, credential")
    analyst.open_project("cardio")
    assert look(running, "cardio")["pid"] != before["pid"]


def test_killed_control_comes_back_and_the_page_says_so_meanwhile(running, analyst):
    victim = analyst.follow("/services/control/").json()["pid"]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not alive(victim), "control is dead")
    home = analyst.follow("/hub/home")
    assert home.status_code == 503
    assert "control service does not answer" in home.text
    wait_until(lambda: control_answers(running), "control answers again")
    assert analyst.follow("/hub/home").status_code == 200


def control_answers(running) -> bool:
    try:
        ControlClient(running.instance.control_socket, running.instance.operator_token_file).call("GET", "status")
    except Problem:
        return False
    return True


def test_no_secret_in_arguments_of_any_process(running, seen):
    found = {p.pid for p in supervisor._descendants(running.hub_pid)} | {running.hub_pid}
    arguments = b"".join(read(f"/proc/{pid}/cmdline") for pid in found)
    secrets = {seen["credential"]}
    for pid in found:
        pairs = [part.partition(b"=") for part in read(f"/proc/{pid}/environ").split(b"\0")]
        secrets |= {value.decode() for name, _, value in pairs if b"TOKEN" in name and value}
    assert len(secrets) >= 3
    assert [secret for secret in secrets if secret.encode() in arguments] == []


def read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_the_log_holds_no_token(running, seen):
    text = running.log_file.read_text(encoding="utf-8")
    for secret in (seen["environment"]["JUPYTERHUB_API_TOKEN"], seen["credential"], "123456", "right"):
        assert secret not in text.replace("copyright", "")


def test_stopping_the_hub_leaves_no_process_no_mount_and_no_credential():
    with new_instance() as instance:
        running = StandInInstance(instance)
        with running:
            with person(running) as somebody:
                somebody.login()
                somebody.open_project("cardio")
            seen = look(running, "cardio")
            family = supervisor._descendants(running.hub_pid)
            assert len(family) >= 4
        assert [process for process in family if alive(process.pid)] == []
        assert all_gone(running, seen)
        assert ended(running, seen)
        assert not instance.run.exists()


def test_a_killed_hub_leaves_no_process_and_its_servers_are_ended_at_the_next_start():
    with new_instance() as instance:
        running = StandInInstance(instance)
        with running:
            with person(running) as somebody:
                somebody.login()
                somebody.open_project("cardio")
            seen = look(running, "cardio")
            family = supervisor._descendants(running.hub_pid)
            os.kill(running.hub_pid, signal.SIGKILL)
            wait_until(lambda: not any(alive(p.pid) for p in family if p.pid != seen["child"]), "all parts gone")
            if AS_ROOT:
                assert os.path.ismount(
                    instance.projects_dir / "cardio" / "work" / "analyst"
                )  # nobody was left to do it
        assert not ended(running, seen)
        assert all_gone(running, seen)
        with running:
            wait_until(lambda: ended(running, seen), "the credential is void")
            with person(running) as somebody:
                somebody.login()
                somebody.open_project("cardio")


def test_one_instance_runs_once_and_a_second_try_harms_nothing(running, analyst):
    analyst.open_project("cardio")
    run = Path(look(running, "cardio")["environment"]["STRONGROOM_RUN_DIR"])
    twin = StandInInstance(dataclasses.replace(running.instance, public_url="https://127.0.0.1:1/"))
    twin.instance = dataclasses.replace(twin.instance, public_url=f"https://127.0.0.1:{setup.free_ports(1)[0]}/")
    twin._choose_inner_ports = lambda: None
    with pytest.raises(Problem, match="The hub ended") as refused, twin:
        pass
    assert "a hub is running this instance already" in " ".join(refused.value.why)
    assert run.is_dir()
    assert not AS_ROOT or os.path.ismount(run)
    assert control_answers(running)


def test_a_taken_port_is_said_in_words(running):
    with pytest.raises(Problem, match="is in use"), StandInInstance(running.instance):
        pass
