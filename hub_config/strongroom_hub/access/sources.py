"""What a workspace is assumed to know of a dataset version: the widest of all the views it has read."""

from __future__ import annotations

from sqlmodel import Session

from strongroom_hub.access.viewing import widened
from strongroom_hub.control.context import Context
from strongroom_hub.derived.lineage import Seen
from strongroom_hub.projects.models import Source, Workspace


def with_source(
    session: Session, context: Context, workspace: Workspace, sources: list[Source], seen: Seen, *, entry: int
) -> list[Source]:
    """Widen what the workspace has seen of this version; a column once seen in clear, or a row, stays so.

    `sources`: all it had read before, by dataset and version; returns all that it has read then.
    """
    assert workspace.id is not None  # noqa: S101 - a stored row has its key
    known = {(one.dataset, one.version): one for one in sources}
    place = seen.dataset, seen.version
    source = known.get(place)
    if source is None:
        known[place] = source = Source(
            workspace=workspace.id,
            dataset=seen.dataset,
            version=seen.version,
            label=seen.label,
            columns=list(seen.columns),
            masks=dict(seen.masks),
            rows=None if seen.rows is None else list(seen.rows),
            subject=seen.subject,
            since=context.clock(),
            entry=entry,
        )
    else:
        source.masks = _weakest_masks(source, seen)
        source.columns = source.columns + [column for column in seen.columns if column not in source.columns]
        source.rows = widened(source.rows, seen.rows)
        source.subject = source.subject or seen.subject
    session.add(source)
    return [known[one] for one in sorted(known)]


def _weakest_masks(source: Source, seen: Seen) -> dict[str, str]:
    kept = {
        column: mask
        for column, mask in source.masks.items()
        if column not in seen.columns or seen.masks.get(column) == mask
    }
    fresh = {column: mask for column, mask in seen.masks.items() if column not in source.columns}
    return kept | fresh
