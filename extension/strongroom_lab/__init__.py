"""The server half of the Lab extension: gate, guards and the REST that the Lab panels use."""

from __future__ import annotations

from typing import Any


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "jupyter-strongroom"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from strongroom_lab.main import StrongroomSingleUser  # noqa: PLC0415 - the labextension builder imports this package too

    return [{"module": "strongroom_lab.main", "app": StrongroomSingleUser}]
