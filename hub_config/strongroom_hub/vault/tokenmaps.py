"""The token maps: which token stands for which value in a project, for ever.

`tokens/PROJECT/` (a hash of the project's name) holds `key.json`, the map's wrapped key, and of each domain (texts,
whole numbers) a sealed head that lists sealed segments: Arrow tables of `digest` (HMAC of the value under a key of the
project) and `token`. No value lies here: a token is turned back by looking for its value in a dataset.

A segment is durable before the head that names it, and the head before anybody is told a token of it. So whatever
view left the vault, its tokens are in the map, and a process that ends at any point leaves the map as it was before or
as it is after. Rows lie in the order of their digests: nothing says which value was seen first.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import io
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import polars_hash as plh

from strongroom_hub.problems import Problem
from strongroom_hub.vault import stream
from strongroom_hub.vault import wrapped as wrapped_keys
from strongroom_hub.vault.durable import FRESH, replace_durably, sync_folder
from strongroom_hub.vault.keys import Keys, KeyUse, WrappedKey, derive, new_key
from strongroom_hub.vault.tokens import Domain, Drawing

_KEY, _LOCK, _HEAD, _TOKENS = "key.json", "lock", ".head", ".tokens"
_DIGITS = 32
"""Of a digest, in hex: 128 bits."""
_EMPTY = pl.DataFrame(schema={"digest": pl.String, "token": pl.String})


@dataclass(frozen=True, slots=True)
class Place:
    """One project's map, for whoever reads or extends it."""

    folder: Path
    key: bytes

    def as_json(self) -> dict[str, str]:
        return {"folder": str(self.folder), "key": base64.b64encode(self.key).decode()}

    @classmethod
    def from_json(cls, raw: dict[str, str]) -> Place:
        return cls(Path(raw["folder"]), base64.b64decode(raw["key"]))

    def write(self, name: str, content: bytes) -> None:
        """Put a sealed file in place, whole or not at all. Raises OSError."""
        sealed = io.BytesIO()
        stream.seal(io.BytesIO(content), sealed, self._key(name), self._bound(name))
        replace_durably(self.folder / name, sealed.getvalue())

    def read(self, name: str) -> bytes:
        """What was sealed under this name. Raises Problem."""
        try:
            with (self.folder / name).open("rb") as file:
                return b"".join(stream.Sealed(file.fileno(), self._key(name), self._bound(name)))
        except (OSError, stream.NotSealedError) as error:
            raise damaged(name) from error

    def _key(self, name: str) -> bytes:
        return derive(self.key, f"tokens:{name}")

    def _bound(self, name: str) -> bytes:
        return f"tokens/{self.folder.name}/{name}".encode()


