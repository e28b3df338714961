from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from strongroom_hub.audit import standalone, store
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.note import VerifierKey
from strongroom_hub.audit.proof import Proof, prove

VECTORS = Path(__file__).parents[2] / "vectors"


def proof_of(database: Path, keys: LogKeys, index: int) -> Proof:
    with store.open_database(database) as log:
        return prove(log, keys.verifier, index)


@pytest.mark.parametrize(("size", "index"), [(1, 0), (2, 1), (256, 0), (257, 256), (600, 300)])
def test_an_entry_is_proven_by_a_file_alone(
    log_of: Callable[[int], Path], keys: LogKeys, tmp_path: Path, size: int, index: int
) -> None:
    database = log_of(size)
    proof = proof_of(database, keys, index)
    again = Proof.parse(proof.text())
    assert again == proof
    assert again.check(keys.verifier)["index"] == index
    assert again.size == size
    with store.open_database(database) as log:
        store.export(log, tmp_path / "export", size, log.note() or "")
    assert prove(store.open_directory(tmp_path / "export"), keys.verifier, index) == proof


def test_what_is_not_there_is_not_proven(log_of: Callable[[int], Path], keys: LogKeys) -> None:
    database = log_of(20)
    with pytest.raises(LookupError, match="no entry 20: it has 20"):
        proof_of(database, keys, 20)


def test_an_altered_entry_is_not_proven(log_of: Callable[[int], Path], keys: LogKeys) -> None:
    database = log_of(20)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TRIGGER log_entries_no_update")
        connection.execute("UPDATE log_entries SET leaf = leaf || ' ' WHERE \"index\" = 13")
        connection.commit()
    with pytest.raises(ValueError, match="entry 13 does not lead"):
        proof_of(database, keys, 13)


def test_a_changed_proof_is_refused(log_of: Callable[[int], Path], keys: LogKeys) -> None:
    proof = proof_of(log_of(20), keys, 7)
    text = proof.text()
    leaf = base64.b64encode(proof.leaf).decode()
    other = base64.b64encode(proof.leaf.replace(b"number 7", b"number 8")).decode()
    for old, new in (
        (leaf, other),
        ("index 7", "index 8"),
        ("index 7", "index 07"),
        ("index 7", "index -7"),
        ("tlog-proof@v1", "tlog-proof@v2"),
        ("\n20\n", "\n21\n"),
        (base64.b64encode(proof.hashes[0]).decode() + "\n", ""),
        (base64.b64encode(proof.hashes[0]).decode(), "AAAA"),
        (base64.b64encode(proof.hashes[0]).decode(), "*"),
        ("extra ", ""),
        ("\n\n", "\n"),
    ):
        assert old in text
        with pytest.raises(ValueError):
            Proof.parse(text.replace(old, new)).check(keys.verifier)


def saved_files() -> list[tuple[str, dict[str, Any], str]]:
    """Key, proof as pages are told it, and the file that they must make of it: Vitest holds them to the same."""
    shown = json.loads((VECTORS / "proof-v1.json").read_text(encoding="utf-8"))
    runs = json.loads((VECTORS / "run-proof-v1.json").read_text(encoding="utf-8"))
    told = [(runs["vkey"], one) for one in runs["good"]] + [(runs["other_vkey"], runs["other_key"])]
    vkey = (VECTORS / "log-v1" / "log.vkey").read_text(encoding="utf-8")
    return [(key, one["proof"], one["file"]) for key, one in [(vkey, shown), *told]]


def test_what_pages_save_is_what_the_command_writes_and_what_a_stranger_verifies() -> None:
    for vkey, told, file in saved_files():
        hashes = tuple(map(base64.b64decode, told["hashes"]))
        proof = Proof(told["index"], base64.b64decode(told["leaf"]), hashes, told["checkpoint"])
        assert proof.text() == file
        assert proof.check(VerifierKey.parse(vkey))["index"] == told["index"]
        key = standalone.read_key(vkey, standalone.ED25519)
        fields, head = standalone.verify_proof(file, key, [], 0)
        assert (fields["index"], head.size) == (told["index"], told["size"])
    vkey, _, file = saved_files()[0]
    assert prove(store.open_directory(VECTORS / "log-v1"), VerifierKey.parse(vkey), 2).text() == file
