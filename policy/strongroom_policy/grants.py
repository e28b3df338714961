"""A grant of the database as rows of the policy, so that Casbin decides on grants and files alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from strongroom_policy import times
from strongroom_policy.masks import parse_mask
from strongroom_policy.rows import Row
from strongroom_policy.vocabulary import DATASET, MASKS, is_column

DERIVED_ACTIONS = ("discover", "read", "display", "export")
ACTIONS = ("read", "display", "export")
"""What a grant allows, column by column: a grant on one column does not even let another be shown."""


def rows_for_grant(
    *,
    grant: str | int,
    user: str,
    project: str,
    dataset: str,
    columns: Sequence[str],
    masks: Mapping[str, str],
    since: datetime,
    until: datetime,
    request: str | int,
    actions: Iterable[str] = ACTIONS,
) -> list[Row]:
    """The rows of one active grant: `grant-ID` to discover the dataset, `grant-ID-cN` per column, `-mN` per mask.

    `user` and `project` are bare names. The grant holds from `since` (inclusive) to `until` (exclusive), to the
    microsecond, and in that project only. Raises ValueError for what cannot be a grant.
    """
    if not columns or len(set(columns)) < len(columns) or not all(is_column(column) for column in columns):
        raise ValueError("a grant names at least one column, each once, by its name")
    if not DATASET.fullmatch(dataset):
        raise ValueError(f"{dataset!r} is no dataset")
    if not masks.keys() <= set(columns):
        raise ValueError("masks are for granted columns")
    for text in masks.values():
        if parse_mask(text).method not in MASKS:
            raise ValueError(f"{text!r} is none of the masks that are carried out: {', '.join(MASKS)}")
    if since >= until:
        raise ValueError("a grant ends after it begins")
    name, origin, why = f"grant-{grant}", f"grant {grant}", f"request {request}"
    who, purpose = f"user:{user}", f"project:{project}"
    window = (times.canonical(since), times.canonical(until))

    def allow(row_id: str, acts: str, what: str) -> Row:
        return Row("p", (row_id, who, acts, what, purpose, *window, "allow", why), origin)

    acts = "|".join(actions)
    rows = [allow(name, "discover", dataset)]
    for number, column in enumerate(columns, start=1):
        rows.append(allow(f"{name}-c{number}", acts, f"{dataset}#{column}"))
        if column in masks:
            duty = (f"{name}-m{number}", who, "read", f"{dataset}#{column}", purpose, "mask", masks[column], "", why)
            rows.append(Row("p2", duty, origin))
    return rows


def rows_for_derived(*, dataset: str, project: str, user: str) -> Row:
    """The row by which a dataset that a project saved is open to that project, for work in it and nowhere else.

    Its sources have to be readable as well, which no row can say: control asks for them at each reading.
    """
    name = f"derived-{dataset.replace('/', '.')}"
    subject = f"project:{project}"
    why = f"saved by {user} in {subject}"
    fields = (name, subject, "|".join(DERIVED_ACTIONS), dataset, subject, "", "", "allow", why)
    return Row("p", fields, f"dataset {dataset}")
