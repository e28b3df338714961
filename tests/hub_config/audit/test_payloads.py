from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_hub.audit import payloads
from strongroom_hub.audit.payloads import PayloadError

KEY, SUBJECT = payloads.new_key(), payloads.new_subject()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_payload_reads_back(text: str) -> None:
    ciphertext, reference = payloads.seal(KEY, SUBJECT, text)
    assert payloads.unseal(KEY, ciphertext, reference) == text


@given(st.data())
def test_a_changed_payload_is_refused(data: st.DataObject) -> None:
    ciphertext, reference = payloads.seal(KEY, SUBJECT, "x = 1")
    at = data.draw(st.integers(0, len(ciphertext) - 1))
    changed = ciphertext[:at] + bytes([ciphertext[at] ^ data.draw(st.integers(1, 255))]) + ciphertext[at + 1 :]
    with pytest.raises(PayloadError):
        payloads.unseal(KEY, changed, reference)


def test_the_same_text_leaves_no_recognisable_trace() -> None:
    first, second = payloads.seal(KEY, SUBJECT, "x"), payloads.seal(KEY, SUBJECT, "x")
    assert first[0] != second[0]
    assert first[1].commitment != second[1].commitment


def test_another_key_subject_or_commitment_is_refused() -> None:
    ciphertext, reference = payloads.seal(KEY, SUBJECT, "x")
    _, other = payloads.seal(KEY, SUBJECT, "y")
    with pytest.raises(PayloadError):
        payloads.unseal(payloads.new_key(), ciphertext, reference)
    with pytest.raises(PayloadError):
        payloads.unseal(KEY, ciphertext, replace(reference, subject=payloads.new_subject()))
    with pytest.raises(PayloadError, match="commitment"):
        payloads.unseal(KEY, ciphertext, replace(reference, commitment=other.commitment))


def test_a_wrapped_key_is_bound_to_its_person() -> None:
    master = payloads.new_key()
    wrapped = payloads.wrap(master, SUBJECT, KEY)
    assert payloads.unwrap(master, SUBJECT, wrapped) == KEY
    with pytest.raises(PayloadError):
        payloads.unwrap(master, payloads.new_subject(), wrapped)
    with pytest.raises(PayloadError):
        payloads.unwrap(payloads.new_key(), SUBJECT, wrapped)
    with pytest.raises(PayloadError):
        payloads.unwrap(master, SUBJECT, b"")
