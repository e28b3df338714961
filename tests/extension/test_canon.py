"""The canonicaliser as a pure function."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_lab import canon
from strongroom_lab.values import Unfit

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


@pytest.mark.parametrize(
    ("kind", "body", "dropped"),
    [
        ("stream", {"content": {"name": "stdout", "text": "a", "more": "x"}}, ("field of stream",)),
        ("stream", {"content": {"name": "stdout", "text": "a"}, "buffers": [b"x"]}, ("buffers",)),
        ("stream", {"content": {"name": "stdout", "text": "a"}, "metadata": {"x": 1}}, ("field of metadata",)),
        ("stream", {"content": {"name": "stdout", "text": "a"}, "header": {"x": 1}}, ("field of header",)),
        ("display_data", {"content": {"data": {"application/javascript": "x"}}}, ("output type",)),
        ("execute_result", {"content": {"data": {"text/plain": "1"}, "execution_count": 3}}, ()),
        ("status", {"content": {"execution_state": "busy"}, "header": {"msg_id": "1"}}, ()),
    ],
)
def test_what_is_dropped_is_counted_without_the_kernels_words(
    kind: str, body: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    assert canon.outgoing("iopub", kind, body).dropped == dropped


def test_nothing_runs_beside_the_recorded_code() -> None:
    content = {"code": "1", "silent": True, "store_history": True, "user_expressions": {"a": "print(1)"}}
    message = canon.incoming("shell", "execute_request", {"content": content})
    assert message.content["user_expressions"] == {}
    assert message.content["store_history"] is False
    assert message.dropped == ("field from a browser",)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("execute_request", {"code": "1", "silent": False, "user_expressions": {}, "allow_stdin": True}),
        ("comm_open", {"comm_id": "c", "target_name": "jupyter.widget", "target_module": None, "data": {}}),
        ("history_request", {"hist_access_type": "range", "n": 1}),
    ],
)
def test_what_labs_pages_send_is_no_violation(kind: str, content: dict[str, Any]) -> None:
    assert canon.incoming("shell", kind, {"content": content}).dropped == ()


def test_every_type_of_the_installed_kernel_was_decided_on(kernel_prefix: str) -> None:
    """A new message type of a new version fails here until somebody lets it pass or refuses it."""
    [folder] = Path(kernel_prefix).glob("lib/python3.*/site-packages/ipykernel")
    words = re.compile(r"[\"']([a-z_]+_(?:request|reply|event|data|result|open|msg|close|output|input))[\"']")
    found = {word for file in folder.rglob("*.py") for word in words.findall(file.read_text("utf-8"))}
    assert {"execute_request", "comm_open", "debug_event", "list_subshell_reply"} <= found
    known = {kind for _, kind in [*canon.INCOMING, *canon.OUTGOING]} | canon.REFUSED
    assert found - known == {"do_debug_request", "set_next_input", "raw_input"}  # a method, a payload, a function
    for channel in ("shell", "control", "stdin", "iopub"):
        for kind in canon.REFUSED:
            for way in (canon.incoming, canon.outgoing):
                with pytest.raises(Unfit):
                    way(channel, kind, {"content": {}})
