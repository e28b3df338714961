"""The language of row filters over one row in plain Python: what polars must agree with."""

from __future__ import annotations

import operator
from datetime import UTC, date, datetime, time

from strongroom_policy.filters import And, Between, Column, Compare, In, Is, IsNull, Not, Or

OPERATORS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
             ">=": operator.ge}  # fmt: skip


class Oracle:
    """The same language over one row in plain Python; None is unknown."""

    def __init__(self, row) -> None:
        self.row = row

    def value(self, operand):
        if isinstance(operand, Column):
            return self.row[operand.name]
        return operand.value

    def test(self, compare, left, right):
        a, b = self.value(left), self.value(right)
        if a is None or b is None:
            return None
        if isinstance(a, date) or isinstance(b, date):
            a, b = (one if isinstance(one, datetime) else datetime.combine(one, time(), tzinfo=UTC) for one in (a, b))
        return compare(a, b)

    def any(self, answers):
        answers = list(answers)
        return True if True in answers else None if None in answers else False

    def inverse(self, answer, negated=True):
        return answer if answer is None or not negated else not answer

    def answer(self, condition):  # noqa: PLR0911 - one a node
        match condition:
            case And(parts):
                return self.inverse(self.any(self.inverse(self.answer(part)) for part in parts))
            case Or(parts):
                return self.any(self.answer(part) for part in parts)
            case Not(part):
                return self.inverse(self.answer(part))
            case Is(operand):
                return self.value(operand)
            case IsNull(operand, negated):
                return (self.value(operand) is None) != negated
            case Compare(name, left, right):
                return self.test(OPERATORS[name], left, right)
            case In(operand, among, negated):
                return self.inverse(self.any(self.test(operator.eq, operand, one) for one in among), negated)
            case Between(operand, low, high, negated):
                ends = [self.test(operator.ge, operand, low), self.test(operator.le, operand, high)]
                return self.inverse(self.inverse(self.any(self.inverse(end) for end in ends)), negated)
