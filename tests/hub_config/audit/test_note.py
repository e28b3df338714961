from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom_hub.audit.note import Checkpoint, NoteError, VerifierKey, open_checkpoint, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAME = "strongroom.local/log/test"
VERIFIER = VerifierKey(NAME, KEY.public_key())
CHECKPOINT = Checkpoint(NAME, 42, bytes(range(32)))
NOTE = sign(CHECKPOINT, VERIFIER, KEY)

# The example of the signed-note format's reference implementation.
EXAMPLE_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
EXAMPLE_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
EXAMPLE_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="


def test_the_published_key_and_signature_are_understood() -> None:
    key = VerifierKey.parse(EXAMPLE_VKEY)
    blob = base64.b64decode(EXAMPLE_SIGNATURE)
    assert str(key) == EXAMPLE_VKEY
    assert blob[:4] == key.key_id
    key.key.verify(blob[4:], EXAMPLE_TEXT.encode())


def test_a_signed_checkpoint_opens() -> None:
    assert open_checkpoint(NOTE, VERIFIER) == CHECKPOINT
    assert open_checkpoint(NOTE, VerifierKey.parse(str(VERIFIER))) == CHECKPOINT


def test_signatures_of_witnesses_are_passed_over() -> None:
    other = Ed25519PrivateKey.generate()
    witness = sign(CHECKPOINT, VerifierKey("witness.example", other.public_key()), other).rsplit("\n\n")[1]
    assert open_checkpoint(NOTE + witness, VERIFIER) == CHECKPOINT


@settings(max_examples=300)
@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_no_changed_byte_opens_as_something_else(at: int, flip: int) -> None:
    data = bytearray(NOTE.encode())
    data[at] ^= flip
    try:
        opened = open_checkpoint(data.decode("utf-8"), VERIFIER)
    except (NoteError, UnicodeDecodeError):
        return
    assert opened == CHECKPOINT


@pytest.mark.parametrize(
    "note",
    [
        "",
        NOTE[:-1],
        NOTE.split("\n\n")[0] + "\n",
        sign(CHECKPOINT, VERIFIER, Ed25519PrivateKey.generate()),
        sign(CHECKPOINT, VerifierKey("another.name", KEY.public_key()), KEY),
        sign(Checkpoint("another.origin", 42, bytes(32)), VERIFIER, KEY),
        sign(Checkpoint(NAME, 42, bytes(31)), VERIFIER, KEY),
        sign(Checkpoint(NAME, -1, bytes(32)), VERIFIER, KEY),
        NOTE + "not a signature\n",
    ],
)
def test_other_notes_are_refused(note: str) -> None:
    with pytest.raises(NoteError):
        open_checkpoint(note, VERIFIER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        str(VERIFIER)[:-4],
        str(VERIFIER).replace("log/test", "log/best"),
        "+".join([NAME, "00000000", base64.b64encode(b"\x01" + bytes(32)).decode()]),
        "+".join([NAME, "00000000", base64.b64encode(b"\x02" + bytes(32)).decode()]),
    ],
)
def test_other_verifier_keys_are_refused(text: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(text)
