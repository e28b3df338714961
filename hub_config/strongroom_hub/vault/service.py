"""The vault as a whole: what its two doors share."""

from __future__ import annotations

import time
from typing import Any

from strongroom_hub.config import Instance
from strongroom_hub.problems import Problem
from strongroom_hub.vault.exports import Exports
from strongroom_hub.vault.jobs import decode_keys
from strongroom_hub.vault.keys import LocalKeyService
from strongroom_hub.vault.manifest import FILES, Manifest
from strongroom_hub.vault.places import Places
from strongroom_hub.vault.reader import Reader
from strongroom_hub.vault.setup import load_receipt_key
from strongroom_hub.vault.store import Store
from strongroom_hub.vault.tickets import IngestTicket, TicketVerifier, load_public_key
from strongroom_hub.vault.workers import Workers
from strongroom_hub.vault.wrapped import wrap_all


class Vault:
    """Keys, store, workers and ticket memory of one vault process."""

    def __init__(self, instance: Instance, *, started: float | None = None) -> None:
        """`started`: Unix time of the process's beginning. Raises Problem where keys are missing or unsafe."""
        places = Places.of(instance)
        control_key = load_public_key(instance.public_dir / "control.pub.pem")
        self.tickets = TicketVerifier(control_key, started=time.time() if started is None else started)
        self.keys = LocalKeyService(places.master_key)
        self.workers = Workers()
        self.store = Store(places.store, control_key)
        self.reader = Reader(self.store, self.keys, self.workers)
        self.exports = Exports(
            places.exports, self.store, self.keys, self.workers, load_receipt_key(places.receipt_key)
        )

    def start(self) -> None:
        """Sweep what a killed vault left half-built, and start the spare worker."""
        self.store.sweep()
        self.exports.sweep()
        self.workers.start()

    def close(self) -> None:
        self.reader.close()
        self.workers.close()

    def ingest(self, ticket: IngestTicket, spooled: int) -> dict[str, Any]:
        """Encrypt what the memory file `spooled` holds as the draft of a version; its manifest. Raises Problem."""
        try:
            return self._ingest(ticket, spooled)
        except OSError as error:
            raise Problem(
                507,
                "vault-full",
                "The file was not taken in",
                f"The vault could not write it ({error.strerror}).",
                next="Make room on the vault's disk and add the file again; nothing was kept.",
            ) from error

    def _ingest(self, ticket: IngestTicket, spooled: int) -> dict[str, Any]:
        folder = self.store.begin(ticket.dataset, ticket.version)
        try:
            answer = self.workers.run(
                {
                    "kind": "seal" if ticket.format == FILES else "ingest",
                    "format": ticket.format,
                    "folder": str(folder),
                    "dataset": ticket.dataset,
                    "version": ticket.version,
                    "label": ticket.label,
                },
                [spooled],
            )
            manifest = Manifest.parse(answer["manifest"])
            groups: dict[str, dict[str, bytes]] = {manifest.kind: decode_keys(answer["keys"])}
            wrapped = wrap_all(self.keys, ticket.dataset, ticket.version, groups)
            self.store.complete(folder, manifest, wrapped)
        except BaseException:
            self.store.abandon(folder)
            raise
        return manifest.model_dump()
