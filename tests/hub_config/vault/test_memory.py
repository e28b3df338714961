"""What is left in the memory of a vault and its workers when everything was done: no value of the data and no key."""

from __future__ import annotations

import base64
import os
import shutil
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from strongroom_hub.vault import wrapped
from strongroom_hub.vault.keyfiles import LocalKeyService
from strongroom_hub.vault.keys import KeyUse

from tests.hub_config.vault.conftest import Running
from tests.hub_config.vault.test_shredding import ORDER

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can look into the vault's memory")
CHUNK = 1 << 20
SALT = "Zephyrine-Quux-in-memory-"


def memory(pid: int) -> Iterator[bytes]:
    """Every page that a process can write, mapping by mapping: the others are files as they are on disk."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as pages:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            where, rights, *_ = line.split()
            first, last = (int(end, 16) for end in where.split("-"))
            if rights.startswith("rw"):
                try:
                    pages.seek(first)
                    yield pages.read(last - first)
                except OSError:  # it was just let go of
                    continue


def forms(secret: bytes) -> tuple[bytes, ...]:
    return secret, secret.hex().encode(), base64.b64encode(secret)[: len(secret)]


def family(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(int(child) for children in threads for child in children.read_text().split())]


class Search:
    """Many secrets in one pass, each as it is, in hex and in base64: a gigabyte for each by itself takes minutes.

    A table says of any two bytes whether a secret has them at its chosen place; only where one has is it compared.
    """

    def __init__(self, secrets: dict[str, bytes]) -> None:
        self.wanted: defaultdict[int, list[tuple[str, bytes, int]]] = defaultdict(list)
        for name, secret in secrets.items():
            for form in forms(secret):
                # not two bytes that are alike: memory is full of zeros
                place = next(at for at in range(len(form)) if form[at] != form[at + 1])
                self.wanted[form[place] | form[place + 1] << 8].append((name, form, place))
        self.table = np.zeros(1 << 16, dtype=np.bool_)
        self.table[list(self.wanted)] = True

    def found(self, memory: bytes) -> set[str]:
        names = set()
        for start in range(0, len(memory), CHUNK):
            part = np.frombuffer(memory[start : start + CHUNK + 1], np.uint8).astype(np.uint16)
            pairs = part[:-1] | part[1:] << 8
            hits = np.flatnonzero(self.table[pairs])
            for at, pair in zip((start + hits).tolist(), pairs[hits].tolist(), strict=True):
                for name, form, place in self.wanted[pair]:
                    if memory[at - place : at - place + len(form)] == form:
                        names.add(name)
        return names


def left(pids: list[int], secrets: dict[str, bytes]) -> set[str]:
    """Those of the secrets that stand in the memory of any of these processes."""
    search = Search(secrets)
    return {name for pid in pids for piece in memory(pid) for name in search.found(piece)}


def data_keys(running: Running, name: str) -> dict[str, bytes]:
    """The keys of a version, opened by the master key that lies on disk."""
    service = LocalKeyService(running.instance.vault_dir / "keys")
    file = running.instance.vault_dir / "store" / name / "1" / "keys.json"
    keys = wrapped.decode(file.read_bytes())
    return {
        f"the key of {group} {column or 'footer'}": service.unwrap(key, KeyUse.slot(name, 1, group, column))
        for (group, column), key in keys.items()
    }


def test_nothing_is_left_after_a_full_run(running: Running, room: Any) -> None:
    count = 400
    people = pl.DataFrame(
        {"person": [f"{SALT}{n:04d}" for n in range(count)], "income": [8719283 + n / 1000 for n in range(count)]}
    )
    vault = running.process.pid
    running.publish("health/people", people)
    for columns in (["person", "income"], ["income"]):
        answer, (fd,) = running.read(room.read_claims("health/people", columns))
        assert answer["ok"]
        os.close(fd)
    claims = room.stage_claims(sources=[room.view("health/people", ["person"])])
    assert running.call("PUT", "/v1/exports/e1/0", "stage", people.write_csv().encode(), **claims).status_code == 201
    secrets = data_keys(running, "health/people") | {"a name": SALT.encode(), "a number as text": b"8719283."}
    secrets |= {f"the number {value}": struct.pack("<d", value) for value in people["income"][:: count // 10]}
    assert running.call("POST", "/v1/keys", "keys", operation="rotate").status_code == 200
    assert running.call("POST", "/v1/keys", "keys", operation="rekey").status_code == 200
    assert running.call("POST", "/v1/keys", "keys", **(ORDER | {"columns": ["person"]})).status_code == 200
    # the seconds of a worker that has just ended, and one collection of what refers to itself
    deadline = time.monotonic() + 20
    while (still := left(family(vault), secrets)) and time.monotonic() < deadline:
        assert running.call("GET", "/v1/health").status_code == 200
        time.sleep(0.5)
    assert still == set()
    assert len(family(vault)) > 1  # workers were looked into, too


def test_the_search_finds_what_is_there(running: Running) -> None:
    """Else the test above would show nothing: what the vault holds for as long as it runs is found."""
    receipt = (running.instance.vault_dir / "keys" / "receipt.pem").read_bytes()
    assert left([os.getpid()], {"the receipt key": receipt}) == {"the receipt key"}
    log = b"strongroom_hub.vault.service"
    assert left([running.process.pid], {"a module's name": log}) == {"a module's name"}


def test_the_search_finds_each_secret_wherever_it_stands() -> None:
    secrets = {f"secret {n}": bytes([n]) * n + os.urandom(24) for n in range(1, 9)}
    secrets["zeros"] = struct.pack("<d", 2.5e7)
    search = Search(secrets)
    assert search.found(os.urandom(3 * CHUNK) + bytes(CHUNK)) == set()
    for name, secret in secrets.items():
        for form in forms(secret):
            for at in (0, CHUNK - len(form), CHUNK - 3, CHUNK - 1, CHUNK, 2 * CHUNK - len(form)):
                memory = bytearray(2 * CHUNK)
                memory[at : at + len(form)] = form
                assert search.found(bytes(memory)) == {name}, (name, form, at)


def test_disk_and_logs_hold_no_key(running: Running, room: Any, people: pl.DataFrame, tmp_path: Path) -> None:
    running.publish("health/people", people)
    answer, (fd,) = running.read(room.read_claims("health/people", ["person"]))
    assert answer["ok"]
    os.close(fd)
    secrets = data_keys(running, "health/people")
    shutil.copytree(running.instance.data.parent, tmp_path / "all", ignore=shutil.ignore_patterns("*.sock"))
    for file in [path for path in (tmp_path / "all").rglob("*") if path.is_file()]:
        content = file.read_bytes()
        for name, key in secrets.items():
            assert not any(form in content for form in forms(key)), (name, file)
