"""The life of an export request, what may be asked for, and what approvals are worth. Pure.

Votes are bound to what was judged: each file's name and hash, the policy and the rules of the automatic checks. When
one of them changes, the votes count no more.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from strongroom_policy.labels import Label

from strongroom_hub.problems import Problem


class ExportState(StrEnum):
    DRAFT = "draft"
    IN_REVIEW = "in_review"
    BLOCKED = "blocked"
    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"
    RELEASED = "released"


class Step(StrEnum):
    """What moves an export."""

    PASS = "pass"  # noqa: S105 - the checks found nothing that blocks
    BLOCK = "block"
    APPROVE = "approve"
    REJECT = "reject"
    RETURN = "return"
    WITHDRAW = "withdraw"
    VOID = "void"
    RELEASE = "release"


class Verdict(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    CHANGES = "changes"


TRANSITIONS: Mapping[ExportState, Mapping[Step, ExportState]] = {
    ExportState.DRAFT: {
        Step.PASS: ExportState.IN_REVIEW,
        Step.BLOCK: ExportState.BLOCKED,
        Step.WITHDRAW: ExportState.WITHDRAWN,
    },
    ExportState.IN_REVIEW: {
        Step.APPROVE: ExportState.APPROVED,
        Step.REJECT: ExportState.REJECTED,
        Step.RETURN: ExportState.RETURNED,
        Step.WITHDRAW: ExportState.WITHDRAWN,
    },
    ExportState.BLOCKED: {Step.WITHDRAW: ExportState.WITHDRAWN},
    ExportState.APPROVED: {
        Step.RELEASE: ExportState.RELEASED,
        Step.VOID: ExportState.IN_REVIEW,
        Step.WITHDRAW: ExportState.WITHDRAWN,
    },
    ExportState.REJECTED: {},
    ExportState.RETURNED: {Step.WITHDRAW: ExportState.WITHDRAWN},
    ExportState.WITHDRAWN: {},
    ExportState.RELEASED: {},
}
TURN = {
    ExportState.DRAFT: "requester",
    ExportState.IN_REVIEW: "steward",
    ExportState.BLOCKED: "requester",
    ExportState.APPROVED: "requester",
    ExportState.REJECTED: "nobody",
    ExportState.RETURNED: "requester",
    ExportState.WITHDRAWN: "nobody",
    ExportState.RELEASED: "nobody",
}
DOWNLOADABLE = frozenset({ExportState.APPROVED, ExportState.RELEASED})
REVIEWABLE = frozenset(ExportState) - {ExportState.DRAFT}
"""What reviewers can see: all that was ever submitted."""
OPENED = frozenset({ExportState.IN_REVIEW, ExportState.APPROVED, ExportState.RELEASED})
"""Whose files reviewers can open: stewards read no data, and a file that was blocked or taken back may be raw rows."""

MAX_FILES = 20
MAX_CELLS = 500
MAX_NAME = 120
MAX_FILE_BYTES = 100 << 20
MAX_OVERLAP = 0.05
TYPES = ("csv", "tsv", "parquet", "png", "txt", "md", "json")
SECRET_REVIEWERS = 2
_SEPARATORS = frozenset("/\\:")


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What the automatic checks go by; `min_count` comes from the policy."""

    min_count: int
    types: tuple[str, ...] = TYPES
    max_bytes: int = MAX_FILE_BYTES
    max_overlap: float = MAX_OVERLAP

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "types": list(self.types)}

    @property
    def digest(self) -> str:
        return _digest(self.as_json())


@dataclass(frozen=True, slots=True)
class WantedFile:
    name: str
    bytes: int
    sha256: str


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def binding(files: Iterable[tuple[int, str, str]], policy_digest: str, rule_set: str, review: int) -> str:
    """What a vote is bound to: (index, name, sha256) of each file, the policy's digest, the checks' rules, the review.

    Votes that were voided stay void when the policy is put back: the next `review` asks everybody anew.
    """
    return _digest({"files": sorted(files), "policy": policy_digest, "rules": rule_set, "review": review})


def next_state(state: ExportState, step: Step) -> ExportState:
    """Raises Problem 409 when the step cannot be taken from there."""
    following = TRANSITIONS[state].get(step)
    if following is None:
        raise Problem(
            409,
            "wrong-state",
            "This export is past that, or not there yet",
            f"It is {state.replace('_', ' ')}; {step} is not possible now.",
            next="Look at the export's present state; a new request can always be made.",
        )
    return following