class TokenMaps:
    """Where the maps of all projects lie, and their keys. What is in them only workers look at."""

    def __init__(self, root: Path, keys: Keys) -> None:
        self._root = root
        self._keys = keys

    def of(self, project: str) -> Place:
        """A project's map, begun where there is none. Raises Problem."""
        folder = self._root / hashlib.sha256(project.encode()).hexdigest()[:32]
        file = folder / _KEY
        try:
            if not file.exists():
                self._begin(folder)
            wrapped = wrapped_keys.read_one(file)
        except (OSError, ValueError) as error:
            raise damaged(_KEY) from error
        return Place(folder, self._keys.unwrap(wrapped, _use(folder)))

    def _begin(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(self._root)
        with _locked(folder, fcntl.LOCK_EX):
            if (folder / _KEY).exists():
                return
            if any(folder.glob(f"*{_TOKENS}")):
                raise damaged(_KEY)  # a new key would give every value another token
            place = Place(folder, new_key())
            for domain in Domain:
                place.write(f"{domain}{_HEAD}", b"[]")
            wrapped = self._keys.wrap(place.key, _use(folder))
            replace_durably(folder / _KEY, json.dumps(wrapped.as_json()).encode())

    def keks(self) -> Counter[str]:
        """How many maps' keys each generation of the master key wraps. Raises Problem."""
        return Counter(self._read(file).kek for file in self._files())

    def rewrap(self, keys: Keys, current: str, only: tuple[str, int] | None = None) -> int:
        """Exchange the wrapping of all maps' keys; how many. Raises Problem."""
        if only is not None:
            return 0
        exchanged = 0
        for file in self._files():
            with _locked(file.parent, fcntl.LOCK_EX):
                self._read(file)
                exchanged += wrapped_keys.rewrap_one(keys, current, _use(file.parent), file)
        return exchanged

    def sweep(self) -> None:
        """Remove what a killed vault left half-written; to be called before the first request."""
        for file in self._root.glob(f"*/*{FRESH}"):
            file.unlink()

    def _files(self) -> list[Path]:
        return sorted(self._root.glob(f"*/{_KEY}"))

    @staticmethod
    def _read(file: Path) -> WrappedKey:
        try:
            return wrapped_keys.read_one(file)
        except (OSError, ValueError) as error:
            raise damaged(_KEY) from error


@dataclass(frozen=True, slots=True)
class _Segment:
    name: str
    rows: int


class TokenMap:
    """One domain of one project's map, as a worker uses it."""

    def __init__(self, place: Place, project_key: str, domain: Domain) -> None:
        """`project_key`: what all pseudonyms of the project are keyed with, as hex text."""
        self._place = place
        self._domain = domain
        purpose = f"token/{domain}".encode()
        self._draw_key = derive(place.key, f"draw:{domain}")
        self._digest_key = hmac.new(project_key.encode(), purpose, hashlib.sha256).hexdigest()

    def tokens(self, values: pl.Series) -> pl.Series:
        """The tokens of these texts, of which no two are equal and none is missing, in their order.

        What had none gets one, and the map is durable before this answers. Raises Problem, OSError.
        """
        wanted = pl.DataFrame({"digest": self._digests(values), "value": values})
        with self._map(fcntl.LOCK_SH) as (_, known):
            found = _join(wanted, known)
        if found["token"].null_count():
            with self._map(fcntl.LOCK_EX) as (segments, known):
                found = _join(wanted, known)  # another reader may have been first
                new = found.filter(pl.col("token").is_null())
                if new.height:
                    drawn = Drawing(self._domain, known["token"], self._draw_key).draw(new["value"].to_list())
                    more = new.select("digest", token=pl.Series(drawn, dtype=pl.String))
                    self._append(segments, more)
                    found = _join(wanted, pl.concat([known, more]))
        return found["token"]

    def values_of(self, tokens: Sequence[str], values: pl.LazyFrame) -> dict[str, str]:
        """Those of these tokens that stand for one of `values` (texts, in a column `value`), each with it.

        Raises Problem.
        """
        with self._map(fcntl.LOCK_SH) as (_, known):
            given = known.filter(pl.col("token").is_in(list(tokens)))
        found = values.with_columns(self._digest().alias("digest")).join(given.lazy(), on="digest", how="semi")
        pairs = found.unique().collect().join(given, on="digest").select("token", "value")
        return {str(token): str(value) for token, value in pairs.iter_rows()}

    def _digests(self, values: pl.Series) -> pl.Series:
        return values.alias("value").to_frame().select(self._digest())["value"]

    def _digest(self) -> pl.Expr:
        """How the texts of a column `value` are known to the map."""
        hashed: pl.Expr = plh.col("value").chash.hmac_sha256(key=self._digest_key)
        return hashed.str.slice(0, _DIGITS)

    @contextmanager
    def _map(self, how: int) -> Iterator[tuple[list[_Segment], pl.DataFrame]]:
        with _locked(self._place.folder, how):
            segments = self._segments()
            tables = [self._open(segment) for segment in segments]
            yield segments, pl.concat([_EMPTY, *tables])

    def _append(self, segments: list[_Segment], more: pl.DataFrame) -> None:
        """Add rows; segments that are not much larger than what is added become one with it, so that few remain."""
        kept = list(segments)
        tables = [more]
        while kept and kept[-1].rows <= 2 * sum(table.height for table in tables):
            tables.append(self._open(kept.pop()))
        table = pl.concat(tables).sort("digest")
        segment = _Segment(f"{self._domain}-{secrets.token_hex(16)}{_TOKENS}", table.height)
        listed = [*kept, segment]
        self._sweep(segments)
        content = io.BytesIO()
        table.write_ipc(content)
        self._place.write(segment.name, content.getvalue())
        self._place.write(self._head, json.dumps([[one.name, one.rows] for one in listed]).encode())
        self._sweep(listed)

    def _sweep(self, listed: list[_Segment]) -> None:
        """Remove segments that the head does not name: merged ones, and what a killed worker left."""
        names = {one.name for one in listed}
        for file in self._place.folder.glob(f"{self._domain}-*{_TOKENS}"):
            if file.name not in names:
                file.unlink()

    @property
    def _head(self) -> str:
        return f"{self._domain}{_HEAD}"

    def _segments(self) -> list[_Segment]:
        return [_Segment(str(name), int(rows)) for name, rows in json.loads(self._place.read(self._head))]

    def _open(self, segment: _Segment) -> pl.DataFrame:
        table = pl.read_ipc(io.BytesIO(self._place.read(segment.name)))
        if table.height != segment.rows or table.schema != _EMPTY.schema:
            raise damaged(segment.name)
        return table


def _join(wanted: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    return wanted.join(known, on="digest", how="left", maintain_order="left")


def _use(folder: Path) -> KeyUse:
    return KeyUse(("tokens", folder.name))


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Readers together, or one writer alone; a process that dies lets go of it."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def damaged(name: str) -> Problem:
    return Problem(
        500,
        "token-map-damaged",
        "A token map cannot be trusted",
        f"{name} of a project's token map is missing, changed or unreadable.",
        why=("with another map the same values would get other tokens",),
        next="Tell an operator: restore the vault's folder `tokens` from the newest backup.",
    )
