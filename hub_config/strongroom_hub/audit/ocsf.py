"""Entries as events of the Open Cybersecurity Schema Framework (OCSF 1.3), which SIEMs read without a parser of ours.

The class follows from the entry's source and subject, the activity from its verb; what OCSF has no field for is in
`unmapped`, and the entry's exact bytes are `raw_data`, so that nothing is lost and the hash can be checked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from strongroom_hub import __version__

SCHEMA = "1.3.0"
OTHER = 99


class _Class(NamedTuple):
    category: int
    uid: int
    name: str
    activities: dict[str, int]
    """By the verb of an action; all others are 99, `Other`."""


_AUTHENTICATION = _Class(3, 3002, "Authentication", {"login": 1, "refuse-login": 1, "logout": 2})
_LIFECYCLE = _Class(6, 6002, "Application Lifecycle", {"spawn": 3, "refuse-spawn": 3, "start": 3, "stop": 4})
_API = _Class(6, 6003, "API Activity", {"begin": 1, "read": 2, "request": 2})
_DATASTORE = _Class(6, 6005, "Datastore Activity", {"allow": 1, "deny": 1})
_FILES = _Class(6, 6006, "File Hosting Activity", {"download": 2, "save": 3, "view": 9, "release": 12})
_ENTITY = _Class(3, 3004, "Entity Management", {"create": 1, "draft": 1, "activate": 3, "publish": 3})
_ACCESS = _Class(3, 3005, "User Access Management", {"create": 1, "approve": 1, "revoke": 2, "expire": 2})
_FINDING = _Class(2, 2004, "Detection Finding", {"violation": 1, "limit": 1, "alarm": 1})

_BY_SUBJECT = {
    "hub:user": _AUTHENTICATION,
    "hub:server": _LIFECYCLE,
    "server:kernel": _LIFECYCLE,
    "control:system": _LIFECYCLE,
    "control:vault": _LIFECYCLE,
    "control:read": _DATASTORE,
    "server:file": _FILES,
    "control:export": _FILES,
    "control:policy": _ENTITY,
    "control:dataset": _ENTITY,
    "control:account": _ENTITY,
    "control:project": _ENTITY,
    "control:grant": _ACCESS,
    "control:access-request": _ACCESS,
    "control:witness": _FINDING,
}
_FINDINGS = {"server:kernel:violation", "server:kernel:limit"}
_FAILED = {"refuse-login", "refuse-spawn", "deny", "refuse", "block", "reject", "violation", "limit", "alarm"}
_SEVERITY = {"violation": 4, "alarm": 5, "refuse-login": 3, "deny": 3, "limit": 2}  # high, critical, medium, low


def event(fields: dict[str, Any], leaf: bytes, origin: str) -> dict[str, Any]:
    """One entry as an OCSF event. `origin`: the log's name."""
    action = fields["action"]
    subject, _, verb = action.rpartition(":")
    kind = _FINDING if action in _FINDINGS else _BY_SUBJECT.get(subject, _API)
    activity = kind.activities.get(verb, OTHER)
    failed = verb in _FAILED or fields["detail"].get("status") in {"error", "died"}
    moment = int(datetime.fromisoformat(fields["time"]).timestamp() * 1000)
    actor_kind, _, name = fields["actor"].partition(":")
    user = {"name": name or actor_kind, "type_id": 1 if actor_kind == "user" else 3}
    answer: dict[str, Any] = {
        "class_uid": kind.uid,
        "class_name": kind.name,
        "category_uid": kind.category,
        "activity_id": activity,
        "activity_name": verb,
        "type_uid": kind.uid * 100 + activity,
        "severity_id": _SEVERITY.get(verb, 1),
        "status_id": 2 if failed else 1,
        "status": "Failure" if failed else "Success",
        "time": moment,
        "message": f"{fields['actor']} {action}" + (f" {fields['object']}" if fields["object"] else ""),
        "actor": {"user": user},
        "user": user,
        "metadata": {
            "version": SCHEMA,
            "product": {"name": "Strongroom", "vendor_name": "Strongroom", "version": __version__},
            "log_name": origin,
            "uid": str(fields["index"]),
            "event_code": action,
        },
        "unmapped": {
            name: fields[name] for name in ("project", "server", "kernel", "object", "label", "sources", "detail")
        },
        "raw_data": leaf.decode(),
    }
    if kind is _API:
        answer["api"] = {"operation": action, "service": {"name": "Strongroom"}}
    if kind is _FINDING:
        answer["finding_info"] = {"uid": str(fields["index"]), "title": action}
    if kind in (_ENTITY, _ACCESS):
        answer["entity" if kind is _ENTITY else "resource"] = {"name": fields["object"] or "", "type": subject}
    return answer
