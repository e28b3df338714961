"""An S3-compatible store: bytes by name, put, fetched and removed. Whoever fetches checks what came: nobody else does.

`obstore` speaks to it and is loaded only where one is set. Of its errors no word is passed on: they quote addresses
and answers.
"""

from __future__ import annotations

import configparser
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from strongroom_hub.problems import Problem
from strongroom_hub.vault.keyfiles import CREDENTIALS_VARIABLE

if TYPE_CHECKING:
    from obstore.store import ObjectStore

ATTEMPTS = 3
PIECE = 4 << 20
"""Bytes of one piece of what is fetched, at least, but for the last."""
_SENT, _SENT_AT_A_TIME = 8 << 20, 4
"""Bytes of one piece of what is put, and how many pieces of an object are under way."""
_MAX_CREDENTIALS = 16 << 10
_STATUS = re.compile(r"status code: ([0-9]{3})")


class S3Settings(BaseModel):
    """Where the bucket is. `credentials`: a file as of AWS's tools, or `credential:NAME` (systemd), read each time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    credentials: Annotated[str, Field(pattern=r"^(credential:[A-Za-z0-9._-]+|/.+)$")]
    endpoint: Annotated[str, Field(pattern=r"^https://[^/?#@]+$|^http://(127\.0\.0\.1|\[::1\])(:[0-9]+)?$")] | None = (
        None
    )
    """https; plain http only on the machine itself. None: that of AWS."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")] = "strongroom"
    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "us-east-1"
    path_style: bool = True
    ca_file: Path | None = None
    timeout: Annotated[float, Field(gt=0, le=60)] = 10.0
    """Seconds of silence after which a call is given up."""
    deadline: Annotated[float, Field(gt=0, le=3600)] = 300.0
    """Seconds that one call, or the fetching of one object, may take."""
    cache: Annotated[int, Field(ge=1, le=1 << 30, strict=True)] = 10240
    """MiB of local copies of encrypted parts."""


class MissingError(Exception):
    """The store holds no object of this name."""


class Objects:
    """The objects of one place. All calls raise Problem: `object-store-away` (503), `object-store` (500)."""

    def __init__(self, place: Callable[[], ObjectStore], *, what: str) -> None:
        """`place` gives the store to speak to, at each call; `what` names it to people."""
        self._place = place
        self._what = what

    def put(self, name: str, source: IO[bytes]) -> None:
        """All that can still be read of `source`; whole or not at all."""
        import obstore  # noqa: PLC0415 - 16 MB that a folder does not need

        try:
            with self._told():
                obstore.put(self._place(), name, source, chunk_size=_SENT, max_concurrency=_SENT_AT_A_TIME)
        except MissingError:
            raise _unusable(f"{self._what}: there is no place of this name.") from None

    def pieces(self, name: str) -> Iterator[memoryview]:
        """The content as it comes. Raises MissingError as well."""
        import obstore  # noqa: PLC0415 - as above

        with self._told():
            for piece in obstore.get(self._place(), name).stream(min_chunk_size=PIECE):
                yield memoryview(piece)

    def remove(self, name: str) -> None:
        """Harmless where there is none."""
        import obstore  # noqa: PLC0415 - as above

        try:
            with self._told():
                obstore.delete(self._place(), name)
        except MissingError:
            return

    def names(self) -> Iterator[str]:
        """Of every object of this place."""
        import obstore  # noqa: PLC0415 - as above

        with self._told():
            for some in obstore.list(self._place()):
                yield from (str(one["path"]) for one in some)

    @contextmanager
    def _told(self) -> Iterator[None]:
        from obstore import exceptions  # noqa: PLC0415 - as above

        try:
            yield
        except (exceptions.BaseError, FileNotFoundError) as error:
            words = str(error)
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in words:
                raise MissingError from None
            raise self._problem(words) from None

    def _problem(self, words: str) -> Problem:
        """What the library's words mean, by what they hold: calls of the same kind end in errors of several kinds."""
        found = _STATUS.search(words)
        status = "" if found is None else found[1]
        if "NoSuchBucket" in words:
            return _unusable(f"{self._what}: there is no such bucket.")
        if status in {"401", "403"}:
            return _unusable(f"{self._what}: it refuses the credentials, or they do not allow the call.")
        if status:
            return away(self._what, f"it answered {status}")
        if "certificate" in words.lower():
            return away(self._what, "no CA that store.s3.ca_file or this machine knows vouches for it under this name")
        return away(self._what, "it does not answer, or stopped in the middle")


