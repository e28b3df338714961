from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from enclave import Enclave, word
from strongroom_hub.catalog import rules
from strongroom_hub.problems import Problem

RELABEL = "datasets/health/randhie/1/relabel"


def refused(call: Any, *arguments: Any, **more: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def test_a_retired_version_is_read_no_more_and_says_why(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    cardio.read(server, kernel)
    cardio.dataset()  # version 2
    cardio.person("steward")("POST", "datasets/health/randhie/1/retire", {"why": "Consent was withdrawn."})
    problem = refused(cardio.read, server, kernel, version=1)
    assert (problem.status, problem.slug) == (410, "version-retired")
    assert problem.why == ("reason given: Consent was withdrawn.",)
    assert cardio.read(server, kernel)["version"] == 2
    (entry,) = cardio.entries("control:dataset:retire")
    assert (entry["actor"], entry["object"]) == ("user:steward", "health/randhie@1")
    assert cardio.entries("control:read:deny")[-1]["detail"]["problem"] == "version-retired"
    cardio.operator("POST", "datasets/health/randhie/2/retire", {"why": "Replaced."})
    assert refused(cardio.read, server, kernel).slug == "version-retired"
    assert refused(cardio.operator, "POST", "datasets/health/randhie/2/retire", {"why": "Again."}).status == 409
    assert refused(cardio.operator, "POST", "datasets/health/randhie/2/retire", {"why": " "}).status == 422


def test_who_may_not_know_of_a_dataset_does_not_learn_that_it_was_retired(enclave: Enclave) -> None:
    enclave.project()
    enclave.dataset("health/hidden", label="secret")
    enclave.operator("POST", "datasets/health/hidden/1/retire", {"why": "Gone."})
    server = enclave.server()
    problem = refused(enclave.read, server, enclave.kernel(server), "health/hidden", version=1)
    assert (problem.status, problem.slug) == (404, "unknown-dataset")


def test_a_higher_label_acts_at_once_on_the_version_and_on_who_has_read_it(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    cardio.read(server, kernel)
    done = cardio.person("steward")("POST", RELABEL, {"label": "secret", "why": "It names people."})
    assert (done["state"], done["before"], done["after"]) == ("done", "confidential", "secret")
    signed = cardio.claims(cardio.vault.published["health/randhie", 1])["manifest"]
    assert signed["label"] == "secret"
    known = server("GET", "display")
    assert (known["label"], known["display"]["cell_bytes"]) == ("secret", 0)
    raised = cardio.entries("control:label:raise")[-1]
    assert raised["detail"] == {"from": "confidential", "to": "secret", "relabel": raised["index"] - 1}
    assert refused(cardio.read, server, kernel).status in {403, 404}


def test_a_lower_label_takes_two_people(cardio: Enclave) -> None:
    steward, other = cardio.person("steward"), cardio.person("steward2")
    asked = steward("POST", RELABEL, {"label": "internal", "why": "Aggregated."})
    assert asked["state"] == "open"
    assert cardio.operator("GET", "datasets/health/randhie/1")["label"] == "confidential"
    path = f"relabellings/{asked['id']}/decision"
    assert refused(steward, "POST", path, {"verdict": "approve"}).slug == "own-proposal"
    assert refused(cardio.person("analyst"), "POST", path, {"verdict": "approve"}).status == 404
    assert refused(steward, "POST", RELABEL, {"label": "public", "why": "More so."}).slug == "relabelling-open"
    (shown,) = other("GET", "datasets/health/randhie")["relabellings"]
    assert shown["may_approve"] is True
    assert steward("GET", "datasets/health/randhie")["relabellings"][0]["may_approve"] is False
    assert cardio.operator("GET", "datasets/health/randhie")["relabellings"][0]["may_approve"] is False
    assert other("POST", path, {"verdict": "approve"})["state"] == "done"
    assert cardio.operator("GET", "datasets/health/randhie/1")["label"] == "internal"
    assert cardio.claims(cardio.vault.published["health/randhie", 1])["manifest"]["label"] == "internal"
    assert refused(other, "POST", path, {"verdict": "approve"}).status == 404
    stages = [entry["detail"]["stage"] for entry in cardio.entries("control:dataset:relabel")]
    assert stages == ["proposed", "done"]


def test_who_retires_a_version_is_shown_no_approval_of_their_own_proposal(cardio: Enclave) -> None:
    steward = cardio.person("steward")
    steward("POST", RELABEL, {"label": "internal", "why": "Aggregated."})
    page = steward("POST", "datasets/health/randhie/1/retire", {"why": "Replaced."})
    assert [one["may_approve"] for one in page["relabellings"]] == [False]


def test_what_was_read_keeps_its_label_when_the_dataset_s_comes_down(cardio: Enclave) -> None:
    server = cardio.server()
    cardio.grant(server)
    cardio.read(server, cardio.kernel(server))
    asked = cardio.operator("POST", RELABEL, {"label": "public", "why": "Anonymised."})
    cardio.person("steward")("POST", f"relabellings/{asked['id']}/decision", {"verdict": "approve"})
    assert server("GET", "session")["label"] == "confidential"


def test_a_lower_label_can_be_refused_and_a_higher_one_ends_the_proposal(cardio: Enclave) -> None:
    steward = cardio.person("steward")
    asked = cardio.operator("POST", RELABEL, {"label": "public", "why": "Why not."})
    refused_one = steward("POST", f"relabellings/{asked['id']}/decision", {"verdict": "refuse"})
    assert refused_one["state"] == "refused"
    again = cardio.operator("POST", RELABEL, {"label": "public", "why": "Please."})
    steward("POST", RELABEL, {"label": "secret", "why": "On the contrary."})
    states = [one["state"] for one in steward("GET", "datasets/health/randhie")["relabellings"]]
    assert sorted(states) == ["done", "outdated", "refused"]
    assert refused(steward, "POST", f"relabellings/{again['id']}/decision", {"verdict": "approve"}).status == 404


def test_a_vault_that_is_down_keeps_the_new_label_and_is_told_again(cardio: Enclave) -> None:
    cardio.vault.down = True
    problem = refused(cardio.operator, "POST", RELABEL, {"label": "secret", "why": "It names people."})
    assert "does not have it yet" in problem.title
    assert cardio.operator("GET", "datasets/health/randhie/1")["label"] == "secret"
    cardio.vault.down = False
    assert cardio.operator("POST", RELABEL, {"label": "secret", "why": "Again."}) == {"state": "unchanged"}
    assert ("health/randhie", 1) in cardio.vault.published


def test_a_version_whose_retention_ends_is_retired_by_itself_unless_it_is_to_be_reviewed(enclave: Enclave) -> None:
    for name, then in (("health/a", "retire"), ("health/b", "shred"), ("health/c", "review")):
        about = {"name": name, "title": "T", "label": "internal", "owner": "s", "stewards": ["s"]}
        enclave.operator("POST", "datasets", {**about, "retention": {"days": 2, "then": then}})
        manifest = {"format": "strongroom-manifest/2", "dataset": name, "version": 1, "kind": "table"}
        manifest |= {"label": "internal", "rows": 1, "columns": [{"name": "x", "type": "Int64"}], "parts": []}
        enclave.fill(manifest)
    enclave.clock.forward(days=1, hours=23)
    enclave.housekeeper.tick()
    assert {one["state"] for one in enclave.operator("GET", "datasets")["datasets"]} == {"active"}
    enclave.clock.forward(hours=2)
    enclave.housekeeper.tick()
    states = {one["name"]: one["state"] for one in enclave.operator("GET", "datasets")["datasets"]}
    assert states == {"health/a": "retired", "health/b": "retired", "health/c": "active"}
    assert {entry["actor"] for entry in enclave.entries("control:dataset:retire")} == {"system:control"}


def abandoned(enclave: Enclave, *found: tuple[str, int, str, int]) -> list[bool]:
    """What the vault may remove of what nobody went on with."""
    claims = {"act": "abandoned", "abandoned": [list(one) for one in found]}
    answer: list[bool] = enclave.operator("POST", "abandoned-drafts", word(enclave, **claims))["removed"]
    return answer


def test_a_draft_that_nobody_went_on_with_is_ended_and_recorded(cardio: Enclave) -> None:
    about = {"name": "health/new", "title": "T", "label": "internal", "owner": "s", "stewards": ["steward"]}
    cardio.operator("POST", "datasets", about)
    assert abandoned(cardio, ("health/new", 1, "upload", 170)) == [True]
    assert cardio.operator("POST", "datasets/health/new/1/ticket")["ticket"]  # it can be filled anew
    assert abandoned(cardio, ("health/new", 1, "draft", 720), ("health/randhie", 1, "draft", 9)) == [True, False]
    assert abandoned(cardio, ("health/new", 1, "draft", 721), ("health/gone", 7, "draft", 9)) == [True, True]
    told = [(one["object"], one["label"], one["detail"]) for one in cardio.entries("control:dataset:abandon")]
    assert told == [
        ("health/new@1", "internal", {"what": "upload", "hours": 170}),
        ("health/new@1", "internal", {"what": "draft", "hours": 720}),
    ]
    assert cardio.operator("GET", "datasets/health/new/1")["state"] == "abandoned"
    assert refused(cardio.operator, "POST", "datasets/health/new/1/ticket").slug == "wrong-state"
    assert refused(cardio.operator, "POST", "datasets/health/new/1/release").slug == "wrong-state"
    assert cardio.person("steward")("GET", "drafts")["drafts"] == []
    assert cardio.operator("GET", "datasets/health/randhie/1")["state"] == "active"


def test_only_the_vault_says_what_nobody_went_on_with(cardio: Enclave) -> None:
    forged = word(cardio, Ed25519PrivateKey.generate(), act="abandoned", abandoned=[["health/randhie", 1, "draft", 9]])
    assert refused(cardio.operator, "POST", "abandoned-drafts", forged).slug == "bad-receipt"
    for wrong in ([["health/randhie", 1, "file", 9]], [["health/randhie"]], "all", [[]] * 1001):
        body = word(cardio, act="abandoned", abandoned=wrong)
        assert refused(cardio.operator, "POST", "abandoned-drafts", body).slug == "bad-receipt"
    other = word(cardio, act="standing", entries=[])
    assert refused(cardio.operator, "POST", "abandoned-drafts", other).slug == "bad-receipt"


@pytest.mark.parametrize(
    ("text", "found"),
    [("a/b", ("a/b", None)), ("a/b@latest", ("a/b", None)), ("a/b@3", ("a/b", 3))],
)
def test_a_version_is_named_in_its_name(text: str, found: tuple[str, int | None]) -> None:
    assert rules.reference(text) == found


@pytest.mark.parametrize("text", ["a", "a/b@", "a/b@0", "a/b@x", "a/b@03", "A/b", "a/b@3@4"])
def test_what_names_no_version_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="Nothing was changed"):
        rules.reference(text)
