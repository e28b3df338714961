"""The real hub with an authenticator that asks an identity provider, and a stand-in control."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import pytest
from strongroom_hub.supervisor import RunningInstance

from tests.hub_config.test_hub import STANDINS, StandInInstance, new_instance, person, stop

pytestmark = pytest.mark.e2e

CONFIG = """
import sys
sys.path.insert(0, {standins!r})
from provider import ProviderAuthenticator
c.JupyterHub.authenticator_class = ProviderAuthenticator
c.ProviderAuthenticator.directory = {directory!r}
c.ProviderAuthenticator.allow_all = True
c.Authenticator.manage_groups = True
c.Authenticator.admin_users = {{"ann"}}
c.JupyterHub.allow_named_servers = False
c.JupyterHub.admin_access = True
"""


def say(running: RunningInstance, **groups: list[str]) -> None:
    (running.instance.data / "directory.json").write_text(json.dumps(groups), encoding="utf-8")


@pytest.fixture(scope="module")
def running() -> Iterator[StandInInstance]:
    with new_instance() as instance:
        config = instance.data / "provider_config.py"
        standins, directory = instance.data / STANDINS.name, instance.data / "directory.json"
        config.write_text(CONFIG.format(standins=str(standins), directory=str(directory)), encoding="utf-8")
        place = dataclasses.replace(instance, hub_config=str(config))
        place.save()
        with StandInInstance(place) as running:
            say(running, ann=["cardio-team", "all staff"])
            yield running


def test_groups_go_to_control_at_login_at_each_start_and_when_they_change(running: StandInInstance) -> None:
    with person(running, "ann") as ann:
        assert ann.try_login("wrong", "")[0] is False
        assert running.calls("provided-login") == []
        assert ann.try_login("right", "")[0] is True
        (login,) = running.calls("provided-login")
        assert (login["user"], login["groups"]) == ("ann", ["cardio-team", "all staff"])
        assert login["address"] == "127.0.0.1"
        assert "Your projects" in ann.follow("/hub/home").text  # named servers, our pages: what we set wins
        ann.open_project("cardio")
        assert sorted(running.calls("register")[-1]["groups"]) == ["all staff", "cardio-team"]
        stop(ann, "cardio")
        say(running, ann=["other-team"])
        ann.open_project("cardio")
        assert running.calls("groups")[-1] == {"user": "ann", "groups": ["other-team"]}
        assert running.calls("register")[-1]["groups"] == ["other-team"]
        stop(ann, "cardio")


def test_nobody_is_the_hubs_administrator_by_what_a_provider_says(running: StandInInstance) -> None:
    with person(running, "ann") as ann:
        assert ann.try_login("right", "")[0] is True
        assert ann.follow("/hub/admin").status_code == 404
        assert ann.http.get("/hub/api/users").status_code == 403


def test_what_control_refuses_is_said_and_logs_nobody_in(running: StandInInstance) -> None:
    say(running, many=["too-much"])
    with person(running, "many") as many:
        worked, said = many.try_login("right", "")
        assert not worked
        assert said.startswith("Too many groups. what happened")
        assert "/hub/login" in str(many.follow("/hub/home").url)


def test_the_logout_is_recorded(running: StandInInstance) -> None:
    with person(running, "leaver") as leaver:
        assert leaver.try_login("right", "")[0] is True
        leaver.follow("/hub/logout")
        assert "/hub/login" in str(leaver.follow("/hub/home").url)
    assert {"user": "leaver"} in running.calls("logout")
