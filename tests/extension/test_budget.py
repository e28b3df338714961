"""The meter as a pure function."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_lab import canon
from strongroom_lab.budget import Meter, coarse, cut
from strongroom_lab.canon import Message
from strongroom_lab.display import Display, View
from strongroom_policy.labels import Label


def view(label: str = "confidential", cell: int | None = 1000, day: int | None = 5000, image: int | None = 500) -> View:
    display = Display(True, cell, day, image, "O5 (policy.csv:31)", "")
    return View(Label.parse(label), display, day, "")


def stream(text: str) -> Message:
    return Message("iopub", "stream", {"name": "stdout", "text": text})


def admit(meter: Meter, message: Message, rule: View) -> Message | None:
    verdict = meter.judge(message, rule)
    meter.book(verdict, rule)
    return verdict.part


@given(st.lists(st.text(max_size=400), max_size=12), st.integers(0, 2000), st.integers(0, 3000))
def test_streams_never_exceed_cell_or_day(texts: list[str], cell: int, day: int) -> None:
    meter = Meter()
    shown = 0
    offered = 0
    for text in texts:
        message = canon.outgoing("iopub", "stream", {"content": {"name": "stdout", "text": text}})
        offered += message.cost
        part = admit(meter, message, view(cell=cell, day=day - meter.charged))
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
    assert admit(meter, stream("x" * 5000), view()) is not None
    assert admit(meter, stream("y"), view()) is None


def test_after_what_does_not_fit_nothing_that_would_is_shown() -> None:
    """Otherwise sizes that fit and sizes that do not would spell a message out of what is withheld."""
    meter = Meter()
    large = canon.outgoing("iopub", "display_data", {"content": {"data": {"text/plain": "x" * 5000}, "metadata": {}}})
    assert admit(meter, large, view()) is None
    assert admit(meter, stream("y"), view()) is None


def test_public_output_is_whole_and_counts_for_nothing() -> None:
    meter = Meter()
    free = View(Label.PUBLIC, Display(True, None, None, None, "", ""), None, "")
    assert admit(meter, stream("x" * 10_000_000), free) == stream("x" * 10_000_000)
    assert meter.charged == 0
    # After the label rose, the cell starts with its whole budget.
    assert admit(meter, stream("y" * 900), view()) == stream("y" * 900)
    assert admit(meter, stream("y" * 900), view()) != stream("y" * 900)


def test_buffers_and_metadata_count() -> None:
    message = Message("iopub", "comm_msg", {"comm_id": "c", "data": {}}, {}, (b"x" * 2000,))
    assert message.cost > 2000
    assert admit(Meter(), message, view()) is None


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
    assert told < max(1025, 4 * amount)
    assert len({coarse(one) for one in range(0, 1 << 20, 97)}) <= 6


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 300).decode()


@pytest.mark.parametrize(
    ("data", "shown", "reason"),
    [
        ({"text/plain": "1"}, {"text/plain"}, ""),
        ({"image/png": PNG, "text/plain": "fig"}, {"image/png", "text/plain"}, ""),
        ({"application/vnd.plotly.v1+json": {}, "text/plain": "Figure"}, {"text/plain"}, "Active content"),
        ({"text/html": "<script>x</script><p>a</p>", "text/plain": "a"}, {"text/plain"}, "Active content"),
        ({"text/html": "<script>x</script>"}, None, "Active content"),
        ({"text/latex": r"$\href{http://e}{x}$", "text/plain": "x"}, {"text/plain"}, ""),
        ({"application/json": {"a": 1}}, {"text/plain"}, ""),
        ({"application/vnd.jupyter.widget-view+json": {"model_id": "gone"}}, None, "not shown"),
    ],
)
def test_above_public_outputs_are_reduced_and_say_so(data: dict[str, Any], shown: set[str] | None, reason: str) -> None:
    message = canon.outgoing("iopub", "display_data", {"content": {"data": data}})
    verdict = Meter().judge(message, view(cell=10_000, day=50_000))
    assert (None if verdict.part is None else set(verdict.part.content["data"])) == shown
    assert reason in verdict.reason
    assert bool(reason) == bool(verdict.reason)


@pytest.mark.parametrize("kind", sorted(canon.OUTGOING))
def test_where_nothing_free_is_shown_nothing_passes(kind: tuple[str, str]) -> None:
    """At a label with no budget, at a spent day, and where control does not answer: not one message."""
    message = Message(*kind, {"data": {"text/plain": ""}, "text": "", "name": "stdout"})
    for sealed in (view("secret", cell=0, day=0), view(cell=1000, day=0), view(cell=0, day=None)):
        verdict = Meter().judge(message, sealed)
        assert verdict.part is None
        assert verdict.reason == sealed.sealed
