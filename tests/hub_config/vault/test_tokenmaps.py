"""Token maps: one token for ever, none out of the vault that is not in the map, whatever dies in between."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom_hub.problems import Problem
from strongroom_hub.vault import durable, masks, views
from strongroom_hub.vault.jobs import ViewJob
from strongroom_hub.vault.tickets import IdentifyTicket, KeyTicket, Plain, ReadTicket, View
from strongroom_hub.vault.tokenmaps import Place, TokenMap
from strongroom_hub.vault.tokens import Domain, form_of

NAME = "health/people"
TOKEN = {"method": "token"}
KEY = "ab" * 32


def shown(room: Any, columns: list[str], *masked: str, name: str = NAME, **changed: Any) -> pl.DataFrame:
    """The view as a reader in this process makes it."""
    view = View.model_validate(room.view(name, columns, masks=dict.fromkeys(masked, TOKEN), **changed))
    published = room.vault.store.open(name, 1)
    job = ViewJob.prepare(published, view, room.vault.keys, token_maps=room.vault.token_maps)
    assert ViewJob.from_json(job.as_json()) == job
    return views.collect_view(job)


@pytest.fixture
def filled(room: Any, people: pl.DataFrame) -> Any:
    room.publish(NAME, people)
    return room


def maps(room: Any) -> Path:
    folder: Path = room.instance.vault_dir / "tokens"
    return folder


def mapped(room: Any, project: str = "cardio", domain: Domain = Domain.TEXT) -> TokenMap:
    return TokenMap(room.vault.token_maps.of(project), room.vault.keys.project_key(project), domain)


def test_a_column_is_shown_as_tokens_in_its_order_and_type(filled: Any, people: pl.DataFrame) -> None:
    columns = ["person", "visits", "income", "age"]
    frame = shown(filled, columns, "person", "visits", "income")
    assert [str(dtype) for dtype in frame.dtypes] == ["String", "Int64", "String", "Int64"]
    for column in ("person", "visits", "income"):
        pairs = set(zip(people[column], frame[column], strict=True))
        assert len(pairs) == people[column].n_unique() == frame[column].n_unique()
        assert people[column].is_null().equals(frame[column].is_null())
    for value, token in zip(people["person"], frame["person"], strict=True):
        assert form_of(token, Domain.TEXT) == form_of(value, Domain.TEXT) == "Aaaaaaaaa-0000-Aaaa"
    assert not set(people["person"]) & set(frame["person"])
    assert frame["age"].equals(people["age"])


def test_a_value_has_one_token_in_all_reads_columns_and_datasets_of_a_project(filled: Any) -> None:
    more = pl.DataFrame({"who": [f"Zephyrine-{n:04d}-Quux" for n in range(70)], "n": range(70)})
    filled.publish("health/more", more)
    first = shown(filled, ["person", "age"], "person")
    part = shown(filled, ["age", "person"], "person", rows=["age >= 60"])
    assert part["person"].to_list() == first.filter(pl.col("age") >= 60)["person"].to_list()
    other = shown(filled, ["who"], "who", name="health/more")["who"]
    assert other[:60].equals(first["person"].rename("who"))
    assert other.n_unique() == 70
    by_worker = filled.frame(NAME, ["person"], masks={"person": TOKEN})
    assert by_worker["person"].equals(first["person"])


def test_another_project_has_other_tokens_and_another_map(filled: Any) -> None:
    mine, theirs = shown(filled, ["person"], "person"), shown(filled, ["person"], "person", project="neuro")
    assert not set(mine["person"]) & set(theirs["person"])
    assert len([folder for folder in maps(filled).iterdir() if folder.is_dir()]) == 2
    # the same map under another project's key knows nobody
    strange = TokenMap(filled.vault.token_maps.of("cardio"), filled.vault.keys.project_key("neuro"), Domain.TEXT)
    assert not set(strange.tokens(pl.Series(["Zephyrine-0001-Quux"]))) & set(mine["person"])


def test_a_column_of_missing_values_or_no_rows_needs_no_token(room: Any) -> None:
    room.publish(NAME, b"a,b\n,1\n,2\n")
    assert shown(room, ["a", "b"], "a")["a"].to_list() == [None, None]
    assert shown(room, ["b"], "b", rows=["b > 5"]).height == 0
    assert not list(maps(room).glob("*/*.tokens"))


def test_only_what_is_shown_gets_a_token_and_no_order_is_kept(filled: Any) -> None:
    shown(filled, ["person"], "person", rows=["age < 50"])
    with mapped(filled)._map(1) as (segments, table):
        assert (len(segments), table.height) == (1, 30)
        assert table["digest"].is_sorted()
    shown(filled, ["person"], "person")
    with mapped(filled)._map(1) as (segments, table):
        assert table.height == 60
        assert table["digest"].is_sorted()  # one segment again: of two equal ones neither says which was first


def test_nothing_on_disk_tells_a_value_or_a_token(filled: Any, people: pl.DataFrame) -> None:
    frame = shown(filled, ["person"], "person")
    words = [text.encode() for text in [*people["person"], *frame["person"]]]
    files = [file for file in filled.instance.data.rglob("*") if file.is_file()]
    assert any(file.suffix == ".tokens" for file in files)
    for file in files:
        content = file.read_bytes()
        assert not any(word in content for word in words), file


def test_changed_swapped_and_missing_files_are_refused_by_name(filled: Any) -> None:
    shown(filled, ["person", "age"], "person", "age")
    shown(filled, ["person"], "person", project="neuro")
    (folder,) = [file.parent for file in maps(filled).glob("*/number-*.tokens")]
    (other,) = [one for one in maps(filled).iterdir() if one.is_dir() and one != folder]
    segment = next(folder.glob("text-*.tokens"))
    theirs, key = next(other.glob("text-*.tokens")), (folder / "key.json").read_bytes()
    attacks = [
        (segment, segment.read_bytes()[:-1] + b"\0"),
        (segment, segment.read_bytes()[:-40]),
        (segment, theirs.read_bytes()),
        (segment, None),
        (folder / "text.head", (folder / "number.head").read_bytes()),
        (folder / "text.head", (other / "text.head").read_bytes()),
        (folder / "text.head", None),
        (folder / "key.json", b"{}"),
        (folder / "key.json", (other / "key.json").read_bytes()),
        (folder / "key.json", None),
    ]
    for file, content in attacks:
        before = file.read_bytes()
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        with pytest.raises(Problem) as refused:
            shown(filled, ["person"], "person")
        assert refused.value.slug in {"token-map-damaged", "key-refused"}
        file.write_bytes(before)
    assert (folder / "key.json").read_bytes() == key
    assert shown(filled, ["person"], "person").height == 60


def test_keys_of_maps_are_exchanged_and_keep_a_generation_alive(filled: Any) -> None:
    first = shown(filled, ["person"], "person")
    room = filled.vault.key_room
    old = room.status()["current"]
    held = room.status()["wrapped"][old]
    room.rotate()
    with pytest.raises(Problem, match="still opens something"):
        room.destroy(old)
    assert room.rekey()["exchanged"] == held
    room.destroy(old)
    assert shown(filled, ["person"], "person").equals(first)


def test_a_view_that_may_not_grow_far_still_gets_its_tokens(filled: Any) -> None:
    """The wall around the memory file is none around the map."""
    filled.publish("health/many", pl.DataFrame({"who": [f"Subject-{n:08d}" for n in range(20_000)]}))
    frame = filled.frame("health/many", ["who"], masks={"who": TOKEN}, max_bytes=900_000)
    assert frame["who"].n_unique() == 20_000
    assert next(maps(filled).glob("*/text-*.tokens")).stat().st_size > 900_000


def test_streams_show_the_same_tokens(filled: Any) -> None:
    whole = shown(filled, ["person"], "person")
    view = View.model_validate(filled.view(NAME, ["person"], masks={"person": TOKEN}))
    job = ViewJob.prepare(filled.vault.store.open(NAME, 1), view, filled.vault.keys, token_maps=filled.vault.token_maps)
    with views.open_view(job) as opened:
        pieces = list(views.batches(job, opened, views.Wish(rows=7), 1 << 20))
    assert pl.concat(pieces).equals(whole)


TYPES: list[tuple[pl.DataType, st.SearchStrategy[Any]]] = [
    (pl.String(), st.text(max_size=12)),
    (pl.Categorical(), st.text(min_size=1, max_size=4)),
    (pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
    (pl.Int8(), st.integers(-128, 127)),
    (pl.UInt64(), st.integers(0, 2**64 - 1)),
    (pl.Float64(), st.floats(allow_nan=False)),
]


@given(
    st.sampled_from(TYPES).flatmap(lambda one: st.tuples(st.just(one[0]), st.lists(st.none() | one[1], max_size=20)))
)
@settings(max_examples=60, deadline=None)
def test_tokens_are_as_different_as_values_missing_where_these_are_and_the_same_again(
    case: tuple[pl.DataType, list[Any]],
) -> None:
    dtype, values = case
    frame = pl.DataFrame({"c": pl.Series(values, dtype=dtype, strict=False)})
    with tempfile.TemporaryDirectory() as folder:
        one = TokenMap(place(Path(folder)), KEY, Domain.of(dtype))

        def masked(column: pl.DataFrame) -> pl.Series:
            kept = column.select(masks.for_tokens("c", dtype).unique().drop_nulls())["c"]
            theirs = one.tokens(kept.cast(pl.String)).cast(kept.dtype)
            wanted = {"c": Plain(method="token")}
            plan = masks.masked(["c"], wanted, column.schema, keys=masks.Keys(), caps={}, tokens={"c": (kept, theirs)})
            return column.lazy().with_columns(plan).collect()["c"]

        shown = masked(frame)
        again = masked(frame.reverse()).reverse()
        nothing = masked(frame.clear())
    assert shown.dtype == nothing.dtype == (frame["c"].dtype if dtype in (pl.Int64, pl.UInt64) else shown.dtype)
    assert shown.equals(again, null_equal=True)
    assert shown.is_null().equals(frame["c"].is_null())
    pairs = {(was, now) for was, now in zip(frame["c"].cast(pl.String), shown, strict=True) if was is not None}
    assert len({was for was, _ in pairs}) == len({now for _, now in pairs}) == len(pairs)


def test_exports_are_compared_with_what_was_seen_as_tokens(room: Any, microdata: pl.DataFrame) -> None:
    """By a worker of its own, which may meet values that nobody was shown before."""
    room.publish("health/micro", microdata)
    view = room.view("health/micro", microdata.columns, masks={"person": TOKEN})
    seen = room.frame("health/micro", microdata.columns, masks={"person": TOKEN}, rows=["age < 50"])
    receipt = room.stage(seen.head(60).write_csv().encode(), sources=[view])
    (found,) = [one for one in receipt["findings"] if one["check"] == "row-overlap"]
    assert found["severity"] == "block"
    receipt = room.stage(seen.select("person").head(60).write_csv().encode(), sources=[view])
    assert [one["severity"] for one in receipt["findings"] if one["check"] == "row-overlap"] == ["block"]


def place(tmp_path: Path) -> Place:
    made = Place(tmp_path, b"k" * 32)
    for domain in Domain:
        made.write(f"{domain}.head", b"[]")
    return made


def test_small_additions_do_not_pile_up(tmp_path: Path) -> None:
    one = TokenMap(place(tmp_path), KEY, Domain.TEXT)
    given: dict[str, str] = {}
    for number in range(60):
        values = [f"value-{number:03d}-{at}" for at in range(1 + number % 3)]
        given |= zip(values, one.tokens(pl.Series(values)), strict=True)
    assert len(list(tmp_path.glob("text-*.tokens"))) <= 8
    assert one.tokens(pl.Series(list(given))).to_list() == list(given.values())
    assert len(set(given.values())) == len(given)


def test_a_map_from_an_older_backup_gives_the_same_tokens_again(tmp_path: Path) -> None:
    folder, backup = tmp_path / "map", tmp_path / "backup"
    folder.mkdir()
    made = place(folder)
    old = pl.Series([f"old-{number:06d}" for number in range(200)])
    new = pl.Series([f"new-{number:06d}" for number in range(300)])
    before = TokenMap(made, KEY, Domain.TEXT).tokens(old)
    shutil.copytree(folder, backup)
    lost = TokenMap(made, KEY, Domain.TEXT).tokens(new)
    shutil.rmtree(folder)
    backup.rename(folder)
    one = TokenMap(made, KEY, Domain.TEXT)
    assert one.tokens(new[::-1])[::-1].equals(lost)
    assert one.tokens(old).equals(before)


def test_a_full_disk_gives_no_token_and_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = TokenMap(place(tmp_path), KEY, Domain.TEXT)
    old = pl.Series([f"old-{number:05d}" for number in range(50)])
    first = one.tokens(old)
    for writes in range(2):
        left = [writes]

        def full(*arguments: Any, left: list[int] = left) -> None:
            if not left[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            left[0] -= 1
            durable.write_durably(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr("strongroom_hub.vault.tokenmaps.replace_durably", full)
            with pytest.raises(OSError, match="No space"):
                one.tokens(pl.Series(["new-00001"]))
        assert one.tokens(old).equals(first)
    assert one.tokens(pl.Series(["new-00001"])).len() == 1
    assert one.tokens(old).equals(first)
    with one._map(1) as (segments, _):  # what was left half-done is gone
        assert {file.name for file in tmp_path.glob("text-*.tokens")} == {segment.name for segment in segments}


def test_many_at_once_agree(tmp_path: Path) -> None:
    made = place(tmp_path)
    values = [[f"subject-{number:04d}" for number in range(start, start + 300)] for start in (0, 100, 200, 50)]
    results: list[dict[str, str]] = []

    def read(mine: list[str]) -> None:
        found = TokenMap(made, KEY, Domain.TEXT).tokens(pl.Series(mine))
        results.append(dict(zip(mine, found, strict=True)))

    threads = [threading.Thread(target=read, args=(mine,)) for mine in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together: dict[str, str] = {}
    for result in results:
        assert all(together.get(value, token) == token for value, token in result.items())
        together |= result
    assert len(results) == 4
    assert len(set(together.values())) == len(together) == 500
    with TokenMap(made, KEY, Domain.TEXT)._map(1) as (_, table):
        assert sorted(table["token"]) == sorted(together.values())


TELLER = """
import sys
from pathlib import Path
import polars as pl
from strongroom_hub.vault.tokenmaps import Place, TokenMap
from strongroom_hub.vault.tokens import Domain
one = TokenMap(Place(Path(sys.argv[1]), b"k" * 32), "ab" * 32, Domain.TEXT)
number = int(sys.argv[2])
while True:
    values = [f"subject-{n:07d}" for n in range(number, number + 400)]
    tokens = one.tokens(pl.Series(values))
    sys.stdout.write("".join(f"{value} {token}\\n" for value, token in zip(values, tokens, strict=True)))
    sys.stdout.flush()
    number += 250
