"""The small fields of messages, each alone: none of them is a place where a kernel could write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from strongroom_lab import canon, mime
from strongroom_lab.kernels import KernelManager, minute
from strongroom_lab.values import Unfit
from traitlets import TraitError

WORDS = ["SMUGGLED", "", "idle ", "Idle", None, 1, True, ["idle"], {"idle": 1}]


def outgoing(channel: str, kind: str, content: dict[str, Any], **more: Any) -> canon.Message:
    return canon.outgoing(channel, kind, {"content": content, **more})


@pytest.mark.parametrize("word", WORDS)
def test_a_state_is_one_of_two(word: Any) -> None:
    with pytest.raises(Unfit):
        outgoing("iopub", "status", {"execution_state": word})


@pytest.mark.parametrize("state", ["busy", "idle"])
def test_a_state_stands_alone(state: str) -> None:
    message = outgoing("iopub", "status", {"execution_state": state, "more": "SMUGGLED"}, metadata={"x": "SMUGGLED"})
    assert (message.content, message.metadata, message.buffers) == ({"execution_state": state}, {}, ())


@pytest.mark.parametrize("word", ["SMUGGLED", "IDLE", ""])
def test_the_state_that_rest_shows_is_an_enum_of_its_own(word: str) -> None:
    """`GET /api/kernels` shows this field; a gate that let a word through must not be enough."""
    manager = KernelManager()
    with pytest.raises(TraitError):
        manager.execution_state = word
    assert manager.execution_state in {None, "starting"}


def test_the_time_that_rest_shows_is_a_minute() -> None:
    assert minute(datetime(2026, 11, 21, 5, 4, 3, 2, tzinfo=UTC)) == datetime(2026, 11, 21, 5, 4, tzinfo=UTC)
    manager = KernelManager()
    manager.touch()
    assert (manager.last_activity.second, manager.last_activity.microsecond) == (0, 0)


@pytest.mark.parametrize("word", WORDS)
def test_a_stream_is_one_of_two(word: Any) -> None:
    with pytest.raises(Unfit):
        outgoing("iopub", "stream", {"name": word, "text": "x"})


@pytest.mark.parametrize("word", WORDS)
def test_a_reply_has_one_of_three_states(word: Any) -> None:
    with pytest.raises(Unfit):
        outgoing("shell", "execute_reply", {"status": word})


def test_of_a_replys_payload_only_pages_are_left_and_of_a_page_only_its_data() -> None:
    payload = [
        {"source": "set_next_input", "text": "SMUGGLED"},
        {"source": "page", "data": {"text/plain": "seen"}, "start": 7, "more": "SMUGGLED"},
        "SMUGGLED",
    ]
    content = {"status": "ok", "payload": payload, "user_expressions": {"x": "SMUGGLED"}, "execution_count": 9}
    message = outgoing("shell", "execute_reply", content)
    assert message.content == {
        "status": "ok",
        "payload": [{"source": "page", "data": {"text/plain": "seen"}, "start": 0}],
    }


@pytest.mark.parametrize("target", [*WORDS, "jupyter.widgets", "jupyter.widget.other", "anywidget"])
def test_a_comm_is_a_widgets(target: Any) -> None:
    with pytest.raises(Unfit):
        outgoing("iopub", "comm_open", {"comm_id": "c", "target_name": target, "data": {}})


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "x" * 129, "é", "<b>", 5, None])
def test_ids_are_short_and_of_a_fixed_alphabet(name: Any) -> None:
    with pytest.raises(Unfit):
        outgoing("iopub", "comm_msg", {"comm_id": name, "data": {}})
    with pytest.raises(Unfit):
        canon.client_header({"msg_id": name, "msg_type": "execute_request", "session": "s"})


def test_buffers_are_for_widgets_alone() -> None:
    for kind, content in (("stream", {"name": "stdout", "text": ""}), ("display_data", {"data": {}})):
        assert outgoing("iopub", kind, content, buffers=[b"SMUGGLED"]).buffers == ()


def test_a_drawing_is_reduced_in_a_bundle_too() -> None:
    active = (
        '<svg xmlns="http://www.w3.org/2000/svg" onload="x()"><script>y()</script><rect width="1" height="1"/></svg>'
    )
    data = outgoing("iopub", "display_data", {"data": {"image/svg+xml": active}}).content["data"]
    shown = mime.guarded(data).data["image/svg+xml"]
    assert "rect" in shown
    for word in ("onload", "script", "x()", "y()"):
        assert word not in shown


@pytest.mark.parametrize("version", ["SMUGGLED", "2.0 x", "1." * 9, 2, None])
def test_of_a_widgets_metadata_only_a_version_is_left(version: Any) -> None:
    content = {"comm_id": "c", "target_name": "jupyter.widget", "data": {}}
    assert outgoing("iopub", "comm_open", content, metadata={"version": version, "x": "SMUGGLED"}).metadata == {}


@pytest.mark.parametrize("count", [-1, 0, 4, 1 << 4000, True, "3", None, 2.0])
def test_no_count_of_the_kernel_passes(count: Any) -> None:
    for channel, kind, content in (
        ("iopub", "execute_input", {"code": "SMUGGLED"}),
        ("iopub", "execute_result", {"data": {}}),
        ("shell", "execute_reply", {"status": "ok"}),
    ):
        message = outgoing(channel, kind, {**content, "execution_count": count})
        assert "execution_count" not in message.content
        assert "SMUGGLED" not in str(message.content)


@pytest.mark.parametrize("channel", ["control", "stdin", "shell", "iopub", "hb", "SMUGGLED"])
@pytest.mark.parametrize(
    "kind", ["debug_request", "debug_reply", "debug_event", "usage_request", "create_subshell_request"]
)
def test_debugging_and_subshells_are_closed_both_ways(channel: str, kind: str) -> None:
    with pytest.raises(Unfit):
        canon.incoming(channel, kind, {"content": {}})
    with pytest.raises(Unfit):
        outgoing(channel, kind, {})


@pytest.mark.parametrize("kind", sorted({kind for _, kind in canon.INCOMING} - {"kernel_info_request"}))
def test_control_takes_nothing_that_runs_code(kind: str) -> None:
    with pytest.raises(Unfit):
        canon.incoming("control", kind, {"content": {"code": "x", "cursor_pos": 0, "comm_id": "c", "value": ""}})
