"""`keys.json`: the wrapped keys of one version, apart from its data, so that a key is exchanged without rewriting any.

`{"format": "strongroom-keys/1", "keys": [{"group", "name", "kek", "wrapped"}, ...]}`: the group is `table`, `files` or
a companion's name, the name a column's or a file's (a table's footer key: empty).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from strongroom_hub.vault.keys import KeyService, KeyUse, WrappedKey

FORMAT = "strongroom-keys/1"
Slot = tuple[str, str]
"""(group, name)."""


def wrap_all(
    keys: KeyService, dataset: str, version: int, groups: Mapping[str, Mapping[str, bytes]]
) -> dict[Slot, WrappedKey]:
    """Each key of each group, wrapped for its place. Raises Problem."""
    return {
        (group, name): keys.wrap(key, KeyUse.slot(dataset, version, group, name))
        for group, named in groups.items()
        for name, key in named.items()
    }


def encode(wrapped: Mapping[Slot, WrappedKey]) -> bytes:
    """The bytes of `keys.json`."""
    listed = [{"group": group, "name": name, **key.as_json()} for (group, name), key in sorted(wrapped.items())]
    return json.dumps({"format": FORMAT, "keys": listed}, indent=1).encode()


def decode(raw: bytes) -> dict[Slot, WrappedKey]:
    """What `encode` wrote. Raises ValueError."""
    try:
        content: Any = json.loads(raw)
        if content["format"] != FORMAT:
            raise ValueError("it is of another format")
        listed: list[Any] = content["keys"]
        found = {
            (str(one["group"]), str(one["name"])): WrappedKey(str(one["kek"]), str(one["wrapped"])) for one in listed
        }
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError("it does not list wrapped keys") from error
    if len(found) != len(listed):
        raise ValueError("it lists a key twice")
    return found
