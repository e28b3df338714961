"""The decrypted text of an entry, or why there is none to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strongroom_hub.audit import erasure, reader
from strongroom_hub.control.context import Context


def text_of(context: Context, fields: dict[str, Any], *, may_read: bool) -> dict[str, Any]:
    """The decrypted text where it may be shown, and in every case why it is there or not."""
    answer: dict[str, Any] = {"payload": None, "payload_state": "none", "erased": None}
    reference = fields.get("payload")
    if reference is None:
        return answer
    erased = erasure.carried_out(context, reference["subject"])
    if erased is not None:
        return answer | {
            "payload_state": "erased",
            "erased": {"entry": erased["index"], "time": erased["time"], "actor": erased["actor"]},
        }
    if not may_read:
        return answer | {"payload_state": "not-yours"}
    try:
        return answer | {
            "payload": reader.payload(context.engine, context.log_keys, fields["index"]),
            "payload_state": "shown",
        }
    except reader.PayloadUnreadableError:
        return answer | {"payload_state": "unreadable"}


def texts_of(context: Context, entries: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """`text_of` of many entries that may be read, by index; without those that have no text."""
    known = reader.texts(context.engine, context.log_keys, entries)
    return {
        one["index"]: {"payload": known[one["index"]], "payload_state": "shown", "erased": None}
        if one["index"] in known
        else text_of(context, one, may_read=True)
        for one in entries
        if one.get("payload") is not None
    }
