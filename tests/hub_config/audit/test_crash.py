"""Nothing acknowledged is lost: to `kill -9` of writers, a server that stops in the middle, a torn write-ahead log.

`kill -9` alone does not show that an entry is on disk, since the system's cache outlives the process; what the last
tests see with strace does.
"""

from __future__ import annotations

import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine
from strongroom_hub import database as db
from strongroom_hub import postgres as postgres_settings
from strongroom_hub.audit import reader
from strongroom_hub.audit.entries import Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.note import Checkpoint
from strongroom_hub.audit.store import DatabaseLog, open_database, open_postgres
from strongroom_hub.audit.verify import verify
from strongroom_hub.audit.writer import open_writer

from tests.hub_config.audit.writing_process import write
from tests.postgres_server import PostgresServer

SCRIPT = Path(__file__).with_name("writing_process.py")
LONG = (pytest.mark.soak, pytest.mark.timeout(5400))
KILLS = [24, pytest.param(1000, marks=LONG)]
KILLS_OF_A_LOG = 50
"""Then a new log is begun: each kill is followed by a check of the whole log, which must not grow without end."""
SERVER_KILLS = [2, pytest.param(60, marks=LONG)]
CUTS = [40, pytest.param(500, marks=LONG)]


def writing(place: Path | str, password: str, keys: LogKeys) -> tuple[int, int]:
    """A child that appends from three threads; its pid and what it tells."""
    here, there = os.pipe()
    pid = os.fork()
    if pid:
        os.close(there)
        return pid, here
    try:
        write(place, password, keys, 3, 1_000_000, there)
    finally:
        os._exit(1)


def told_on(streams: list[int]) -> dict[int, str]:
    """What killed writers had told until then: index and text of each acknowledged entry, from whole lines."""
    lines: list[str] = []
    for stream in streams:
        pieces = []
        while piece := os.read(stream, 1 << 16):
            pieces.append(piece)
        os.close(stream)
        lines += b"".join(pieces).decode().split("\n")[:-1]
    return {int(index): text for index, text in (line.split() for line in lines)}


def run_and_kill(start: Callable[[], tuple[int, int]], writers: int, seconds: float) -> dict[int, str]:
    """Let writers run, kill them all `seconds` after the first acknowledgement, and answer with what they had."""
    running = [start() for _ in range(writers)]
    assert select.select([stream for _, stream in running], [], [], 60)[0]
    time.sleep(seconds)
    for pid, _ in running:
        os.kill(pid, signal.SIGKILL)
    for pid, _ in running:
        os.waitpid(pid, 0)
    return told_on([stream for _, stream in running])


class Witness:
    """Holds what was acknowledged, and the last checkpoint, against the log as it is now."""

    def __init__(self, keys: LogKeys, earlier: Checkpoint) -> None:
        self.keys = keys
        self.earlier = earlier
        self.acknowledged: dict[int, str] = {}

    def check(self, new: dict[int, str], log: DatabaseLog) -> None:
        assert not self.acknowledged.keys() & new.keys()
        self.acknowledged |= new
        report = verify(log, self.keys.verifier, self.earlier)
        assert report.findings == []
        stored = {entry.index: entry.leaf for entry in log.entries(report.size)}
        lost = [index for index, text in self.acknowledged.items() if f'"{text}"'.encode() not in stored[index]]
        assert lost == []
        self.earlier = self.keys.open(log.note() or "")


@pytest.mark.parametrize("kills", KILLS)
def test_no_acknowledged_entry_is_lost_to_kill(tmp_path: Path, keys: LogKeys, kills: int) -> None:
    dice = random.Random(20261121)
    for begun in range(0, kills, KILLS_OF_A_LOG):
        place = tmp_path / f"log{begun}.sqlite"
        with watched(place, "", keys) as (engine, witness):
            engine.dispose()
            some = min(KILLS_OF_A_LOG, kills - begun)
            for kill in range(some):
                new = run_and_kill(lambda place=place: writing(place, "", keys), 1 + kill % 2, dice.uniform(0, 0.1))
                with open_database(place) as log:
                    witness.check(new, log)
            assert len(witness.acknowledged) > some


@pytest.mark.parametrize("kills", KILLS)
def test_no_acknowledged_entry_is_lost_to_kill_over_postgresql(
    postgres: PostgresServer, keys: LogKeys, kills: int
) -> None:
    dice = random.Random(20261122)
    for begun in range(0, kills, KILLS_OF_A_LOG):
        url = postgres.database()
        with watched(url, postgres.password, keys) as (engine, witness):
            some = min(KILLS_OF_A_LOG, kills - begun)
            for kill in range(some):
                new = run_and_kill(
                    lambda url=url: writing(url, postgres.password, keys), 1 + kill % 3, dice.uniform(0, 0.1)
                )
                with open_postgres(engine) as log:
                    witness.check(new, log)
            assert len(witness.acknowledged) > some


