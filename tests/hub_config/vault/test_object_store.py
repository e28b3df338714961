"""A vault whose encrypted parts lie in an object store: what goes there, what is believed of it, how it may fail."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import signal
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from strongroom_hub.cli import app
from strongroom_hub.config import Instance
from strongroom_hub.problems import Problem
from strongroom_hub.vault import holding, ingest, memfd
from strongroom_hub.vault.holding import OBJECTS_FILE, InObjects
from strongroom_hub.vault.manifest import TABLE
from strongroom_hub.vault.service import Vault
from strongroom_hub.vault.tickets import ReadTicket
from strongroom_hub.vault.wrapped import wrap_all
from typer.testing import CliRunner

from tests.hub_config.endings import STRIDES, EndError, How, limited
from tests.hub_config.standins.s3 import BUCKET, S3, SECRET, credentials
from tests.hub_config.vault.conftest import Room, Running, begun, made_room
from tests.hub_config.vault.test_shredding import order

PREFIX = "a/b"


@pytest.fixture
def server(instance: Instance) -> Iterator[S3]:
    """The store, and `vault.toml` that names it."""
    one = S3()
    set_up(instance, one)
    yield one
    one.close()


def set_up(instance: Instance, server: S3, **other: Any) -> None:
    settings = {
        "bucket": BUCKET,
        "endpoint": server.address,
        "prefix": PREFIX,
        "credentials": str(credentials(instance.data)),
        "timeout": 10,
        "deadline": 20,
        **other,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (instance.data / "vault.toml").write_text("\n".join(['[store]\nkind = "s3"\n[store.s3]', *lines]))


@pytest.fixture
def impatient(instance: Instance, server: S3) -> None:
    """To be asked for before the room: its vault waits a second for the store."""
    set_up(instance, server, timeout=1)


@pytest.fixture
def room(instance: Instance, server: S3, signer: Any) -> Iterator[Room]:
    with made_room(instance, signer) as one:
        yield one


def copies(room: Any) -> InObjects:
    assert isinstance(room.vault.store.holding, InObjects)
    return room.vault.store.holding


def cached(room: Any) -> set[str]:
    return {path.name for path in (room.instance.vault_dir / "store").rglob("*.parquet*")}


def objects_of(room: Any, name: str) -> dict[str, str]:
    names = json.loads((room.folder(name) / OBJECTS_FILE).read_text())["objects"]
    return {part: f"{PREFIX}/{one}" for part, one in names.items()}


def named(room: Any) -> set[str]:
    """All objects that any folder of the store names."""
    lists = (room.instance.vault_dir / "store").rglob(OBJECTS_FILE)
    return {f"{PREFIX}/{one}" for file in lists for one in json.loads(file.read_text())["objects"].values()}


def fetched(server: S3, name: str) -> int:
    return server.calls.count(("GET", name))


# -- what goes there -------------------------------------------------------------------------------------------------


def test_only_encrypted_parts_go_there_under_names_that_say_nothing(
    room: Any, server: S3, people: pl.DataFrame
) -> None:
    room.publish("health/people", people)
    assert set(server.objects) == set(objects_of(room, "health/people").values())
    assert {"part-00000.parquet", "synthetic-00000.parquet"} == set(objects_of(room, "health/people"))
    for name, content in server.objects.items():
        assert re.fullmatch(rf"{PREFIX}/[0-9a-f]{{32}}", name)
        assert content[:4] == content[-4:] == b"PARE"
        assert b"Zephyrine" not in content
    here = {path.name for path in room.folder("health/people").iterdir()}
    assert here == {"manifest.jws", "keys.json", OBJECTS_FILE}


def test_a_view_is_the_same_wherever_its_parts_lie(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    assert room.frame("health/people", people.columns).equals(people)
    assert room.frame("health/people", ["age"], rows=["age >= 70"]).height == 10
    assert cached(room) == {"part-00000.parquet"}
    assert room.vault.store.verify("health/people", 1).rows == 60
    twin = room.frame("health/people", ["age"], group="synthetic")
    assert 0 < twin.height <= 60
    found = room.stage(people.head(30).write_csv().encode(), sources=[room.view("health/people", ["age"])])
    assert any(one["check"] == "row-overlap" for one in found["findings"])


def test_a_stream_is_read_from_there(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    claims = room.read_claims("health/people", ["age"])
    stream = room.vault.streams.open(ReadTicket.model_validate({"act": "read", **claims}))
    first = stream.first()
    assert not copies(room)._used  # the worker has it open
    room.part("health/people").unlink()
    batch = stream.next({})
    assert pl.read_ipc(memfd.path(batch.fd))["age"].to_list() == people["age"].to_list()
    assert stream.next({}) is None
    room.vault.streams.end(stream)
    for fd in (first.fd, batch.fd):
        os.close(fd)


def test_files_come_back_from_there(room: Any, server: S3) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("model.bin")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    room.publish("lab/models", out.getvalue(), fmt="files")
    assert all(b"hello" not in content for content in server.objects.values())
    answer = room.read("lab/models", ["model.bin"])
    assert os.pread(answer.fd, 100, 0) == b"hello"
    os.close(answer.fd)
    assert room.vault.store.verify("lab/models", 1)


def test_a_part_that_is_not_encrypted_never_leaves(room: Any, server: S3, people: pl.DataFrame) -> None:
    """As a worker would have it that was taken over."""
    store = room.vault.store
    folder = begun(store, "health/people", 1)
    manifest, keys = ingest.write_parts([people], dict(people.schema), folder, "health/people", 1, "secret")
    people.write_parquet(folder / "part-00000.parquet")
    plain = (folder / "part-00000.parquet").read_bytes()
    described = {"bytes": len(plain), "sha256": hashlib.sha256(plain).hexdigest()}
    part = manifest.parts[0].model_copy(update=described)
    lying = manifest.model_copy(update={"parts": [part]})
    with pytest.raises(Problem, match="not an encrypted Parquet file"):
        store.complete(folder, lying, wrap_all(room.vault.keys, "health/people", 1, {TABLE: keys}))
    store.abandon(folder)
    assert server.objects == {}


def test_versions_of_before_stay_in_their_folders(instance: Instance, server: S3, signer: Any, people: Any) -> None:
    s3_settings = (instance.data / "vault.toml").read_text()
    (instance.data / "vault.toml").unlink()
    with made_room(instance, signer) as before:
        before.publish("health/old", people)
    (instance.data / "vault.toml").write_text(s3_settings)
    with made_room(instance, signer) as now:
        now.publish("health/new", people)
        for name in ("health/old", "health/new"):
            assert now.frame(name, ["age"]).height == 60
            assert now.vault.store.verify(name, 1).rows == 60
    (instance.data / "vault.toml").unlink()
    with made_room(instance, signer) as back:
        assert back.frame("health/old", ["age"]).height == 60
        for attempt in (lambda: back.frame("health/new", ["age"]), lambda: back.vault.store.verify("health/new", 1)):
            with pytest.raises(Problem, match=r"vault\.toml names none"):
                attempt()


# -- what is believed ------------------------------------------------------------------------------------------------


def _swap(objects: dict[str, str], server: S3) -> None:
    one, other = objects["part-00000.parquet"], objects["synthetic-00000.parquet"]
    server.objects[one], server.objects[other] = server.objects[other], server.objects[one]


def _cut(name: str, server: S3) -> None:
    server.objects[name] = server.objects[name][:-1]


def _grow(name: str, server: S3) -> None:
    server.objects[name] += b"x"


def _flip(name: str, server: S3) -> None:
    content = bytearray(server.objects[name])
    content[len(content) // 2] ^= 1
    server.objects[name] = bytes(content)


HARMS = {
    "swapped": (_swap, "manifest"),  # another size, or larger: which of the two depends on the files
    "truncated": (lambda objects, server: _cut(objects["part-00000.parquet"], server), "bytes, the manifest says"),
    "longer": (lambda objects, server: _grow(objects["part-00000.parquet"], server), "larger than"),
    "changed": (lambda objects, server: _flip(objects["part-00000.parquet"], server), "another SHA-256"),
    "removed": (lambda objects, server: server.objects.pop(objects["part-00000.parquet"]), "missing from"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_an_object_that_is_not_the_signed_one_is_refused_by_name(
    room: Any, server: S3, people: pl.DataFrame, harm: str
) -> None:
    room.publish("health/people", people)
    whole = dict(server.objects)
    do, words = HARMS[harm]
    do(objects_of(room, "health/people"), server)
    for attempt in (lambda: room.frame("health/people", ["age"]), lambda: room.vault.store.verify("health/people", 1)):
        with pytest.raises(Problem) as refused:
            attempt()
        assert refused.value.slug == "dataset-damaged"
        assert "part-00000.parquet" in refused.value.detail
        assert words in refused.value.detail
        assert cached(room) == set()
    server.objects = whole
    assert room.frame("health/people", ["age"]).height == 60


def test_an_older_object_in_place_of_a_newer_one_is_refused(room: Any, server: S3, people: pl.DataFrame) -> None:
    """Even one that this vault once wrote for the same part of the same version."""
    room.ingest("health/people", people.with_columns(pl.col("age") + 1))
    (draft,) = (room.instance.vault_dir / "store").glob("health/people/.draft-1")
    older = json.loads((draft / OBJECTS_FILE).read_text())["objects"]["part-00000.parquet"]
    content = server.objects[f"{PREFIX}/{older}"]
    room.publish("health/people", people)
    server.objects[objects_of(room, "health/people")["part-00000.parquet"]] = content
    with pytest.raises(Problem, match="manifest") as refused:
        room.frame("health/people", ["age"])
    assert (refused.value.slug, "part-00000.parquet" in refused.value.detail) == ("dataset-damaged", True)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"format": "strongroom-objects/1", "objects": {"part-00000.parquet": "../x"}}']
)
def test_a_list_of_objects_that_does_not_name_a_part_is_refused(
    room: Any, server: S3, people: pl.DataFrame, text: str
) -> None:
    room.publish("health/people", people)
    (room.folder("health/people") / OBJECTS_FILE).write_text(text)
    before = len(server.calls)
    with pytest.raises(Problem, match=r"objects\.json: it does not name the object of part-00000"):
        room.frame("health/people", ["age"])
    assert len(server.calls) == before


def test_a_damaged_copy_is_refused_once_and_verifying_asks_the_store(
    room: Any, server: S3, people: pl.DataFrame
) -> None:
    room.publish("health/people", people)
    room.frame("health/people", ["age"])
    room.vault.reader.close()
    copy = room.part("health/people")
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    before = len(server.calls)
    assert room.vault.store.verify("health/people", 1).rows == 60
    assert len(server.calls) == before + 2
    assert copy.read_bytes() == content
    with pytest.raises(Problem, match="SHA-256"):
        room.frame("health/people", ["age"])
    assert room.frame("health/people", ["age"]).height == 60


def test_objects_of_others_are_told_and_left_alone(room: Any, server: S3, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    strange = {f"{PREFIX}/{'f' * 32}": b"x", f"{PREFIX}/hello": b"y", "elsewhere": b"z"}
    server.objects |= strange
    root = room.instance.vault_dir / "store"
    assert holding.strays(copies(room)._objects, root) == ["f" * 32, "hello"]
    room.vault.sweep()
    room.vault.attic.tick()
    assert strange.items() <= server.objects.items()
    assert room.frame("health/people", ["age"]).height == 60


# -- a store that fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["500", "drop", "half", "silent"])
def test_a_store_that_fails_is_a_refusal_in_time_and_the_vault_lives(
    impatient: None, room: Any, server: S3, people: pl.DataFrame, fault: str
) -> None:
    room.publish("health/people", people)
    server.fault = lambda _method, _name: fault
    before = time.monotonic()
    with pytest.raises(Problem) as refused:
        room.frame("health/people", ["age"])
    assert (refused.value.status, refused.value.slug) == (503, "object-store-away")
    assert time.monotonic() - before < 60
    assert cached(room) == set()
    server.fault = lambda _method, _name: None
    assert room.frame("health/people", ["age"])["age"].to_list() == people["age"].to_list()


def test_a_store_that_only_trickles_is_given_up(room: Any, server: S3, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    copies(room)._patience = 0.0
    with pytest.raises(Problem, match="gave no usable answer") as refused:
        room.frame("health/people", ["age"])
    assert "within 0 seconds" in str(refused.value.why)


def test_a_store_that_ends_and_comes_back(room: Any, server: S3, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    server.close()
    with pytest.raises(Problem, match="gave no usable answer"):
        room.frame("health/people", ["age"])
    with pytest.raises(Problem, match="gave no usable answer"):
        room.publish("health/more", people)
    server.start()
    assert room.frame("health/people", ["age"]).height == 60
    room.publish("health/more", people)
    assert room.frame("health/more", ["age"]).height == 60


def test_what_is_at_hand_is_read_while_the_store_is_away(room: Any, server: S3, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    room.frame("health/people", ["age"])
    room.vault.reader.close()
    server.close()
    assert room.frame("health/people", ["income"]).height == 60
    server.start()


def test_an_upload_that_breaks_off_leaves_nothing_to_see(room: Any, server: S3, people: pl.DataFrame) -> None:
    """The second of two objects does not arrive, nor can the first be removed yet."""
    room.publish("health/others", people)
    whole = set(server.objects)
    arrived = threading.Event()

    def second_fails(method: str, _: str) -> str | None:
        if method == "PUT" and not arrived.is_set():
            arrived.set()
            return None
        return "drop"

    server.fault = second_fails
    with pytest.raises(Problem, match="gave no usable answer"):
        room.ingest("health/people", people)
    assert room.vault.store.datasets() == [("health/others", 1)]
    assert room.vault.store.drafts() == []
    assert not room.vault.store.unfinished()
    room.vault.attic.tick()
    assert len(server.objects) == len(whole) + 1
    server.fault = lambda _method, _name: None
    room.vault.attic.tick()
    assert set(server.objects) == whole == named(room)
    room.publish("health/people", people)
    assert room.frame("health/people", ["age"]).height == 60


def test_a_worker_that_names_the_objects_of_others_removes_none(room: Any, server: S3, people: pl.DataFrame) -> None:
    """As one would have it that was taken over, and knows their names."""
    room.publish("health/people", people)
    whole, store = dict(server.objects), room.vault.store
    names = (room.folder("health/people") / OBJECTS_FILE).read_bytes()
    left = [begun(store, "health/more", version) for version in (1, 2, 3)]
    for folder in left:
        (folder / OBJECTS_FILE).write_bytes(names)
    store.abandon(left[0])
    manifest, keys = ingest.write_parts([people], dict(people.schema), left[1], "health/more", 2, "secret")
    with pytest.raises(Problem, match=r"objects\.json: the signed manifest does not name this file"):
        store.complete(left[1], manifest, wrap_all(room.vault.keys, "health/more", 2, {TABLE: keys}))
    store.abandon(left[1])
    store.sweep()
    assert server.objects == whole
    assert list(left[0].parent.iterdir()) == []


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("how", ["end", "full"])
def test_taking_in_can_end_anywhere_and_no_object_is_left_over(
    room: Any, server: S3, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, how: How, stride: int
) -> None:
    room.publish("health/others", people)
    vault, failed, step = room.vault, True, 0

    def take_in(name: str) -> None:
        folder = begun(vault.store, name, 1)
        manifest, keys = ingest.write_parts([people], dict(people.schema), folder, name, 1, "secret")
        vault.store.complete(folder, manifest, wrap_all(vault.keys, name, 1, {TABLE: keys}))
        vault.store.publish(name, 1, room.signer.activate(manifest.model_dump()))

    while failed:
        name = f"health/people{step}"
        with monkeypatch.context() as patch:
            remaining = limited(patch, step, how)
            with contextlib.suppress(EndError, OSError, Problem):
                take_in(name)
            failed, step = remaining[0] < 0, step + stride
        again = Vault(room.instance)
        again.sweep()
        assert set(server.objects) == named(room)
        if (name, 1) not in again.store.datasets():
            assert failed
            take_in(name)
        assert again.store.verify(name, 1, active=room.signer.digest(name)).rows == 60
        again.close()
    assert step > 8
    assert room.vault.store.verify("health/others", 1).rows == 60


def test_a_draft_that_goes_takes_its_objects_along(room: Any, server: S3, people: pl.DataFrame) -> None:
    room.ingest("health/people", people)
    first = set(server.objects)
    room.ingest("health/people", people)
    assert not first & set(server.objects)
    assert set(server.objects) == named(room)
    room.vault.store.retire("health/people", 1)
    assert server.objects == {}
    room.ingest("health/people", people)
    server.fault = lambda method, _: "500" if method == "DELETE" else None
    room.vault.store.retire("health/people", 1)
    assert room.vault.store.drafts() == []
    assert len(server.objects) == 2
    again = Vault(room.instance)
    again.sweep()
    assert len(server.objects) == 2
    server.fault = lambda _method, _name: None
    again.sweep()
    assert server.objects == {}
    again.close()


def test_a_full_disk_is_said_and_leaves_no_half_of_a_part(
    room: Any, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.publish("health/people", people)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Problem, match="No space left") as refused:
            room.frame("health/people", ["age"])
    assert refused.value.status == 507
    assert cached(room) == set()
    assert room.frame("health/people", ["age"]).height == 60


# -- copies ----------------------------------------------------------------------------------------------------------


def test_a_part_is_fetched_once_for_all_who_wait(
    room: Any, server: S3, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.publish("health/people", people)
    part, there = room.part("health/people"), copies(room)
    fetch = there._fetch

    def when_all_wait(copy: Any) -> None:
        with there._changed:
            assert there._changed.wait_for(lambda: there._used[part] == 4, 60)
        fetch(copy)

    def claim_and_tell(needed: Any) -> None:
        claim(needed)
        with there._changed:
            there._changed.notify_all()

    claim = there._claim
    monkeypatch.setattr(there, "_fetch", when_all_wait)
    monkeypatch.setattr(there, "_claim", claim_and_tell)
    with ThreadPoolExecutor(4) as readers:
        reads = [readers.submit(room.frame, "health/people", [name]) for name in people.columns]
        assert [read.result().height for read in reads] == [60] * 4
    assert fetched(server, objects_of(room, "health/people")["part-00000.parquet"]) == 1


def test_the_copy_that_was_unused_for_longest_makes_way(room: Any, server: S3, people: pl.DataFrame) -> None:
    names = ["health/a", "health/b", "health/c"]
    for name in names:
        room.publish(name, people)
    size = max(len(content) for content in server.objects.values())
    copies(room)._room = 2 * size + 100
    for name in ("health/a", "health/b", "health/a", "health/c"):
        room.frame(name, ["age"])
        room.vault.reader.close()
    assert [room.part(name).exists() for name in names] == [True, False, True]
    again = Vault(room.instance)
    assert sum(again.store.holding._copies.values()) == sum(room.part(name).stat().st_size for name in names[::2])
    again.close()


def test_a_copy_in_use_stays_and_others_wait_or_are_refused(room: Any, server: S3, people: pl.DataFrame) -> None:
    for name in ("health/a", "health/b"):
        room.publish(name, people)
    copies(room)._room = max(len(content) for content in server.objects.values()) + 100
    about = room.vault.store.open("health/a", 1)
    needed = holding.Needed(about.folder, about.manifest, about.manifest.parts)
    with copies(room).at_hand([needed]):
        copies(room)._patience = 0.05
        with pytest.raises(Problem) as refused:
            room.frame("health/b", ["age"])
        assert (refused.value.status, refused.value.slug) == (503, "object-cache-busy")
        assert room.part("health/a").exists()
        copies(room)._patience = 60.0
        reader = ThreadPoolExecutor(1)
        other = reader.submit(room.frame, "health/b", ["age"])
        assert not other.done()
        held = room.part("health/a").open("rb")
    with held, reader:  # what a reader has open outlives its name
        assert other.result().height == 60
        assert not room.part("health/a").exists()
        assert len(held.read()) == about.manifest.parts[0].bytes


def test_a_copy_in_use_is_not_the_one_that_goes(room: Any, server: S3, people: pl.DataFrame) -> None:
    for name in ("health/a", "health/b", "health/c"):
        room.publish(name, people)
    copies(room)._room = 2 * max(len(content) for content in server.objects.values()) + 100
    about = room.vault.store.open("health/a", 1)
    with copies(room).at_hand([holding.Needed(about.folder, about.manifest, about.manifest.parts)]):
        room.frame("health/b", ["age"])
        room.frame("health/c", ["age"])
        assert [room.part(name).exists() for name in ("health/a", "health/b", "health/c")] == [True, False, True]


def test_a_cache_too_small_for_a_version_says_so(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    copies(room)._room = 100
    with pytest.raises(Problem, match="cache has room") as refused:
        room.frame("health/people", ["age"])
    assert refused.value.slug == "object-cache-small"


def test_what_was_shredded_stays_shut_wherever_it_lies(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    order(room, columns=["age"])
    with pytest.raises(Problem, match="was shredded"):
        room.frame("health/people", ["age"])
    assert room.frame("health/people", ["income"]).height == 60
    assert room.vault.store.verify("health/people", 1).rows == 60


def test_the_operator_s_command_reads_the_objects_and_writes_nothing(
    room: Any, server: S3, people: pl.DataFrame
) -> None:
    room.publish("health/people", people)
    before = sorted(room.instance.vault_dir.rglob("*"))

    def verify() -> Any:
        return CliRunner().invoke(app, ["dataset", "verify", "--instance", str(room.instance.path)])

    assert (verify().exit_code, sorted(room.instance.vault_dir.rglob("*"))) == (0, before)
    _flip(objects_of(room, "health/people")["synthetic-00000.parquet"], server)
    bad = verify()
    assert bad.exit_code == 1
    assert "synthetic-00000.parquet: its object has another SHA-256" in bad.output
    credentials(room.instance.data, "another-key")
    refused = verify()
    assert refused.exit_code == 1
    assert "refuses the credentials" in refused.output
    assert "backup" not in refused.output
    (room.instance.data / "s3-credentials").unlink()
    assert "s3-credentials cannot be read" in verify().output


# -- through the doors -----------------------------------------------------------------------------------------------


@pytest.fixture
def served(instance: Instance, server: S3, signer: Any) -> Iterator[Running]:
    one = Running(instance, signer)
    yield one
    if one.process.poll() is None:
        assert one.end() == 0


def test_a_vault_as_a_process_serves_from_there_and_says_no_secret(
    served: Running, server: S3, instance: Instance, signer: Any, people: pl.DataFrame
) -> None:
    served.publish("health/people", people)
    claims = Room.read_claims(served, "health/people", ["age"])  # type: ignore[arg-type] # it needs the signer alone
    answer, fds = served.read(claims)
    assert answer["ok"], answer
    assert pl.read_ipc(memfd.path(fds[0]))["age"].to_list() == people["age"].to_list()
    os.close(fds[0])
    server.close()
    about = {"dataset": "health/more", "version": 1, "format": "csv", "label": "confidential"}
    refused = served.call("PUT", "/v1/datasets/health/more/1", "ingest", people.write_csv().encode(), **about)
    assert (refused.status_code, refused.json()["title"]) == (503, "The object store cannot be asked now")
    server.start()
    served.publish("health/more", people)
    assert SECRET not in served.log.read_text()
    assert SECRET.encode() not in Path(f"/proc/{served.process.pid}/environ").read_bytes()


def test_a_vault_killed_in_the_middle_of_an_upload_leaves_nothing(
    served: Running, server: S3, people: pl.DataFrame
) -> None:
    served.publish("health/people", people)
    whole = set(server.objects)
    arrived = threading.Event()

    def hold(method: str, _: str) -> str | None:
        if method != "PUT":
            return None
        if not arrived.is_set():
            arrived.set()
            return None
        return "silent"

    server.fault = hold
    about = {"dataset": "health/more", "version": 1, "format": "csv", "label": "confidential"}

    def send() -> None:
        with contextlib.suppress(Exception):
            served.call("PUT", "/v1/datasets/health/more/1", "ingest", people.write_csv().encode(), **about)

    sender = threading.Thread(target=send)
    sender.start()
    deadline = time.monotonic() + 60
    while len(server.objects) == len(whole) and time.monotonic() < deadline:
        time.sleep(0.01)
    served.end(signal.SIGKILL)
    sender.join()
    assert len(server.objects) == len(whole) + 1
    server.fault = lambda _method, _name: None
    served.process = served.start()
    assert set(server.objects) == whole
    served.publish("health/more", people)
