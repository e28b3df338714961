"""Which columns this kernel's code used of each dataset: a hint for access requests, so that they ask for no more.

Used are the columns that were asked for (`columns=`, `dataset["age"]`, `dataset.age`) and those whose names stand in
the cells run so far, in code, formulas or SQL. Whoever decides on access treats this as what it is: code's own word.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

_WORD = re.compile(r"\w+(?:[.-]\w+)*")
_touched: dict[str, set[str]] = {}
_known: dict[str, tuple[str, ...]] = {}
_told: dict[str, set[str]] = {}
_words: set[str] = set()
_looked_at = 0


def opened(dataset: str, columns: Iterable[str]) -> None:
    """Note that a dataset with these columns was opened."""
    _known[dataset] = tuple(columns)


def touch(dataset: str, columns: Iterable[str]) -> None:
    """Note that these columns were asked for by name."""
    _touched.setdefault(dataset, set()).update(columns)


def of(dataset: str, known: Iterable[str] | None = None) -> list[str]:
    """The columns of `dataset` that code used, in the dataset's order; `known`: all its columns, if not opened here."""
    columns = tuple(known) if known is not None else _known.get(dataset, ())
    named = _named() if columns else set()
    return [column for column in columns if column in _touched.get(dataset, ()) or column in named]


def fresh() -> dict[str, list[str]]:
    """What was used of the datasets opened here and not been told yet; from here on it counts as told."""
    found = {}
    for dataset in _known:
        used = of(dataset)
        if set(used) - _told.get(dataset, set()):
            found[dataset] = used
            _told[dataset] = set(used)
    return found


def watch(tell: Callable[[str, list[str]], None]) -> None:
    """After each cell, tell what was newly used; nothing outside IPython."""
    shell = _shell()
    if shell is None:
        return

    def after_cell(_result: Any = None) -> None:
        for dataset, used in fresh().items():
            tell(dataset, used)

    shell.events.register("post_run_cell", after_cell)


def _named() -> set[str]:
    """Every word in the cells run so far. Words of comments count too: this is a hint, not a proof."""
    global _looked_at  # noqa: PLW0603 - cells are looked at once
    shell = _shell()
    cells = shell.history_manager.input_hist_parsed if shell is not None else ()
    for cell in cells[_looked_at:]:
        for word in _WORD.findall(cell):
            _words.update((word, *re.split("[.-]", word)))
    _looked_at = len(cells)
    return _words


def _shell() -> Any:
    """The IPython shell that this runs in; None elsewhere. Does not import IPython."""
    module = sys.modules.get("IPython")
    return None if module is None else module.get_ipython()
