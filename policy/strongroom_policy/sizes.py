"""Numbers of bytes as people read and write them."""

from __future__ import annotations

import re

_WRITTEN = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB|TiB)?")
_UNITS = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_KIB = 1 << 10
_MIB = 1 << 20


def size(amount: int) -> str:
    """`512 bytes`, `64 KiB`, `1.9 MiB`: rounded, never with a needless fraction."""
    if amount < _KIB:
        return f"{amount} bytes"
    if amount < _MIB:
        return f"{amount / _KIB:.1f} KiB".replace(".0 ", " ")
    return f"{amount / _MIB:.1f} MiB".replace(".0 ", " ")


def parse_size(text: str) -> int:
    """`64KiB` in bytes. Raises ValueError for what is no size; no blank, no fraction."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no size: write for example 512MiB or 4GiB")
    return int(found[1]) * _UNITS[found[2]]


def written_size(count: int) -> str:
    """`64KiB`: exactly, as one would write it in a file; what `parse_size` reads."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if count and count % _UNITS[unit] == 0:
            return f"{count // _UNITS[unit]}{unit}"
    return str(count)
