"""How far a long reading is: a bar in a notebook, a line elsewhere; nothing where it takes less than a second.

What is shown is output, so it is written rarely, and not at all where this workspace may show nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from strongroom import _wire
from strongroom._errors import StrongroomError

AFTER, EVERY = 1.0, 2.0
"""Seconds before anything is shown, and between two changes of it."""
_STEPS = 1000


class _Shown(Protocol):
    def tell(self, share: float | None, text: str) -> None:
        """`share`: from 0 to 1; None where nobody knows how much there is."""
        ...

    def end(self, text: str, *, whole: bool) -> None: ...


class Progress:
    """Rows of one reading, as they come. `of`: how many there are, where that is known."""

    def __init__(self, name: str, of: int | None, *, shown: bool) -> None:
        self._name = name
        self._of = of
        self._wanted = shown
        self._rows = 0
        self._began = self._last = time.monotonic()
        self._shown: _Shown | None = None

    def add(self, rows: int) -> None:
        """So many more rows are here."""
        self._rows += rows
        now = time.monotonic()
        if not self._wanted or now - self._began < AFTER or (self._shown is not None and now - self._last < EVERY):
            return
        self._last = now
        self._shown = self._shown or _begin(self._name)
        if self._shown is None:
            self._wanted = False
            return
        share = None if not self._of else min(1.0, self._rows / self._of)
        self._shown.tell(share, self._text(now))

    def close(self, *, whole: bool) -> None:
        """It is over; `whole`: all of it was read."""
        if self._shown is not None:
            self._shown.end(self._text(time.monotonic()), whole=whole)

    def _text(self, now: float) -> str:
        done = f"{self._rows:,}" if not self._of else f"{self._rows:,} of {self._of:,}"
        return f"{done} rows, {self._rows / max(now - self._began, 0.001):,.0f} a second"


@contextmanager
def waiting(name: str, *, shown: bool) -> Iterator[None]:
    """Say that something is being read meanwhile, if it takes longer. How far it is only the vault knows."""
    began, turn = time.monotonic(), threading.Lock()
    bar: list[_Shown] = []
    over = False

    def begin() -> None:
        with turn:
            if not over and (made := _begin(name)) is not None:
                made.tell(None, "the vault is reading and masking")
                bar.append(made)

    timer = threading.Timer(AFTER, begin)
    timer.daemon = True
    if shown:
        timer.start()
    whole = False
    try:
        yield
        whole = True
    finally:
        timer.cancel()
        with turn:
            over = True
        for one in bar:
            one.end(f"answered after {time.monotonic() - began:,.0f} seconds", whole=whole)


def _begin(name: str) -> _Shown | None:
    """What fits here; None where nothing may be shown: each try would be a notice that something was withheld.

    A bar costs some 6 KB of output, so where that is counted it is a line.
    """
    try:
        display = _wire.asked("budget").get("display") or {}
    except StrongroomError:
        return None
    if display.get("allowed") is not True:
        return None
    return (_widget(name) if display.get("cell_bytes") is None else None) or _Line(name)


def _widget(name: str) -> _Shown | None:
    """A bar, where a page can show one."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    try:
        return _Bar(name)
    except ImportError:
        return None


class _Bar:
    """An ipywidgets bar with its words beside it, for eyes and screen readers."""

    def __init__(self, name: str) -> None:
        """Raises ImportError without ipywidgets."""
        import ipywidgets  # noqa: PLC0415 - only where it is wanted
        from IPython.display import display  # noqa: PLC0415

        self._name = name
        self._bar = ipywidgets.IntProgress(value=0, min=0, max=_STEPS, layout=ipywidgets.Layout(width="240px"))
        self._words = ipywidgets.Label()
        self._bar.tooltip = f"How much of {name} is read"
        display(ipywidgets.HBox([self._bar, self._words]))  # type: ignore[no-untyped-call]

    def tell(self, share: float | None, text: str) -> None:
        if share is None:
            self._bar.bar_style = "info"
        self._bar.value = int((share or 0) * _STEPS)
        self._words.value = f"{self._name}: {text}"

    def end(self, text: str, *, whole: bool) -> None:
        self._bar.bar_style = "success" if whole else "warning"
        if whole:
            self._bar.value = _STEPS
        self._words.value = f"{self._name}: {text}{'' if whole else ', not to the end'}"


class _Line:
    """One line on the error stream."""

    def __init__(self, name: str) -> None:
        self._name = name

    def tell(self, share: float | None, text: str) -> None:
        drawn = "" if share is None else f"[{'#' * int(20 * share):<20}] {share:.0%} "
        print(f"\r{self._name}: {drawn}{text}", end="", file=sys.stderr, flush=True)  # noqa: T201 - a person watches

    def end(self, text: str, *, whole: bool) -> None:
        print(f"\r{self._name}: {text}{'' if whole else ', not to the end'}", file=sys.stderr, flush=True)  # noqa: T201
