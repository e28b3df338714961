"""Groups of an identity provider: from the hub to control, and into every decision."""

from __future__ import annotations

import pytest
from enclave import Enclave
from strongroom_hub.problems import Problem
from strongroom_policy.questions import MAX_GROUPS

ROWS = """
g, group:cardio-team, role:analyst
g, group:cardio-team, project:cardio
g, group:cardio-team, clearance:confidential
g, group:data-stewards, role:steward
g, group:log-readers, role:auditor
p, X1, group:cardio-team, use, profile:standard, project:cardio, , , allow, "the team's box"
"""


@pytest.fixture
def grouped(cardio: Enclave) -> Enclave:
    cardio.add_policy(ROWS)
    return cardio


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def provided_login(enclave: Enclave, user: str, *groups: str) -> list[str]:
    body = {"user": user, "groups": groups, "address": "127.0.0.1"}
    return enclave.hub_caller("POST", "provided-logins", body)["roles"]


def test_a_group_makes_a_member_and_is_in_the_spawn_entry(grouped: Enclave) -> None:
    assert refused(grouped.server, "gita").slug == "not-a-member"
    server = grouped.server("gita", groups=("cardio-team",))
    assert [one["name"] for one in server("GET", "catalog")["datasets"]] == ["health/randhie"]
    (spawn,) = grouped.entries("hub:server:spawn")
    assert spawn["detail"]["groups"] == ["group:cardio-team"]
    (taken,) = grouped.entries("hub:user:groups")
    assert taken["actor"] == "user:gita"
    assert taken["detail"] == {
        "via": "spawn",
        "added": ["group:cardio-team"],
        "removed": [],
        "names_that_do_not_fit": 0,
    }


def test_a_group_that_is_gone_ends_running_servers_at_the_next_question(grouped: Enclave) -> None:
    server = grouped.server("gita", groups=("cardio-team",))
    kernel = grouped.kernel(server)
    grouped.grant(server)
    assert grouped.read(server, kernel)["label"] == "confidential"
    grouped.hub_caller("PUT", "users/gita/groups", {"groups": []})
    assert refused(grouped.read, server, kernel).slug == "not-a-member"
    display = server("GET", "display")["display"]
    assert not display["allowed"]
    assert refused(grouped.server, "gita").slug == "not-a-member"


def test_each_start_takes_the_groups_anew(grouped: Enclave) -> None:
    grouped.server("gita", groups=("cardio-team",))
    assert refused(grouped.server, "gita", groups=("other",)).slug == "not-a-member"
    detail = grouped.entries("hub:user:groups")[-1]["detail"]
    assert (detail["added"], detail["removed"]) == (["group:other"], ["group:cardio-team"])
    grouped.server("gita", groups=("cardio-team", "other"))
    grouped.server("gita", groups=("other", "cardio-team"))
    assert len(grouped.entries("hub:user:groups")) == 3  # the last start changed nothing


def test_groups_survive_a_restart_of_control(grouped: Enclave) -> None:
    provided_login(grouped, "gita", "cardio-team")
    again = grouped.restarted()
    assert again.hub_caller("GET", "users/gita/projects")["projects"][0]["name"] == "cardio"
    again.close()


def test_logging_in_with_a_provider_is_recorded_and_gives_roles(grouped: Enclave) -> None:
    assert provided_login(grouped, "sten", "data-stewards") == ["role:steward"]
    entry = grouped.entries("hub:user:login")[-1]
    assert (entry["actor"], entry["detail"]) == ("user:sten", {"address": "127.0.0.1", "by": "identity provider"})
    told = grouped.hub_caller("GET", "users/sten/projects")
    assert (told["projects"], told["console"]) == ([], True)
    assert not grouped.hub_caller("GET", "users/gita/projects")["console"]


@pytest.mark.parametrize("name", ["Ann", "ann@example.org", "", "1ann", "a" * 40, "ann\n"])
def test_names_that_cannot_be_persons_here_are_refused_in_words(grouped: Enclave, name: str) -> None:
    problem = refused(provided_login, grouped, name)
    assert (problem.status, problem.slug) == (403, "unfit-name")
    assert grouped.entries("hub:user:login") == []


def test_nothing_but_a_group_comes_from_a_provider(grouped: Enclave) -> None:
    """Whoever can name their own groups must not become an administrator, a user or a clearance by it."""
    for name in ("role:steward", "user:steward", "clearance:secret", "project:cardio", "*", "x\ngroup:cardio-team"):
        assert provided_login(grouped, "gita", name) == []
    assert grouped.entries("hub:user:groups") == []
    assert provided_login(grouped, "gita", "role:steward", "log-readers") == ["role:auditor"]
    assert grouped.entries("hub:user:groups")[-1]["detail"]["names_that_do_not_fit"] == 1


def test_too_many_groups_are_refused_and_never_cut_short(grouped: Enclave) -> None:
    """The one that is left out might be the one that is denied something."""
    many = tuple(f"g{number}" for number in range(MAX_GROUPS + 1))
    assert refused(provided_login, grouped, "gita", *many).slug == "too-many-groups"
    assert refused(grouped.server, "gita", groups=many).slug == "too-many-groups"
    assert grouped.entries("hub:server:refuse-spawn")[0]["detail"]["problem"] == "too-many-groups"
    assert provided_login(grouped, "gita", *many[1:]) == []


def test_the_console_takes_what_the_hub_says_at_its_login(grouped: Enclave) -> None:
    assert not grouped.person("lea")("GET", "me")["can"]["audit"]
    grouped.hub.groups["lea"] = ("log-readers",)
    auditor = grouped.person("lea")
    assert auditor("GET", "me")["can"]["audit"]
    assert grouped.entries("hub:user:groups")[-1]["detail"]["via"] == "console"
    grouped.hub_caller("PUT", "users/lea/groups", {"groups": []})
    assert not auditor("GET", "me")["can"]["audit"]


def test_what_others_are_told_of_a_person_knows_their_groups(grouped: Enclave) -> None:
    server = grouped.server("gita", groups=("cardio-team",))
    ask = {"dataset": "health/randhie", "columns": None, "purpose": "To learn.", "days": 30}
    server("POST", "access-requests", ask)
    (request,) = grouped.person("steward")("GET", "access-requests")["access_requests"]
    assert request["context"]["member"]
    admin = grouped.person("admin")
    told = admin("GET", "policy/who-can", action="discover", object="health/randhie", project="cardio")
    assert "user:gita" in str(told)
    assert admin("GET", "policy/explain", user="gita", action="discover", object="health/randhie", project="cardio")[
        "answers"
    ][0]["allowed"]
    assert grouped.operator("GET", "policy/known")["groups"] == {"user:gita": ["group:cardio-team"]}


def test_only_the_hub_says_who_is_in_a_group(grouped: Enclave) -> None:
    server = grouped.server()
    for caller in (server, grouped.operator):
        assert refused(caller, "PUT", "users/analyst/groups", {"groups": ["log-readers"]}).status == 401
        body = {"user": "analyst", "groups": ["log-readers"]}
        assert refused(caller, "POST", "provided-logins", body).status == 401
