"""Clearing up: drafts that nobody made visible and uploads that nobody finished go after a time, if control agrees."""

from __future__ import annotations

import logging
import threading
import time

from strongroom_hub.problems import Problem, unforeseen
from strongroom_hub.vault.controldoor import Abandoned, ControlDoor
from strongroom_hub.vault.settings import IntakeSettings
from strongroom_hub.vault.store import Store
from strongroom_hub.vault.uploads import Uploads

log = logging.getLogger(__name__)

EVERY = 600.0
"""Seconds between two looks."""
_AT_A_TIME = 200
_HOUR = 3600


class Attic:
    """One thread. Control decides and records first, so that nothing is removed that somebody still decides on."""

    def __init__(self, store: Store, uploads: Uploads, control: ControlDoor, settings: IntakeSettings) -> None:
        self._store = store
        self._uploads = uploads
        self.control = control
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="attic", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def tick(self, now: float | None = None) -> int:
        """One look; how much was removed. While control is silent nothing is, and it is tried again."""
        self._store.clear()
        now = time.time() if now is None else now
        found = [
            Abandoned(dataset, version, "draft", int(now - since) // _HOUR)
            for dataset, version, since in self._store.drafts()
            if now - since > self._settings.draft_hours * _HOUR
        ] + [
            Abandoned(dataset, version, "upload", int(now - since) // _HOUR)
            for dataset, version, since in self._uploads.waiting()
            if now - since > self._settings.upload_hours * _HOUR
        ]
        if not found:
            return 0
        try:
            agreed = self.control.abandoned(found[:_AT_A_TIME])
        except Problem as problem:
            log.warning("what nobody went on with stays for now: %s", problem.slug)
            return 0
        return sum(map(self._remove, agreed))

    def _remove(self, one: Abandoned) -> bool:
        try:
            if one.what == "draft":
                self._store.retire(one.dataset, one.version)
            else:
                with self._uploads.of(one.dataset, one.version) as upload:
                    self._uploads.remove(upload)
        except Problem as problem:  # published or begun again meanwhile
            log.warning("%s version %d: the %s stays: %s", one.dataset, one.version, one.what, problem.slug)
            return False
        log.info("removed the %s of %s version %d", one.what, one.dataset, one.version)
        return True

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                self.tick()
            except Exception as error:  # noqa: BLE001 - the next round may work
                log.error("clearing up failed: %s", unforeseen(error))  # noqa: TRY400
