"""Views in batches, through the door for kernels and with the kernels' own client."""

from __future__ import annotations

import asyncio
import contextlib
import operator
import os
import random
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom import StrongroomError, _pushdown, _stream, _wire
from strongroom_hub import frames
from strongroom_hub.problems import Problem
from strongroom_hub.vault import memfd, sockets, views
from strongroom_hub.vault.dataserver import DataServer
from strongroom_hub.vault.settings import StreamSettings
from strongroom_hub.vault.tickets import ReadTicket

from tests.hub_config.vault.conftest import Signer, Standing, made_instance, made_room
from tests.hub_config.vault.test_sealing import archive

ROWS = 3_000
COLUMNS = ["number", "town", "share", "born", "odd"]
MASKS = {
    "number": {"method": "generalise", "width": "10"},
    "town": {"method": "prefix", "characters": 2},
    "born": {"method": "date", "unit": "month"},
}


def towns() -> pl.DataFrame:
    made = random.Random(11)
    return pl.DataFrame(
        {
            "number": [made.randrange(-500, 500) if made.random() > 0.1 else None for _ in range(ROWS)],
            "town": [made.choice(["Aachen", "Aa'rau", "Bern", "Zug", 'Q"t']) for _ in range(ROWS)],
            "share": [made.choice([0.25, 1.5, float(n), None]) for n in range(ROWS)],
            "born": [date(1950, 1, 1) + timedelta(days=made.randrange(9_000)) for _ in range(ROWS)],
            "odd": [bool(n % 2) for n in range(ROWS)],
        }
    )


