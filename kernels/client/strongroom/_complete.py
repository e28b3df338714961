"""Tab completion of dataset and column names inside `strongroom.open("...")` and its sisters, in IPython."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

from strongroom import _wire
from strongroom._errors import StrongroomError

KEPT = 60.0
"""Seconds for which the names of datasets count as known: each Tab asks nobody."""
_VERBS = r"\b(?:open|request|catalog\(\)\[|save)\s*\(?\s*"
_NAME = re.compile(rf"""{_VERBS}(?:f|r)?["']([^"'\s]*)$""")
_COLUMN = re.compile(
    r"""\b(?:open|request)\s*\(\s*["']([^"'@\s]+)[^"']*["'][^()]*\bcolumns\s*=\s*\[[^\]]*["']([^"']*)$"""
)
_LOOKED_AT = 2000
"""Characters before the cursor."""
_known: list[dict[str, Any]] = []
_asked_at = float("-inf")


def matches(before: str) -> tuple[str, list[str]] | None:
    """What is being typed at the end of `before`, and the names it may become; None where it is no name of ours."""
    column = _COLUMN.search(before)
    if column is not None:
        dataset, typed = column.groups()
        names = [str(one.get("name")) for one in _datasets() if one.get("name") == dataset for one in one["columns"]]
    else:
        found = _NAME.search(before)
        if found is None:
            return None
        typed = found[1]
        names = [str(one.get("name")) for one in _datasets()]
    return typed, sorted(name for name in names if name.startswith(typed))


def _datasets() -> list[dict[str, Any]]:
    global _known, _asked_at  # noqa: PLW0603 - one kernel, one cache
    if time.monotonic() - _asked_at > KEPT:
        _asked_at = time.monotonic()
        try:
            _known = list(_wire.asked("catalog").get("datasets") or [])
        except StrongroomError:
            _known = []  # a completion that cannot be had is none
    return _known


def install() -> None:
    """Add the matcher to the IPython that runs here, once; nothing outside IPython."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    if shell is None:
        return
    from IPython.core.completer import SimpleCompletion, context_matcher  # noqa: PLC0415 - it is there already

    @context_matcher(identifier="strongroom.names")  # type: ignore[untyped-decorator]
    def strongroom_names(context: Any) -> dict[str, Any]:
        lines = context.full_text.split("\n")[: context.cursor_line]
        found = matches("\n".join([*lines, context.text_until_cursor])[-_LOOKED_AT:])
        if found is None:
            return {"completions": [], "suppress": False}
        typed, names = found
        completions = [SimpleCompletion(text=name, type="dataset") for name in names]
        return {"completions": completions, "suppress": bool(names), "matched_fragment": typed}

    custom = shell.Completer.custom_matchers
    if not any(getattr(one, "matcher_identifier", "") == "strongroom.names" for one in custom):
        custom.append(strongroom_names)
