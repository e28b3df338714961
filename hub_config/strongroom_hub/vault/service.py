"""The vault as a whole: what its two doors share."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jwt

from strongroom_hub.config import Instance
from strongroom_hub.problems import Problem
from strongroom_hub.vault.attic import Attic
from strongroom_hub.vault.controldoor import ControlDoor
from strongroom_hub.vault.durable import FRESH
from strongroom_hub.vault.exports import Exports
from strongroom_hub.vault.jobs import ViewJob, bad_view, decode_keys
from strongroom_hub.vault.keyroom import KeyRoom
from strongroom_hub.vault.keys import Keys
from strongroom_hub.vault.manifest import FILES, SYNTHETIC, Manifest
from strongroom_hub.vault.partwriter import BYTES_PER_PART
from strongroom_hub.vault.places import Places
from strongroom_hub.vault.reader import Reader
from strongroom_hub.vault.recall import Recall
from strongroom_hub.vault.settings import VaultSettings
from strongroom_hub.vault.setup import load_receipt_key
from strongroom_hub.vault.shelf import Shelf
from strongroom_hub.vault.store import Store
from strongroom_hub.vault.streams import Streams
from strongroom_hub.vault.tickets import IdentifyTicket, IngestTicket, KeyTicket, TicketVerifier, load_public_key
from strongroom_hub.vault.tokenmaps import TokenMaps
from strongroom_hub.vault.uploads import Upload, Uploads
from strongroom_hub.vault.workers import Workers
from strongroom_hub.vault.wrapped import wrap_all

INTAKE_LIMIT = 2
"""Files that are taken in at a time: they have workers of their own, so that reads do not wait for them."""
INTAKE_SECONDS = 12 * 3600.0
RECEIPT_ISSUER, RECEIPT_AUDIENCE = "strongroom:vault", "strongroom:control"


@dataclass(frozen=True, slots=True)
class Draft:
    """A version that was taken in: its manifest, what was found, and the bytes that its worker had at most."""

    manifest: dict[str, Any]
    report: dict[str, Any] | None
    """None for files that are no table."""
    peak_bytes: int


class Vault:
    """Keys, store, workers and ticket memory of one vault process."""

    def __init__(self, instance: Instance, *, started: float | None = None) -> None:
        """`started`: Unix time of the process's beginning. Raises Problem where keys are missing or unsafe."""
        self._places = places = Places.of(instance)
        control_key = load_public_key(instance.public_dir / "control.pub.pem")
        started = time.time() if started is None else started
        self.tickets = TicketVerifier(control_key, started=started)
        self.settings = VaultSettings.load(instance)
        self.keys = Keys(self.settings.key_service(places), places.root_key, may_create=not any(places.store.iterdir()))
        self.workers = Workers(sees=places.store, held=self.settings.streams.all)
        self.store = Store(places.store, control_key, self.settings.holding(places))
        self.shelf = Shelf(self.settings.memory.limits)
        # under one uid a kernel could cut off what others hold: there, nobody can
        self.token_maps = TokenMaps(places.tokens, self.keys)
        self.reader = Reader(
            self.store, self.keys, self.token_maps, self.workers, self.shelf, for_good=instance.uids is None
        )
        self._receipt_key = load_receipt_key(places.receipt_key)
        control = ControlDoor(instance.control_socket, self._receipt_key)
        self.recall = Recall(self.shelf, control, started)
        self.streams = Streams(self.reader, self.workers, self.shelf, self.recall, self.settings.streams)
        self.exports = Exports(places.exports, self.store, self.keys, self.token_maps, self.workers, self._receipt_key)
        self.uploads = Uploads(places.uploads, self.keys)
        self.key_room = KeyRoom(self.keys, self.store, [self.store, self.exports, self.uploads, self.token_maps])
        self.intake = Workers(desk=self.store.new_desk, limit=INTAKE_LIMIT, deadline=INTAKE_SECONDS)
        self.part_bytes = BYTES_PER_PART
        self.attic = Attic(self.store, self.uploads, control, self.settings.intake)

    def start(self) -> None:
        """Sweep what a killed vault left half-built, start the spare worker, and begin to ask what still stands."""
        self.sweep()
        self.workers.start()
        self.recall.start()
        self.attic.start()

    def sweep(self) -> None:
        """Remove what a killed vault left half-built; to be called before the first request."""
        self.store.sweep()
        self.exports.sweep()
        self.uploads.sweep()
        self.token_maps.sweep()
        for folder in (self._places.keys, self._places.uploads):
            for file in folder.rglob(f"*{FRESH}"):
                file.unlink()

    def close(self) -> None:
        self.streams.close()
        self.attic.close()
        self.recall.close()
        self.shelf.close()
        self.workers.close()
        self.intake.close()
        self.store.holding.close()

    def ingest(self, ticket: IngestTicket, upload: Upload) -> Draft:
        """Encrypt the file that was sent as the draft of a version. Raises Problem; a bad file is not kept."""
        try:
            taken = self._ingest(ticket, upload)
        except OSError as error:
            raise vault_full(error) from error
        except Problem as problem:
            if problem.status == 422:  # noqa: PLR2004 - it would be the same again
                self.uploads.remove(upload)
            raise
        self.uploads.remove(upload)
        return taken

    def _ingest(self, ticket: IngestTicket, upload: Upload) -> Draft:
        folder = self.store.place(ticket.dataset, ticket.version)

        def begin(desk: Path) -> dict[str, Any]:
            try:
                self.store.begin(desk, folder)
            except OSError as error:  # the vault's own: it is not the worker that failed
                raise vault_full(error) from error
            return {
                "kind": "seal" if ticket.format == FILES else "ingest",
                "format": ticket.format,
                "folder": str(folder),
                "dataset": ticket.dataset,
                "version": ticket.version,
                "label": ticket.label,
                "plan": ticket.plan.model_dump(),
                "upload": str(upload.folder),
                "sizes": upload.sizes(),
                "key": base64.b64encode(upload.key).decode(),
                "part_bytes": self.part_bytes,
                "seconds": self.intake.deadline,
            }

        try:
            answer = self.intake.run_at_desk(begin, upload.open_chunk)
            manifest = Manifest.parse(answer["manifest"])
            groups: dict[str, dict[str, bytes]] = {manifest.kind: decode_keys(answer["keys"])}
            if SYNTHETIC in manifest.companions:
                groups[SYNTHETIC] = decode_keys(answer["twin_keys"])
            wrapped = wrap_all(self.keys, ticket.dataset, ticket.version, groups)
            self.store.complete(folder, manifest, wrapped)
        except BaseException:
            self.store.abandon(folder)
            raise
        return Draft(manifest.model_dump(), answer["report"], int(answer["peak_bytes"]))

    def identify(self, ticket: IdentifyTicket) -> dict[str, str]:
        """The tokens that stand for a value of the column, each with it. Raises Problem."""
        published = self.store.open(ticket.dataset, ticket.version, active=ticket.manifest)
        if published.manifest.kind == FILES:
            raise bad_view(f"{ticket.dataset} version {ticket.version} holds files, not a table.")
        job = replace(
            ViewJob.prepare(published, ticket, self.keys),
            tokens=self.token_maps.of(ticket.project),
            project_key=self.keys.project_key(ticket.project),
        )
        with self.store.holding.at_hand([job.needed]):
            answer = self.workers.run(
                {"kind": "identify", "view": job.as_json(), "tokens": ticket.tokens}, writes=job.changes
            )
        return dict(answer["values"])

    def key_operation(self, ticket: KeyTicket, token: str) -> dict[str, Any]:
        """Carry out an order about keys, one at a time. Raises Problem."""
        try:
            if ticket.operation == "shred":
                removed = self.store.shred(ticket, token)
                self.reader.close()  # views that were built with the keys
                return {"removed": removed}
            if ticket.operation == "rotate":
                return self.key_room.rotate()
            if ticket.operation == "rekey":
                one = ticket.dataset is not None and ticket.version is not None
                return self.key_room.rekey((str(ticket.dataset), int(ticket.version or 0)) if one else None)
            if ticket.operation == "destroy":
                return self.key_room.destroy(ticket.generation)
            return self.key_room.status()
        except OSError as error:
            raise Problem(
                507,
                "vault-full",
                "The keys were not all changed",
                f"The vault could not write ({error.strerror}).",
                next="Nothing is lost. Make room on the vault's disk and give the order again.",
            ) from error

    def receipt(self, ticket: IngestTicket, draft: Draft) -> str:
        """The vault's word, signed, on what it holds for a draft and what it found: what control decides by."""
        claims = {
            "iss": RECEIPT_ISSUER,
            "aud": RECEIPT_AUDIENCE,
            "act": "taken-in",
            "dataset": ticket.dataset,
            "version": ticket.version,
            "manifest": draft.manifest,
            "report": draft.report,
        }
        return jwt.encode(claims, self._receipt_key, algorithm="EdDSA")


def vault_full(error: OSError) -> Problem:
    return Problem(
        507,
        "vault-full",
        "The file was not taken in",
        f"The vault could not write it ({error.strerror}).",
        next="Make room on the vault's disk and add the file again; nothing of it can be seen.",
    )
