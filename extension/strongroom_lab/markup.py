"""HTML, CSS, SVG and LaTeX reduced to what cannot act: no script, no link, no address, nothing fetched.

Each function rebuilds from a list of what is allowed. Used above public, where what a kernel writes may carry data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree as ET

import defusedxml
import nh3
import tinycss2
from defusedxml.ElementTree import fromstring

from strongroom_lab.values import Unfit

# --- CSS ----------------------------------------------------------------------------------------------------------

PROPERTIES = frozenset(
    {
        *("color", "background", "background-color", "opacity"),
        *("font", "font-size", "font-style", "font-weight", "font-family", "font-variant"),
        *("text-align", "text-decoration", "text-transform", "vertical-align", "white-space", "line-height"),
        *("border", "border-top", "border-right", "border-bottom", "border-left", "border-collapse", "border-spacing"),
        *("border-color", "border-style", "border-width", "border-radius"),
        *("padding", "padding-top", "padding-right", "padding-bottom", "padding-left"),
        *("width", "height", "min-width", "max-width", "min-height", "max-height", "overflow", "overflow-x"),
        "caption-side",
    }
)
"""No position, no margin, no content: nothing that covers other parts of the page or speaks for itself."""
FUNCTIONS = frozenset({"rgb", "rgba", "hsl", "hsla", "linear-gradient", "repeat", "minmax", "calc"})
_PLAIN_TOKENS = frozenset({"whitespace", "ident", "number", "percentage", "dimension", "hash", "literal"})
_LITERALS = frozenset({",", "/", "+", "-", "*"})
_STYLER_SELECTOR = re.compile(r"\s*#T_[0-9A-Za-z_]{1,64}(\s+(th|td|tr|thead|tbody|caption))?\s*\Z")
_LONGEST_STYLE = 256 << 10
_LONGEST = 2 << 20
"""Characters of HTML or SVG that are taken apart: parsing must not keep the server from its other work."""


def is_css_value(tokens: Iterable[Any]) -> bool:
    """Whether tinycss2's `tokens` are words, numbers and colours alone: no address, no string, no variable."""
    for token in tokens:
        if token.type == "function":
            if token.lower_name not in FUNCTIONS or not is_css_value(token.arguments):
                return False
        elif token.type == "string":
            # Names of fonts; a string fetches nothing.
            continue
        elif token.type not in _PLAIN_TOKENS or (token.type == "literal" and token.value not in _LITERALS):
            return False
    return True


def css_value(value: Any) -> str:
    """A single value as widgets' layouts and styles have them. Raises Unfit."""
    if not isinstance(value, str) or not is_css_value(tinycss2.parse_component_value_list(value)):
        raise Unfit("not a plain CSS value")
    return str(tinycss2.serialize(tinycss2.parse_component_value_list(value)))


def declarations(source: str | list[Any]) -> str:
    """The allowed declarations of a `style` attribute or of a rule's block."""
    return "; ".join(
        f"{item.lower_name}: {tinycss2.serialize(item.value).strip()}"
        for item in tinycss2.parse_blocks_contents(source, skip_comments=True, skip_whitespace=True)
        if item.type == "declaration" and item.lower_name in PROPERTIES and is_css_value(item.value)
    )


def _styler_rules(source: str) -> str:
    """Of a style sheet the rules of pandas' Styler, which hold for the cells of one table by their ids."""
    kept = []
    for rule in tinycss2.parse_stylesheet(source[:_LONGEST_STYLE], skip_comments=True, skip_whitespace=True):
        if rule.type != "qualified-rule":
            continue
        selectors = tinycss2.serialize(rule.prelude).split(",")
        block = declarations(rule.content)
        if block and all(_STYLER_SELECTOR.match(selector) for selector in selectors):
            kept.append(f"{', '.join(selector.strip() for selector in selectors)} {{ {block} }}")
    return "\n".join(kept)


# --- HTML ---------------------------------------------------------------------------------------------------------

