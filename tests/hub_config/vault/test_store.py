from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet.encryption as parquet_encryption
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from endings import STRIDES, EndError, How, limited
from pyarrow import parquet
from strongroom_hub.problems import Problem
from strongroom_hub.vault import ingest, partwriter, views
from strongroom_hub.vault.jobs import ViewJob
from strongroom_hub.vault.manifest import FOOTER, TABLE, aad_prefix, digest
from strongroom_hub.vault.service import Vault
from strongroom_hub.vault.tickets import View
from strongroom_hub.vault.wrapped import wrap_all

from tests.hub_config.vault.conftest import begun


def fails(room: Any, name: str, *words: str) -> None:
    """Reading and verifying both refuse, naming the file."""
    for attempt in (lambda: room.frame(name, ["age"]), lambda: room.vault.store.verify(name, 1)):
        with pytest.raises(Problem) as refused:
            attempt()
        assert refused.value.slug == "dataset-damaged"
        assert all(word in refused.value.detail for word in words), refused.value.detail


def test_no_plaintext_value_lies_anywhere(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    room.stage(people.head(30).write_csv().encode(), sources=[room.view("health/people", ["age"])])
    for file in [path for path in room.instance.data.parent.rglob("*") if path.is_file()]:
        content = file.read_bytes()
        assert b"Zephyrine" not in content, file
        assert b"31415" not in content, file
        assert struct.pack("<d", 31415.25) not in content, file
    for folder in [path for path in room.instance.vault_dir.rglob("*") if path.is_dir()]:
        assert folder.stat().st_mode & 0o077 == 0, folder


def test_each_column_has_a_key_of_its_own(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    published = room.vault.store.open("health/people", 1)
    keys = published.unwrap(people.columns, room.vault.keys)
    assert set(keys) == {FOOTER, *people.columns}
    assert len(set(keys.values())) == 5
    assert {len(key) for key in keys.values()} == {32}


def test_a_withheld_key_keeps_its_column_shut(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    published = room.vault.store.open("health/people", 1)
    allowed = ViewJob.prepare(published, View.model_validate(room.view("health/people", ["age"])), room.vault.keys)
    assert set(allowed.keys) == {FOOTER, "age"}
    greedy = ViewJob(allowed.folder, allowed.manifest, ["age", "person"], {}, [], allowed.keys, "")
    with pytest.raises(Problem, match="does not decrypt"):
        views.collect_view(greedy)


def test_a_mask_that_hides_everything_needs_no_key(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    masks = {"person": {"method": "redact"}, "income": {"method": "null"}}
    view = View.model_validate(room.view("health/people", ["person", "income", "age"], masks=masks))
    job = ViewJob.prepare(room.vault.store.open("health/people", 1), view, room.vault.keys)
    assert set(job.keys) == {FOOTER, "age"}
    assert views.collect_view(job)["income"].null_count() == 60


def test_a_column_written_without_key_is_noticed(tmp_path: Path, people: pl.DataFrame) -> None:
    """polars writes columns without a key in plaintext when others have one."""
    keys = {name: os.urandom(32) for name in ("", "age")}
    partly = pl.ParquetEncryptionProperties(footer_key=keys[FOOTER], column_keys={"age": keys["age"]}, aad_prefix=b"a")
    file = tmp_path / "part.parquet"
    people.write_parquet(file, encryption=partly)
    assert (
        b"Zephyrine-0000"
        in pl.read_parquet(
            file,
            decryption=pl.ParquetDecryptionProperties(footer_key=keys[FOOTER], aad_prefix=b"a"),
            columns=["person"],
        )["person"][0].encode()
    )
    with pytest.raises(Problem, match="column 'person' could be read without its key"):
        partwriter.prove_encrypted(people.columns, file, keys[FOOTER], b"a")


def test_plaintext_in_place_of_a_part_is_refused(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    people.write_parquet(room.part("health/people"))
    fails(room, "health/people", "part-00000.parquet", "not an encrypted Parquet file")


def test_the_mode_that_notices_no_change_is_refused(room: Any, people: pl.DataFrame) -> None:
    """AES_GCM_CTR_V1 hands out changed pages silently; not even a signed manifest makes the vault read it."""
    manifest = room.publish("health/people", people)
    part = room.part("health/people")
    how = {"aad_prefix": b"health/people/1/part-00000.parquet", "store_aad_prefix": False}
    for algorithm, words in (("AES_GCM_CTR_V1", "another way than AES_GCM_V1"), ("AES_GCM_V1", "does not decrypt")):
        encryption = parquet_encryption.create_encryption_properties(
            footer_key=bytes(32), encryption_algorithm=algorithm, **how
        )
        parquet.write_table(people.to_arrow(), part, encryption_properties=encryption)
        described = {"sha256": hashlib.sha256(part.read_bytes()).hexdigest(), "bytes": part.stat().st_size}
        signed = manifest | {"parts": [manifest["parts"][0] | described]}
        (room.folder("health/people") / "manifest.jws").write_text(room.signer.activate(signed))
        with pytest.raises(Problem, match=words) as refused:
            room.frame("health/people", ["age"])
        assert "part-00000.parquet" in refused.value.detail


def test_a_part_swapped_between_two_reads_of_one_process_is_noticed(
    room: Any, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A re-used LazyFrame keeps footers of what is gone; each reading here opens and hashes anew."""
    _two_parts(room, people, monkeypatch)
    view = View.model_validate(room.view("health/people", ["age"]))
    job = ViewJob.prepare(room.vault.store.open("health/people", 1), view, room.vault.keys)
    assert views.collect_view(job).height == 60
    part = room.part("health/people")
    part.write_bytes(part.with_name("part-00001.parquet").read_bytes())
    with pytest.raises(Problem, match=r"part-00000\.parquet"):
        views.collect_view(job)


def test_plaintext_with_encrypted_ends_is_refused(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    part = room.part("health/people")
    people.write_parquet(part)
    plain = part.read_bytes()
    part.write_bytes(b"PARE" + plain[4:-4] + b"PARE")
    fails(room, "health/people", "part-00000.parquet")


def test_bit_flips_anywhere_are_refused(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    part = room.part("health/people")
    whole = part.read_bytes()
    for at in [0, 5, *range(9, len(whole), len(whole) // 12), len(whole) - 1]:
        part.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(Problem, match="part-00000"):
            room.vault.store.verify("health/people", 1)
    part.write_bytes(whole)
    assert room.frame("health/people", ["age"]).height == 60


def test_gcm_catches_flips_where_only_the_cipher_looks(tmp_path: Path, people: pl.DataFrame) -> None:
    """AES_GCM_CTR_V1 would hand out changed data silently; what we write must not."""
    manifest, keys = ingest.write_parts([people], dict(people.schema), tmp_path, "a/b", 1, "secret")
    file = tmp_path / manifest.parts[0].name
    whole = file.read_bytes()
    columns = {name: key for name, key in keys.items() if name != FOOTER}
    decryption = pl.ParquetDecryptionProperties(
        footer_key=keys[FOOTER], column_keys=columns, aad_prefix=aad_prefix("a/b", 1, file.name)
    )
    caught = 0
    for at in range(8, len(whole) - 8, max(1, len(whole) // 60)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            same = pl.read_parquet(file, decryption=decryption, glob=False).equals(people)
        except pl.exceptions.PolarsError:
            caught += 1
        else:
            assert same, f"a flip at byte {at} changed the data silently"
    assert caught > 40


def test_swapped_parts_are_refused(room: Any, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, _ = _two_parts(room, people, monkeypatch)
    folder = room.folder("health/people")
    one, two = (folder / part["name"] for part in manifest["parts"])
    spare = folder / "spare"
    one.rename(spare)
    two.rename(one)
    spare.rename(two)
    fails(room, "health/people", "part-00000.parquet")
    # even with a manifest that lists them so, they open only in their own place
    parts = manifest["parts"]
    swapped = [{**parts[1], "name": parts[0]["name"]}, {**parts[0], "name": parts[1]["name"]}]
    (folder / "manifest.jws").write_text(room.signer.activate({**manifest, "parts": swapped}))
    with pytest.raises(Problem, match="does not decrypt"):
        room.frame("health/people", ["age"])


def _two_parts(room: Any, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], Any]:
    """A version in two parts, built in this process because the part size lives in the worker's."""
    monkeypatch.setattr(partwriter, "ROWS_PER_PART", 30)
    store = room.vault.store
    folder = begun(store, "health/people", 1)
    manifest, keys = ingest.write_parts([people], dict(people.schema), folder, "health/people", 1, "confidential")
    store.complete(folder, manifest, wrap_all(room.vault.keys, "health/people", 1, {TABLE: keys}))
    store.publish("health/people", 1, room.signer.activate(manifest.model_dump()))
    return manifest.model_dump(), keys


def test_two_parts_read_as_one_table(room: Any, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    _two_parts(room, people, monkeypatch)
    masks = {"income": {"method": "null"}}
    frame = room.frame("health/people", ["person", "age", "income"], masks=masks)
    assert frame["person"].to_list() == people["person"].to_list()
    assert frame["income"].null_count() == 60


def test_a_missing_part_and_a_link_in_its_place_are_refused(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    part = room.part("health/people")
    elsewhere = room.instance.vault_dir / "elsewhere"
    part.rename(elsewhere)
    fails(room, "health/people", "part-00000.parquet", "missing")
    part.symlink_to(elsewhere)
    fails(room, "health/people", "part-00000.parquet")


def test_another_version_in_place_is_refused(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    room.publish("health/others", people)
    shutil.rmtree(room.folder("health/people"))
    shutil.copytree(room.folder("health/others"), room.folder("health/people"))
    fails(room, "health/people", "manifest.jws", "health/others")


def test_an_older_part_with_its_older_manifest_does_not_open_with_today_s_keys(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    folder = room.folder("health/people")
    old = folder.with_name("old")
    folder.rename(old)
    room.publish("health/people", people.with_columns(pl.col("age") + 1))
    for name in ("manifest.jws", "part-00000.parquet"):
        shutil.copy(old / name, folder / name)
    with pytest.raises(Problem, match="not the one that control made active"):
        room.frame("health/people", ["age"])
    room.signer.active["health/people", 1] = digest((folder / "manifest.jws").read_text())
    with pytest.raises(Problem, match="does not decrypt"):
        room.frame("health/people", ["age"])


def test_another_signer_s_manifest_is_refused(room: Any, people: pl.DataFrame) -> None:
    manifest = room.publish("health/people", people)
    forged = type(room.signer)(Ed25519PrivateKey.generate()).manifest({**manifest, "label": "public"})
    (room.folder("health/people") / "manifest.jws").write_text(forged)
    fails(room, "health/people", "manifest.jws", "InvalidSignature")


@pytest.mark.parametrize("harm", ["swap", "gone", "twice", "rubbish", "unknown-kek"])
def test_changed_wrapped_keys_are_refused(room: Any, people: pl.DataFrame, harm: str) -> None:
    room.publish("health/people", people)
    file = room.folder("health/people") / "keys.json"
    keys = json.loads(file.read_text())
    by_name = {one["name"]: one for one in keys["keys"]}
    if harm == "swap":
        by_name["age"]["name"], by_name["income"]["name"] = "income", "age"
    elif harm == "gone":
        keys["keys"].remove(by_name["age"])
    elif harm == "twice":
        keys["keys"].append(by_name["age"])
    elif harm == "unknown-kek":
        by_name["age"]["kek"] = "local:9"
    file.write_text("[" if harm == "rubbish" else json.dumps(keys))
    with pytest.raises(Problem) as refused:
        room.frame("health/people", ["age"])
    assert refused.value.slug in {"dataset-damaged", "key-refused"}


def test_an_older_folder_put_back_whole_is_refused(room: Any, people: pl.DataFrame) -> None:
    """Signed, complete and with its own keys: only the ticket knows that another manifest is active."""
    room.publish("health/people", people)
    folder = room.folder("health/people")
    shutil.copytree(folder, folder.with_name("old"))
    shutil.rmtree(folder)
    room.publish("health/people", people.with_columns(pl.col("age") + 1))
    shutil.rmtree(folder)
    folder.with_name("old").rename(folder)
    with pytest.raises(Problem, match="not the one that control made active") as refused:
        room.frame("health/people", ["age"])
    assert refused.value.slug == "dataset-damaged"
    with pytest.raises(Problem, match="not the one that control made active"):
        room.vault.store.verify("health/people", 1, active=room.signer.digest("health/people"))


def test_a_file_that_nobody_signed_for_is_named(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    shutil.copy(room.part("health/people"), room.folder("health/people") / "part-00001.parquet")
    fails(room, "health/people", "part-00001.parquet", "does not name this file")


def test_publish_takes_only_the_draft_s_own_manifest(room: Any, people: pl.DataFrame) -> None:
    manifest = room.ingest("health/people", people)
    store = room.vault.store
    for change in (
        {"rows": 59},
        {"columns": manifest["columns"][:2]},
        {"version": 2},
        {"parts": manifest["parts"] * 2},
    ):
        with pytest.raises(Problem) as refused:
            store.publish("health/people", 1, room.signer.manifest({**manifest, **change}))
        assert refused.value.slug in {"manifest-differs", "bad-manifest"}
    with pytest.raises(Problem, match="extra"):
        store.publish("health/people", 1, room.signer.manifest({**manifest, "extra": 1}))
    with pytest.raises(Problem, match="no published version"):
        room.frame("health/people", ["age"])
    decided = [{**column, "tags": ["sensitive"]} for column in manifest["columns"]]
    signed = room.signer.activate(manifest | {"label": "secret", "columns": decided, "sources": ["health/raw@3"]})
    store.publish("health/people", 1, signed)
    store.publish("health/people", 1, signed)  # a caller that saw no answer may ask again
    assert room.frame("health/people", ["age"]).height == 60


def test_a_new_label_is_a_newer_signature_over_the_same_data(room: Any, people: pl.DataFrame) -> None:
    manifest = room.publish("health/people", people)
    store = room.vault.store
    before = (room.folder("health/people") / "manifest.jws").read_text()
    store.publish("health/people", 1, room.signer.activate(manifest | {"label": "secret"}))
    assert store.open("health/people", 1).manifest.label == "secret"
    assert room.frame("health/people", ["age"]).height == 60
    with pytest.raises(Problem, match="newer than this one"):
        store.publish("health/people", 1, before)
    with pytest.raises(Problem, match="Versions never change"):
        store.publish("health/people", 1, room.signer.manifest(manifest | {"rows": 59}))
    assert store.verify("health/people", 1).label == "secret"


def test_a_published_version_never_changes(room: Any, people: pl.DataFrame) -> None:
    room.publish("health/people", people)
    with pytest.raises(Problem, match="Versions never change"):
        room.ingest("health/people", people)
    with pytest.raises(Problem, match="Versions never change"):
        room.vault.store.retire("health/people", 1)
    assert room.vault.store.datasets() == [("health/people", 1)]


def test_a_draft_can_be_replaced_and_retired(room: Any, people: pl.DataFrame) -> None:
    first = room.ingest("health/people", people)
    room.ingest("health/people", people.head(30))
    with pytest.raises(Problem, match="not that of the draft"):
        room.vault.store.publish("health/people", 1, room.signer.manifest(first))
    room.vault.store.retire("health/people", 1)
    with pytest.raises(Problem, match="no draft"):
        room.vault.store.retire("health/people", 1)
    assert [path.name for path in (room.instance.vault_dir / "store" / "health" / "people").iterdir()] == []


def test_what_a_killed_vault_left_is_swept_and_a_whole_draft_is_kept(room: Any, people: pl.DataFrame) -> None:
    manifest = room.ingest("health/people", people)
    unfinished = begun(room.vault.store, "health/people", 1)
    (unfinished / "part-00000.parquet").write_bytes(b"PARE half")
    room.vault.close()
    again = Vault(room.instance)
    again.start()
    assert not unfinished.exists()
    assert again.store.datasets() == []
    again.store.publish("health/people", 1, room.signer.manifest(manifest))
    assert again.store.datasets() == [("health/people", 1)]
    again.close()


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("how", ["end", "full"])
def test_taking_in_and_publishing_can_end_anywhere(
    room: Any, people: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, how: How, stride: int
) -> None:
    """At each durable write once: nothing half-visible, what was published stays, and doing it again works."""
    room.publish("health/others", people)
    vault, failed, step = room.vault, True, 0

    def take_in() -> None:
        folder = begun(vault.store, "health/people", 1)
        manifest, keys = ingest.write_parts([people], dict(people.schema), folder, "health/people", 1, "secret")
        vault.store.complete(folder, manifest, wrap_all(vault.keys, "health/people", 1, {TABLE: keys}))
        vault.store.publish("health/people", 1, room.signer.activate(manifest.model_dump()))

    while failed:
        shutil.rmtree(room.instance.vault_dir / "store" / "health" / "people", ignore_errors=True)
        with monkeypatch.context() as patch:
            remaining = limited(patch, step, how)
            with contextlib.suppress(EndError, OSError, Problem):
                take_in()
            failed, step = remaining[0] < 0, step + stride
        again = Vault(room.instance)
        again.sweep()
        assert again.store.verify("health/others", 1).rows == 60
        there = ("health/people", 1) in again.store.datasets()
        assert there or failed
        if not there:
            take_in()
        assert again.store.verify("health/people", 1, active=room.signer.digest("health/people")).rows == 60
        left = {path.name for path in (room.instance.vault_dir / "store" / "health" / "people").iterdir()}
        assert left == {"1"}
        again.close()
    assert step > 8


@pytest.mark.parametrize("name", ["../keys", "health", "health/../people", "Health/People", "a/b/c", "a/.ingest-1"])
def test_names_that_leave_the_store_are_unknown(room: Any, name: str) -> None:
    with pytest.raises(Problem) as refused:
        room.vault.store.open(name, 1)
    assert refused.value.status == 404


@pytest.mark.parametrize("name", ["../outside", "../../outside", "a/../../outside", "/tmp/outside"])
def test_nothing_is_written_beside_the_store(room: Any, name: str) -> None:
    before = {path for path in room.instance.data.rglob("*") if "outside" in str(path)}
    with pytest.raises(Problem):
        begun(room.vault.store, name, 1)
    assert before == {path for path in room.instance.data.rglob("*") if "outside" in str(path)} == set()
