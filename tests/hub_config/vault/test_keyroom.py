from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from endings import STRIDES, EndError, How, limited
from strongroom_hub.problems import Problem
from strongroom_hub.vault import durable, views
from strongroom_hub.vault.jobs import ViewJob
from strongroom_hub.vault.service import Vault
from strongroom_hub.vault.tickets import View

from tests.hub_config.vault.conftest import begun


def files_of(room: Any) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in room.instance.vault_dir.rglob("*") if path.is_file()}


@pytest.fixture
def filled(room: Any, people: pl.DataFrame) -> Any:
    """A published version, a draft, a staged file and pseudonyms."""
    room.publish("health/people", people)
    room.ingest("health/draft", people.head(20))
    room.receipt = room.stage(b"town,n\na,20\n")
    return room


def everything_opens(room: Any, vault: Any, people: pl.DataFrame, pseudonyms: str) -> None:
    view = View.model_validate(room.view("health/people", people.columns))
    job = ViewJob.prepare(vault.store.open("health/people", 1), view, vault.keys)
    assert views.collect_view(job).equals(people)
    assert b"".join(vault.exports.open("e1", room.receipt["sha256"])[1]) == b"town,n\na,20\n"
    assert vault.keys.project_key("cardio") == pseudonyms


def test_a_master_key_is_exchanged_without_touching_data(filled: Any, people: pl.DataFrame) -> None:
    """A new generation, all keys under it, the old one destroyed: everything opens, also in a vault of tomorrow."""
    room, pseudonyms = filled, filled.vault.keys.project_key("cardio")
    before = files_of(room)
    key_room = room.vault.key_room
    in_use = key_room.status()
    assert in_use["current"] == "local:1"
    assert in_use["wrapped"] == {
        "local:1": 17
    }  # three footers (a twin's too), four columns each, the staged file, the root
    assert key_room.rotate() == {"before": "local:1", "current": "local:2"}
    everything_opens(room, room.vault, people, pseudonyms)
    with pytest.raises(Problem, match="could never be opened again") as refused:
        key_room.destroy("local:1")
    assert refused.value.slug == "generation-in-use"
    assert key_room.rekey(("health/people", 1)) == {"current": "local:2", "exchanged": 10, "left": 7}
    assert key_room.rekey() == {"current": "local:2", "exchanged": 7, "left": 0}
    assert key_room.rekey() == {"current": "local:2", "exchanged": 0, "left": 0}
    assert key_room.destroy("local:1")["generations"] == ["local:2"]
    after = files_of(room)
    data = {
        path for path in before if path.suffix in {".parquet", ".sealed", ".jws", ".pem"} or "manifest" in path.name
    }
    assert {path: before[path] for path in data} == {path: after[path] for path in data}
    assert len(data) == 7
    everything_opens(room, room.vault, people, pseudonyms)
    tomorrow = Vault(room.instance)
    everything_opens(room, tomorrow, people, pseudonyms)
    manifest = json.loads((room.folder("health/draft").with_name(".draft-1") / "manifest.json").read_text())
    tomorrow.store.publish("health/draft", 1, room.signer.activate(manifest))
    assert tomorrow.store.verify("health/draft", 1).rows == 20
    tomorrow.close()


def test_old_keys_put_back_from_a_backup_do_not_open_after_the_old_key_is_gone(
    filled: Any, people: pl.DataFrame
) -> None:
    file = filled.folder("health/people") / "keys.json"
    backup = file.read_bytes()
    filled.vault.key_room.rotate()
    filled.vault.key_room.rekey()
    filled.vault.key_room.destroy("local:1")
    file.write_bytes(backup)
    with pytest.raises(Problem) as refused:
        filled.frame("health/people", ["age"])
    assert refused.value.slug == "key-refused"
    assert people.height == 60


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("how", ["end", "full"])
def test_a_rotation_that_ends_anywhere_leaves_all_readable_and_can_be_done_again(
    filled: Any, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, how: How, stride: int
) -> None:
    """Every write, rename and sync of a rotation is the last one once."""
    room, pseudonyms = filled, filled.vault.keys.project_key("cardio")
    start = room.instance.vault_dir.with_name("start")
    shutil.copytree(room.instance.vault_dir, start)
    step, left = 1 - stride, 1
    while left:
        step += stride
        shutil.rmtree(room.instance.vault_dir)
        shutil.copytree(start, room.instance.vault_dir)
        vault = Vault(room.instance)
        with monkeypatch.context() as patch:
            remaining = limited(patch, step, how)
            try:
                vault.key_room.rotate()
                vault.key_room.rekey()
                vault.key_room.destroy("local:1")
            except (EndError, OSError, Problem):
                pass
            left = 0 if remaining[0] >= 0 else 1
        vault.close()
        again = Vault(room.instance)
        again.sweep()
        everything_opens(room, again, people, pseudonyms)
        again.key_room.rekey()
        assert again.key_room.status()["wrapped"] == {again.keys.service.current: 17}
        assert not list(room.instance.vault_dir.rglob(f"*{durable.FRESH}"))
        everything_opens(room, again, people, pseudonyms)
        again.close()
    assert step > 10


def test_nothing_is_destroyed_while_a_file_is_taken_in(filled: Any) -> None:
    key_room = filled.vault.key_room
    folder = begun(filled.vault.store, "health/next", 1)
    key_room.rotate()
    key_room.rekey()
    with pytest.raises(Problem, match="being taken in"):
        key_room.destroy("local:1")
    filled.vault.store.abandon(folder)
    key_room.destroy("local:1")
