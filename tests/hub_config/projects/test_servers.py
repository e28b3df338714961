from __future__ import annotations

from dataclasses import replace

import pytest
from enclave import HUB_TOKEN, OPERATOR_TOKEN, Caller, Enclave
from strongroom_hub.config import Uids
from strongroom_hub.problems import Problem


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def test_the_spawn_page_lists_the_projects_of_the_member_now(enclave: Enclave) -> None:
    enclave.project("cardio", until="2026-12-31")
    enclave.project("elections", since="2027-01-01")
    enclave.project("secretive")
    listed = enclave.hub_caller("GET", "users/analyst/projects")["projects"]
    assert [(one["name"], one["label"], one["until"]) for one in listed] == [
        ("cardio", "public", "2027-01-01T00:00:00.000Z")
    ]
    assert enclave.hub_caller("GET", "users/steward/projects")["projects"] == []


@pytest.mark.parametrize("project", ["nothing", "secretive", "closed"])
def test_only_members_of_an_open_project_get_a_server(enclave: Enclave, project: str) -> None:
    enclave.project("secretive")
    enclave.project("closed", until="2026-11-20")
    enclave.add_policy("g, user:analyst, project:closed\n")
    problem = refused(enclave.server, "analyst", project)
    assert problem.status == 403
    assert problem.slug == ("project-closed" if project == "closed" else "not-a-member")
    (entry,) = enclave.entries("hub:server:refuse-spawn")
    assert entry["project"] == project
    assert enclave.entries("hub:server:spawn") == []


def test_uid_indexes_are_per_user_and_project_and_permanent(enclave: Enclave) -> None:
    enclave.project("cardio")
    enclave.project("elections")
    first = enclave.server("analyst", "cardio").made["uid_index"]
    others = {
        enclave.server("analyst2", "cardio").made["uid_index"],
        enclave.server("analyst", "elections").made["uid_index"],
    }
    assert first == 0
    assert others == {1, 2}
    assert enclave.server("analyst", "cardio").made["uid_index"] == first


def test_a_credential_is_void_after_stop_and_after_a_new_start(cardio: Enclave) -> None:
    server = cardio.server()
    server("GET", "session")
    cardio.hub_caller("DELETE", f"servers/{server.made['server']}", {"reason": "culled"})
    assert refused(server, "GET", "session").status == 401
    cardio.hub_caller("DELETE", f"servers/{server.made['server']}", {"reason": "again"})
    assert [entry["detail"]["reason"] for entry in cardio.entries("hub:server:stop")] == ["culled"]
    old = cardio.server()
    cardio.server()
    assert refused(old, "GET", "session").status == 401


def test_nobody_passes_for_somebody_else(cardio: Enclave) -> None:
    server = cardio.server()
    calls = {
        "hub": ("GET", "users/analyst/projects", None),
        "operator": ("GET", "status", None),
        "server": ("GET", "session", None),
    }
    tokens = {"hub": HUB_TOKEN, "operator": OPERATOR_TOKEN, "server": server.token, "none": "", "wrong": "x" * 43}
    for kind, call in calls.items():
        for holder, token in tokens.items():
            caller = Caller(cardio.client, token)
            if holder == kind:
                caller(*call)
            else:
                assert refused(caller, *call).status == 401, (kind, holder)


def test_another_servers_kernel_is_unknown(cardio: Enclave) -> None:
    mine, other = cardio.server("analyst"), cardio.server("analyst2")
    kernel = cardio.kernel(mine)
    cell = {"kernel": kernel, "notebook": "n", "cell": "c", "kind": "execute", "code": "1"}
    for call in (
        ("POST", "reads", {"kernel": kernel, "dataset": "health/randhie"}),
        ("DELETE", f"kernels/{kernel}", {"reason": "mischief"}),
    ):
        assert refused(other, *call).slug == "unknown-kernel"
    assert refused(other.begin, **cell).slug == "unknown-kernel"
    assert refused(other, "POST", "kernels", {"kernel": kernel}).status == 409
    entry = mine.begin(**cell)["entry"]
    assert refused(other.end, entry).slug == "unknown-cell"


