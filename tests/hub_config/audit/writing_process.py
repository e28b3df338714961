"""A process that writes to a log until it is done or killed: DATABASE KEYS THREADS ENTRIES_IN_ALL [PASSWORD_FILE].

After each acknowledgement it prints `INDEX TEXT` in one write; the text is in the entry's detail as well.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.audit.writer import open_writer
from strongroom_hub.database import open_engine


def write(place: Path | str, password: str, keys: LogKeys, threads: int, count: int, told: int) -> None:
    """Append `count` entries from `threads` threads and tell each acknowledgement on the descriptor `told`."""
    writer = open_writer(open_engine(place, password), keys)
    numbers = iter(range(count))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            text = f"{os.getpid()}-{number}"
            payload = "x = 1" if number % 5 == 0 else None
            index = writer.append(
                Entry(action=Action.CELL_BEGIN, actor="user:analyst", detail={"text": text}, payload=payload)
            )
            os.write(told, f"{index} {text}\n".encode())

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    writer.close()


if __name__ == "__main__":
    named, folder, many, entries = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    secret = Path(sys.argv[5]).read_text() if sys.argv[5:] else ""
    write(named if secret else Path(named), secret, LogKeys.load(folder), many, entries, 1)
