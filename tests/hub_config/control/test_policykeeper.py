from __future__ import annotations

import threading

import pytest
from enclave import Enclave
from strongroom_hub.control.policykeeper import Question
from strongroom_hub.problems import Problem

DISCOVER = Question(user="analyst", action="discover", object="health/x", project="cardio", label="public")


def test_a_broken_file_is_refused_with_file_and_line_and_the_old_policy_stays(enclave: Enclave) -> None:
    file = enclave.instance.policy_dir / "policy.csv"
    good = file.read_text()
    version = enclave.context.policy.version
    file.write_text(good + "p, X, *, reed, **, *, , , allow, why\n")
    for _ in range(3):
        enclave.context.policy.poll(enclave.writer)
    state = enclave.operator("GET", "status")["policy"]
    assert (state["state"], state["version"]) == ("refused", version)
    assert state["problems"][0]["file"] == "policy.csv"
    assert state["problems"][0]["line"] == good.count("\n") + 1
    assert "reed" in state["problems"][0]["message"]
    assert len(enclave.entries("control:policy:refuse")) == 1  # once per content
    assert enclave.context.policy.decide(DISCOVER).allowed
    file.write_text(good + "rubbish\n")
    enclave.context.policy.poll(enclave.writer)
    assert len(enclave.entries("control:policy:refuse")) == 2
    file.write_text(good)
    enclave.context.policy.poll(enclave.writer)
    assert enclave.context.policy.state()["state"] == "in-force"
    assert enclave.context.policy.version == version
    assert len(enclave.entries("control:policy:activate")) == 1


def test_a_change_comes_into_force_and_is_recorded(enclave: Enclave) -> None:
    version = enclave.context.policy.version
    enclave.add_policy("p, BAN, *, discover, *, *, , , deny, stop\n")
    assert enclave.context.policy.version != version
    assert not enclave.context.policy.decide(DISCOVER).allowed
    assert enclave.entries("control:policy:activate")[-1]["detail"]["version"] == enclave.context.policy.version


def test_further_rules_stand_in_policy_d_and_nothing_else_does(enclave: Enclave) -> None:
    keeper, folder = enclave.context.policy, enclave.instance.policy_dir / "policy.d"
    version = keeper.version
    folder.mkdir()
    (folder / "stop.csv.txt").write_text("p, BAN, *, discover, *, *, , , deny, stop\n")
    keeper.poll(enclave.writer)
    (problem,) = keeper.state()["problems"]
    assert problem["file"] == "policy.d/stop.csv.txt"
    assert keeper.decide(DISCOVER).allowed
    (folder / "stop.csv.txt").rename(folder / "stop.csv")
    keeper.poll(enclave.writer)
    assert keeper.state()["problems"] == []
    assert keeper.version != version
    assert "BAN (policy.d/stop.csv:1)" in keeper.decide(DISCOVER).explain()
    assert "policy.d/stop.csv" in [one["name"] for one in keeper.files()]


def test_the_last_good_files_have_policy_d_too(enclave: Enclave) -> None:
    folder = enclave.instance.policy_dir / "policy.d"
    folder.mkdir()
    (folder / "stop.csv").write_text("p, BAN, *, discover, *, *, , , deny, stop\n")
    enclave.context.policy.poll(enclave.writer)
    version = enclave.context.policy.version
    (folder / "stop.csv").write_text("p, BAN, *, dicover, *, *, , , deny, stop\n")
    again = enclave.restarted()
    try:
        assert again.context.policy.state()["state"] == "refused"
        assert again.context.policy.version == version
        assert not again.context.policy.decide(DISCOVER).allowed
    finally:
        again.close()


def test_a_file_beside_the_rules_that_is_taken_away_again_is_no_problem(enclave: Enclave) -> None:
    keeper, folder = enclave.context.policy, enclave.instance.policy_dir / "policy.d"
    version = keeper.version
    folder.mkdir()
    (folder / "notes.txt").write_text("remember the milk\n")
    keeper.poll(enclave.writer)
    assert keeper.state()["state"] == "refused"
    (folder / "notes.txt").unlink()
    keeper.poll(enclave.writer)
    assert (keeper.state()["state"], keeper.version) == ("in-force", version)


def test_a_missing_file_is_said_to_belong_into_the_admins_folder(enclave: Enclave) -> None:
    (enclave.instance.policy_dir / "labels.toml").unlink()
    enclave.context.policy.poll(enclave.writer)
    (problem,) = enclave.context.policy.state()["problems"]
    assert problem["file"] == "labels.toml"
    assert str(enclave.instance.policy_dir) in problem["message"]
    assert "candidate" not in problem["message"]


def test_what_cannot_be_recorded_does_not_come_into_force(enclave: Enclave) -> None:
    version = enclave.context.policy.version
    enclave.writer.close()
    with pytest.raises(Problem):
        enclave.add_policy("p, OPEN, *, read, *, *, , , allow, open\n")
    assert enclave.context.policy.version == version


def test_reload_by_the_operator(enclave: Enclave) -> None:
    with (enclave.instance.policy_dir / "policy.csv").open("a") as file:
        file.write("# more\n")
    version = enclave.context.policy.version
    assert enclave.operator("POST", "policy/reload")["version"] != version


def test_decisions_during_swaps_never_err_on_the_allow_side(cardio: Enclave) -> None:
    """Grants come and go while a denied question is asked: it stays denied, and the allowed one stays allowed."""
    denied = Question(user="analyst2", action="read", object="health/randhie#age", project="cardio", label="secret")
    wrong: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            if cardio.context.policy.decide(denied).allowed:
                wrong.append("denied was allowed")
            if not cardio.context.policy.decide(DISCOVER).allowed:
                wrong.append("allowed was denied")

    thread = threading.Thread(target=ask)
    thread.start()
    for number in range(10):
        cardio.context.policy.rebuild(cardio.writer)
        cardio.add_policy(f"# {number}\n")
    stop.set()
    thread.join()
    assert wrong == []


def test_without_a_policy_every_question_is_denied(cardio: Enclave) -> None:
    keeper = cardio.context.policy
    question = Question(user="analyst", project="cardio", action="display", object="workspace", label="public")
    assert keeper.decide(question).allowed
    keeper._force = None
    decision = keeper.decide(question)
    assert not decision.allowed
    assert "no valid policy" in decision.reason
    assert keeper.obligations([question]).display.value.cell == 0
