"""The documents in which pages show interactive outputs: a library that draws, and no way out.

A notebook brings data, the server brings the code: the document holds one script, known to its policy by hash, and the
page hands it the output's data as a message. The library comes from the kernels' environment, which no kernel can
write; it is not trusted either. What holds it: the document's own policy (nothing is fetched, no origin, no form, no
window), the frame's `sandbox` attribute, the page's policy (the frame goes nowhere else), and `guard.js`, which is part
of the one script. A second script, or one in a frame inside the frame, does not run.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
_EXPORTS = re.compile(r"export\s*\{([^{}]*)\}\s*;?\s*(?=\Z|/\*)")
_NAME = re.compile(r"\s*([\w$]+)\s+as\s+([\w$]+)\s*\Z")
_POLICY = (
    "sandbox allow-scripts",
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    "img-src data: blob:",
    "font-src data:",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'self'",
)


@dataclass(frozen=True, slots=True)
class Library:
    """A library in the kernels' environment: its files below `site-packages`, and how its script is run."""

    script: str
    style: str = ""
    module: bool = False
    evaluates: bool = False
    """Whether it makes functions of texts of its own."""


LIBRARIES = {
    "plotly": Library("plotly/package_data/plotly.min.js", evaluates=True),
    "table": Library("itables/html/dt_bundle.js", "itables/html/dt_bundle.css", module=True),
}


@dataclass(frozen=True, slots=True)
class Document:
    """One document, plain and packed, with the policy that it is sent with."""

    body: bytes
    packed: bytes
    policy: str


@cache
def document(prefix: Path, kind: str) -> Document:
    """The document that draws outputs of `kind`. Raises FileNotFoundError where its library is not installed."""
    library = LIBRARIES[kind]
    site = next(iter(sorted(prefix.glob("lib/python3.*/site-packages"))), prefix)
    guard, draw = ((_HERE / name).read_text(encoding="utf-8") for name in ("guard.js", f"{kind}.js"))
    code = (site / library.script).read_text(encoding="utf-8")
    script = _inline("\n".join((guard, *(_closed(code) if library.module else (code,)), draw)))
    style = (_HERE / "frame.css").read_text(encoding="utf-8")
    if library.style:
        style += (site / library.style).read_text(encoding="utf-8")
    return _document(script, style.replace("</", r"<\/"), library)


def words(text: str) -> Document:
    """A document without any script that says `text`, which is the server's own."""
    style = (_HERE / "frame.css").read_text(encoding="utf-8")
    body = f"<!doctype html><meta charset=utf-8><title>Strongroom</title><style>{style}</style><p>{text}</p>".encode()
    return Document(body, gzip.compress(body), "; ".join(_POLICY))


def _document(script: str, style: str, library: Library) -> Document:
    kind = " type=module" if library.module else ""
    body = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Interactive output</title>"
        f"<style>{style}</style><body><div id=place></div><script{kind}>{script}</script></body></html>"
    ).encode()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    evaluates = " 'unsafe-eval'" if library.evaluates else ""
    policy = "; ".join((*_POLICY, f"script-src 'sha256-{digest}'{evaluates}"))
    return Document(body, gzip.compress(body), policy)


def _closed(code: str) -> tuple[str, str]:
    """A module's code with its exports as one object, `LIBRARY`: everything is one script."""
    found = _EXPORTS.search(code)
    pairs = [_NAME.match(part) for part in found.group(1).split(",")] if found is not None else []
    exports = ", ".join(f"{pair.group(2)}: {pair.group(1)}" for pair in pairs if pair is not None)
    return _EXPORTS.sub("", code, count=1), f"\nconst LIBRARY = {{ {exports} }};"


def _inline(script: str) -> str:
    """As the text of an element: nothing in it ends the element, and its lines end as the browser's parser has them."""
    plain = script.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"<(/script|!--|script)", r"\\x3C\1", plain, flags=re.IGNORECASE)
