"""Requests for access and exports that code prepares: a person submits them in Lab, because code is not a person."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom import _wire

DAYS = 90
_PANELS = {"access-request": "Datasets", "export": "Exports"}


@dataclass(frozen=True, slots=True, repr=False)
class Draft:
    """Something that was prepared and not sent. It waits in the panel of the left sidebar until you submit it there.

    `kind` is "access-request" or "export", `told` what it asks for, in words.
    """

    id: str
    kind: str
    told: str

    @property
    def next(self) -> str:
        """What to do with it."""
        return f"Read it, change it, and submit or discard it in the {_PANELS[self.kind]} panel of the left sidebar."

    def __repr__(self) -> str:
        return f"Prepared, not sent: {self.told}.\n{self.next}"

    def _repr_html_(self) -> str:
        return f"<b>Prepared, not sent:</b> {html.escape(self.told)}.<br>{html.escape(self.next)}"


def access(dataset: str, columns: list[str] | None, purpose: str, days: int, used: list[str]) -> Draft:
    """A draft of an access request. Raises StrongroomError."""
    answer = _wire.asked("request", dataset=dataset, columns=columns, purpose=purpose, days=days, used=used)
    what = "all columns" if columns is None else f"{len(columns)} column{'' if len(columns) == 1 else 's'}"
    return Draft(str(answer.get("draft", "")), "access-request", f"access to {dataset}, {what}, for {days} days")


def export(paths: list[str], justification: str) -> Draft:
    """A draft of an export of files in the work folder. Raises StrongroomError."""
    answer = _wire.asked("export", paths=paths, justification=justification)
    return Draft(str(answer.get("draft", "")), "export", f"an export of {', '.join(paths)}")


def work() -> Path:
    """The work folder, wherever the notebook has changed to."""
    return Path(os.environ.get("HOME", "/box")) / "work"


def below_work(path: Any) -> str:
    """The name of a file as the airlock knows it: relative to the work folder. Raises ValueError."""
    folder = work().resolve()
    found = Path(path).expanduser()
    try:
        return str(found.resolve().relative_to(folder))
    except ValueError:
        raise ValueError(f"{path} is not in the work folder: what is to leave has to be in ~/work first") from None


def newest_files(limit: int = 50) -> list[str]:
    """The files of the work folder that were written last, newest first."""
    folder = work()
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    kept = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    kept.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [str(path.relative_to(folder)) for path in kept[:limit]]
