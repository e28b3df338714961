"""What a column holds, as far as filters and masks care, by the name of its type in the manifest. Pure."""

from __future__ import annotations

from strongroom_policy.filter_types import Kind

_KINDS = (
    (("Int", "UInt", "Float", "Decimal"), Kind.NUMBER),
    (("String", "Categorical", "Enum"), Kind.TEXT),
    (("Datetime",), Kind.TIME),
    (("Date",), Kind.DATE),
    (("Boolean",), Kind.TRUTH),
)
"""By the beginning of a type's name."""


def kind_of(name: str) -> Kind:
    return next((kind for starts, kind in _KINDS if name.startswith(starts)), Kind.OTHER)
