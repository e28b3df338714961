"""Events have what the published schema of OCSF 1.3 asks of their class."""

from __future__ import annotations

import json
from typing import Any

import pytest
from strongroom_hub.audit.entries import Action, Entry, encode, parse
from strongroom_hub.audit.ocsf import MAPPING, event

# From github.com/ocsf/ocsf-schema, tag 1.3.0, events/ and dictionary.json: number of the class, its category, what it
# requires without any profile beyond what all classes do, and its activities as far as they are used here.
CLASSES: dict[str, tuple[int, int, set[str], dict[int, str]]] = {
    "Detection Finding": (2004, 2, {"finding_info"}, {1: "Create", 2: "Update", 3: "Close"}),
    "Account Change": (3001, 3, {"user"}, {1: "Create"}),
    "Authentication": (3002, 3, {"user", "service"}, {1: "Logon", 2: "Logoff"}),  # service or dst_endpoint
    "Entity Management": (
        3004, 3, {"entity"},
        {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 10: "Activate", 11: "Deactivate"},
    ),
    "User Access Management": (
        3005, 3, {"user", "privileges"}, {1: "Assign Privileges", 2: "Revoke Privileges"},
    ),
    "Application Lifecycle": (6002, 6, {"app"}, {3: "Start", 4: "Stop"}),
    "API Activity": (6003, 6, {"actor", "api", "src_endpoint"}, {1: "Create", 2: "Read", 3: "Update", 4: "Delete"}),
    "Datastore Activity": (
        6005, 6, {"actor", "src_endpoint", "table"}, {1: "Read", 5: "Write", 10: "Decrypt"},
    ),  # table, database or databucket
    "File Hosting Activity": (
        6006, 6, {"actor", "src_endpoint", "file"},
        {1: "Upload", 2: "Download", 3: "Update", 9: "Preview", 12: "Share"},
    ),
}  # fmt: skip
REQUIRED = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
# objects/: what each requires, and of which names it must have one
OBJECTS: dict[str, tuple[set[str], set[str]]] = {
    "actor": (set(), {"process", "user", "invoked_by", "session", "app_name", "app_uid"}),
    "user": (set(), {"account", "name", "uid"}),
    "metadata": ({"product", "version"}, set()),
    "app": ({"vendor_name"}, set()),
    "api": ({"operation"}, set()),
    "src_endpoint": (set(), {"ip", "uid", "name", "hostname", "svc_name", "instance_uid", "interface_uid"}),
    "file": ({"name", "type_id"}, set()),
    "entity": (set(), {"name", "uid", "device", "group", "org", "policy", "user"}),
    "finding_info": ({"title", "uid"}, set()),
}
STATUS = {1: "Success", 2: "Failure"}
STATUS_OF_A_FINDING = {1: "New", 2: "In Progress", 3: "Suppressed", 4: "Resolved"}


def made(action: Action | str, **fields: Any) -> dict[str, Any]:
    leaf = encode(Entry(action=Action(action), actor="user:analyst", **fields), 7, "2026-01-01T00:00:00.000Z", None)
    return event(parse(leaf), leaf, "log")


def test_each_action_has_its_place() -> None:
    assert set(MAPPING) == {action.value for action in Action}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("action", Action)
def test_an_event_has_what_its_class_requires(action: Action, named: bool) -> None:
    beside = {"object": "health/randhie@1", "server": "a" * 16, "detail": {"user": "other"}} if named else {}
    told = made(action, **beside)
    number, category, required, activities = CLASSES[told["class_name"]]
    assert (told["class_uid"], told["category_uid"]) == (number, category)
    assert activities[told["activity_id"]] == told["activity_name"]
    assert told["type_uid"] == number * 100 + told["activity_id"]
    assert (STATUS_OF_A_FINDING if number == 2004 else STATUS)[told["status_id"]] == told["status"]
    assert told["severity_id"] in range(1, 7)
    assert told.keys() >= REQUIRED | required
    for name, (needed, one_of) in OBJECTS.items():
        if name in told:
            held = {key for key, value in told[name].items() if value}
            assert held >= needed
            assert not one_of or held & one_of
    assert told["metadata"]["product"]["vendor_name"]
    assert json.loads(told["raw_data"])["action"] == action == told["metadata"]["event_code"]


@pytest.mark.parametrize(
    ("action", "detail", "expected"),
    [
        ("control:read:end", {"status": "ok"}, ("Datastore Activity", "Read", "Success")),
        ("control:read:end", {"status": "died"}, ("Datastore Activity", "Read", "Failure")),
        ("control:read:deny", {}, ("Datastore Activity", "Read", "Failure")),
        ("control:dataset:refuse-save", {}, ("Datastore Activity", "Write", "Failure")),
        ("control:token:reidentify", {"stage": "refused"}, ("Datastore Activity", "Decrypt", "Failure")),
        ("control:policy:refuse", {}, ("Entity Management", "Activate", "Failure")),
        ("control:witness:alarm", {}, ("Detection Finding", "Create", "New")),
        ("control:witness:settle", {}, ("Detection Finding", "Close", "Resolved")),
        ("hub:user:refuse-login", {}, ("Authentication", "Logon", "Failure")),
    ],
)
def test_what_a_siem_would_count(action: str, detail: dict[str, Any], expected: tuple[str, str, str]) -> None:
    told = made(action, detail=detail)
    assert (told["class_name"], told["activity_name"], told["status"]) == expected


def test_a_grant_names_who_may_read_what() -> None:
    told = made(Action.GRANT_CREATE, object="health/randhie", detail={"user": "other", "columns": ["age", "visits"]})
    assert (told["actor"]["user"]["name"], told["user"]["name"]) == ("analyst", "other")
    assert told["privileges"] == ["read age", "read visits"]
    assert told["resource"]["name"] == "health/randhie"


def test_an_action_of_a_later_version_is_told_all_the_same() -> None:
    leaf = encode(Entry(action=Action.CELL_BEGIN, actor="operator"), 7, "2026-01-01T00:00:00.000Z", None)
    told = event(parse(leaf) | {"action": "control:thing:dance"}, leaf, "log")
    assert (told["class_name"], told["activity_id"], told["activity_name"]) == ("API Activity", 99, "dance")
