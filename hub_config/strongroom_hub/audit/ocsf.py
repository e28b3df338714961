"""Entries as events of the Open Cybersecurity Schema Framework (OCSF 1.3), which SIEMs read without a parser of ours.

Each action has its class and activity in a table; what OCSF has no field for is in `unmapped`, and the entry's exact
bytes are `raw_data`, so that nothing is lost and the hash can be checked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from strongroom_hub import __version__
from strongroom_hub.audit.entries import Action

SCHEMA = "1.3.0"
OTHER = 99
_PRODUCT = {"name": "Strongroom", "vendor_name": "Strongroom", "version": __version__}


class _Class(NamedTuple):
    category: int
    uid: int
    name: str
    activities: tuple[str, ...]
    """As OCSF numbers them, from 1 on."""


_CRUD = ("Create", "Read", "Update", "Delete")
_FINDING = _Class(2, 2004, "Detection Finding", ("Create", "Update", "Close"))
_ACCOUNT = _Class(3, 3001, "Account Change", ("Create",))
_AUTHENTICATION = _Class(3, 3002, "Authentication", ("Logon", "Logoff"))
_ENTITY = _Class(
    3, 3004, "Entity Management",
    (*_CRUD, "Move", "Enroll", "Unenroll", "Enable", "Disable", "Activate", "Deactivate"),
)  # fmt: skip
_ACCESS = _Class(3, 3005, "User Access Management", ("Assign Privileges", "Revoke Privileges"))
_LIFECYCLE = _Class(6, 6002, "Application Lifecycle", ("Install", "Remove", "Start", "Stop"))
_API = _Class(6, 6003, "API Activity", _CRUD)
_DATASTORE = _Class(
    6, 6005, "Datastore Activity",
    ("Read", "Update", "Connect", "Query", "Write", "Create", "Delete", "List", "Encrypt", "Decrypt"),
)  # fmt: skip
_FILES = _Class(
    6, 6006, "File Hosting Activity",
    (
        "Upload", "Download", "Update", "Delete", "Rename", "Copy", "Move", "Restore", "Preview", "Lock", "Unlock",
        "Share",
    ),
)  # fmt: skip

_MAPPED = {
    (_AUTHENTICATION, "Logon"): (Action.USER_LOGIN, Action.USER_REFUSE_LOGIN),
    (_AUTHENTICATION, "Logoff"): (Action.USER_LOGOUT,),
    (_ACCOUNT, "Create"): (Action.ACCOUNT_CREATE,),
    (_LIFECYCLE, "Start"): (
        Action.SERVER_SPAWN, Action.SERVER_REFUSE_SPAWN, Action.KERNEL_START, Action.SYSTEM_START,
        Action.VAULT_START,
    ),
    (_LIFECYCLE, "Stop"): (Action.SERVER_STOP, Action.KERNEL_STOP, Action.SYSTEM_STOP),
    (_FINDING, "Create"): (Action.KERNEL_VIOLATION, Action.KERNEL_LIMIT, Action.WITNESS_ALARM),
    (_FINDING, "Close"): (Action.WITNESS_SETTLE,),
    (_API, "Create"): (Action.CELL_BEGIN,),
    (_API, "Read"): (
        Action.COMPLETION_REQUEST, Action.INSPECTION_REQUEST, Action.DISPLAY_SHOW, Action.LOG_READ,
        Action.MACHINE_CHECK,
    ),
    (_API, "Update"): (Action.CELL_END, Action.COMM_MESSAGE, Action.INPUT_REPLY),
    (_DATASTORE, "Read"): (Action.READ_ALLOW, Action.READ_DENY, Action.READ_END),
    (_DATASTORE, "Write"): (Action.DATASET_LOAD, Action.DATASET_SAVE, Action.DATASET_REFUSE_SAVE),
    (_DATASTORE, "Decrypt"): (Action.REIDENTIFY,),
    (_FILES, "Upload"): (Action.EXPORT_DRAFT,),
    (_FILES, "Download"): (Action.EXPORT_DOWNLOAD,),
    (_FILES, "Update"): (Action.FILE_SAVE,),
    (_FILES, "Preview"): (Action.EXPORT_VIEW,),
    (_FILES, "Share"): (Action.EXPORT_RELEASE,),
    (_ACCESS, "Assign Privileges"): (Action.GRANT_CREATE,),
    (_ACCESS, "Revoke Privileges"): (Action.GRANT_REVOKE, Action.GRANT_EXPIRE),
    # What people ask for and decide on: it is made, changed by each word about it, and deleted where it is taken back.
    (_ENTITY, "Create"): (
        Action.ACCESS_REQUEST_SUBMIT, Action.EXPORT_SUBMIT, Action.POLICY_PROPOSE, Action.DATASET_DRAFT,
        Action.PROJECT_CREATE, Action.ERASURE_REQUEST,
    ),
    (_ENTITY, "Update"): (
        Action.USER_GROUPS, Action.LABEL_RAISE, Action.ACCESS_REQUEST_APPROVE, Action.ACCESS_REQUEST_DENY,
        Action.EXPORT_BLOCK, Action.EXPORT_VOTE, Action.EXPORT_APPROVE, Action.EXPORT_REJECT, Action.POLICY_REJECT,
        Action.DATASET_TWIN, Action.DATASET_DECIDE, Action.DATASET_RELABEL, Action.KEY_ROTATE, Action.KEY_REKEY,
        Action.TRAINING_RECORD, Action.ERASURE_REJECT,
    ),
    (_ENTITY, "Delete"): (
        Action.ACCESS_REQUEST_WITHDRAW, Action.EXPORT_WITHDRAW, Action.POLICY_WITHDRAW, Action.ERASURE_WITHDRAW,
        Action.ERASURE_CARRY_OUT, Action.KEY_DESTROY, Action.KEY_SHRED, Action.DATASET_ABANDON,
    ),
    (_ENTITY, "Activate"): (Action.POLICY_ACTIVATE, Action.POLICY_REFUSE, Action.DATASET_PUBLISH),
    (_ENTITY, "Deactivate"): (Action.EXPORT_VOID, Action.DATASET_RETIRE),
}  # fmt: skip
MAPPING = {action.value: place for place, actions in _MAPPED.items() for action in actions}
"""Class and activity of each action."""

_APPLICATIONS = {
    "hub:server": "notebook server", "server:kernel": "kernel", "control:system": "control", "control:vault": "vault",
}  # fmt: skip
_FAILED = {"refuse-login", "refuse-spawn", "refuse-save", "deny", "refuse", "block", "reject"}
_ENDED_BADLY = {"error", "died", "refused", "reject", "failed"}
_SEVERITY = {"violation": 4, "alarm": 5, "refuse-login": 3, "deny": 3, "limit": 2}  # high, critical, medium, low
_REGULAR_FILE = 1


def event(fields: dict[str, Any], leaf: bytes, origin: str) -> dict[str, Any]:
    """One entry as an OCSF event. `origin`: the log's name."""
    action, detail = fields["action"], fields["detail"]
    subject, _, verb = action.rpartition(":")
    kind, doing = MAPPING.get(action, (_API, ""))
    activity = kind.activities.index(doing) + 1 if doing else OTHER  # an action of a later version
    status, status_name = _status(kind, doing, verb, detail)
    answer: dict[str, Any] = {
        "class_uid": kind.uid,
        "class_name": kind.name,
        "category_uid": kind.category,
        "activity_id": activity,
        "activity_name": doing or verb,
        "type_uid": kind.uid * 100 + activity,
        "severity_id": _SEVERITY.get(verb, 1),
        "status_id": status,
        "status": status_name,
        "time": int(datetime.fromisoformat(fields["time"]).timestamp() * 1000),
        "message": f"{fields['actor']} {action}" + (f" {fields['object']}" if fields["object"] else ""),
        "actor": {"user": _user(fields["actor"])},
        "metadata": {
            "version": SCHEMA,
            "product": _PRODUCT,
            "log_name": origin,
            "uid": str(fields["index"]),
            "event_code": action,
        },
        "unmapped": {
            name: fields[name] for name in ("project", "server", "kernel", "object", "label", "sources", "detail")
        },
        "raw_data": leaf.decode(),
    }
    return answer | _required(kind, fields, subject)


