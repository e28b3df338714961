"""What is wrong with a policy, in words that a person can act on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where (`line` 0 = the whole file, or not a file), what, and how to mend it."""

    file: str
    line: int
    message: str
    hint: str = ""

    @property
    def place(self) -> str:
        """`policy.csv:31`, or the origin alone where there is no line (`grant 12`)."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f" - {self.hint}" if self.hint else "")


class PolicyError(Exception):
    """A policy that must not come into force. `problems` holds everything found, in file order, never empty."""

    def __init__(self, problems: tuple[Finding, ...]) -> None:
        count = len(problems)
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"the policy is refused, {count} problem{'s' * (count != 1)}:\n{listed}")
        self.problems = problems