def test_a_stopped_kernel_runs_no_cells_and_a_restart_keeps_its_id(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    server("DELETE", f"kernels/{kernel}", {"reason": "restart"})
    cell = {"kernel": kernel, "kind": "execute", "code": "1"}
    assert refused(server.begin, **cell).slug == "unknown-kernel"
    server("POST", "kernels", {"kernel": kernel, "notebook": "day.ipynb"})
    server.begin(**cell)


def test_who_lost_membership_runs_nothing_and_sees_nothing(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.edit_policy("g, user:analyst , project:cardio\n", "")
    assert refused(server.begin, kernel=kernel, kind="execute", code="1").slug == "not-a-member"
    assert refused(server, "POST", "kernels", {"kernel": "another"}).slug == "not-a-member"
    assert server("GET", "display")["display"]["allowed"] is False


def test_a_membership_ends_at_its_moment_without_any_reload(enclave: Enclave) -> None:
    enclave.project("elections")
    enclave.add_policy("g, user:analyst2, project:elections, , 2026-11-21\n")
    server = enclave.server("analyst2", "elections")
    kernel = enclave.kernel(server)
    cell = {"kernel": kernel, "kind": "execute", "code": "1"}
    enclave.clock.forward(hours=18, minutes=59)
    server.begin(**cell)
    enclave.clock.forward(minutes=1)
    assert refused(server.begin, **cell).slug == "not-a-member"


def test_session_tells_where_one_works(cardio: Enclave) -> None:
    session = cardio.server()("GET", "session")
    assert session["user"] == "analyst"
    assert session["project"] == {"name": "cardio", "title": "Cardio", "purpose": "To learn.", "until": None}
    assert session["label"] == "public"
    assert session["display"]["allowed"] is True
    assert session["display"]["cell_bytes"] is None
    assert session["mode"] == "one-uid"
    assert session["policy_version"] == cardio.context.policy.version


def test_with_uids_a_ticket_names_the_kernels_uid(cardio: Enclave) -> None:
    uids = Uids(control=1, vault=2, proxy=3, first_server=7000)
    context = replace(cardio.context, instance=replace(cardio.instance, uids=uids))
    assert context.kernel_uid(4) == 7004
    assert cardio.context.kernel_uid(4) is None


def test_projects_come_with_the_profiles_that_one_may_take_there(enclave: Enclave) -> None:
    enclave.project("cardio")
    enclave.project("elections")
    listed = enclave.hub_caller("GET", "users/analyst/projects")["projects"]
    profiles = {one["name"]: [profile["name"] for profile in one["profiles"]] for one in listed}
    assert profiles == {"cardio": ["standard", "large", "sealed"], "elections": ["standard", "sealed"]}
    assert listed[0]["profiles"][0]["memory_bytes"] == 4 << 30


PROFILES = ("standard", "large", "sealed")


def register(enclave: Enclave, project: str, profile: str | None) -> dict:
    return enclave.hub_caller("POST", "servers", {"user": "analyst", "project": project, "profile": profile})


def test_a_server_gets_the_chosen_profile_or_the_first(enclave: Enclave) -> None:
    enclave.project("cardio")
    for chosen, taken in (("large", "large"), (None, "standard")):
        made = register(enclave, "cardio", chosen)
        assert made["profile"]["name"] == taken
        assert [profile["name"] for profile in made["profiles"]] == ["standard", "large", "sealed"]
        assert enclave.entries("hub:server:spawn")[-1]["detail"]["profile"] == made["profile"]


@pytest.mark.parametrize("profile", ["large", "no-such-profile", ""])
def test_a_profile_that_the_policy_does_not_allow_is_refused_and_recorded(enclave: Enclave, profile: str) -> None:
    enclave.project("elections")
    problem = refused(register, enclave, "elections", profile)
    assert (problem.status, problem.slug) == (403, "profile-not-allowed")
    assert problem.why == ("you may take: standard, sealed",)
    (entry,) = enclave.entries("hub:server:refuse-spawn")
    assert entry["detail"] == {"problem": "profile-not-allowed", "profile": profile}
    assert enclave.entries("hub:server:spawn") == []


def test_without_any_profile_nobody_starts_a_server(enclave: Enclave) -> None:
    enclave.project("cardio")
    denials = (f"p, N-{name}, role:analyst, use, profile:{name}, *, , , deny, none\n" for name in PROFILES)
    enclave.add_policy("".join(denials))
    problem = refused(register, enclave, "cardio", None)
    assert "Ask an administrator" in problem.next
