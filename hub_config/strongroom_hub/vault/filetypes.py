"""What a staged file really is: by its content first, and the name must agree."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

UNKNOWN = "unknown"
TABLES = frozenset({"csv", "tsv", "parquet"})
TEXTS = frozenset({"txt", "md", "json"})
KNOWN = TABLES | TEXTS | {"png"}

_OPAQUE = [  # (how it starts, what a person calls it)
    (b"PARE", "an encrypted Parquet file"),
    (b"PK\x03\x04", "a zip archive (also xlsx, docx, npz, jar)"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\x7fELF", "a program"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "a SQLite database"),
    (b"ARROW1", "an Arrow file"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"%PDF", "a PDF document"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
]
_PICKLE = re.compile(rb"\A\x80[\x02-\x05]")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_DRAWN = {
    b"IHDR",
    b"PLTE",
    b"IDAT",
    b"IEND",
    b"tRNS",
    b"gAMA",
    b"cHRM",
    b"sRGB",
    b"pHYs",
    b"bKGD",
    b"sBIT",
    b"tIME",
}
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_NAME_TRAPS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class Detected:
    """`refusal` says why the file cannot leave as it is; `remarks` what a reviewer should know of it."""

    type: str
    refusal: str = ""
    remarks: list[str] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)


def detect(data: bytes, name: str, allowed: list[str]) -> Detected:
    """The type of `data` and whether a file of this `name` may be of it. Never raises."""
    if not name or len(name) > _MAX_NAME or _NAME_TRAPS.search(name):
        return Detected(UNKNOWN, "its name is empty, too long or holds characters that do not print")
    extension = PurePosixPath(name).suffix.lower().removeprefix(".")
    evidence = {"extension": extension[:16], "allowed": sorted(allowed)}
    if extension not in allowed or extension not in KNOWN:
        listed = ", ".join(sorted(set(allowed) & KNOWN)) or "none"
        return Detected(UNKNOWN, f"files named .{extension[:16]} may not leave (allowed: {listed})", evidence=evidence)
    refusal, remarks = _disagreement(data, extension)
    return Detected(UNKNOWN if refusal else extension, refusal, remarks, evidence)


def _disagreement(data: bytes, extension: str) -> tuple[str, list[str]]:
    if extension == "parquet":
        plain = len(data) >= 12 and data[:4] == b"PAR1" == data[-4:]  # noqa: PLR2004 - two magics and a length
        return ("" if plain else f"it is named .parquet but is {_opaque(data)}"), []
    if extension == "png":
        return _examine_png(data)
    if _is_text(data):
        return "", []
    return f"it is named .{extension} but is {_opaque(data)}", []


def _opaque(data: bytes) -> str:
    if _PICKLE.match(data):
        return "a Python pickle"
    if data.startswith(_PNG):
        return "a PNG image"
    return next((words for magic, words in _OPAQUE if data.startswith(magic)), "binary data of an unknown kind")


def _is_text(data: bytes) -> bool:
    try:
        return not _NOT_TEXT.search(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return False


def _examine_png(data: bytes) -> tuple[str, list[str]]:
    """Only an image may be in it: whole, unbroken, with nothing behind its end."""
    if not data.startswith(_PNG):
        return f"it is named .png but is {_opaque(data)}", []
    extras: dict[str, int] = {}
    kinds = []
    for kind, size, sound, end in _png_chunks(data):
        kinds.append(kind)
        if not sound:
            return "it is a PNG image with a broken chunk", []
        if kind == b"IEND" and end != len(data):
            return f"it is a PNG image with {len(data) - end} bytes behind its end", []
        if kind not in _PNG_DRAWN:
            name = kind.decode("latin-1")
            extras[name] = extras.get(name, 0) + size
    if not kinds or kinds[0] != b"IHDR" or kinds[-1] != b"IEND" or b"IDAT" not in kinds:
        return "it is not a whole PNG image", []
    remarks = [f"It carries {size} bytes of {name} data that no viewer shows." for name, size in sorted(extras.items())]
    return "", remarks


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, bool, int]]:
    """(kind, payload bytes, checksum is right, where it ends) of each chunk up to the first that is broken."""
    at = len(_PNG)
    while at < len(data):
        head = data[at : at + 8]
        if len(head) < 8:  # noqa: PLR2004 - length and kind
            yield b"", 0, False, len(data)
            return
        size, kind = struct.unpack(">I4s", head)
        end = at + 12 + size
        body = data[at + 4 : end - 4]
        sound = end <= len(data) and kind.isalpha() and struct.pack(">I", zlib.crc32(body)) == data[end - 4 : end]
        yield kind, size, sound, end
        if not sound or kind == b"IEND":
            return
        at = end