_TAGS = {
    *("table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "colgroup", "col"),
    *("div", "span", "p", "br", "hr", "b", "strong", "i", "em", "u", "s", "sub", "sup", "small"),
    *("code", "pre", "kbd", "samp", "var", "blockquote", "details", "summary"),
    *("ul", "ol", "li", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6"),
}
_ATTRIBUTES = {
    "*": {"title", "class", "id", "style"},
    "table": {"border"},
    "th": {"colspan", "rowspan", "scope", "align"},
    "td": {"colspan", "rowspan", "align"},
    "col": {"span"},
    "colgroup": {"span"},
    "ol": {"start"},
    "details": {"open"},
}
_TABLE_CLASS = re.compile(r"(dataframe|data|blank|row_heading|col_heading|index_name|(level|row|col)\d{1,6})\Z")
"""Classes of data frames; Lab's own would let an output dress up as a part of the page."""
_TABLE_ID = re.compile(r"T_[0-9A-Za-z_]{1,64}\Z")
_STYLE_ELEMENT = re.compile(r"<style\b[^>]*>(.*?)</style\s*>", re.DOTALL | re.IGNORECASE)


_ACTIVE = re.compile(r"<(script|iframe|object|embed|form|img|svg|video|audio|canvas|link|meta)\b", re.IGNORECASE)


def is_active(source: str) -> bool:
    """Whether HTML has parts that do or fetch something, without which it is not what it was meant to be."""
    return bool(_ACTIVE.search(source))


def _attribute(_tag: str, name: str, value: str) -> str | None:
    if name == "style":
        return declarations(value) or None
    if name == "class":
        return " ".join(word for word in value.split() if _TABLE_CLASS.match(word)) or None
    if name == "id":
        return value if _TABLE_ID.match(value) else None
    return value


def html(source: str) -> str:
    """Text and tables; of style sheets what pandas' Styler says of its own table's cells.

    Raises Unfit for what is too long and where nothing is left to see.
    """
    if len(source) > _LONGEST:
        raise Unfit("too long")
    rules = "\n".join(filter(None, (_styler_rules(sheet) for sheet in _STYLE_ELEMENT.findall(source))))
    body: str = nh3.clean(
        source,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        clean_content_tags={"script", "style"},
        url_schemes=set(),
        link_rel=None,
    )
    if not nh3.clean(body, tags=set()).strip():
        raise Unfit("nothing to see")
    # Rebuilt from identifiers, words and numbers, the rules hold nothing that could end the element.
    return f"<style>{rules}</style>{body}" if rules and "<" not in rules else body


# --- SVG ----------------------------------------------------------------------------------------------------------

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_SHAPES = frozenset(
    {
        *("svg", "g", "defs", "symbol", "use", "clipPath", "mask", "pattern", "marker", "title", "desc"),
        *("path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan"),
        *("linearGradient", "radialGradient", "stop", "image"),
    }
)
"""No script, style, foreignObject, a, animate or set."""
_SHAPE_ATTRIBUTES = frozenset(
    {
        *("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "ry", "dx", "dy", "width", "height", "d", "points"),
        *("viewBox", "preserveAspectRatio", "transform", "version", "id", "offset", "patternUnits", "gradientUnits"),
        *("gradientTransform", "patternTransform", "clipPathUnits", "maskUnits", "markerWidth", "markerHeight"),
        *("refX", "refY", "orient", "fx", "fy", "spreadMethod"),
        *("fill", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "stroke-dasharray", "opacity"),
        *("stroke-dashoffset", "stroke-miterlimit", "stroke-opacity", "fill-opacity", "fill-rule", "clip-rule"),
        *("clip-path", "mask", "marker-start", "marker-mid", "marker-end", "stop-color", "stop-opacity"),
        *("font-size", "font-family", "font-weight", "font-style", "text-anchor", "dominant-baseline", "rotate"),
    }
)
_SHAPE_PROPERTIES = _SHAPE_ATTRIBUTES | {"font", "letter-spacing", "color"}
_INNER = re.compile(r"#[A-Za-z_][\w.:-]{0,127}\Z", re.ASCII)
_PICTURE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=\s]*\Z", re.ASCII)
_INNER_URL = re.compile(r"url\(\s*['\"]?(#[A-Za-z_][\w.:-]{0,127})['\"]?\s*\)\Z", re.ASCII)


def svg(source: str) -> str:
    """The shapes of a drawing, with references to its own parts and embedded pictures alone. Raises Unfit."""
    if len(source) > _LONGEST:
        raise Unfit("too long")
    try:
        rebuilt = _shape(fromstring(source, forbid_dtd=False, forbid_entities=True, forbid_external=True))
    except (ET.ParseError, ValueError, RecursionError, defusedxml.DefusedXmlException) as error:
        raise Unfit("not a drawing") from error
    if rebuilt is None or rebuilt.tag != f"{_SVG}svg":
        raise Unfit("not a drawing")
    ET.register_namespace("", _SVG[1:-1])
    ET.register_namespace("xlink", _LINK[1 : _LINK.index("}")])
    return ET.tostring(rebuilt, encoding="unicode")


def _shape(element: Any) -> ET.Element | None:
    tag = element.tag
    if not isinstance(tag, str) or not tag.startswith(_SVG) or tag.removeprefix(_SVG) not in _SHAPES:
        return None
    made = ET.Element(tag)
    for name, value in element.items():
        kept = _shape_attribute(tag.removeprefix(_SVG), name, value)
        if kept is not None:
            made.set(_LINK if name == "href" else name, kept)
    made.text, made.tail = element.text, element.tail
    for child in element:
        kept_child = _shape(child)
        if kept_child is not None:
            made.append(kept_child)
    return made


def _shape_attribute(tag: str, name: str, value: str) -> str | None:
    if name in {"href", _LINK}:
        fits = _PICTURE.match(value) if tag == "image" else _INNER.match(value)
        return value if fits else None
    if name == "style":
        return _shape_style(value) or None
    if name not in _SHAPE_ATTRIBUTES:
        return None
    return _shape_value(value)


def _shape_value(value: str) -> str | None:
    inner = _INNER_URL.match(value.strip())
    if inner:
        return f"url({inner.group(1)})"
    return None if "url" in value.lower() or ":" in value or "\\" in value else value


def _shape_style(source: str) -> str:
    kept = []
    for item in tinycss2.parse_blocks_contents(source, skip_comments=True, skip_whitespace=True):
        if item.type == "declaration" and item.lower_name in _SHAPE_PROPERTIES:
            value = tinycss2.serialize(item.value).strip()
            inner = _INNER_URL.match(value)
            if inner or is_css_value(item.value):
                kept.append(f"{item.lower_name}: {f'url({inner.group(1)})' if inner else value}")
    return "; ".join(kept)


# --- LaTeX --------------------------------------------------------------------------------------------------------

_WORDS = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi varpi rho "
    "varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi "
    "Psi Omega frac dfrac tfrac cfrac binom sqrt sum prod int iint iiint oint lim limsup liminf sup inf max min "
    "arg det dim exp log ln lg sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh coth operatorname "
    "mathrm mathbf mathit mathsf mathtt mathcal mathbb mathfrak mathscr boldsymbol text textrm textbf textit "
    "mbox left right middle big Big bigg Bigg bigl bigr Bigl Bigr langle rangle lfloor rfloor lceil rceil lvert "
    "rvert lVert rVert vert Vert begin end matrix array hline displaystyle textstyle scriptstyle limits nolimits "
    "quad qquad hspace vspace phantom hat bar vec dot ddot tilde overline underline overbrace underbrace widehat "
    "widetilde overset underset stackrel cdot cdots ldots dots vdots ddots times div pm mp ast star circ bullet "
    "oplus ominus otimes wedge vee cap cup setminus in notin ni subset supset subseteq supseteq emptyset "
    "varnothing forall exists nexists neg lnot land lor to gets mapsto rightarrow leftarrow leftrightarrow "
    "Rightarrow Leftarrow Leftrightarrow implies iff uparrow downarrow longrightarrow infty partial nabla prime "
    "hbar ell Re Im aleph angle degree perp parallel mid nmid leq geq le ge ne neq equiv approx sim simeq cong "
    "propto ll gg prec succ models vdash top bot triangle square mod bmod pmod pmatrix bmatrix vmatrix cases "
    "label tag nonumber notag not colon space thinspace color substack atop choose"
)
_COMMANDS = frozenset(_WORDS.split())
_COMMAND = re.compile(r"\\([A-Za-z]+)")


def _known_commands(source: str) -> bool:
    return all(command in _COMMANDS for command in _COMMAND.findall(source))


def latex(source: str) -> str:
    r"""Formulas of known commands, as they are. Raises Unfit for others: `\href` and its like lead outside."""
    if not _known_commands(source):
        raise Unfit("a command that is not known")
    return source


def spoken(source: str) -> str:
    """Text that a page may typeset: where it holds commands that are not known, their backslashes do nothing."""
    return source if _known_commands(source) else source.replace("\\", "\N{SET MINUS}")
