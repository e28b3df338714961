"""`keys.json`: the wrapped keys of one version, apart from its data, so that a key is exchanged without rewriting any.

`{"format": "strongroom-keys/1", "keys": [{"group", "name", "kek", "wrapped"}, ...]}`: the group is `table`, `files` or
a companion's name, the name a column's or a file's (a table's footer key: empty).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strongroom_hub.vault.durable import replace_durably
from strongroom_hub.vault.keys import Keys, KeyUse, WrappedKey

FORMAT = "strongroom-keys/1"
Slot = tuple[str, str]
"""(group, name)."""


def wrap_all(
    keys: Keys, dataset: str, version: int, groups: Mapping[str, Mapping[str, bytes]]
) -> dict[Slot, WrappedKey]:
    """Each key of each group, wrapped for its place. Raises Problem."""
    return {
        (group, name): keys.wrap(key, KeyUse.slot(dataset, version, group, name))
        for group, named in groups.items()
        for name, key in named.items()
    }


def rewrap_all(
    keys: Keys, current: str, dataset: str, version: int, wrapped: Mapping[Slot, WrappedKey]
) -> dict[Slot, WrappedKey]:
    """The same data keys, all of them wrapped under the generation `current`. Raises Problem."""
    return {slot: rewrap(keys, current, KeyUse.slot(dataset, version, *slot), key) for slot, key in wrapped.items()}


def rewrap(keys: Keys, current: str, use: KeyUse, key: WrappedKey) -> WrappedKey:
    return key if key.kek == current else keys.wrap(keys.unwrap(key, use), use)


def read_one(file: Path) -> WrappedKey:
    """The only key in a file of its own. Raises ValueError, OSError."""
    return WrappedKey.from_json(json.loads(file.read_bytes()))


def rewrap_one(keys: Keys, current: str, use: KeyUse, file: Path) -> int:
    """Exchange the wrapping in such a file; how many keys that were. Raises Problem, ValueError, OSError."""
    old = read_one(file)
    new = rewrap(keys, current, use, old)
    if new is not old:
        replace_durably(file, json.dumps(new.as_json()).encode())
    return int(new is not old)


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
        found = {(str(one["group"]), str(one["name"])): WrappedKey.from_json(one) for one in listed}
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError("it does not list wrapped keys") from error
    if len(found) != len(listed):
        raise ValueError("it lists a key twice")
    return found
