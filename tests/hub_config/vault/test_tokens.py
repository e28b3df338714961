"""Tokens as they are drawn: form, difference, room, and that none passes for a real number."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom_hub.vault import checksums
from strongroom_hub.vault.tokens import ROOM, Domain, Drawing, form_of, longer, pass_for_real, room, text_of

NOTHING = pl.Series([], dtype=pl.String)
WHOLE = st.integers(-(2**63), 2**64 - 1).map(str)


def draw(
    values: list[str], domain: Domain = Domain.TEXT, taken: list[str] | None = None, key: bytes | None = None
) -> list[str]:
    given = NOTHING if taken is None else pl.Series(taken, dtype=pl.String)
    return Drawing(domain, given, os.urandom(32) if key is None else key).draw(values)


def same_form(one: str, other: str) -> bool:
    """Compared mark by mark, by Unicode's own words rather than by the code under test."""
    if len(one) != len(other):
        return False
    for mark, token in zip(one, other, strict=True):
        category = unicodedata.category(mark)
        if category.startswith("N"):
            fits = token in "0123456789"
        elif category in {"Lu", "Lt"}:
            fits = token.isascii() and token.isupper()
        elif category[0] in "LM":
            fits = token.isascii() and token.islower()
        else:
            fits = token == mark
        if not fits:
            return False
    return True


@given(st.lists(st.text(max_size=12), unique=True, max_size=30))
@settings(max_examples=150, deadline=None)
def test_every_value_gets_a_token_of_its_own_and_of_its_form_where_there_is_room(values: list[str]) -> None:
    tokens = draw(values)
    assert len(set(tokens)) == len(values)
    forms = Counter(form_of(value, Domain.TEXT) for value in values)
    for value, token in zip(values, tokens, strict=True):
        assert token != value
        if room(form_of(value, Domain.TEXT)) >= ROOM * len(values):
            assert same_form(value, token)
        elif not same_form(value, token):  # given up: nothing but small letters, longer than the value
            assert re.fullmatch("[a-z]{5,}", token)
            assert len(token) > len(value)
    assert sum(forms.values()) == len(tokens)


@given(st.lists(WHOLE, unique=True, max_size=30))
@settings(max_examples=150, deadline=None)
def test_a_whole_number_keeps_sign_digits_and_type_where_there_is_room(values: list[str]) -> None:
    tokens = draw(values, Domain.NUMBER)
    assert len(set(tokens)) == len(values)
    for value, token in zip(values, tokens, strict=True):
        assert str(int(token)) == token != value
        limits = (-(2**63), 2**63 - 1) if abs(int(value)) < 10**19 else (0, 2**64 - 1)
        assert limits[0] <= int(token) <= limits[1]
        if room(form_of(value, Domain.NUMBER)) >= ROOM * len(values):
            assert (len(token), token[0] == "-") == (len(value), value[0] == "-")


@pytest.mark.parametrize("domain", Domain)
def test_a_form_without_room_is_given_up_and_says_nothing_of_the_value(domain: Domain) -> None:
    crowded = [str(number) for number in range(10, 100)] if domain is Domain.NUMBER else ["+", "-", "", "?"]
    tokens = draw(crowded, domain)
    assert len(set(tokens)) == len(crowded)
    shape = "[1-9][0-9]{4}" if domain is Domain.NUMBER else "[a-z]{5}"
    assert all(re.fullmatch(shape, token) for token in tokens)


def test_room_is_counted_with_what_was_given_before() -> None:
    first = draw([f"{number:03d}" for number in range(250)])
    assert all(re.fullmatch("[0-9]{3}", token) for token in first)
    more = draw(["999"], taken=first)
    assert re.fullmatch("[a-z]{5}", more[0])
    # and a form that others were given up for fills up in its turn
    small = draw(["ab", "-"], taken=["aaaaa"])
    assert [len(token) for token in small] == [2, 5]


def test_no_token_is_given_twice_however_full_its_form_is() -> None:
    values = [f"{number:04d}" for number in range(1250)]
    one = draw(values)
    two = draw([value[::-1] + "x" for value in values], taken=one)
    three = draw([f"{number:04d}" for number in range(2000, 3250)], taken=one)
    assert len({*one, *two, *three}) == 3750
    assert all(re.fullmatch("[0-9]{4}", token) for token in [*one, *three])


def test_digits_and_letters_are_evenly_distributed() -> None:
    tokens = draw([f"{number:08d}-Aa" for number in range(20_000)])
    digits = Counter("".join(token[:8] for token in tokens))
    assert set(digits) == set("0123456789")
    assert all(0.96 < count / 16_000 < 1.04 for count in digits.values())
    for place in (9, 10):
        letters = Counter(token[place] for token in tokens)
        assert len(letters) == 26
        assert all(0.75 < count / (20_000 / 26) < 1.25 for count in letters.values())
    starts = Counter(token[0] for token in draw([str(number) for number in range(10**6, 10**6 + 9000)], Domain.NUMBER))
    assert set(starts) == set("123456789")


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        ("123456782", Domain.TEXT),
        ("943 476 5919", Domain.TEXT),
        ("4111-1111-1111-1111", Domain.TEXT),
        ("DE89370400440532013000", Domain.TEXT),
        ("12345678Z", Domain.TEXT),
        ("4111111111111111", Domain.NUMBER),
        ("86095742719", Domain.NUMBER),
    ],
)
def test_no_token_passes_for_a_real_number(value: str, domain: Domain) -> None:
    values = list(dict.fromkeys([value, *(f"{value[:-1]}{last}" for last in "0123456789")]))
    tokens = [token for _ in range(60) for token in draw(values, domain)]
    for token in tokens:
        plain = checksums.plain(token)
        assert not [kind for kind in checksums.KINDS if checksums.holds(kind, plain)]
        assert not (re.fullmatch("[0-9]{9,}", plain) and checksums.luhn(plain))


def test_what_passes_for_real_is_found_by_its_check_digits() -> None:
    real = ["4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "111222333", "123456782"]
    others = ["4111 1111 1111 1112", "DE00 3704 0044 0532 0130 00", "", "79927398713"[:8], "hello"]
    assert pass_for_real(pl.Series([*real, *others])) == set(real)


def test_the_same_key_draws_the_same_and_another_one_others() -> None:
    values = [f"person-{number:06d}" for number in range(300)]
    key, other = b"k" * 32, b"o" * 32
    first = draw(values, key=key)
    assert draw(values[::-1], key=key) == first[::-1]
    assert not set(first) & set(draw(values, key=other))
    numbers = [str(number) for number in range(100_000, 100_300)]
    assert draw(numbers, Domain.NUMBER, key=key) != draw(numbers, Domain.TEXT, key=key)
    # what is taken meanwhile is the only thing that changes a draw
    again = draw(values, key=key, taken=[first[7]])
    assert [one == two for one, two in zip(first, again, strict=True)] == [row != 7 for row in range(300)]


def test_a_source_that_starts_badly_still_fills_the_form() -> None:
    class Poor:
        """Bytes that are left out of every alphabet, then good ones."""

        def digest(self, length: int) -> bytes:
            return (b"\xff" * 200 + b"\x01" * length)[:length]

    assert text_of("aaaa-0000", Poor()) == "bbbb-1111"


def test_a_longer_form_is_longer() -> None:
    for domain, form in ((Domain.TEXT, ""), (Domain.TEXT, "aaaaa"), (Domain.NUMBER, "-10"), (Domain.NUMBER, "100000")):
        following = longer(form, domain)
        assert len(following) > len(form)
        assert room(following) > room(form)
