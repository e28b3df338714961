"""Reading through the vault against plain polars on plain Parquet in this process: same rows, columns and masks.

Ours: ticket verified, parts checked, 13 encrypted columns of 4e6 rows decrypted in a fresh worker, filtered, masked,
written to a memory file, handed over a socket, mapped, and made a polars frame. Plain: `scan_parquet`, the same
expressions, `collect`. Then, on both sides, a value in every page of the frame is read: until then ours is not mapped.
In turn; medians, and of paired ratios. What a round leaves is let go of before the next one is timed, as
the vault does beside its work, and all spare workers have started: nobody reads twice within half a second. Then: a
second kernel on the same view, a tiny table, and the memory of eight kernels that hold one view. With an object store
(`--settings vault.toml`) all of that is read from local copies, and once without any.

Figures on a busy machine are worth little: both sides are slowed, but not alike.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import resource
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import polars as pl
import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from strongroom import _wire
from strongroom_hub.config import Instance
from strongroom_hub.control.tickets import ReadView, TicketSigner
from strongroom_hub.vault import setup, sockets
from strongroom_hub.vault.dataserver import DataServer
from strongroom_hub.vault.holding import InObjects
from strongroom_hub.vault.manifest import digest
from strongroom_hub.vault.masks import Keys, masked
from strongroom_hub.vault.service import Vault
from strongroom_hub.vault.tickets import IngestTicket, View

ROWS = 4_000_000
TINY_ROWS = 1_000
MASKS: dict[str, dict[str, Any]] = {
    "age": {"method": "generalise", "width": "5"},
    "zip": {"method": "prefix", "characters": 3},
    "admitted": {"method": "date", "unit": "month"},
    "weight": {"method": "round", "decimals": 0},
}
FILTER = "region in ('R1', 'R2', 'R3', 'R4', 'R5', 'R6', 'R7')"
KERNELS = 8
DECAY = 1.0
"""Seconds after which polars' allocator has given back what was let go of: that takes a processor from the next one."""


def people(rows: int) -> pl.DataFrame:
    """The same made-up people each time."""
    seeds = itertools.count(1)

    def drawn(below: int) -> pl.Expr:
        return (pl.col("row").hash(next(seeds)) % below).cast(pl.Int64)

    return (
        pl.select(row=pl.int_range(rows))
        .select(
            person="P" + drawn(10**8).cast(pl.String),
            region="R" + drawn(10).cast(pl.String),
            zip=(10_000 + drawn(89_999)).cast(pl.String),
            age=drawn(100),
            admitted=pl.date(2015, 1, 1) + pl.duration(days=drawn(3650)),
            weight=(40 + drawn(8000) / 100),
            **{f"lab{number}": drawn(10**5) / 10**4 for number in range(4)},
            **{f"code{number}": drawn(1000) for number in range(3)},
        )
        .with_columns(pl.col("admitted").cast(pl.Date))
    )


@dataclass
class Bench:
    """A vault in this process behind its real socket, and somebody who signs as control does."""

    instance: Instance
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    active: dict[str, str] = field(default_factory=dict)
    entries: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    kernels: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.instance.public_dir / "control.pub.pem").write_bytes(public)
        self.instance.save()
        setup.create(self.instance)
        self.vault = Vault(self.instance, started=time.time() - 5)
        self.signer = TicketSigner(self.key, lambda: datetime.now(UTC))

    def publish(self, name: str, frame: pl.DataFrame) -> float:
        """Takes a table in; MB of Arrow data per second."""
        claims = {"act": "ingest", "dataset": name, "version": 1, "format": "parquet", "label": "confidential"}
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            frame.write_parquet(file.name)
            content = Path(file.name).read_bytes()
        start = time.perf_counter()
        with self.vault.uploads.of(name, 1) as upload:
            writer = upload.writer()
            for at in range(0, len(content), 1 << 22):
                writer.write(content[at : at + (1 << 22)])
            writer.finish()
            draft = self.vault.ingest(IngestTicket.model_validate({**claims, "plan": {}}), upload)
        seconds = time.perf_counter() - start
        signed = {"iss": "strongroom:control", "aud": "strongroom:vault", "act": "manifest", "iat": time.time()}
        jws = jwt.encode({**signed, "manifest": draft.manifest}, self.key, algorithm="EdDSA")
        self.vault.store.publish(name, 1, jws)
        self.active[name] = digest(jws)
        return float(frame.estimated_size("mb")) / seconds

    def ticket(self, name: str, columns: list[str], *, user: str = "ada", **what: Any) -> str:
        return self.signer.read(
            ReadView(
                user=user,
                project="cardio",
                kernel=f"k{next(self.kernels)}",
                uid=None,
                dataset=name,
                version=1,
                manifest=self.active[name],
                label="confidential",
                columns=tuple(columns),
                masks=what.get("masks", {}),
                rows=what.get("rows"),
                max_bytes=4 << 30,
                entry=next(self.entries),
            )
        )


