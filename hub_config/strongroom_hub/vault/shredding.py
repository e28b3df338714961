"""Crypto-shredding: the wrapped keys of columns or files are removed; control's order to do so stays in their place.

`shredded.jws` in a version's folder holds the signed orders, one on each line. What an order names is never opened
again, even where somebody puts its key back from a backup.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom_hub.problems import Problem
from strongroom_hub.vault.durable import replace_durably
from strongroom_hub.vault.keys import WrappedKey
from strongroom_hub.vault.manifest import FILES, TABLE, Manifest
from strongroom_hub.vault.parts import damaged
from strongroom_hub.vault.tickets import KeyTicket, verify_order
from strongroom_hub.vault.wrapped import Slot

SHREDDED_FILE = "shredded.jws"


def ordered(folder: Path, manifest: Manifest, control_key: Ed25519PublicKey) -> dict[Slot, KeyTicket]:
    """What was ordered to be destroyed of a version, by slot. Raises Problem where an order cannot be trusted."""
    try:
        text = (folder / SHREDDED_FILE).read_text(encoding="ascii")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(manifest.dataset, manifest.version, SHREDDED_FILE, "it cannot be read") from error
    found: dict[Slot, KeyTicket] = {}
    for line in text.split():
        try:
            order = verify_order(line, control_key)
        except Problem as problem:
            raise damaged(manifest.dataset, manifest.version, SHREDDED_FILE, problem.detail) from problem
        if (order.dataset, order.version) != (manifest.dataset, manifest.version):
            raise damaged(manifest.dataset, manifest.version, SHREDDED_FILE, "an order in it is of another version")
        found = dict.fromkeys(slots_of(order, manifest), order) | found
    return found


def slots_of(order: KeyTicket, manifest: Manifest) -> set[Slot]:
    """The keys that an order names: those of some columns or files, or every key of the version. Raises Problem."""
    if order.columns is None:
        return manifest.slots()
    group = FILES if manifest.kind == FILES else TABLE
    if unknown := set(order.columns) - set(manifest.visible_names):
        raise Problem(
            404,
            "not-in-version",
            "There is no such thing in this version",
            f"{manifest.dataset} version {manifest.version} holds no {min(unknown)!r}.",
            next="See the catalogue.",
        )
    # the synthetic twin's column was made from it
    groups = [group, *(one for one in manifest.companions if group == TABLE)]
    return {(one, name) for one in groups for name in order.columns}


def write_order(folder: Path, order: str) -> None:
    """Add a signed order; it counts from here on, whatever happens before the keys are gone. Raises OSError."""
    file = folder / SHREDDED_FILE
    before = file.read_text(encoding="ascii").split() if file.exists() else []
    if order not in before:
        replace_durably(file, "\n".join([*before, order, ""]).encode())


def replace_and_wipe(file: Path, content: bytes) -> None:
    """Put `content` in place of a file and overwrite what lay there, where the disk writes in place. Raises OSError."""
    with file.open("r+b") as old:
        replace_durably(file, content)
        old.write(bytes(os.fstat(old.fileno()).st_size))
        old.flush()
        os.fsync(old.fileno())


def shredded(order: KeyTicket, name: str) -> Problem:
    """The answer to whoever asks for what is gone."""
    return Problem(
        410,
        "shredded",
        "This data was destroyed",
        f"{name or 'This version'} of {order.dataset} version {order.version} was shredded on {order.at}, "
        f"asked for by {order.asked_by}, agreed to by {order.agreed_by}, entry {order.entry}.",
        why=(f"reason given: {order.why}",),
        next="It cannot be brought back. Use another column or another version.",
    )


def left_over(wrapped: Mapping[Slot, WrappedKey], gone: Mapping[Slot, KeyTicket]) -> list[Slot]:
    """Keys that lie there although they were to be destroyed: an interrupted shredding, or a backup put back."""
    return sorted(set(wrapped) & set(gone))
