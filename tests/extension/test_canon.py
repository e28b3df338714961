"""The canonicaliser and the meter as pure functions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_lab import canon
from strongroom_lab.budget import Meter, coarse, cut
from strongroom_lab.canon import Message, Unfit
from strongroom_lab.workspace import Display, View
from strongroom_policy.labels import Label

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    *("name", "text", "data", "metadata", "transient", "display_id", "execution_count", "ename", "evalue", "traceback"),
    *(
        "wait",
        "execution_state",
        "comm_id",
        "target_name",
        "status",
        "payload",
        "matches",
        "cursor_start",
        "cursor_end",
    ),
    *("found", "prompt", "password", "code", "cursor_pos", "value", "source"),
]
CONTENT = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8)


def view(label: str = "confidential", cell: int | None = 1000, day: int | None = 5000, image: int | None = 500) -> View:
    display = Display(True, cell, day, image, "O5 (policy.csv:31)", "")
    return View(Label.parse(label), display, day, "")


def stream(text: str) -> Message:
    return Message("iopub", "stream", {"name": "stdout", "text": text})


@given(st.sampled_from(sorted(canon.OUTGOING)), CONTENT)
def test_outgoing_is_canonical_or_unfit(kind: tuple[str, str], content: dict[str, Any]) -> None:
    """Whatever comes: a fixed set of fields that JSON can say, or a refusal; and doing it twice changes nothing."""
    try:
        message = canon.outgoing(*kind, {"content": content, "metadata": {"x": "y"}, "buffers": [b"z"]})
        encoded = message.body
    except Unfit:
        return
    assert "x" not in message.metadata
    assert bool(message.buffers) == (kind[1] in canon.COMMS)
    again = canon.outgoing(*kind, {"content": json.loads(encoded), "metadata": message.metadata})
    assert again.body == encoded


@given(st.sampled_from(sorted(canon.INCOMING)), CONTENT)
def test_incoming_is_canonical_or_unfit(kind: tuple[str, str], content: dict[str, Any]) -> None:
    try:
        message = canon.incoming(*kind, {"content": content, "metadata": {"subshell_id": "s"}})
    except Unfit:
        return
    assert "subshell_id" not in message.metadata
    assert message.content.get("user_expressions", {}) == {}


@pytest.mark.parametrize(
    ("channel", "kind"),
    [
        ("iopub", "debug_event"),
        ("iopub", "execute_reply"),
        ("control", "debug_reply"),
        ("control", "usage_reply"),
        ("shell", "kernel_info_reply"),
        ("shell", "history_reply"),
        ("shell", "comm_info_reply"),
        ("shell", "stream"),
    ],
)
def test_unknown_types_do_not_leave(channel: str, kind: str) -> None:
    with pytest.raises(Unfit):
        canon.outgoing(channel, kind, {"content": {}})


def test_code_has_a_limit() -> None:
    with pytest.raises(Unfit, match="1 MiB"):
        canon.incoming("shell", "execute_request", {"content": {"code": "x" * (canon.CODE_LIMIT + 1)}})


def test_a_dataframe_survives_the_sanitiser() -> None:
    table = '<table border="1" class="dataframe"><thead><tr><th></th><th>a</th></tr></thead></table>'
    assert canon.guarded({"text/html": table})["text/html"] == table


@pytest.mark.parametrize(
    "html",
    [
        "<script>x</script>",
        '<img src="http://e/?secret">',
        '<svg><use href="http://e/"/></svg>',
        '<td background="http://e/">',
        '<p style="background:url(http://e/)">',
        "<meta http-equiv=refresh content='0;http://e/'>",
        '<a href="javascript:x">',
        '<form action="/hub/logout"><button>',
        "<math><mtext><style><img src=http://e/></style></mtext></math>",
        '<table class="x" onmouseover="x">',
    ],
)
def test_html_above_public_does_nothing(html: str) -> None:
    clean = canon.guarded({"text/html": html})["text/html"]
    for active in ("http", "script", "on", "style", "form", "meta"):
        assert active not in clean


def test_markdown_above_public_is_its_source() -> None:
    """A page would render the HTML in it, with links that carry data in their addresses."""
    source = "**bold** <meta http-equiv=refresh content='0;http://e/?d'> [go](http://e/?d)"
    shown = canon.guarded({"text/markdown": source, "text/plain": "<Markdown object>"})
    assert shown == {"text/plain": source}


@given(st.lists(st.text(max_size=400), max_size=12), st.integers(0, 2000), st.integers(0, 3000))
def test_streams_never_exceed_cell_or_day(texts: list[str], cell: int, day: int) -> None:
    meter = Meter()
    shown = 0
    offered = 0
    for text in texts:
        message = canon.outgoing("iopub", "stream", {"content": {"name": "stdout", "text": text}})
        offered += message.cost
        part = meter.admit(message, view(cell=cell, day=day - meter.charged))
        if part is not None:
            shown += len(part.body)
            assert message.content["text"].startswith(part.content["text"])
    assert shown <= min(cell, day)
    assert shown == meter.shown == meter.charged
    assert meter.shown + meter.withheld >= offered
    assert bool(meter.withheld) == bool(meter.reason)


@given(st.text(max_size=300), st.integers(0, 400))
def test_cut_is_the_longest_beginning_that_fits(text: str, left: int) -> None:
    message = canon.outgoing("iopub", "stream", {"content": {"name": "stdout", "text": text}})
    part = cut(message, left)
    count = len(part.content["text"]) if part else 0
    assert part is None or part.cost <= left
    if count < len(message.content["text"]):
        assert message.with_content(text=message.content["text"][: count + 1]).cost > left


def test_after_the_cut_nothing_more_of_the_cell_is_shown() -> None:
    meter = Meter()
    assert meter.admit(stream("x" * 5000), view()) is not None
    assert meter.admit(stream("y"), view()) is None


def test_public_output_is_whole_and_counts_for_nothing() -> None:
    meter = Meter()
    free = View(Label.PUBLIC, Display(True, None, None, None, "", ""), None, "")
    assert meter.admit(stream("x" * 10_000_000), free) == stream("x" * 10_000_000)
    assert meter.charged == 0
    # After the label rose, the cell starts with its whole budget.
    assert meter.admit(stream("y" * 900), view()) == stream("y" * 900)
    assert meter.admit(stream("y" * 900), view()) != stream("y" * 900)


def test_buffers_and_metadata_count() -> None:
    message = Message("iopub", "comm_msg", {"comm_id": "c", "data": {}}, {}, (b"x" * 2000,))
    assert message.cost > 2000
    assert Meter().admit(message, view()) is None


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"allowed": "yes"},
        {"allowed": 1},
        {"allowed": False, "cell_bytes": None},
        [],
    ],
)
def test_a_display_rule_that_is_not_well_formed_allows_nothing(body: Any) -> None:
    assert Display.parse(body).allowed is False


def test_a_missing_limit_is_zero_not_infinite() -> None:
    parsed = Display.parse({"allowed": True, "cell_bytes": "many"})
    assert (parsed.cell_bytes, parsed.day_bytes_left, parsed.image_bytes) == (0, 0, 0)


@given(st.integers(0, 10**12))
def test_withheld_amounts_are_told_coarsely(amount: int) -> None:
    told = coarse(amount)
    assert told >= amount
    assert len(str(told).rstrip("0")) <= 2