def fetch(ticket: str) -> tuple[int, pl.DataFrame]:
    """As the kernel's client does: a mapped table as a frame."""
    answer, descriptor = _wire.fetch(ticket)
    if descriptor is None:
        raise RuntimeError(str(answer))
    with pa.memory_map(f"/proc/self/fd/{descriptor}") as source, pa.ipc.open_file(source) as reader:
        table = reader.read_all()
    return descriptor, pl.DataFrame(pl.from_arrow(table))


def timed(what: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came of it: letting go of it takes time, too, for which nobody waits."""
    start = time.perf_counter()
    found = what()
    return time.perf_counter() - start, found


def processor(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def measured(bench: Bench, what: Callable[[], pl.DataFrame]) -> tuple[float, float]:
    """Seconds on the clock and of processor; of the worker what it used for its job, not for its start."""
    bench.vault.reader.close()  # nothing is kept of the round before
    wait_for_spare(bench)
    spare = bench.vault.workers._spares[0].process.pid  # noqa: SLF001 - the one that will do it
    fields = Path(f"/proc/{spare}/stat").read_text().rsplit(")", 1)[1].split()
    started = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    own, ended = processor(resource.RUSAGE_SELF), processor(resource.RUSAGE_CHILDREN)
    seconds, frame = timed(what)
    own = processor(resource.RUSAGE_SELF) - own
    assert frame.height > 0
    del frame
    time.sleep(DECAY)
    wait_for_spare(bench)  # the worker has ended
    ended = processor(resource.RUSAGE_CHILDREN) - ended
    return seconds, own + (ended - started if ended else 0.0)


def touched(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame, a value of each page of it read: 256 rows take no more than a page in any of its columns."""
    frame.gather_every(256)
    return frame


def shared_bytes() -> int:
    """Bytes of memory files in the whole system (`Shmem`), which is what views are made of."""
    with Path("/proc/meminfo").open() as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Shmem:"))


def wait_for_spare(bench: Bench) -> None:
    """A quiet moment between two readings, as between those of people: spares have started, and what nobody holds any
    more is let go of (the vault looks every two seconds).
    """
    bench.vault.workers.wait_ready()
    bench.vault.shelf.entries()


def large(bench: Bench, plain: Path, rounds: int) -> None:
    columns = list(people(1).columns)
    view = View.model_validate(
        {"dataset": "bench/people", "version": 1, "manifest": "0" * 64, "label": "secret", "columns": columns,
         "masks": MASKS, "rows": [FILTER], "project": "cardio"}
    )  # fmt: skip
    users = itertools.count()

    def ours() -> pl.DataFrame:
        descriptor, frame = fetch(
            bench.ticket("bench/people", columns, user=f"u{next(users)}", masks=MASKS, rows=(FILTER,))
        )
        os.close(descriptor)
        return touched(frame)

    def theirs() -> pl.DataFrame:
        scan = pl.scan_parquet(plain)
        regions = [f"R{number}" for number in range(1, 8)]
        expressions = masked(columns, view.masks, scan.collect_schema(), keys=Keys(), caps={})
        return touched(scan.filter(pl.col("region").is_in(regions)).with_columns(expressions).select(columns).collect())

    pairs = []
    for number in range(rounds + 1):
        found = {side: measured(bench, side) for side in ((ours, theirs) if number % 2 else (theirs, ours))}
        if number:  # the first warms file caches
            pairs.append((found[ours], found[theirs]))
    print("4e6 rows x 13 columns, filtered and masked:")
    for place, what in enumerate(("on the clock", "of processor")):
        ratio = statistics.median(one[place] / other[place] for one, other in pairs)
        one, other = (statistics.median(found[place] for found in side) for side in zip(*pairs, strict=True))
        print(f"  {one:.2f} s {what}, plain {other:.2f} s, ratio {ratio:.2f}")

    if isinstance(bench.vault.store.holding, InObjects):
        fetched = 0
        for copy in bench.vault.store.root.rglob("*.parquet"):
            fetched += copy.stat().st_size
            copy.unlink()
        print(f"the same with {fetched >> 20} MiB to be fetched first: {measured(bench, ours)[0]:.2f} s on the clock")

    def mapped() -> pl.DataFrame:
        descriptor, frame = fetch(bench.ticket("bench/people", columns, masks=MASKS, rows=(FILTER,)))
        os.close(descriptor)
        return frame

    wait_for_spare(bench)
    first = timed(lambda: touched(mapped()))[0]
    framed, read = (
        statistics.median(timed(again)[0] for _ in range(5)) for again in (mapped, lambda: touched(mapped()))
    )
    print(
        f"second kernel on the same view: {framed / first:.3f} of the first, {read / first:.3f} with every page touched"
    )

    before = shared_bytes()
    held = [fetch(bench.ticket("bench/people", columns, masks=MASKS, rows=(FILTER,))) for _ in range(KERNELS)]
    size = os.fstat(held[0][0]).st_size
    copies = (shared_bytes() - before) / size + 1
    print(f"{KERNELS} kernels on one view of {size >> 20} MiB: {copies:.2f} copies in memory")
    for descriptor, _ in held:
        os.close(descriptor)


def tiny(bench: Bench, rounds: int) -> None:
    columns = list(people(1).columns)
    for said, rows in (("a new view each time", True), ("the same view again", False)):
        times = []
        for number in range(rounds):
            what = {"rows": (f"age > -{number + 1}",)} if rows else {}
            wait_for_spare(bench)
            seconds, (descriptor, _) = timed(lambda what=what: fetch(bench.ticket("bench/tiny", columns, **what)))
            times.append(seconds)
            os.close(descriptor)
        times.sort()
        p50, p95 = (1000 * times[int(len(times) * share)] for share in (0.5, 0.95))
        print(f"{TINY_ROWS} rows, {said}: p50 {p50:.1f} ms, p95 {p95:.1f} ms")


@contextmanager
def serving(bench: Bench) -> Iterator[None]:
    listener = sockets.listen(bench.instance.data_socket)
    loop = asyncio.new_event_loop()
    server = loop.create_task(DataServer(bench.vault, listener).serve())

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(server)
        except asyncio.CancelledError:
            pass
        finally:
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    bench.vault.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(server.cancel)
        thread.join()
        listener.close()
        bench.vault.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--settings", type=Path, help="a vault.toml for this vault")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="sr-bench-"))
    try:
        data, run = home / "data", home / "run"
        for folder in (data / "public", run / "vault", run / "data"):
            folder.mkdir(parents=True)
        if arguments.settings is not None:
            shutil.copy(arguments.settings, data / "vault.toml")
        bench = Bench(Instance(data, run, "https://127.0.0.1:1/", 1, 2, 3, "node", "proxy", "python", "kernel"))
        _wire.DATA_SOCKET = str(bench.instance.data_socket)
        with serving(bench):
            frame = people(arguments.rows)
            print(f"ingest: {bench.publish('bench/people', frame):.0f} MB/s of Arrow data")
            bench.publish("bench/tiny", people(TINY_ROWS))
            frame.write_parquet(home / "plain.parquet", row_group_size=131_072)
            del frame
            large(bench, home / "plain.parquet", arguments.rounds)
            tiny(bench, 4 * arguments.rounds)
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
