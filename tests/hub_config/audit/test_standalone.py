"""The verifier for strangers, run as a stranger runs it: one file, a bare Python, a public key."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom_hub.audit import standalone, store
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.proof import prove
from strongroom_hub.audit.writer import AuditWriter
from strongroom_hub.cli.audit import app
from typer.testing import CliRunner

VECTOR = Path(__file__).parents[2] / "vectors" / "log-v1"
SIZE = 300
BARE = (sys.executable, "-I", "-S")
"""No site packages: `cryptography` cannot be imported."""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "verify.py"
    file.parent.mkdir()
    file.write_text(CliRunner().invoke(app, ["verifier"]).stdout, encoding="utf-8")
    return file


@pytest.fixture
def export(log_of: Callable[[int], Path], keys: LogKeys, tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    with store.open_database(log_of(SIZE)) as log:
        store.export(log, folder, SIZE, log.note() or "")
        (tmp_path / "entry.tlog-proof").write_text(prove(log, keys.verifier, 7).text(), encoding="utf-8")
    (tmp_path / "log.vkey").write_text(keys.vkey + "\n")
    return folder


def run(script: Path, *arguments: object, python: tuple[str, ...] = BARE) -> tuple[int, str]:
    done = subprocess.run(
        [*python, str(script), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, env={}
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_an_outsider_verifies_a_log_and_a_proof_in_an_empty_environment(
    script: Path, export: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "empty", with_pip=False)
    bare = (str(tmp_path / "empty" / "bin" / "python"),)
    code, told = run(script, "--vkey", tmp_path / "log.vkey", "log", export, python=bare)
    assert (code, f"sound: {SIZE} entries" in told) == (0, True), told
    code, told = run(script, "--vkey", tmp_path / "log.vkey", "proof", tmp_path / "entry.tlog-proof", python=bare)
    assert (code, '"index": 7' in told, f"entry 7 of {SIZE}" in told) == (0, True, True), told


def test_the_vector_of_this_format_verifies(script: Path) -> None:
    for python in (BARE, (sys.executable,)):
        code, told = run(script, "--vkey", VECTOR / "log.vkey", "log", VECTOR, python=python)
        assert (code, "sound: 5 entries" in told) == (0, True), told


def test_every_changed_file_is_noticed(script: Path, export: Path, tmp_path: Path) -> None:
    files = sorted(file for file in export.rglob("*") if file.is_file())
    assert len(files) == 6
    verifier = standalone.read_key((tmp_path / "log.vkey").read_text(), standalone.ED25519)

    def verify(folder: Path) -> None:
        note = (folder / "checkpoint").read_text(errors="replace")
        standalone.verify_log(folder, standalone.open_note(note, verifier, [], 0), [])

    verify(export)
    for file in files:
        whole = file.read_bytes()
        for changed in (whole[:-1], whole + b"\0", whole[:20] + bytes([whole[20] ^ 1]) + whole[21:], b"", None):
            if changed is None:
                file.unlink()
            else:
                file.write_bytes(changed)
            with pytest.raises((standalone.AlteredError, OSError)):
                verify(export)
        file.write_bytes(whole)
    (export / "tile" / "0" / "000").write_bytes(bytes(32 * 256))
    code, told = run(script, "--vkey", tmp_path / "log.vkey", "log", export)
    assert (code, "ALTERED: tile/0/000 does not hold" in told) == (1, True), told


def test_a_history_rewritten_with_all_its_tiles_does_not_lead_to_the_signed_root(export: Path, tmp_path: Path) -> None:
    verifier = standalone.read_key((tmp_path / "log.vkey").read_text(), standalone.ED25519)
    head = standalone.open_note((export / "checkpoint").read_text(), verifier, [], 0)
    bundle = export / "tile" / "entries" / "000"
    whole = bundle.read_bytes()
    bundle.write_bytes(whole.replace(b'"actor":"user:', b'"actor":"uzer:', 1))
    assert bundle.read_bytes() != whole
    tree = standalone.Tree()
    for leaf in standalone.leaves(export, SIZE):
        tree.append(standalone.leaf_hash(leaf))
    for level, hashes in tree.tiles.items():
        for number, width in standalone.widths(len(hashes)):
            tile = export / standalone.tile_path(str(level), number, width)
            tile.write_bytes(b"".join(hashes[number * 256 : number * 256 + width]))
    with pytest.raises(standalone.AlteredError, match="do not lead to the signed root"):
        standalone.verify_log(export, head, [])


def test_a_changed_proof_is_refused(script: Path, export: Path, tmp_path: Path) -> None:
    file = tmp_path / "entry.tlog-proof"
    text = file.read_text()
    for old, new, code in (
        ("index 7", "index 8", 1),
        (f"\n{SIZE}\n", f"\n{SIZE + 1}\n", 1),
        ("extra eyJ", "extra eyI", 1),
        ("index 7\n", "index 7\nAAAA\n", 1),
        ("tlog-proof@v1", "tlog-proof@v9", 2),
        ("extra ", "", 2),
    ):
        assert old in text
        file.write_text(text.replace(old, new))
        assert run(script, "--vkey", tmp_path / "log.vkey", "proof", file)[0] == code, old


def test_another_key_and_no_log_are_told_apart(script: Path, export: Path, tmp_path: Path) -> None:
    LogKeys.create(tmp_path / "other")
    code, told = run(script, "--vkey", tmp_path / "other" / "log.vkey", "log", export)
    assert (code, "no signature of the key" in told) == (1, True)
    (tmp_path / "bad.vkey").write_text((tmp_path / "log.vkey").read_text().replace("+0", "+1").replace("+a", "+b"))
    for vkey, place in (("log.vkey", tmp_path), ("nowhere", export), ("entry.tlog-proof", export)):
        assert run(script, "--vkey", tmp_path / vkey, "log", place)[0] == 2


def test_an_earlier_checkpoint_must_be_a_prefix(
    script: Path, export: Path, tmp_path: Path, keys: LogKeys, writer: AuditWriter
) -> None:
    earlier = tmp_path / "earlier"
    options = ("--vkey", tmp_path / "log.vkey", "log", export, "--earlier", earlier)
    shutil.copy(export / "checkpoint", earlier)
    assert run(script, *options)[0] == 0
    for size, words in ((SIZE, "history was rewritten"), (0, "history was rewritten"), (SIZE + 1, "cut back")):
        earlier.write_text(keys.sign(size, bytes(32)))
        code, told = run(script, *options)
        assert (code, words in told) == (1, True), told


def test_it_counts_cells_without_an_end(script: Path, keys: LogKeys, writer: AuditWriter, tmp_path: Path) -> None:
    begins = [writer.append(Entry(action=Action.CELL_BEGIN, actor="user:analyst")) for _ in range(3)]
    for begin in (begins[0], begins[0] + 100):
        writer.append(Entry(action=Action.CELL_END, actor="user:analyst", detail={"begin": begin, "status": "ok"}))
    writer.close()
    with store.open_database(tmp_path / "log.sqlite") as log:
        store.export(log, tmp_path / "export", 5, log.note() or "")
    (tmp_path / "log.vkey").write_text(keys.vkey)
    assert "3 cells, 2 without an end" in run(script, "--vkey", tmp_path / "log.vkey", "log", tmp_path / "export")[1]


# -- Ed25519 in plain Python ------------------------------------------------------------------------------------------

# RFC 8032, section 7.1, tests 1 to 3: key, message, signature
RFC_8032 = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
)


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_signatures_of_the_standard_fit(key: str, message: str, signature: str) -> None:
    values = bytes.fromhex(key), bytes.fromhex(signature), bytes.fromhex(message)
    assert standalone.ed25519_fits(*values)
    assert standalone.signature_fits(*values)


@settings(max_examples=15, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 64 * 8 - 1))
def test_both_ways_of_checking_agree(seed: bytes, message: bytes, bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    key, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert standalone.ed25519_fits(key, signature, message)
    assert not standalone.ed25519_fits(key, signature, message + b"x")
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not standalone.ed25519_fits(key, bytes(flipped), message)
    # the same signature with another scalar: RFC 8032 refuses it, so that nobody makes a second one out of a first
    scalar = int.from_bytes(signature[32:], "little") + standalone.ORDER
    if scalar < 1 << 256:
        assert not standalone.ed25519_fits(key, signature[:32] + scalar.to_bytes(32, "little"), message)
    assert not standalone.ed25519_fits(key, signature[:63], message)
    assert not standalone.ed25519_fits(b"\xff" * 32, signature, message)
