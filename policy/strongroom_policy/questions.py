"""What is a question to the policy, and what is not: checked before anything is decided."""

from __future__ import annotations

from functools import lru_cache

from strongroom_policy.decision import Request
from strongroom_policy.labels import Label
from strongroom_policy.rows import invisible
from strongroom_policy.settings import Settings
from strongroom_policy.vocabulary import SUBJECT, TAG, is_object, resembles, suggest

MAX_GROUPS = 1000
"""Groups of the identity provider in one request: what a decision costs grows with them."""
_REMEMBERED = 8192
"""Subjects and objects whose spelling is remembered; bounded, because anybody may ask about any name."""


class MalformedRequestError(ValueError):
    """A question that makes no sense; the text says which part."""


def checked(request: Request, settings: Settings) -> Request:
    """The request with its label parsed. Raises MalformedRequestError for whatever is not a question."""
    label, tags, groups = Label.parse(request.label), frozenset(request.tags), frozenset(request.groups)
    for problem in (*_who(request.subject, request.purpose, groups), *_what(request.action, request.object, settings)):
        raise MalformedRequestError(problem)
    for tag in tags:
        if tag not in settings.tags and (not TAG.fullmatch(tag) or resembles(tag, settings.tags)):
            raise MalformedRequestError(f"unknown tag {tag!r} - {suggest(tag, settings.tags)}")
    if request.now.utcoffset() is None:
        raise MalformedRequestError("the time has no time zone")
    return Request(request.subject, request.action, request.object, request.purpose, label, tags, request.now, groups)


@lru_cache(maxsize=_REMEMBERED)
def _who(subject: str, purpose: str, groups: frozenset[str]) -> tuple[str, ...]:
    found = []
    if not _named("user", subject):
        found.append(f"the subject {subject!r} is no user")
    if purpose and not _named("project", purpose):
        found.append(f"the purpose {purpose!r} is no project")
    return (*found, *_groups(groups))


@lru_cache(maxsize=256)
def _groups(groups: frozenset[str]) -> tuple[str, ...]:
    """Remembered: somebody in five hundred groups asks often."""
    if len(groups) > MAX_GROUPS:
        return (f"the identity provider tells of more than {MAX_GROUPS} groups",)
    return tuple(f"{group!r} is no group" for group in groups if not _named("group", group))


def _what(action: str, name: str, settings: Settings) -> tuple[str, ...]:
    if action not in settings.actions:
        return (f"unknown action {action!r} - {suggest(action, settings.actions)}",)
    return _object(name)


@lru_cache(maxsize=_REMEMBERED)
def _object(name: str) -> tuple[str, ...]:
    found = () if is_object(name) else (f"{name!r} is no object",)
    return (*found, "the object's name holds an invisible character") if invisible(name) else found


def _named(kind: str, name: str) -> bool:
    found = SUBJECT.fullmatch(name)
    return found is not None and found[1] == kind
