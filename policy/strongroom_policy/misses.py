"""Rules that nearly granted a request, and what they lacked: the first question of everyone who is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from strongroom_policy import times
from strongroom_policy.decision import Request
from strongroom_policy.labels import Label
from strongroom_policy.matcher import Words
from strongroom_policy.rows import Rule
from strongroom_policy.vocabulary import UNCLEARED_ACTIONS

_TOLD = 3
_FAR = 2


def near_misses(request: Request, who: Mapping[str, str], rules: Iterable[Rule], words: Words) -> tuple[str, ...]:
    """Sentences, the nearest first, about at most three of `rules` (all of them about the object).

    `who`: the closure of the subject. What was granted to other users in person is not told.
    """
    now = times.canonical(request.now)
    notes = list(_not_cleared(request, words.clearance(who)))
    ranked: list[tuple[int, str]] = []
    for rule in rules:
        if not rule.allows or (rule.subject.startswith("user:") and rule.subject != request.subject):
            continue
        if not words.act_is(request.action, rule.acts, "allow"):
            continue
        lacks = _lacks(request, now, who, rule, words)
        if len(lacks) <= _FAR:
            ranked.append((len(lacks), f"{rule.name} would, but {' and '.join(lacks)}"))
    ranked.sort(key=lambda pair: pair[0])
    return (*notes, *(sentence for _, sentence in ranked[:_TOLD]))


def _not_cleared(request: Request, clearance: Label) -> Iterable[str]:
    label = Label.parse(request.label)
    if request.action not in UNCLEARED_ACTIONS and clearance < label:
        yield (
            f"the label {label} needs a clearance: {request.subject} is cleared up to {clearance}, "
            "so no rule can grant this"
        )


def _lacks(request: Request, now: str, who: Mapping[str, str], rule: Rule, words: Words) -> list[str]:
    label = Label.parse(request.label)
    lacks = []
    if not words.is_a(who, rule.subject):
        lacks.append(f"it is for {rule.subject}, which {request.subject} is not")
    if not words.for_purpose(who, request.purpose, rule.purpose, "allow"):
        lacks.append(_purpose(request, who, rule))
    if not words.in_window(now, rule.since, rule.until):
        lacks.append(f"it holds{rule.window}, and now is {times.readable(now)}")
    if not words.cleared(who, request.action, label, "allow"):
        lacks.append(f"the data is {label} and {request.subject} holds no such clearance")
    return lacks


def _purpose(request: Request, who: Mapping[str, str], rule: Rule) -> str:
    if request.purpose and request.purpose not in who:
        return f"{request.subject} is not a member of {request.purpose}"
    return f"it holds for {rule.purpose} only" + ("" if request.purpose else ", and no project was given")
