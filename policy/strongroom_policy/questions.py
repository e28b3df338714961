"""What is a question to the policy, and what is not: checked before anything is decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from strongroom_policy.decision import Request
from strongroom_policy.labels import Label
from strongroom_policy.rows import invisible
from strongroom_policy.settings import Settings
from strongroom_policy.vocabulary import SUBJECT, TAG, is_object, resembles, suggest

MAX_GROUPS = 1000
"""Groups of the identity provider in one request: what a decision costs grows with them."""


class MalformedRequestError(ValueError):
    """A question that makes no sense; the text says which part."""


def checked(request: Request, settings: Settings) -> Request:
    """The request with its label parsed. Raises MalformedRequestError for whatever is not a question."""
    for problem in (*_who(request), *_what(request, settings)):
        raise MalformedRequestError(problem)
    return replace(
        request, label=Label.parse(request.label), tags=frozenset(request.tags), groups=frozenset(request.groups)
    )


def _who(request: Request) -> Iterator[str]:
    if not _named("user", request.subject):
        yield f"the subject {request.subject!r} is no user"
    if request.purpose and not _named("project", request.purpose):
        yield f"the purpose {request.purpose!r} is no project"
    yield from _groups(frozenset(request.groups))
    if request.now.utcoffset() is None:
        yield "the time has no time zone"


@lru_cache(maxsize=256)
def _groups(groups: frozenset[str]) -> tuple[str, ...]:
    """Remembered: somebody in five hundred groups asks often."""
    if len(groups) > MAX_GROUPS:
        return (f"the identity provider tells of more than {MAX_GROUPS} groups",)
    return tuple(f"{group!r} is no group" for group in groups if not _named("group", group))


def _what(request: Request, settings: Settings) -> Iterator[str]:
    if request.action not in settings.actions:
        yield f"unknown action {request.action!r} - {suggest(request.action, settings.actions)}"
    if not is_object(request.object):
        yield f"{request.object!r} is no object"
    if invisible(request.object):
        yield "the object's name holds an invisible character"
    for tag in request.tags:
        if tag not in settings.tags and (not TAG.fullmatch(tag) or resembles(tag, settings.tags)):
            yield f"unknown tag {tag!r} - {suggest(tag, settings.tags)}"


def _named(kind: str, name: str) -> bool:
    found = SUBJECT.fullmatch(name)
    return found is not None and found[1] == kind
