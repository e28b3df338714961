"""How a dataset is named: `namespace/name`, with `@3` for a version or `@latest` for the newest."""

from __future__ import annotations

LATEST = "latest"


def parse(name: object, version: int | None = None) -> tuple[str, int | None]:
    """Name and version (None: the newest) of what a person wrote. Raises TypeError or ValueError in their words."""
    if not isinstance(name, str):
        raise TypeError('the name of a dataset is a text such as "health/randhie"; strongroom.catalog() lists them')
    dataset, at, wanted = name.strip().partition("@")
    if not at:
        return dataset, version
    if wanted == LATEST:
        found = None
    elif wanted.isdecimal() and int(wanted) > 0:
        found = int(wanted)
    else:
        raise ValueError(f'after @ comes the number of a version or "latest", as in "{dataset}@3", not "{wanted}"')
    if version is not None and version != found:
        raise ValueError(f'"{name}" and version={version} say two things: leave one of them out')
    return dataset, found


def spelt(name: str, version: int) -> str:
    """The name that opens exactly this version again."""
    return f"{name}@{version}"
