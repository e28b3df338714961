"""What is done with keys themselves: new generations of the master key, exchanging wrappings, ending old ones."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from strongroom_hub.problems import Problem
from strongroom_hub.vault.keys import Keys
from strongroom_hub.vault.store import Store


class Holder(Protocol):
    """Something that keeps wrapped keys on disk."""

    def keks(self) -> Counter[str]: ...

    def rewrap(self, keys: Keys, current: str, only: tuple[str, int] | None = None) -> int: ...


class KeyRoom:
    """One operation at a time; reads go on meanwhile, with whichever wrapping they find."""

    def __init__(self, keys: Keys, store: Store, holders: Sequence[Holder]) -> None:
        self._keys = keys
        self._store = store
        self._holders = holders
        self._lock = threading.Lock()

    def status(self) -> dict[str, Any]:
        """The current generation, all of them, and how many keys each wraps. Raises Problem."""
        service = self._keys.service
        return {"current": service.current, "generations": service.generations(), "wrapped": dict(self._in_use())}

    def rotate(self) -> dict[str, Any]:
        """A new generation, which wraps from now on; what older ones wrapped stays until `rekey`. Raises Problem."""
        with self._lock:
            before = self._keys.service.current
            return {"before": before, "current": self._keys.service.rotate()}

    def rekey(self, only: tuple[str, int] | None = None) -> dict[str, Any]:
        """Wrap under the current generation what older ones wrapped: everything, or one version. Raises Problem.

        Each file of keys is exchanged in one step, so an end at any point leaves a readable store; doing it again
        goes on where it stopped.
        """
        with self._lock:
            current = self._keys.service.current
            exchanged = sum(holder.rewrap(self._keys, current, only) for holder in self._holders)
            if only is None:
                exchanged += self._keys.rewrap_root()
            in_use = self._in_use()
            return {"current": current, "exchanged": exchanged, "left": in_use.total() - in_use[current]}

    def destroy(self, generation: str) -> dict[str, Any]:
        """End a generation that wraps nothing any more. Raises Problem."""
        with self._lock:
            known = self._keys.service.generations()
            going = known[: known.index(generation) + 1] if generation in known else [generation]
            in_use = self._in_use()
            if left := sum(in_use[one] for one in going):
                raise Problem(
                    409,
                    "generation-in-use",
                    "This generation still opens something",
                    f"{left} key(s) are wrapped under {', '.join(going)}; without it they could never be opened again.",
                    next="Exchange them first: strongroom dataset rekey --all",
                )
            if self._store.unfinished():
                raise Problem(
                    409,
                    "ingest-running",
                    "Something is being taken in",
                    "A file is on its way into the store, and its keys may be wrapped under this generation.",
                    next="Try again when it is done.",
                )
            self._keys.service.destroy(generation)
            return {"destroyed": generation, "generations": self._keys.service.generations()}

    def _in_use(self) -> Counter[str]:
        found = Counter({self._keys.root_generation(): 1})
        for holder in self._holders:
            found += holder.keks()
        return found