"""


def killed(folder: Path, start: int, seconds: float, told: Path) -> None:
    """Somebody who tells tokens as soon as it knows them, killed some time after its first."""
    with told.open("ab") as out:
        teller = subprocess.Popen([sys.executable, "-c", TELLER, str(folder), str(start)], stdout=out)
        before = told.stat().st_size
        deadline = time.monotonic() + 60
        while told.stat().st_size == before and teller.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(seconds)
        teller.send_signal(signal.SIGKILL)
        teller.wait()


def kills(tmp_path: Path, times: int) -> None:
    folder, told = tmp_path / "map", tmp_path / "told"
    folder.mkdir()
    made = place(folder)
    told.touch()
    chance = random.Random(times)
    for round_ in range(times):
        killed(folder, 1000 * round_, chance.random() * 0.6, told)
    lines = [line.split() for line in told.read_text().splitlines(keepends=True) if line.endswith("\n")]
    pairs = dict(pair for pair in lines if len(pair) == 2)
    assert len(pairs) > 300 * times
    assert len(set(pairs.values())) == len(pairs)
    one = TokenMap(made, KEY, Domain.TEXT)
    with one._map(1) as (_, table):
        assert table["token"].is_unique().all()
        assert table["digest"].is_unique().all()
        assert set(pairs.values()) <= set(table["token"])
    assert one.tokens(pl.Series(list(pairs))).to_list() == list(pairs.values())


@pytest.mark.timeout(300)
def test_whatever_was_told_before_a_kill_is_in_the_map(tmp_path: Path) -> None:
    kills(tmp_path, 4)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_whatever_was_told_before_two_hundred_kills_is_in_the_map(tmp_path: Path) -> None:
    kills(tmp_path, 200)


def test_a_read_whose_worker_is_killed_leaves_a_map_that_holds_all_that_anybody_saw(room: Any) -> None:
    rows = 60_000
    room.publish(NAME, pl.DataFrame({"who": [f"Subject-{n:08d}" for n in range(rows)], "n": range(rows)}))
    chance = random.Random(5)
    seen: dict[str, str] = {}
    for attempt in range(6):
        stop = threading.Event()

        def kill(wait: float = chance.random() * 1.5, stop: threading.Event = stop) -> None:
            while not room.vault.workers.busy and not stop.is_set():
                time.sleep(0.001)
            stop.wait(wait)
            for pid in list(room.vault.workers.busy):
                os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            frame = room.frame(NAME, ["who", "n"], masks={"who": TOKEN}, rows=[f"n < {10_000 * (attempt + 1)}"])
        except Problem as problem:
            if problem.slug != "worker-died":
                raise
        else:
            for number, token in zip(frame["n"], frame["who"], strict=True):
                assert seen.setdefault(f"Subject-{number:08d}", token) == token
        finally:
            stop.set()
            killer.join()
    final = room.frame(NAME, ["who", "n"], masks={"who": TOKEN})
    assert final["who"].n_unique() == rows
    assert all(final["who"][int(value[8:])] == token for value, token in seen.items())


def identify(room: Any, tokens: list[str], **changed: Any) -> dict[str, str]:
    """What control is told, by a ticket that is checked as at the door."""
    claims = room.view(NAME, ["person"]) | {
        "tokens": tokens,
        "asked_by": "user:ada",
        "agreed_by": "user:bob",
        "entry": 7,
    }
    token = room.signer.token("identify", **(claims | changed))
    found: dict[str, str] = room.vault.identify(room.vault.tickets.verify(token, IdentifyTicket))
    return found


def test_tokens_are_turned_back_through_the_column_and_the_rows_that_the_ticket_names(filled: Any) -> None:
    frame = shown(filled, ["person", "visits", "age"], "person", "visits")
    tokens = frame["person"].to_list()
    assert identify(filled, tokens[:2]) == {tokens[0]: "Zephyrine-0000-Quux", tokens[1]: "Zephyrine-0001-Quux"}
    (visit,) = set(frame.filter(pl.col("age") == 21)["visits"].cast(pl.String))
    assert identify(filled, [visit], columns=["visits"]) == {visit: "1"}
    assert identify(filled, tokens[:3], rows=["age >= 22"]) == {tokens[2]: "Zephyrine-0002-Quux"}


def test_what_is_no_token_of_this_project_and_column_turns_into_nothing(filled: Any) -> None:
    frame = shown(filled, ["person", "visits"], "person", "visits")
    theirs = shown(filled, ["person"], "person", project="neuro")["person"].to_list()
    filled.publish("health/more", pl.DataFrame({"who": ["Zephyrine-9999-Quux"], "n": [1]}))
    (other,) = shown(filled, ["who"], "who", name="health/more")["who"]
    visits = [str(value) for value in frame["visits"] if value is not None]
    assert identify(filled, ["Zephyrine-0001-Quux", "never given", other, *theirs, *visits]) == {}
    assert identify(filled, frame["person"].to_list(), project="neuro") == {}
    assert len(identify(filled, theirs, project="neuro")) == 60


def test_a_shredded_column_turns_no_token_back_and_leaves_the_others_theirs(filled: Any) -> None:
    frame = shown(filled, ["person", "visits"], "person", "visits")
    order = filled.signer.token(
        "keys", operation="shred", dataset=NAME, version=1, columns=["person"], asked_by="a", agreed_by="b", entry=1
    )
    filled.vault.key_operation(filled.vault.tickets.verify(order, KeyTicket), order)
    with pytest.raises(Problem, match="was shredded"):
        identify(filled, frame["person"].to_list())
    assert shown(filled, ["visits"], "visits").equals(frame.select("visits"))


@pytest.mark.parametrize(
    "change",
    [
        {"agreed_by": "user:ada"},
        {"agreed_by": ""},
        {"columns": ["person", "age"]},
        {"columns": []},
        {"masks": {"person": {"method": "null"}}},
        {"tokens": []},
        {"iss": "strongroom:vault"},
    ],
)
def test_a_ticket_to_turn_tokens_back_is_one_column_s_and_two_people_s(filled: Any, change: dict[str, Any]) -> None:
    with pytest.raises(Problem) as refused:
        identify(
            filled, change.get("tokens", ["x"]), **{name: value for name, value in change.items() if name != "tokens"}
        )
    assert refused.value.slug == "ticket-refused"


def test_a_ticket_to_turn_tokens_back_is_good_once_and_none_for_a_kernel(filled: Any) -> None:
    claims = filled.view(NAME, ["person"]) | {"tokens": ["x"], "asked_by": "user:a", "agreed_by": "user:b", "entry": 7}
    token = filled.signer.token("identify", **claims)
    with pytest.raises(Problem, match="needs a read ticket"):
        filled.vault.tickets.verify(token, ReadTicket)
    filled.vault.tickets.verify(token, IdentifyTicket)
    with pytest.raises(Problem, match="presented before"):
        filled.vault.tickets.verify(token, IdentifyTicket)
