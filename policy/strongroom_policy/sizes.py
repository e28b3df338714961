"""Numbers of bytes as people read them."""

from __future__ import annotations

_KIB = 1 << 10
_MIB = 1 << 20


def size(amount: int) -> str:
    """`512 bytes`, `64 KiB`, `1.9 MiB`: rounded, never with a needless fraction."""
    if amount < _KIB:
        return f"{amount} bytes"
    if amount < _MIB:
        return f"{amount / _KIB:.1f} KiB".replace(".0 ", " ")
    return f"{amount / _MIB:.1f} MiB".replace(".0 ", " ")