class Served:
    """A room whose data door is open, and a server that answers the client with tickets for one view."""

    def __init__(self, room: Any) -> None:
        self.room = room
        self.entries = 0
        self.first = 1
        """Entry of the first ticket of a test."""
        self.claims: dict[str, Any] = {}
        self.columns = COLUMNS
        self._loop = asyncio.new_event_loop()
        self.listener = sockets.listen(room.instance.data_socket)
        self.server = DataServer(room.vault, self.listener)
        self._serving = self._loop.create_task(self.server.serve())
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._serving)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._serving.cancel)
        self._thread.join(30)
        self._loop.close()
        self.listener.close()

    def ticket(self, columns: list[str] | None = None, *, life: float = 30, **claims: Any) -> str:
        self.entries += 1
        asked = {"entry": self.entries, "kernel": f"k{self.first}", "stream": True, **self.claims, **claims}
        return self.room.signer.token(
            "read", life=life, **self.room.read_claims("health/towns", columns or self.columns, **asked)
        )

    def ask(self, operation: str, **asked: Any) -> dict[str, Any]:
        assert (operation, asked["stream"]) == ("open", True)
        return {
            "ok": True,
            "ticket": self.ticket(),
            "dataset": "health/towns",
            "version": 1,
            "label": "secret",
            "columns": self.columns,
            "masked": {},
        }

    def stream(self) -> _stream.Stream:
        return _stream.opened("health/towns", None, None, synthetic=False)

    def line(self, ticket: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(60)
        sock.connect(str(self.room.instance.data_socket))
        frames.send(sock, {"v": 1, "ticket": ticket, "stream": True})
        return sock

    def ends(self, count: int) -> list[dict[str, Any]]:
        """The ends that control was told, once there are so many; recorded by another thread."""
        deadline = time.monotonic() + 30
        while len(found := self._ends()) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return found

    def _ends(self) -> list[dict[str, Any]]:
        """Of this test: that of the one before may be told late."""
        return [end for end in list(self.room.standing.ends) if end["entry"] >= self.first]


def ask(sock: socket.socket, **wish: Any) -> tuple[dict[str, Any], list[int]]:
    frames.send(sock, {"v": 1, **wish})
    return frames.receive(sock, max_fds=4)


@pytest.fixture(scope="module")
def published() -> Iterator[Any]:
    signer = Signer()
    with made_instance(signer) as instance, made_room(instance, signer) as room:
        room.publish("health/towns", parquet(towns()), fmt="parquet")
        yield room


@pytest.fixture(scope="module")
def door(published: Any) -> Iterator[Served]:
    one = Served(published)
    yield one
    one.close()


@pytest.fixture
def served(door: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    vault = door.room.vault
    door.room.standing = vault.recall.control = Standing()
    door.first = door.entries + 1
    door.claims, door.columns = {}, COLUMNS
    monkeypatch.setattr(_wire, "DATA_SOCKET", str(door.room.instance.data_socket))
    monkeypatch.setattr(_wire, "ask", door.ask)
    monkeypatch.setattr(vault.streams, "_settings", vault.settings.streams)
    monkeypatch.setattr(vault.shelf, "_limits", vault.settings.memory.limits)
    yield door
    deadline = time.monotonic() + 30
    while (vault.streams._open or vault.workers.busy) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert vault.streams._open == {}
    assert vault.workers.busy == set()


def parquet(frame: pl.DataFrame) -> bytes:
    path = Path(memfd.path(fd := memfd.create("parquet")))
    try:
        frame.write_parquet(path, row_group_size=700)
        return os.pread(fd, memfd.size(fd), 0)
    finally:
        os.close(fd)


def test_batches_are_the_view_and_its_end_is_told_once(served: Served) -> None:
    served.claims = {"masks": MASKS, "rows": ["odd = true"]}
    whole = served.room.frame("health/towns", COLUMNS, masks=MASKS, rows=["odd = true"])
    batches = [batch.to_polars() for batch in served.stream().iter_batches(rows=400)]
    assert [len(batch) for batch in batches] == [400, 400, 400, 300]
    assert pl.concat(batches).equals(whole)
    (end,) = served.ends(1)
    assert {**end, "size": 0} == {
        "entry": served.first, "state": "complete", "rows": 1500, "size": 0, "batches": 4, "why": ""
    }  # fmt: skip
    assert end["size"] > 0
    assert served.room.vault.workers.busy == set()
    assert served.room.standing.asked.count(served.first) >= 4, "a batch was handed out unasked"
    stream = served.stream()
    assert stream.schema.names == COLUMNS
    batches = stream.iter_batches(rows=5, columns=["born", "odd"])
    assert next(batches).arrow().shape == (5, 2)
    batches.close()  # leaving the loop ends it
    assert [end["state"] for end in served.ends(2)] == ["complete", "stopped"]


def test_a_plan_reads_what_it_needs(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    wishes: list[dict[str, Any]] = []
    asked = _stream._Line.next
    monkeypatch.setattr(_stream._Line, "next", lambda self, wish: (wishes.append(wish), asked(self, wish))[1])
    scan = served.stream().scan()
    found = scan.filter((pl.col("number") > 100) & pl.col("town").is_in(["Zug", "Aa'rau"])).select("born").collect()
    whole = towns()
    expected = whole.filter((pl.col("number") > 100) & pl.col("town").is_in(["Zug", "Aa'rau"])).select("born")
    assert found.equals(expected)
    assert set(wishes[0]["columns"]) == {"born", "number", "town"}
    assert sorted(wishes[0]["where"]) == ['"number" > 100', "\"town\" in ('Zug', 'Aa''rau')"]
    assert scan.head(7).collect().equals(whole.head(7))
    assert wishes[-1]["limit"] == 7
    assert scan.head(9).filter(pl.col("odd")).collect().equals(whole.head(9).filter(pl.col("odd")))
    assert scan.filter(pl.col("odd")).head(9).collect().equals(whole.filter(pl.col("odd")).head(9))
    assert scan.filter(pl.col("number") > 10_000).collect().equals(whole.clear())
    assert scan.select(pl.len()).collect().item() == ROWS
    assert [end["state"] for end in served.ends(6)] == ["complete"] * 6


def test_conditions_and_columns_are_of_what_the_view_shows(served: Served) -> None:
    """They may ask about masked values, never about what lies behind a mask, nor about what is not in the view."""
    claims = {"masks": MASKS, "columns": ["number", "town"]}
    with served.line(served.ticket(["number", "town"], masks=MASKS)) as sock:
        frames.receive(sock, max_fds=1)
        said, fds = ask(sock, rows=ROWS, where=["town = 'Bern'"])
        assert (said, fds) == ({**said, "end": True, "rows": 0}, [])
    with served.line(served.ticket(["number", "town"], masks=MASKS)) as sock:
        frames.receive(sock, max_fds=1)
        said, (fd,) = ask(sock, rows=ROWS, where=["town = 'Be'", "number >= 0"])
        shown = pl.read_ipc(memfd.path(fd)).clone()
        os.close(fd)
        assert set(shown["town"]) == {"Be"}
        assert all(number % 10 == 0 for number in shown["number"])
    for wish in (
        {"columns": ["number", "share"]},
        {"columns": []},
        {"columns": ["number", "number"]},
        {"columns": "number"},
        {"where": ["share > 1"]},
        {"where": ["born < today()"]},
        {"where": ["1 = 1 or"]},
        {"where": [{"Column": "share"}]},
        {"where": ["number > 0"] * 100},
        {"rows": 0},
        {"rows": "all"},
        {"limit": -1},
        {"limit": True},
    ):
        with served.line(served.ticket(claims["columns"], masks=MASKS)) as sock:
            frames.receive(sock, max_fds=1)
            said, fds = ask(sock, **wish)
            assert (said["ok"], fds, said["problem"]["status"]) == (False, [], 422), wish
            assert said["problem"]["next"]


def test_a_ticket_opens_one_stream_of_its_own_kernel_in_time(served: Served) -> None:
    ticket = served.ticket()
    with served.line(ticket) as sock:
        first, (fd,) = frames.receive(sock, max_fds=1)
        os.close(fd)
        assert (first["rows"], first["of"]) == (0, ROWS)
    refusals = {
        "again": ticket,
        "late": served.ticket(life=-5),
        "another uid": served.ticket(uid=os.getuid() + 1),
        "a whole view": served.ticket(stream=False),
        "forged": ticket[:-8] + "AAAAAAAA",
    }
    for what, token in refusals.items():
        with served.line(token) as sock:
            said, fds = frames.receive(sock, max_fds=1)
            assert (said["ok"], fds) == (False, []), what
            assert said["problem"]["status"] in {401, 403}
    with served.line(served.ticket()) as sock:  # and a stream's ticket opens no whole view
        pass
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(str(served.room.instance.data_socket))
        frames.send(sock, {"v": 1, "ticket": served.ticket()})
        said, fds = frames.receive(sock, max_fds=1)
        assert (said["ok"], fds) == (False, [])


def test_a_revoked_grant_ends_the_stream_at_the_next_batch_and_takes_the_others_back(served: Served) -> None:
    with served.line(served.ticket()) as sock:
        frames.receive(sock, max_fds=1)
        held = []
        for _ in range(2):
            said, (fd,) = ask(sock, rows=100)
            held.append((fd, said["bytes"]))
        served.room.standing.revoke(served.first)
        said, fds = ask(sock)
        assert (said["ok"], fds, said["problem"]["type"].rpartition(":")[2]) == (False, [], "revoked")
        assert [memfd.size(fd) for fd, _ in held] == [0, 0]
        assert sock.recv(1) == b""
    (end,) = served.ends(1)
    assert (end["state"], end["why"], end["rows"], end["batches"]) == ("taken-back", "revoked", 200, 2)
    for fd, _ in held:
        os.close(fd)


def test_the_client_says_that_its_data_was_taken_back(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stream, "_COPIED", 0)
    batches = served.stream().iter_batches(rows=1000)
    first = next(batches)
    assert len(first) == 1000
    served.room.standing.revoke(served.first)
    with pytest.raises(StrongroomError, match="revoked"):
        next(batches)
    with pytest.raises(StrongroomError, match="was taken back"):
        first.to_pandas()
    with pytest.raises(StrongroomError, match="was taken back"):
        first["number"]


def test_nothing_more_is_handed_out_while_control_is_silent(served: Served) -> None:
    with served.line(served.ticket()) as sock:
        frames.receive(sock, max_fds=1)
        ask(sock, rows=100)
        served.room.standing.down = True
        said, fds = ask(sock)
        assert (said["ok"], fds, said["problem"]["status"]) == (False, [], 503)
    served.room.standing.down = False
    deadline = time.monotonic() + 30
    while not served.ends(0) and time.monotonic() < deadline:
        served.room.vault.recall.tick()  # an end that could not be told is kept
    assert [(end["state"], end["rows"]) for end in served.ends(1)] == [("failed", 100)]


@pytest.mark.parametrize("how", ["goes away", "stops reading", "is killed while it waits"])
def test_a_reader_who_stops_ends_the_stream_and_its_worker(
    served: Served, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "stops reading":
        monkeypatch.setattr(served.room.vault.streams, "_settings", StreamSettings(idle=1))
    sock = served.line(served.ticket())
    frames.receive(sock, max_fds=1)
    ask(sock, rows=100)
    assert len(served.room.vault.workers.busy) == 1
    if how == "is killed while it waits":
        worker = next(iter(served.room.vault.workers.busy))
        os.kill(worker, signal.SIGSTOP)  # it makes no more than it has
        answered = 1
        frames.send(sock, {"v": 1})
        while select.select([sock], [], [], 0.5)[0]:  # what was made ahead
            frames.receive(sock, max_fds=1)
            answered += 1
            frames.send(sock, {"v": 1})
    if how != "stops reading":
        sock.close()
    (end,) = served.ends(1)
    assert end["state"] == "stopped"
    assert end["rows"] == 100 * (answered if "killed" in how else 1)
    assert served.room.vault.workers.busy == set()
    sock.close()


def test_a_worker_that_dies_ends_the_stream_in_words(served: Served) -> None:
    with served.line(served.ticket()) as sock:
        frames.receive(sock, max_fds=1)
        os.kill(next(iter(served.room.vault.workers.busy)), signal.SIGKILL)
        said, fds = ask(sock, rows=100)
        assert (said["ok"], fds, said["problem"]["type"].rpartition(":")[2]) == (False, [], "worker-died")
    (end,) = served.ends(1)
    assert (end["state"], end["why"]) == ("failed", "worker-died")


def test_a_worker_that_was_done_ahead_is_not_one_that_died(served: Served) -> None:
    """Its last batches wait in the socket when it has ended; nobody is there to be told that there is room for more."""
    with served.line(served.ticket()) as sock:
        frames.receive(sock, max_fds=1)
        worker = next(iter(served.room.vault.workers.busy))
        rows = []
        while fds := (answer := ask(sock, rows=2000))[1]:
            os.close(fds[0])
            rows.append(answer[0]["rows"])
            deadline = time.monotonic() + 30
            while Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert (rows, answer[0].get("end")) == ([2000, 1000], True)
    (end,) = served.ends(1)
    assert (end["state"], end["rows"]) == ("complete", ROWS)


def test_a_damaged_part_ends_the_stream(served: Served) -> None:
    part = served.room.part("health/towns")
    whole = part.read_bytes()
    content = bytearray(whole)
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with served.line(served.ticket()) as sock:
        said, fds = frames.receive(sock, max_fds=1)
        assert (said["ok"], fds, said["problem"]["type"].rpartition(":")[2]) == (False, [], "dataset-damaged")
    part.write_bytes(whole)
    assert [end["state"] for end in served.ends(1)] == ["failed"]


def test_batches_are_bounded_ahead_and_in_what_is_held(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = served.room.vault.shelf
    with served.line(served.ticket()) as sock:
        _, (empty,) = frames.receive(sock, max_fds=1)
        os.close(empty)
        said, (first,) = ask(sock, rows=300)
        monkeypatch.setattr(shelf, "_limits", replace(shelf._limits, kernel_bytes=said["bytes"] * 5 // 2))
        _, (second,) = ask(sock)
        for _ in range(2):
            said, fds = ask(sock)
            assert (said["ok"], fds, said["problem"]["type"].rpartition(":")[2]) == (False, [], "kernel-memory-full")
        os.close(first)
        said, (third,) = ask(sock)  # let go of one, and the stream goes on where it was
        numbers = pl.read_ipc(memfd.path(third))["number"].to_list()
        assert numbers == towns()["number"][600:900].to_list()
        os.close(second)
        os.close(third)
    made = pl.concat(batch.to_polars() for batch in served.stream().iter_batches(rows=300))
    assert made.equals(towns())


def test_so_many_streams_at_a_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.room.vault.streams, "_settings", StreamSettings(person=1))
    with served.line(served.ticket()) as one:
        frames.receive(one, max_fds=1)
        with served.line(served.ticket(kernel="k2")) as two:
            said, _ = frames.receive(two, max_fds=1)
            assert said["problem"]["type"].rpartition(":")[2] == "too-many-streams"
        with served.line(served.ticket(user="bob")) as other:
            said, _ = frames.receive(other, max_fds=1)
            assert said["ok"]
    assert len(served.ends(3)) == 3


def test_files_are_not_streamed(room: Any) -> None:
    room.publish("lab/models", archive({"a.txt": b"x"}), fmt="files")
    ticket = ReadTicket.model_validate({"act": "read", **room.read_claims("lab/models", ["a.txt"], stream=True)})
    with pytest.raises(Problem, match="Files are not streamed"):
        room.vault.streams.open(ticket)


COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "number": st.integers(-600, 600) | st.sampled_from([0, 0.5, 1e300]),
    "town": st.sampled_from(["Aa", "Bern", "Aa'rau", 'Q"', "", "\u00fc\n"]),
    "share": st.sampled_from([0.25, 1.5, 0.1, float("nan"), float("inf"), 3, -1e-20]),
    "born": st.dates(date(1949, 1, 1), date(1975, 1, 1)),
}


@st.composite
def rows_tests(draw: st.DrawFn) -> pl.Expr:
    name = draw(st.sampled_from(sorted(VALUES)))
    column, value, compare = pl.col(name), draw(VALUES[name]), draw(st.sampled_from(COMPARISONS))
    made: pl.Expr = draw(
        st.sampled_from(
            [
                compare(column, value),
                compare(pl.lit(value), column),
                ~compare(column, value),
                column.is_null(),
                column.is_not_null(),
                column.is_in([value], nulls_equal=False),
                pl.col("odd"),
            ]
        )
    )
    return made


@st.composite
def predicates(draw: st.DrawFn) -> pl.Expr:
    one, *more = draw(st.lists(rows_tests(), min_size=1, max_size=3))
    for other in more:
        one = draw(st.sampled_from([one & other, one & other, one | other]))
    return one


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_batches_are_the_view_and_a_condition_is_a_filter_after_it(published: Any, data: st.DataObject) -> None:
    masks = {name: MASKS[name] for name in data.draw(st.sets(st.sampled_from(sorted(MASKS))))}
    columns = data.draw(st.permutations(COLUMNS))
    rows = data.draw(st.sampled_from([None, ["odd = true"], ["number > 0 or share < 1", "born > 1960-01-01"]]))
    wish = {"rows": data.draw(st.sampled_from([37, 700, 5000]))}
    most = data.draw(st.sampled_from([1000, 1 << 20]))
    claims = published.read_claims("health/towns", columns, masks=masks, rows=rows, stream=True)
    job = published.vault.reader.job(ReadTicket.model_validate({"act": "read", **claims}))
    whole = views.collect_view(job)
    predicate = data.draw(predicates())
    with views.open_view(job) as view:
        made = list(views.batches(job, view, views.Wish.parse(wish), most))
        assert pl.concat([whole.clear(), *made]).equals(whole)
        assert all(0 < len(batch) <= wish["rows"] for batch in made)
        try:
            expected = whole.filter(predicate)
        except pl.exceptions.InvalidOperationError:
            return  # no question that polars answers
        wish["where"] = _pushdown.conditions(predicate, whole.schema)
        chosen = pl.concat([whole.clear(), *views.batches(job, view, views.Wish.parse(wish), most)])
        assert len(chosen) <= len(whole)
        assert chosen.filter(predicate).equals(expected)
