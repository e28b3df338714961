"""What the commands on policies share: folders, what is known besides the files, and ends in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from strongroom_policy import times
from strongroom_policy.catalogue import Column, Dataset
from strongroom_policy.engine import Sources, parse_sources, prove, prove_with_grants
from strongroom_policy.errors import Finding, PolicyError
from strongroom_policy.filter_types import Kind
from strongroom_policy.labels import Label
from strongroom_policy.rows import Row

from strongroom_hub.config import Instance
from strongroom_hub.internal import ControlClient, listens
from strongroom_hub.problems import Problem

FOUND = 1
"""Exit code: something is wrong, would change, or is refused."""
USAGE = 2
"""Exit code: the question itself is not understood."""

Folder = Annotated[Path | None, typer.Argument(help="Policy folder; without it, that of this installation.")]
Directory = Annotated[Path | None, typer.Option("--dir", help="Policy folder; without it, that of this installation.")]
AsJson = Annotated[
    bool, typer.Option("--json", callback=lambda value: _speak(as_json=value), help="One JSON object instead of lines.")
]
Project = Annotated[str, typer.Option(help="The project they work in.")]
At = Annotated[str, typer.Option(help="A date, or date and time with zone; now if left out.")]


_SPEAKS_JSON = ContextVar("_SPEAKS_JSON", default=False)


def _speak(*, as_json: bool) -> bool:
    """For `usage`, which is called from where nobody hands options on."""
    _SPEAKS_JSON.set(as_json)
    return as_json


@dataclass(frozen=True, slots=True)
class Known:
    """What the control service knows besides the files; `service` no: none was asked, the files are all there is."""

    service: bool = False
    users: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """With their groups of the identity provider."""
    projects: tuple[str, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    grants: tuple[Row, ...] = ()

    @classmethod
    def ask(cls) -> Known:
        """From this installation's control service, if it runs and this user may speak with it. Raises Problem."""
        try:
            instance = Instance.load()
        except (OSError, ValueError):
            return cls()
        if not listens(instance.control_socket):
            return cls()
        try:
            return cls._read(_client(instance).call("GET", "policy/known"))
        except PermissionError:
            return cls()  # an admin who is no operator

    @classmethod
    def _read(cls, told: Any) -> Known:
        datasets = [
            Dataset(
                one["name"],
                Label.parse(one["label"]),
                {name: Column(Kind(c["kind"]), frozenset(c["tags"])) for name, c in one["columns"].items()},
            )
            for one in told["datasets"]
        ]
        grants = [Row(one["ptype"], tuple(one["fields"]), one["origin"]) for one in told["grants"]]
        users = {user: frozenset(told["groups"].get(user, ())) for user in told["users"]}
        return cls(True, users, tuple(told["projects"]), tuple(datasets), tuple(grants))

    def prove(self, sources: Sources, now: datetime, *, as_json: bool) -> tuple[Finding, ...]:
        """As the control service does before files come into force; guards that grants broke before are returned.

        Raises PolicyError.
        """
        prove(sources, now, users=self.users, projects=self.projects, datasets=self.datasets)
        return prove_with_grants(
            sources,
            self.grants,
            now,
            before=lambda: in_force(as_json=as_json),
            users=self.users,
            projects=self.projects,
            datasets=self.datasets,
        )

    @property
    def note(self) -> str:
        """What people should know about an answer."""
        if self.service:
            return "(with the accounts, projects, datasets and grants of this installation)"
        return "(from the files alone: no control service was asked, so accounts, datasets and grants are not known)"


def call(method: str, path: str, body: dict[str, Any] | None = None, *, as_json: bool) -> Any:
    """The control service's answer to the operator. A refusal ends the command with its words, exit code 1."""
    try:
        instance = Instance.load()
    except PermissionError as error:
        usage(f"{error.filename} cannot be read by this user")
    except (OSError, ValueError) as error:
        usage(str(error))
    try:
        return _client(instance).call(method, path, body)
    except PermissionError as error:
        usage(f"{error.filename} cannot be read by this user: only an operator speaks with the control service")
    except Problem as problem:
        if as_json:
            print_json({"ok": False, **problem.as_json()})
        else:
            for line in problem.lines():
                typer.echo(line, err=True)
    raise typer.Exit(FOUND)


def in_force(*, as_json: bool) -> Sources | None:
    """The files of the policy that came into force last; None where none ever did."""
    versions = call("GET", "policy/versions", as_json=as_json)["versions"]
    return version_of(versions[0]["number"], as_json=as_json) if versions else None


def version_of(number: int | str, *, as_json: bool) -> Sources:
    """The files of a version of the history. Raises PolicyError."""
    files = call("GET", f"policy/versions/{number}", as_json=as_json)["files"]
    return parse_sources({one["name"]: one["text"].encode() for one in files})


def _client(instance: Instance) -> ControlClient:
    return ControlClient(instance.control_socket, instance.operator_token_file)


def folder_of(given: Path | None) -> Path:
    if given is not None:
        return given
    try:
        return Instance.load().policy_dir
    except (OSError, ValueError) as error:
        usage(f"no policy folder given, and {error}")


def moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(times.parse(text)) if text else datetime.now(UTC)
    except ValueError as error:
        usage(str(error))


def prefixed(prefix: str, name: str) -> str:
    return name if name.startswith(prefix) else prefix + name


@contextmanager
def refusals(*, as_json: bool) -> Iterator[None]:
    """A policy that is refused in the block ends the command: every problem with its place, exit code 1."""
    try:
        yield
    except PolicyError as error:
        refused(error, as_json=as_json)


def refused(error: PolicyError, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"ok": False, "problems": findings(error.problems)})
    else:
        for problem in error.problems:
            typer.echo(f"{problem.place}: {problem.message}", err=True)
            if problem.hint:
                typer.echo(f"    {problem.hint}", err=True)
        typer.echo(f"refused: {len(error.problems)} problem(s); a policy in force stays as it is", err=True)
    raise typer.Exit(FOUND)


def usage(text: str) -> NoReturn:
    """What was asked is no question: the words, as JSON where the command was given `--json`; exit code 2."""
    if _SPEAKS_JSON.get():
        print_json({"ok": False, "title": "This is no question", "detail": text})
    else:
        typer.echo(text, err=True)
    raise typer.Exit(USAGE)


def findings(found: Iterable[Finding]) -> list[dict[str, object]]:
    return [{"file": one.file, "line": one.line, "message": one.message, "hint": one.hint} for one in found]


def print_json(value: object) -> None:
    typer.echo(json.dumps(value))
