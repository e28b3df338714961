"""Scopes at the hub. Who may do what with data is Strongroom's policy, not the hub's business."""

from __future__ import annotations

from typing import Any

USER_SCOPES = [
    "read:users:name!user",
    "read:users:groups!user",
    "users:activity!user",
    "servers!user",
    "access:servers!user",
    "access:services!service=control",
]
"""One's own servers and the console; no tokens, no shares (the hub's default `self` has both)."""

SERVER_SCOPES = ["users:activity!user", "access:servers!server"]

ROLES: list[dict[str, Any]] = [
    {"name": "user", "description": "One's own projects and the console", "scopes": USER_SCOPES},
    {"name": "server", "description": "Tell the hub about activity", "scopes": SERVER_SCOPES},
    {"name": "token", "description": "What its owner may do", "scopes": ["inherit"]},
]
