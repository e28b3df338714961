"""Casbin's side of a decision: what the matcher's words mean, and `enforce_ex` over the candidate rows only."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from casbin import Model
from casbin.core_enforcer import CoreEnforcer
from casbin.effect import get_effector
from casbin.model import FunctionMap

from strongroom_policy.adapter import MODEL
from strongroom_policy.index import Objects
from strongroom_policy.labels import Label
from strongroom_policy.rows import Need
from strongroom_policy.vocabulary import ANYONE, UNCLEARED_ACTIONS

_SILENT = logging.Logger("strongroom_policy.casbin")  # noqa: LOG001 - not in the tree: nobody can switch it on
_SILENT.disabled = True


_CLEARANCES = tuple((label, f"clearance:{label}") for label in reversed(Label))
_CLEARED = {label: frozenset(name for held, name in _CLEARANCES if held >= label) for label in Label}
"""By label, the clearances of which one is needed; everybody is cleared for public."""

Conjunct = tuple[Callable[..., bool], tuple[str, ...]]
"""One call of the matcher: the function, and the names of what it is asked about."""


class Words:
    """The functions of the matcher over one snapshot. Instants are canonical texts, patterns as rows have them.

    `who` is the closure of the one who asks: everything that they are.
    """

    def __init__(self, objects: Objects, needs: Sequence[Need]) -> None:
        self._objects = objects
        above: dict[str, list[str]] = {}
        for need in needs:
            above.setdefault(need.action, []).append(need.needs)
        self._needed = {action: _reachable(action, above) for action in above}

    def is_a(self, who: Mapping[str, str], name: str) -> bool:
        return name in who

    def within(self, name: str, tags: frozenset[str], pattern: str) -> bool:
        return pattern in tags or pattern in self._objects.closure(name)

    def act_is(self, action: str, acts: str, effect: str) -> bool:
        """An allow grants exactly what it lists; a deny also denies whatever needs that."""
        listed = acts.split("|")
        return action in listed or (effect == "deny" and self.denies(action, listed))

    def for_purpose(self, who: Mapping[str, str], purpose: str, wanted: str, effect: str) -> bool:
        """Nothing is allowed for a project to somebody outside it; a deny does not ask."""
        if effect == "allow" and purpose and purpose not in who:
            return False
        return wanted in (ANYONE, purpose)

    def in_window(self, now: str, since: str, until: str) -> bool:
        return (not since or since <= now) and (not until or now < until)

    def cleared(self, who: Mapping[str, str], action: str, label: str, effect: str) -> bool:
        if effect == "deny" or action in UNCLEARED_ACTIONS:
            return True
        wanted = Label.parse(label)
        return wanted is Label.PUBLIC or not who.keys().isdisjoint(_CLEARED[wanted])

    def clearance(self, who: Mapping[str, str]) -> Label:
        """The highest clearance; everybody is cleared for public."""
        return next((label for label, name in _CLEARANCES if name in who), Label.PUBLIC)

    def denies(self, action: str, acts: Collection[str]) -> bool:
        """Whether a denial of `acts` denies `action`."""
        return action in acts or not self._needed.get(action, frozenset()).isdisjoint(acts)

    def functions(self) -> dict[str, Any]:
        """By their names in model.conf."""
        return {
            "isA": self.is_a,
            "within": self.within,
            "actIs": self.act_is,
            "forPurpose": self.for_purpose,
            "inWindow": self.in_window,
            "cleared": self.cleared,
        }


class Matcher:
    """Asks Casbin about a few rows. Built once per snapshot; safe to use from several threads."""

    def __init__(self, words: Words) -> None:
        model = Model()
        model.load_model_from_text(MODEL)
        self.tokens: list[str] = model["p"]["p"].tokens
        self.request = model["r"]
        self.matchers = model["m"]
        self.effects = model["e"]
        self.effector = get_effector(model["e"]["e"].value)
        self.functions = FunctionMap()
        for name, function in words.functions().items():
            self.functions.add_function(name, function)
        self._conjuncts = conjuncts(model["m"]["m"].value, words.functions())

    def ask(self, request: Sequence[Any], rows: Sequence[tuple[str, ...]]) -> tuple[bool, list[int]]:
        """Casbin's verdict over `rows` (at least one), and the numbers of those that matched.

        Casbin stops at the first deny that matches; put denies first to be told of it.
        """
        if not rows:
            raise ValueError("Casbin would evaluate its matcher on empty fields and could allow")
        view = _View(self, rows, _Recorder(self._conjuncts))
        allowed, _ = view.enforce_ex(*request)
        return bool(allowed), view.recorder.matched


def conjuncts(expression: str, functions: Mapping[str, Callable[..., bool]]) -> tuple[Conjunct, ...]:
    """The matcher `f(a, b) && g(c)`, read once, in its order. Raises ValueError for whatever is no such conjunction.

    Casbin would walk the parsed expression anew for each row, which is half of what a decision takes.
    """
    tree = ast.parse(expression.replace("&&", "and").strip(), mode="eval").body
    calls = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    found: list[Conjunct] = []
    for call in calls:
        match call:
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in functions:
                names = tuple(each.id for each in args if isinstance(each, ast.Name))
                if len(names) == len(args):
                    found.append((functions[name], names))
                    continue
        raise ValueError(f"the matcher is no conjunction of calls: {ast.unparse(call)}")
    return tuple(found)


class _Recorder:
    """Casbin's expression, remembering which rows matched: `enforce_ex` tells of one at most."""

    def __init__(self, calls: Sequence[Conjunct]) -> None:
        self._calls = calls
        self._row = 0
        self.matched: list[int] = []

    def eval(self, names: Mapping[str, Any]) -> bool:
        row, self._row = self._row, self._row + 1
        for function, wanted in self._calls:
            if not function(*[names[name] for name in wanted]):
                return False
        self.matched.append(row)
        return True


class _View(CoreEnforcer):  # type: ignore[misc]
    """An enforcer that holds the candidate rows of one request and borrows everything else."""

    def __init__(self, matcher: Matcher, rows: Sequence[tuple[str, ...]], recorder: _Recorder) -> None:
        # not CoreEnforcer's own: that one loads, logs and builds role managers; the words answer for roles here
        assertion = SimpleNamespace(tokens=matcher.tokens, policy=rows)
        self.model = {"r": matcher.request, "p": {"p": assertion}, "m": matcher.matchers, "e": matcher.effects}
        self.fm = matcher.functions
        self.eft = matcher.effector
        self.enabled = True
        self.logger = _SILENT
        self.recorder = recorder

    def _get_expression(self, expr: str, functions: object = None) -> _Recorder:  # noqa: ARG002 - parsed already
        return self.recorder


def _reachable(action: str, above: Mapping[str, Sequence[str]]) -> frozenset[str]:
    found: set[str] = set()
    waiting = [action]
    while waiting:
        for high in above.get(waiting.pop(), ()):
            if high not in found:
                found.add(high)
                waiting.append(high)
    return frozenset(found)