def can_step(state: ExportState, step: Step) -> bool:
    try:
        next_state(state, step)
    except Problem:
        return False
    return True


def check_request(justification: str, files: list[WantedFile]) -> None:
    """Raises Problem 422 naming the first thing that is wrong."""
    if not justification.strip():
        raise _refused("no justification is given")
    if not 1 <= len(files) <= MAX_FILES:
        raise _refused(f"an export has 1 to {MAX_FILES} files, this one {len(files)}")
    for file in files:
        check_file_name(file.name)
        if file.bytes > MAX_FILE_BYTES:
            raise _refused(f"{file.name} has {file.bytes:,} bytes; at most {MAX_FILE_BYTES:,} can leave in a file")
    folded = [unicodedata.normalize("NFC", file.name).casefold() for file in files]
    if len(set(folded)) != len(folded) or {"manifest.json", "manifest.json.sig"} & set(folded):
        raise _refused("two files have the same name, or one is named as the release's own manifest")


def check_file_name(name: str) -> None:
    """Names carry text out as well: short, visible, one path segment. Raises Problem 422 (without the name)."""
    if not 1 <= len(name) <= MAX_NAME:
        raise _refused(f"a file name has 1 to {MAX_NAME} characters, this one {len(name)}")
    if not name.isprintable():
        raise _refused("a file name holds control, invisible or direction-changing characters")
    if _SEPARATORS & set(name) or name in {".", ".."} or name != name.strip() or name.startswith("."):
        raise _refused("a file name holds a path separator, begins with a dot or ends in a blank")


def check_not_requester(requester: str, reviewer: str) -> None:
    """Raises Problem 403: nobody decides on an export of their own."""
    if requester == reviewer:
        raise Problem(
            403,
            "own-request",
            "This is your own export",
            "Nobody decides on a request that they made themselves.",
            next="Another reviewer has to decide.",
        )


def check_shown(state: ExportState) -> None:
    """Raises Problem 409 unless reviewers may open the files."""
    if state not in OPENED:
        raise Problem(
            409,
            "not-under-review",
            "These files are not under review",
            f"The export is {state.replace('_', ' ')}; reviewers see files that are up for a decision or have left.",
            next="The findings of the automatic checks say what is wrong with them.",
        )


def reviewers_needed(review: int, label: str) -> int:
    """The policy's number, at least one, and at least two for secret."""
    least = SECRET_REVIEWERS if Label.parse(label) is Label.SECRET else 1
    return max(review, least)


def step_for(verdict: Verdict, approvals: int, needed: int) -> Step | None:
    """What a vote leads to; `approvals` counts the valid ones with this one. None: more votes are needed."""
    if verdict is Verdict.REJECT:
        return Step.REJECT
    if verdict is Verdict.CHANGES:
        return Step.RETURN
    return Step.APPROVE if approvals >= needed else None


def check_rule_set(staged: str, now: str) -> None:
    """Raises Problem 409 when the checks' rules changed since the files were checked."""
    if staged != now:
        raise Problem(
            409,
            "checks-outdated",
            "The rules of the automatic checks have changed",
            "The files were checked by other rules than those in force now, so no decision on them holds.",
            next="The requester makes a new request: the files are then checked again.",
        )


def approvals_void(held: int, needed: int) -> Problem:
    return Problem(
        409,
        "approvals-void",
        "The approvals no longer hold",
        f"{held} of {needed} approvals are for these files under the policy in force; the export goes back to review.",
        why=("an approval is bound to the files, the policy and the rules it was given for",),
        next="Wait until the reviewers have voted again.",
    )


def unknown_export() -> Problem:
    """The same for an export that never was and for one that is not the caller's business."""
    return Problem(
        404,
        "unknown-export",
        "No such export",
        "There is no export of that id for you.",
        next="Look at the list of exports, or in the audit log, where an export's entries have the object export:ID.",
    )


def not_downloadable(state: ExportState) -> Problem:
    return Problem(
        409,
        "not-approved",
        "This export is not approved",
        f"It is {state.replace('_', ' ')}; only approved files leave.",
        next="Wait for the review." if state is ExportState.IN_REVIEW else "Make a new request.",
    )


def _refused(why: str) -> Problem:
    return Problem(
        422,
        "invalid-export",
        "This cannot be exported so",
        "No request was made.",
        why=(why,),
        next="Correct what is named above and ask again.",
    )
