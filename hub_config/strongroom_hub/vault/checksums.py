"""Check digits of numbers that name a person or an account, one function per kind. Pure.

Each takes the text without blanks, dots and dashes, in capitals, and answers whether the check digits are right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_ODD_CF = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            2,
            4,
            18,
            20,
            11,
            3,
            6,
            8,
            12,
            14,
            16,
            10,
            22,
            25,
            24,
            23,
        ),
        strict=True,
    )
)
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")  # twice the digit, its digits added
_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
_HETU = "0123456789ABCDEFHJKLMNPRSTUVWXY"


def luhn(text: str) -> bool:
    """Payment cards, and the Swedish personal number in its ten digits."""
    digits = text.encode("ascii")
    return (sum(digits[::-2]) + sum(digits[-2::-2].translate(_DOUBLED)) - ord("0") * len(digits)) % 10 == 0


def iban(text: str) -> bool:
    turned = text[4:] + text[:4]
    return int("".join(str(int(mark, 36)) for mark in turned)) % 97 == 1


def _weighted(text: str, weights: Sequence[int]) -> int:
    return sum(int(mark) * weight for mark, weight in zip(text, weights, strict=False))


def bsn(text: str) -> bool:
    """Netherlands: burgerservicenummer."""
    return int(text) != 0 and _weighted(text, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def nhs(text: str) -> bool:
    """England: NHS number."""
    check = 11 - _weighted(text, range(10, 1, -1)) % 11
    return check != 10 and check % 11 == int(text[9])  # noqa: PLR2004 - numbers that would need a ten are not issued


def steuer_id(text: str) -> bool:
    """Germany: Identifikationsnummer (ISO 7064 mod 11,10)."""
    product = 10
    for mark in text[:10]:
        product = ((int(mark) + product) % 10 or 10) * 2 % 11
    return text[0] != "0" and (11 - product) % 10 == int(text[10])


def pesel(text: str) -> bool:
    """Poland."""
    return (10 - _weighted(text, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10) % 10 == int(text[10])


def dni(text: str) -> bool:
    """Spain: DNI and NIE."""
    number = int(str("XYZ".find(text[0])) + text[1:8]) if text[0] in "XYZ" else int(text[:8])
    return _DNI[number % 23] == text[8]


def nir(text: str) -> bool:
    """France: numéro de sécurité sociale."""
    number = int(text[:13].replace("2A", "19").replace("2B", "18"))
    return 97 - number % 97 == int(text[13:])


def codice_fiscale(text: str) -> bool:
    """Italy."""
    odd = sum(_ODD_CF[mark] for mark in text[:15:2])
    even = sum(int(mark, 36) - 10 if mark.isalpha() else int(mark) for mark in text[1:15:2])
    return chr(ord("A") + (odd + even) % 26) == text[15]


def personnummer(text: str) -> bool:
    """Sweden, with or without the century."""
    return luhn(text[-10:])


def hetu(text: str) -> bool:
    """Finland: henkilötunnus; the mark of the century is dropped before."""
    return _HETU[int(text[:6] + text[-4:-1]) % 31] == text[-1]


def ahv(text: str) -> bool:
    """Switzerland: AHV number, an EAN-13."""
    return (10 - _weighted(text, (1, 3) * 6) % 10) % 10 == int(text[12])


def cpf(text: str) -> bool:
    """Brazil."""
    if len(set(text)) == 1:
        return False
    first = _weighted(text[:9], range(10, 1, -1)) * 10 % 11 % 10
    second = _weighted(text[:10], range(11, 1, -1)) * 10 % 11 % 10
    return (first, second) == (int(text[9]), int(text[10]))


KINDS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "IBAN": (r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", iban),
    "payment card": (r"[2-6]\d{12,18}", luhn),
    "Dutch BSN": (r"\d{9}", bsn),
    "English NHS number": (r"\d{10}", nhs),
    "German tax number": (r"\d{11}", steuer_id),
    "Polish PESEL": (r"\d{4}[0-3]\d{6}", pesel),
    "Spanish DNI or NIE": (r"(?:\d{8}|[XYZ]\d{7})[A-Z]", dni),
    "French social security number": (r"[12]\d{4}(?:\d{2}|2[AB])\d{8}", nir),
    "Italian codice fiscale": (r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", codice_fiscale),
    "Swedish personal number": (r"(?:19|20)?\d{2}[01]\d[0-6]\d{5}", personnummer),
    "Finnish personal number": (r"[0-3]\d[01]\d{3}[A-FU-Y+]?\d{3}[0-9A-Y]", hetu),
    "Swiss AHV number": (r"756\d{10}", ahv),
    "Brazilian CPF": (r"\d{11}", cpf),
}
"""Name -> (form of the text without blanks, dots and dashes; its check)."""
_SHAPES = {name: re.compile(shape) for name, (shape, _) in KINDS.items()}


def plain(text: str) -> str:
    """Without what people put between the digits."""
    return re.sub(r"[\s.\-/]", "", text).upper()


def holds(kind: str, text: str) -> bool:
    """Whether a plain text is a number of that kind with the right check digits."""
    return _SHAPES[kind].fullmatch(text) is not None and passes(KINDS[kind][1], text)


def passes(check: Callable[[str], bool], text: str) -> bool:
    """Whether the check digits of a text of that check's form are right."""
    try:
        return check(text)
    except (ValueError, IndexError, KeyError):
        return False
