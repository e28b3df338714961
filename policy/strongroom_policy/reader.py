"""Understanding rows: each one in full, or refused with a finding. Nothing is skipped, guessed or mended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from strongroom_policy import times
from strongroom_policy.errors import Finding
from strongroom_policy.masks import parse_mask
from strongroom_policy.rows import BUILT_IN, EFFECTS, FIELDS, Duty, Member, Need, Row, Rule, Tagging, Typed, invisible
from strongroom_policy.settings import LABELS_FILE, Settings
from strongroom_policy.values import Value, read_value
from strongroom_policy.vocabulary import (
    ACTIONS,
    ANYONE,
    CLEARANCES,
    KINDS,
    LABEL_OBJECTS,
    MASKS,
    NAMESPACE,
    ROW_ID,
    SUBJECT,
    SYSTEM_OBJECTS,
    TAG,
    WORKSPACE,
    is_data_object,
    is_object,
    objects_of,
    resembles,
    suggest,
    suits,
)


class Reader:
    """Turns rows into typed ones and collects a finding for each thing that is wrong with them."""

    def __init__(self, settings: Settings, masks: Collection[str] = MASKS) -> None:
        """`masks`: the methods that the enforcement point carries out."""
        self.findings: list[Finding] = []
        self._settings = settings
        self._masks = masks
        self._tidy: dict[str, frozenset[str]] = {}
        """Lists of actions that are in order: most rows say one of a few."""

    def read(self, rows: Iterable[Row]) -> list[Typed]:
        """Every row that could be understood in full; what was wrong with the others stands in `findings`."""
        return [typed for row in rows if (typed := self._row(row)) is not None]

    def report(self, row: Row, message: str, hint: str = "") -> None:
        self.findings.append(Finding(row.origin, row.line, message, hint))

    def _row(self, row: Row) -> Typed | None:
        before = len(self.findings)
        names = FIELDS.get(row.ptype)
        if names is None:
            self.report(row, f"unknown kind of row {row.ptype!r}", suggest(row.ptype, FIELDS))
            return None
        self._arity(row, names)
        self._characters(row)
        if len(self.findings) > before:
            return None
        understand: dict[str, Callable[[Row], Typed]] = {
            "p": self._rule, "p2": self._duty, "g": self._member, "g2": self._tagging, "g3": self._need,
        }  # fmt: skip
        typed = understand[row.ptype](row)
        return typed if len(self.findings) == before else None

    def _arity(self, row: Row, names: tuple[str, ...]) -> None:
        count = len(row.fields)
        if count == len(names) or (row.ptype == "g" and count == 2):  # noqa: PLR2004 - a membership without a window
            return
        hint = f"they are: {', '.join(names)}; leave one empty, but keep its comma"
        if row.ptype == "g":
            hint = "write who, belongs to - or all four: who, belongs to, since, until (either date may be empty)"
        self.report(row, f"a {row.ptype} row has {len(names)} fields after its first, this one has {count}", hint)

    def _characters(self, row: Row) -> None:
        for name, field in zip(FIELDS[row.ptype], row.fields, strict=False):
            bad = invisible(field)
            if bad:
                self.report(row, f"{name} holds the invisible character {bad}", "retype the field")

    def _rule(self, row: Row) -> Rule:
        row_id, who, acts, what, purpose, since, until, effect, why = row.fields
        actions = self._actions(row, acts)
        if effect not in EFFECTS:
            self.report(row, f"effect {effect!r} is neither allow nor deny", suggest(effect, EFFECTS))
        self._fits(row, actions, what)
        start, end = self._window(row, since, until)
        return Rule(
            self._id(row, row_id), self._subject(row, who), actions, self._pattern(row, what),
            self._purpose(row, purpose), why, row, start, end, effect == "allow",
        )  # fmt: skip

    def _duty(self, row: Row) -> Duty:
        row_id, who, acts, what, purpose, kind, text, unless, why = row.fields
        value: Value = ""
        actions = self._actions(row, acts)
        if kind not in self._settings.obligations:
            self._unknown(row, "unknown obligation", kind, self._settings.obligations, KINDS)
        else:
            self._fits(row, actions, what)
            if actions != {KINDS[kind]}:
                self.report(row, f"{kind} is tied to {KINDS[kind]}, not to {acts!r}", f"write {KINDS[kind]} there")
            value = self._value(row, kind, text)
        if unless:
            self._subject(row, unless, "unless")
        if unless == ANYONE:
            self.report(row, "an obligation that exempts everybody binds nobody", "remove the row")
        return Duty(
            self._id(row, row_id), self._subject(row, who), actions, self._pattern(row, what),
            self._purpose(row, purpose), why, row, kind, value, unless,
        )  # fmt: skip

    def _member(self, row: Row) -> Member:
        who, of, since, until = (*row.fields, "", "")[:4]
        for name, word in (("who", who), ("belongs to", of)):
            self._subject(row, word, name, anyone=False)
        if of.startswith("user:"):
            self.report(
                row, f"{of} is a user; nobody can belong to a user", "write a role, project, group or clearance"
            )
        if who.startswith("clearance:") and row.origin != BUILT_IN:
            self.report(row, "clearances are ordered already: a higher one includes the lower ones", "remove the row")
        if who == of:
            self.report(row, f"{who} would belong to itself")
        start, end = self._window(row, since, until)
        return Member(who, of, start, end, row)

    def _tagging(self, row: Row) -> Tagging:
        what, tag = row.fields
        if not (is_data_object(what) or NAMESPACE.fullmatch(what)):
            self.report(row, f"{what!r} cannot carry a tag", "write ns/dataset, ns/dataset#column or ns/**")
        self._tag(row, tag)
        return Tagging(what, tag, row)

    def _need(self, row: Row) -> Need:
        for word in row.fields:
            if word not in ACTIONS:
                self.report(row, f"unknown action {word!r}", suggest(word, ACTIONS))
        action, needs = row.fields
        return Need(action, needs, row)

    def _unknown(
        self, row: Row, what: str, word: str, allowed: Collection[str], all_there_are: Collection[str]
    ) -> None:
        if word in all_there_are:
            used = what.replace("unknown ", "")
            self.report(row, f"{used} {word!r} is not used in this installation", f"{LABELS_FILE} does not name it")
        else:
            self.report(row, f"{what} {word!r}", suggest(word, allowed))

    def _id(self, row: Row, word: str) -> str:
        if not ROW_ID.fullmatch(word):
            self.report(row, f"{word!r} is no row id", "letters, digits, dot, dash, underscore; for example R7")
        return word

    def _subject(self, row: Row, word: str, name: str = "who", *, anyone: bool = True) -> str:
        if word == ANYONE and anyone:
            return word
        found = SUBJECT.fullmatch(word)
        if found is None:
            kinds = ("user:", "role:", "project:", "group:", "clearance:")
            prefix = word.partition(":")[0] + ":"
            close = resembles(prefix, kinds)
            hint = f"did you mean {close}{word.partition(':')[2]}?" if close else f"write {', '.join(kinds)}... "
            self.report(row, f"{name}: {word!r} is no subject", hint.strip())
        elif found[1] == "clearance" and word not in self._settings.clearances and row.origin != BUILT_IN:
            self._unknown(row, f"{name}: unknown clearance", word, self._settings.clearances, CLEARANCES)
        return word

    def _actions(self, row: Row, text: str) -> frozenset[str]:
        known = self._tidy.get(text)
        if known is not None:
            return known
        before = len(self.findings)
        words = [word.strip() for word in text.split("|")]
        for word in words:
            if word not in self._settings.actions:
                self._unknown(row, "unknown action", word, self._settings.actions, ACTIONS)
        if len(set(words)) < len(words) or text != "|".join(words):
            self.report(row, f"actions {text!r} are not tidy", "name each once, divided by | without blanks")
        actions = frozenset(words)
        if len(self.findings) == before:
            self._tidy[text] = actions
        return actions

    def _pattern(self, row: Row, word: str) -> str:
        if word == ANYONE or is_object(word) or NAMESPACE.fullmatch(word):
            return word
        if word.startswith("label:"):
            if word not in LABEL_OBJECTS:
                self.report(row, f"unknown label {word!r}", suggest(word, LABEL_OBJECTS))
        elif word.startswith("tag:"):
            self._tag(row, word)
        elif "*" in word:
            self.report(row, f"{word!r}: a wildcard stands only at the end, as in ns/**", "name the dataset or the tag")
        else:
            known = (*SYSTEM_OBJECTS, WORKSPACE)
            close = resembles(word, known)
            hint = (
                f"did you mean {close!r}?"
                if close
                else "write ns/dataset, ns/dataset#column, ns/**, tag:..., label:..., profile:..."
            )
            self.report(row, f"{word!r} is no object", hint)
        return word

    def _tag(self, row: Row, word: str) -> None:
        problem = "" if TAG.fullmatch(word) else f"{word!r} is no tag"
        hint = "write tag:name"
        tags = self._settings.tags
        if not problem and word not in tags:
            close = resembles(word, tags)
            # descriptive tags of the catalogue may be anything, but a misspelt one would silently lose its protection
            if close or row.line:
                problem, hint = f"unknown tag {word!r}", suggest(word, tags)
        if problem:
            self.report(row, problem, hint)

    def _purpose(self, row: Row, word: str) -> str:
        found = SUBJECT.fullmatch(word)
        if word != ANYONE and (found is None or found[1] != "project"):
            self.report(row, f"purpose {word!r} is neither a project nor *", "write project:NAME, or * for any")
        return word

    def _fits(self, row: Row, actions: frozenset[str], what: str) -> None:
        if what == ANYONE:
            return
        for action in sorted(actions & ACTIONS.keys()):
            if not suits(action, what):
                self.report(row, f"{action} on {what} means nothing", f"{action} goes with {objects_of(action)}")

    def _window(self, row: Row, since: str, until: str) -> tuple[str, str]:
        start = self._instant(row, since, end=False)
        end = self._instant(row, until, end=True)
        if start and end and start >= end:
            self.report(row, f"the window from {since} until {until} is empty", "are the two dates exchanged?")
        return start, end

    def _instant(self, row: Row, text: str, *, end: bool) -> str:
        try:
            return times.parse(text, end=end) if text else ""
        except ValueError as error:
            self.report(row, str(error))
            return ""

    def _value(self, row: Row, kind: str, text: str) -> Value:
        try:
            value = read_value(kind, text)
        except ValueError as error:
            self.report(row, str(error))
            return ""
        if kind == "mask" and parse_mask(text).method not in self._masks:
            # loaded, its column would go out as it is
            self.report(
                row,
                f"the vault of this installation cannot mask by {parse_mask(text).method}",
                f"it knows {', '.join(self._masks)}; null hides the column until it can",
            )
        return value