@pytest.mark.parametrize("kills", SERVER_KILLS)
def test_no_acknowledged_entry_is_lost_with_the_server(own_postgres: PostgresServer, keys: LogKeys, kills: int) -> None:
    """The server stops as in a crash while two processes write, and starts again from its own log."""
    dice = random.Random(20261123)
    own_postgres.start()
    url = own_postgres.database()
    with watched(url, own_postgres.password, keys) as (engine, witness):
        for _ in range(kills):
            running = [writing(url, own_postgres.password, keys) for _ in range(2)]
            assert select.select([stream for _, stream in running], [], [], 60)[0]
            time.sleep(dice.uniform(0, 0.2))
            own_postgres.stop(signal.SIGQUIT)
            for pid, _ in running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            told = told_on([stream for _, stream in running])
            own_postgres.start()
            engine.dispose()
            with open_postgres(engine) as log:
                witness.check(told, log)
        assert len(witness.acknowledged) > kills


@contextmanager
def watched(place: Path | str, password: str, keys: LogKeys) -> Iterator[tuple[Engine, Witness]]:
    """A new log and who watches it."""
    engine = db.open_engine(place, password)
    db.migrate(engine)
    open_writer(engine, keys).close()
    yield engine, Witness(keys, keys.open(reader.checkpoint(engine)))
    engine.dispose()


@pytest.mark.parametrize("cuts", CUTS)
def test_a_torn_write_ahead_log_gives_back_the_last_complete_transaction(
    engine: Engine, database: Path, keys: LogKeys, cell: Callable[..., Entry], tmp_path: Path, cuts: int
) -> None:
    dice = random.Random(7)
    writer = open_writer(engine, keys)
    checkpoints = [keys.open(reader.checkpoint(engine))]
    for number in range(30):
        writer.append(cell(f"{number}" * dice.randrange(1, 2000)))
        checkpoints.append(keys.open(reader.checkpoint(engine)))
    wal = database.with_name(database.name + "-wal").read_bytes()
    main = database.read_bytes()
    writer.close()
    assert len(wal) > 100_000
    sizes = set()
    for cut in range(cuts):
        at = dice.randrange(len(wal) // 2, len(wal))
        tail = [b"", bytes(5000), dice.randbytes(5000)][cut % 3]
        copy = tmp_path / f"copy{cut}"
        copy.mkdir()
        (copy / "log.sqlite").write_bytes(main)
        (copy / "log.sqlite-wal").write_bytes(wal[:at] + tail)
        with open_database(copy / "log.sqlite") as log:
            report = verify(log, keys.verifier)
        assert report.findings == []
        assert report.root == checkpoints[report.size].root
        sizes.add(report.size)
        shutil.rmtree(copy)
    assert len(sizes) > 3


# ---------------------------------------------------------------------------------- what is on disk before it is told


def may_trace() -> None:
    """Skips the test where nobody may trace."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed: apt-get install strace")
    may = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if may.returncode:
        pytest.skip(f"processes cannot be traced here (ptrace): {may.stderr.strip()[:200]}")


def traced(program: str, trace: Path, calls: str) -> list[str]:
    """The system calls of a program, in order."""
    may_trace()
    command = ["strace", "-f", "-e", f"trace={calls}", "-o", str(trace), sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return trace.read_text().splitlines()


def unsynced(lines: list[str]) -> tuple[int, int]:
    """Acknowledgements in all, and those before which nothing was synced since the one before."""
    told = missing = 0
    synced = False
    for line in lines:
        if re.search(r"(fdatasync|fsync)(\(| resumed)", line) and line.rstrip().endswith("= 0"):
            synced = True
        elif re.search(r'write\(1, "\d+ ', line):
            told += 1
            missing += not synced
            synced = False
    return told, missing


def test_every_acknowledgement_comes_after_its_sync(engine: Engine, database: Path, keys_dir: Path) -> None:
    """One writer, so that each acknowledgement needs a sync of its own; without the setting nearly all miss it."""
    engine.dispose()
    program = (
        f"import runpy, sys; sys.argv = ['w', {str(database)!r}, {str(keys_dir)!r}, '1', '60']\n"
        f"from strongroom_hub import database\n{{}}\nrunpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    trace = database.with_name("trace")
    calls = "fdatasync,fsync,write"
    assert unsynced(traced(program.format(""), trace, calls)) == (60, 0)
    weaker = "database._REQUIRED['synchronous'] = 0"
    told, missing = unsynced(traced(program.format(weaker), trace, calls))
    assert (told, missing > 50) == (60, True)


@pytest.mark.parametrize("setting", ["on", "off"])
def test_postgresql_syncs_before_it_acknowledges(
    own_postgres: PostgresServer,
    keys: LogKeys,
    cell: Callable[..., Entry],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
) -> None:
    """Each append sees a sync of the server begin and end in its time; with the setting that is refused, few do."""
    may_trace()
    monkeypatch.setitem(postgres_settings._REQUIRED, "synchronous_commit", {setting})
    trace = own_postgres.root / "trace"
    own_postgres.start(
        "strace", "-f", "-ttt", "-e", "trace=fdatasync,fsync", "-o", str(trace), synchronous_commit=setting
    )
    with watched(own_postgres.database(), own_postgres.password, keys) as (engine, _):
        writer = open_writer(engine, keys)
        times = []
        for _ in range(20):
            began = time.time()
            writer.append(cell())
            times.append((began, time.time()))
        writer.close()
    own_postgres.stop()
    lines = trace.read_text().splitlines()
    synced = [float(line.split()[1]) for line in lines if re.search(r"(fdatasync|fsync)\(", line)]
    seen = sum(any(began <= at <= ended for at in synced) for began, ended in times)
    assert seen == 20 if setting == "on" else seen < 15
