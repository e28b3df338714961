"""The matcher as it is read once, beside Casbin's own evaluation of the same text."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from casbin import Model
from casbin.util import SimpleEval
from strongroom_policy.adapter import MODEL
from strongroom_policy.index import Objects
from strongroom_policy.matcher import Matcher, Words, conjuncts


def _expression() -> str:
    model = Model()
    model.load_model_from_text(MODEL)
    return str(model["m"]["m"].value)


def test_each_row_is_judged_as_casbins_own_evaluator_judges_it() -> None:
    words = Words(Objects(()), ())
    matcher = Matcher(words)
    casbins = SimpleEval(_expression().replace("&&", "and"), words.functions())
    who = {"user:a": "", "*": "", "role:r": "user:a", "project:x": "user:a", "clearance:internal": "role:r"}
    choices = (
        ("role:r", "role:other"),  # each field right and wrong, for every combination of them
        ("read|display", "export"),
        ("lab/**", "label:internal", "other/d"),
        ("*", "project:x", "project:y"),
        ("", "2026-02-01T00:00:00.000000Z"),
        ("allow", "deny"),
    )
    verdicts = set()
    for subject, acts, what, purpose, since, effect in itertools.product(*choices):
        row = ["R", subject, acts, what, purpose, since, "", effect, ""]
        for label in ("internal", "secret"):
            asked = (who, "project:x", "lab/d", frozenset({"label:internal"}), label, "read", "2026-01-15")
            names: dict[str, Any] = dict(zip(matcher.tokens, row, strict=True))
            names |= dict(zip(matcher.request["r"].tokens, asked, strict=True))
            expected = casbins.eval(names)
            allowed, matched = matcher.ask(asked, [row])
            assert (matched == [0]) is expected
            assert allowed is (expected and effect == "allow")
            verdicts.add((expected, effect))
    assert len(verdicts) == 4


@pytest.mark.parametrize(
    "expression",
    [
        "isA(who, x) or within(x, y)",
        "isA(who, x) && x == y",
        "isA(who, x) && missing(x)",
        "isA(who, x) && isA(who.keys(), x)",
        "isA(who, name=x)",
        "isA(who, 'text')",
        "not isA(who, x)",
        "True",
    ],
)
def test_a_matcher_of_another_shape_is_refused_and_not_half_read(expression: str) -> None:
    words = {"isA": lambda who, name: name in who, "within": lambda *_: True}
    with pytest.raises(ValueError, match="no conjunction of calls"):
        conjuncts(expression, words)
