"""MIME bundles: which types are shown at which label, and in which reduced form.

JavaScript is on no list: Lab would run it with the analyst's login. Vega is not either: its expressions are compiled to
code, and the page's policy has to allow that for Lab itself. Figures of Plotly and tables of ITables pass at public as
data, which pages show in a frame of its own (`interactive`, `frames`).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from dataclasses import dataclass
from typing import Any

from strongroom_lab import interactive, markup
from strongroom_lab.values import Unfit, encode, identifier, joined, mapping

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WITHHELD = "application/vnd.strongroom.withheld+json"
"""The gate's own notice; no kernel can send one."""
SVG = "image/svg+xml"
BINARY_IMAGES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff", "image/gif": b"GIF8"}
"""Image types that come as Base64, and how their bytes begin."""
IMAGES = frozenset(BINARY_IMAGES) | {SVG}
JSON_TYPES = frozenset({"application/json", interactive.PLOTLY})
TEXT_TYPES = frozenset({"text/plain", "text/html", "text/markdown", "text/latex", SVG})
PUBLIC_TYPES = TEXT_TYPES | JSON_TYPES | frozenset(BINARY_IMAGES) | {WIDGET_VIEW}
GUARDED_TYPES = frozenset({"text/plain", "text/html", "text/latex", SVG, WIDGET_VIEW}) | frozenset(BINARY_IMAGES)
"""Above public. The text is what `guarded` makes of it."""
_LARGEST_SIDE = 10_000
_PLACEHOLDER = re.compile(r"<[\w.]+ object( at 0x\w+)?>\Z")
"""Plain text that says nothing: IPython's for HTML that has no other form."""


def image_bytes(mime: str, value: Any) -> bytes:
    """The bytes of a Base64 image that is what it says it is. Raises Unfit."""
    try:
        raw = base64.b64decode("".join(joined(value).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unfit("not Base64") from error
    if not raw.startswith(BINARY_IMAGES[mime]):
        raise Unfit("not that kind of image")
    return raw


def item_bytes(mime: str, value: str) -> int:
    """The size of an image of a checked bundle."""
    return len(value) * 3 // 4 if mime in BINARY_IMAGES else len(value.encode())


def _item(mime: str, value: Any) -> Any:
    if mime in BINARY_IMAGES:
        return base64.b64encode(image_bytes(mime, value)).decode("ascii")
    if mime == WIDGET_VIEW:
        return {"version_major": 2, "version_minor": 0, "model_id": identifier(mapping(value).get("model_id"))}
    if mime in JSON_TYPES:
        return value
    return joined(value)


def bundle(value: Any) -> dict[str, Any]:
    """The known types of a MIME bundle; a type that does not hold what it says is left out. Raises Unfit."""
    result: dict[str, Any] = {}
    for mime, item in mapping(value).items():
        if mime in PUBLIC_TYPES:
            try:
                result[mime] = _item(mime, item)
            except Unfit:
                continue
    if "text/html" in result:
        result |= interactive.rebuilt(result["text/html"])
    return result


def image_sizes(value: Any) -> dict[str, Any]:
    """Of a bundle's metadata only the sizes of images."""
    result: dict[str, Any] = {}
    for mime in sorted(IMAGES):
        given = value.get(mime) if isinstance(value, dict) else None
        if isinstance(given, dict):
            sizes = {name: given[name] for name in ("width", "height") if _is_size(given.get(name))}
            if sizes:
                result[mime] = sizes
    return result


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_SIDE


@dataclass(frozen=True, slots=True)
class Guarded:
    """What of a bundle may be shown above public, and whether active content was left out of it."""

    data: dict[str, Any]
    reduced: bool


def guarded(data: dict[str, Any]) -> Guarded:
    """What of a checked bundle may be shown above public: no active content, nothing that leads outside.

    Markdown and JSON are shown as their source: pages would render the HTML and the links in them. HTML with active
    parts gives way to the plain text beside it: without them it would show an empty frame.
    """
    result: dict[str, Any] = {}
    for mime, item in data.items():
        if mime in GUARDED_TYPES:
            with contextlib.suppress(Unfit):
                result[mime] = _REDUCED[mime](item) if mime in _REDUCED else item
    active = "text/html" in data and markup.is_active(data["text/html"])
    if active and "text/plain" in data and not _PLACEHOLDER.match(data["text/plain"]):
        result.pop("text/html", None)
    for mime in ("text/markdown", "text/latex"):
        if mime in data and mime not in result:
            result["text/plain"] = data[mime]
    if "application/json" in data and not result:
        result["text/plain"] = encode(data["application/json"]).decode()
    return Guarded(result, active or bool(data.keys() - result.keys() - _SHOWN_AS_SOURCE))


_REDUCED = {"text/html": markup.html, "text/latex": markup.latex, SVG: markup.svg}
_SHOWN_AS_SOURCE = {"text/html", "text/markdown", "text/latex", "application/json"}