def _status(kind: _Class, doing: str, verb: str, detail: dict[str, Any]) -> tuple[int, str]:
    if kind is _FINDING:
        return (4, "Resolved") if doing == "Close" else (1, "New")
    failed = verb in _FAILED or detail.get("status") in _ENDED_BADLY or detail.get("stage") in _ENDED_BADLY
    return (2, "Failure") if failed else (1, "Success")


def _required(kind: _Class, fields: dict[str, Any], subject: str) -> dict[str, Any]:
    """What the class asks for beyond what all have."""
    action, actor, thing = fields["action"], fields["actor"], fields["object"] or subject
    endpoint = {"svc_name": f"strongroom-{action.partition(':')[0]}"}
    if fields["server"]:
        endpoint["uid"] = fields["server"]
    beside: dict[_Class, dict[str, Any]] = {
        _AUTHENTICATION: {"user": _user(actor), "service": {"name": "Strongroom"}},
        _ACCOUNT: {"user": _user(thing)},
        _ENTITY: {"entity": {"name": thing, "type": subject}},
        _ACCESS: {
            "user": _user(f"user:{fields['detail'].get('user', '').removeprefix('user:')}"),
            "privileges": [f"read {column}" for column in fields["detail"].get("columns") or ["*"]],
            "resource": {"name": thing, "type": "dataset"},
        },
        _LIFECYCLE: {"app": {**_PRODUCT, "name": f"Strongroom {_APPLICATIONS.get(subject, subject)}"}},
        _FINDING: {"finding_info": {"uid": str(fields["index"]), "title": action}},
        _DATASTORE: {"src_endpoint": endpoint, "table": {"name": thing}},
        _FILES: {
            "src_endpoint": endpoint,
            "file": {"name": thing.rpartition("/")[2], "path": thing, "type_id": _REGULAR_FILE},
        },
        _API: {"src_endpoint": endpoint, "api": {"operation": action, "service": {"name": "Strongroom"}}},
    }
    return beside[kind]


def _user(actor: str) -> dict[str, Any]:
    kind, _, name = actor.partition(":")
    return {"name": name or kind, "type_id": 1 if kind == "user" else 3}
