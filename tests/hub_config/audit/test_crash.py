"""Nothing acknowledged is lost to `kill -9` or a torn write-ahead log.

STRONGROOM_KILLS and STRONGROOM_CUTS say how often each is tried.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from sqlalchemy import Engine
from strongroom_hub.audit import reader
from strongroom_hub.audit.entries import Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.store import open_database
from strongroom_hub.audit.verify import verify
from strongroom_hub.audit.writer import open_writer

KILLS = int(os.environ.get("STRONGROOM_KILLS", "10"))
CUTS = int(os.environ.get("STRONGROOM_CUTS", "40"))
SCRIPT = Path(__file__).with_name("writing_process.py")


def run_and_kill(database: Path, folder: Path, processes: int, seconds: float) -> dict[int, str]:
    """Let writers run, kill them all `seconds` after the first acknowledgement, and answer with what they had."""
    command = [sys.executable, str(SCRIPT), str(database), str(folder), "3", "1000000"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(processes)]
    outputs: list[bytes] = []
    writing = threading.Event()

    def read(stream: IO[bytes]) -> None:
        first = stream.readline()
        writing.set()
        outputs.append(first + stream.read())

    readers = [threading.Thread(target=read, args=(process.stdout,)) for process in running]
    for thread in readers:
        thread.start()
    assert writing.wait(60)
    time.sleep(seconds)
    for process in running:
        process.kill()
    for process, thread in zip(running, readers, strict=True):
        process.wait()
        thread.join()
        process.stdout.close()  # type: ignore[union-attr]
    complete = [line for output in outputs for line in output.decode().split("\n")[:-1]]
    return {int(index): text for index, text in (line.split() for line in complete)}


def test_no_acknowledged_entry_is_lost_to_kill(engine: Engine, database: Path, keys: LogKeys) -> None:
    dice = random.Random(20261121)
    open_writer(engine, keys).close()
    earlier = keys.open(reader.checkpoint(engine))
    engine.dispose()
    acknowledged: dict[int, str] = {}
    for kill in range(KILLS):
        new = run_and_kill(database, database.parent / "keys", 1 + kill % 2, dice.uniform(0, 0.3))
        assert not acknowledged.keys() & new.keys()
        acknowledged |= new
        with open_database(database) as log:
            report = verify(log, keys.verifier, earlier)
            assert report.findings == []
            stored = {entry.index: entry.leaf for entry in log.entries(report.size)}
            earlier = keys.open(log.note() or "")
        lost = [index for index, text in acknowledged.items() if f'"{text}"'.encode() not in stored[index]]
        assert lost == []
    assert len(acknowledged) > KILLS


def test_a_torn_write_ahead_log_gives_back_the_last_complete_transaction(
    engine: Engine, database: Path, keys: LogKeys, cell: Callable[..., Entry], tmp_path: Path
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
    for cut in range(CUTS):
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
