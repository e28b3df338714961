"""Clearing up: drafts that nobody made visible and uploads that nobody finished go after a time, if control agrees."""

from __future__ import annotations

import logging
import time

from strongroom_hub.problems import Problem
from strongroom_hub.rounds import Rounds
from strongroom_hub.vault.controldoor import Abandoned, ControlDoor
from strongroom_hub.vault.settings import IntakeSettings
from strongroom_hub.vault.store import Store
from strongroom_hub.vault.uploads import Uploads

log = logging.getLogger(__name__)

_AT_A_TIME = 200
_HOUR = 3600


class Attic(Rounds):
    """Control decides and records first, so that nothing is removed that somebody still decides on."""

    name = "clearing up"
    every = 600.0

    def __init__(self, store: Store, uploads: Uploads, control: ControlDoor, settings: IntakeSettings) -> None:
        super().__init__()
        self._store = store
        self._uploads = uploads
        self.control = control
        self._settings = settings

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