def s3(settings: S3Settings) -> Objects:
    """The objects below the prefix of a bucket. Raises Problem where credentials or CA cannot be used."""
    place = _Bucket(settings)
    place()
    return Objects(place, what=f"bucket {settings.bucket!r} at {settings.endpoint or 'AWS'}")


class _Bucket:
    """Made anew where the credentials have changed, so that an agent may renew them."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._known: tuple[dict[str, str], ObjectStore] | None = None

    def __call__(self) -> ObjectStore:
        credentials = read_credentials(self._settings.credentials)
        with self._lock:
            if self._known is None or self._known[0] != credentials:
                self._known = credentials, self._make(credentials)
            return self._known[1]

    def _make(self, credentials: dict[str, str]) -> ObjectStore:
        from obstore.store import S3Store  # noqa: PLC0415 - as above

        asked = self._settings
        client: dict[str, Any] = {
            "allow_http": asked.endpoint is not None and asked.endpoint.startswith("http:"),
            "connect_timeout": timedelta(seconds=asked.timeout),
            "read_timeout": timedelta(seconds=asked.timeout),
            "timeout": timedelta(seconds=asked.deadline),
        }
        if asked.ca_file is not None:
            try:
                client["root_certificate"] = asked.ca_file.read_bytes()
            except OSError as error:
                raise _unusable(f"store.s3.ca_file: {asked.ca_file} cannot be read ({error.strerror}).") from error
        config: dict[str, Any] = {
            "region": asked.region,
            "virtual_hosted_style_request": not asked.path_style,
            "disable_bulk_delete": True,  # not all that call themselves compatible know it
            **credentials,
        }
        if asked.endpoint is not None:
            config["endpoint"] = asked.endpoint
        try:
            with _without_environment():
                return S3Store(
                    asked.bucket,
                    prefix=asked.prefix,
                    config=config,  # type: ignore[arg-type] # TypedDicts, filled step by step
                    client_options=client,  # type: ignore[arg-type]
                    retry_config={
                        "max_retries": ATTEMPTS - 1,
                        "retry_timeout": timedelta(seconds=asked.deadline),
                        "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=2)},
                    },
                )
        except Exception as error:  # noqa: BLE001 - of many kinds, and their words may quote what they were given
            raise _unusable(f"The settings of store.s3 fit no store ({type(error).__name__}).") from None


@contextmanager
def _without_environment() -> Iterator[None]:
    """The library would take an address, a token or even that nothing is signed from variables: it sees none."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AWS_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def read_credentials(source: str) -> dict[str, str]:
    """What the store is given, by its own names. Raises Problem that names the file and never quotes it."""
    kind, _, name = source.partition(":")
    given = os.environ.get(CREDENTIALS_VARIABLE)
    if kind == "credential" and not given:
        raise _unusable(f"store.s3.credentials: this process was given no systemd credential {name!r}.")
    file = Path(str(given), name) if kind == "credential" else Path(source)
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            text = stream.read(_MAX_CREDENTIALS).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(f"store.s3.credentials: {file} cannot be read.") from error
    if mode & 0o077 and kind != "credential":  # systemd gives its credentials to one unit by their folder
        raise _unusable(f"store.s3.credentials: {file} may be read by others (mode {mode:04o}); chmod 0600 it.")
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
        found = dict(parser["default"])
    except (configparser.Error, KeyError):
        raise _unusable(f"store.s3.credentials: {file} has no section [default].") from None
    for needed in ("aws_access_key_id", "aws_secret_access_key"):
        if not found.get(needed):
            raise _unusable(f"store.s3.credentials: {file} gives no {needed}.")
    wanted = {"aws_access_key_id": "access_key_id", "aws_secret_access_key": "secret_access_key"}
    wanted["aws_session_token"] = "session_token"  # noqa: S105 - a name
    return {theirs: found[ours] for ours, theirs in wanted.items() if found.get(ours)}


def away(what: str, why: str) -> Problem:
    return Problem(
        503,
        "object-store-away",
        "The object store cannot be asked now",
        f"Encrypted parts lie in an object store ({what}), and it gave no usable answer.",
        why=(why,),
        next="Try again in a minute. If it stays so, tell an operator: `strongroom doctor` asks it, too.",
    )


def _unusable(detail: str) -> Problem:
    return Problem(
        500,
        "object-store",
        "The object store cannot be used",
        detail,
        next="Tell an operator: correct [store.s3] in vault.toml, or what it names (docs/operators/object-store.md).",
    )
