from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from enclave import Caller, Enclave, Line
from strongroom_hub import frames
from strongroom_hub.audit import reader
from strongroom_hub.audit.entries import Action
from strongroom_hub.control.__main__ import listen_unix
from strongroom_hub.problems import Problem
from strongroom_hub.projects.cell_door import CellDoor
from strongroom_hub.projects.rules import BEGIN_ACTIONS, CellKind


def run(
    server: Caller, kernel: str, shown: int = 0, code: str = "1 + 1", kind: str = "execute", charged: int | None = None
) -> int:
    began = server.begin(kernel=kernel, notebook="n.ipynb", cell="c1", kind=kind, code=code)
    charged = shown if charged is None else charged
    server("POST", "display", {"kernel": kernel, "route": "cell", "bytes": charged})
    end = {
        "status": "ok",
        "shown": shown,
        "withheld": 3,
        "charged": charged,
        "outputs": [{"mime": "text/plain", "bytes": shown, "sha256": "0" * 64}],
        "duration_ms": 5,
    }
    server.end(began["entry"], **end)
    return int(began["entry"])


def test_a_cell_is_in_the_log_before_it_may_run(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    entry = run(server, kernel, code="print('hello')")
    proven = reader.entry(cardio.context.engine, entry)
    assert proven is not None
    assert proven.fields["action"] == "server:cell:begin"
    assert proven.fields["label"] == "public"
    assert proven.fields["detail"]["cell"] == "c1"
    assert reader.payload(cardio.context.engine, cardio.context.log_keys, entry) == "print('hello')"
    assert "hello" not in str(cardio.entries())
    (end,) = cardio.entries("server:cell:end")
    assert end["detail"]["begin"] == entry
    assert end["detail"]["withheld"] == 3


def test_a_begin_comes_with_the_checkpoint_that_covers_it(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    for _ in range(2):
        began = server.begin(kernel=kernel, kind="execute", code="1")
        head = cardio.context.log_keys.open(began["checkpoint"])
        assert head.size == began["entry"] + 1 == reader.size(cardio.context.engine)
        assert head.root == reader.root_at(cardio.context.engine, head.size)


def test_an_end_says_what_changed_and_what_was_read(cardio: Enclave) -> None:
    cardio.dataset("health/second", label="internal")
    server = cardio.server()
    kernel = cardio.kernel(server)
    for name in ("health/randhie", "health/second"):
        cardio.grant(server, name)
    first = server.begin(kernel=kernel, kind="execute", code="read")["entry"]
    read = server("POST", "reads", {"kernel": kernel, "cell": first, "dataset": "health/second"})["entry"]
    server.end(first, count=1)
    second = server.begin(kernel=kernel, kind="execute", code="read more")["entry"]
    server("POST", "reads", {"kernel": kernel, "cell": second, "dataset": "health/second", "columns": ["age"]})
    server("POST", "reads", {"kernel": kernel, "cell": second, "dataset": "health/randhie", "columns": ["age"]})
    server("POST", "reads", {"kernel": kernel, "cell": first, "dataset": "health/randhie", "columns": ["age"]})
    server.end(second, count=2)
    third = server.begin(kernel=kernel, kind="execute", code="nothing")["entry"]
    server.end(third)
    one, two, three = cardio.entries("server:cell:end")
    assert (one["detail"]["label_before"], one["label"], one["detail"]["count"]) == ("public", "internal", 1)
    assert one["detail"]["reads"] == [
        {"entry": read, "dataset": "health/second@1", "columns": ["person_id", "age", "visits"]}
    ]
    assert (two["detail"]["label_before"], two["label"]) == ("internal", "confidential")
    assert (two["sources"], two["detail"]["new_sources"]) == (
        ["health/randhie@1", "health/second@1"],
        ["health/randhie@1"],
    )
    assert [(r["dataset"], r["columns"]) for r in two["detail"]["reads"]] == [
        ("health/second@1", ["age"]),
        ("health/randhie@1", ["age"]),
    ]
    assert (three["detail"]["reads"], three["detail"]["new_sources"], three["detail"]["count"]) == ([], [], None)


def test_many_reads_do_not_keep_a_cell_from_ending(cardio: Enclave) -> None:
    names = tuple(f"column_{number:03d}_{'x' * 40}" for number in range(100))
    cardio.dataset("health/wide", label="internal", columns=names)
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server, "health/wide")
    cell = server.begin(kernel=kernel, kind="execute", code="loop")["entry"]
    for _ in range(6):
        server("POST", "reads", {"kernel": kernel, "cell": cell, "dataset": "health/wide"})
    server.end(cell)
    (end,) = cardio.entries("server:cell:end")
    assert (len(end["detail"]["reads"]), end["detail"]["reads_in_all"]) == (2, 6)


def test_a_silent_run_is_recorded_as_one(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    for silent in (True, False):
        server.begin(kernel=kernel, kind="execute", code="1", silent=silent)
    assert [entry["detail"].get("silent") for entry in cardio.entries("server:cell:begin")] == [True, None]


def test_every_kind_of_cell_has_its_action(cardio: Enclave) -> None:
    assert set(BEGIN_ACTIONS) == set(CellKind)
    assert len(set(BEGIN_ACTIONS.values())) == len(CellKind)
    server = cardio.server()
    kernel = cardio.kernel(server)
    for kind in CellKind:
        entry = run(server, kernel, kind=kind)
        found = reader.entry(cardio.context.engine, entry)
        assert found is not None
        assert found.fields["action"] == BEGIN_ACTIONS[kind]


def test_without_a_writable_log_nothing_runs(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.writer.close()
    with pytest.raises(Problem) as refused:
        run(server, kernel)
    assert (refused.value.status, refused.value.slug) == (503, "audit-unavailable")


def test_a_second_end_changes_nothing_and_gets_the_first_answer(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    cardio.read(server, kernel)
    entry = run(server, kernel, shown=1000)
    left = server("GET", "display")["display"]["day_bytes_left"]
    end = {"status": "error", "shown": 5000, "withheld": 0, "charged": 5000, "outputs": [], "duration_ms": 1}
    again = server.end(entry, **end)
    (recorded,) = cardio.entries("server:cell:end")
    assert again == recorded["index"]
    assert server("GET", "display")["display"]["day_bytes_left"] == left


def test_what_a_killed_server_has_shown_stays_counted(cardio: Enclave) -> None:
    """Output is charged before it is shown, so a cell that never ends has nothing left to report."""
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    cardio.read(server, kernel)
    left = server("GET", "display")["display"]["day_bytes_left"]
    server.begin(kernel=kernel, kind="execute", code="1")
    server("POST", "display", {"kernel": kernel, "route": "cell", "bytes": 16_384})
    assert cardio.server()("GET", "display")["display"]["day_bytes_left"] == left - 16_384


def test_what_was_shown_before_the_label_rose_does_not_count_for_the_day(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    cardio.grant(server)
    cardio.read(server, kernel)
    left = server("GET", "display")["display"]["day_bytes_left"]
    run(server, kernel, shown=3_000_000, charged=10)
    assert server("GET", "display")["display"]["day_bytes_left"] == left - 10


def test_many_outputs_do_not_keep_a_cell_from_ending(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    began = server.begin(kernel=kernel, kind="execute", code="1")
    outputs = [{"mime": "text/plain", "bytes": 1, "sha256": "0" * 64}] * 5000
    end = {"status": "ok", "shown": 5000, "withheld": 0, "charged": 5000, "outputs": outputs, "duration_ms": 1}
    server.end(began["entry"], **end)
    (entry,) = cardio.entries("server:cell:end")
    assert entry["detail"]["outputs_in_all"] == 5000
    assert len(entry["detail"]["outputs"]) == 200


def test_the_day_budget_is_counted_across_servers_and_restarts(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    run(server, kernel, shown=10_000)  # public: free
    cardio.grant(server)
    display = cardio.read(server, kernel)["display"]
    assert display["cell_bytes"] == 64 << 10
    assert display["image_bytes"] == 512 << 10
    assert display["day_bytes_left"] == 2 << 20
    assert "policy.csv:" in display["rule"]
    run(server, kernel, shown=50_000)
    server("POST", "display", {"kernel": kernel, "route": "work", "bytes": 100})

    again = cardio.restarted()
    try:
        server = again.server()
        assert server("GET", "display")["display"]["day_bytes_left"] == (2 << 20) - 50_100
        kernel = again.kernel(server)
        run(server, kernel, shown=3 << 20)
        assert server("GET", "display")["display"]["day_bytes_left"] == 0
        again.clock.forward(days=1)
        assert server("GET", "display")["display"]["day_bytes_left"] == 2 << 20
    finally:
        again.close()


def test_saves_and_bytes_outside_cells_are_entries(cardio: Enclave) -> None:
    server = cardio.server()
    server("POST", "files", {"path": "n.ipynb", "bytes": 10, "sha256": "a" * 64})
    server("POST", "display", {"kernel": None, "route": "work", "bytes": 7})
    assert cardio.entries(Action.FILE_SAVE)[0]["object"] == "n.ipynb"
    assert cardio.entries(Action.DISPLAY_SHOW)[0]["detail"] == {"route": "work", "bytes": 7}


@pytest.mark.parametrize("count", [-1, "many", 1 << 60])
def test_nobody_shows_a_negative_number_of_bytes(cardio: Enclave, count: object) -> None:
    server = cardio.server()
    with pytest.raises(Problem) as refused:
        server("POST", "display", {"kernel": None, "route": "work", "bytes": count})
    assert refused.value.status == 422


def test_after_the_projects_window_nothing_more_is_shown(enclave: Enclave) -> None:
    enclave.project(until="2026-11-21")
    enclave.dataset()
    server = enclave.server()
    kernel = enclave.kernel(server)
    enclave.grant(server)
    enclave.read(server, kernel)
    assert server("GET", "display")["display"]["allowed"] is True
    enclave.clock.forward(days=1)
    display = server("GET", "display")["display"]
    assert display["allowed"] is False
    assert "not open now" in display["text"]


def test_a_credential_that_was_good_begins_and_ends_no_cell_after_its_server_has_ended(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    began = server.begin(kernel=kernel, kind="execute", code="1")
    cardio.hub_caller("DELETE", f"servers/{server.made['server']}", {"reason": "culled"})
    recorded = len(cardio.entries())
    for late in (lambda: server.begin(kernel=kernel, kind="execute", code="2"), lambda: server.end(began["entry"])):
        with pytest.raises(Problem) as refused:
            late()
        assert (refused.value.status, refused.value.slug) == (401, "unknown-caller")
    with pytest.raises(Problem) as refused:
        server.line()
    assert refused.value.status == 401
    assert len(cardio.entries()) == recorded


def test_a_credential_that_never_was_begins_no_cell(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    for token in ("x" * 43, server.token[:-1]):
        with pytest.raises(Problem) as refused:
            Caller(cardio.client, token).begin(kernel=kernel, kind="execute", code="1")
        assert refused.value.status == 401


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b"{", 422, "invalid-request"),
        (b'{"op": "begin", "kernel": "k", "kind": "nothing", "code": "a-secret"}', 422, "invalid-request"),
        (b'{"op": "begin", "kernel": "k", "kind": "execute", "code": {"a-secret": 1}}', 422, "invalid-request"),
        (
            b'{"op": "begin", "kernel": "' + b"k" * 65 + b'", "kind": "execute", "code": "a-secret"}',
            422,
            "invalid-request",
        ),
        (b'{"op": "run", "code": "a-secret"}', 422, "invalid-request"),
        (b'["a-secret"]', 422, "invalid-request"),
        (b'{"code": "' + b"x" * (9 << 20) + b'"}', 413, "too-large"),
    ],
)
def test_what_is_no_cell_is_refused_in_the_one_shape_and_never_quoted(
    cardio: Enclave, body: bytes, status: int, slug: str
) -> None:
    line = cardio.server().line()
    recorded = len(cardio.entries())
    with pytest.raises(Problem) as refused:
        line.ask_raw(body)
    assert (refused.value.status, refused.value.slug) == (status, slug)
    assert "a-secret" not in str(refused.value.as_json())
    assert len(cardio.entries()) == recorded


def test_one_end_that_does_not_fit_keeps_no_other_from_being_recorded(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    entries = [server.begin(kernel=kernel, kind="execute", code="1")["entry"] for _ in range(2)]
    fields = {"status": "ok", "shown": 0, "withheld": 0, "charged": 0, "duration_ms": 1}
    long = [{"mime": "é" * 200, "bytes": 1, "sha256": "0" * 64}] * 200
    line = server.line()
    told = line.ask(
        {
            "op": "end",
            "ends": [
                {"entry": 10**9, **fields},
                {"entry": entries[0], "outputs": long, **fields},
                {"entry": entries[1], **fields},
            ],
        }
    )["ends"]
    assert [one["ok"] for one in told] == [False, False, True]
    assert [one["problem"]["type"].rpartition(":")[2] for one in told[:2]] == ["unknown-cell", "entry-refused"]
    assert [entry["detail"]["begin"] for entry in cardio.entries("server:cell:end")] == [entries[1]]


def test_without_a_credential_the_door_of_cells_hears_nothing(cardio: Enclave) -> None:
    server = cardio.server()
    cell = {"op": "begin", "kernel": cardio.kernel(server), "kind": "execute", "code": "1"}
    for first in (cell, {"v": 2, "credential": server.token}, {"v": 1}, {"v": 1, "credential": server.token[:-1]}):
        line = Line(cardio.client.door)
        with pytest.raises(Problem) as refused:
            line.ask(first)
        assert refused.value.status in {401, 422}
        with pytest.raises((frames.FrameError, OSError)):  # the connection has ended
            line.ask(cell)
    assert cardio.entries("server:cell:begin") == []


def test_a_door_that_is_full_says_so(cardio: Enclave) -> None:
    with tempfile.TemporaryDirectory(prefix="sr") as folder:
        path = Path(folder) / "cells.sock"
        door = CellDoor(cardio.context, cardio.writer, listen_unix(path), connections=1)
        door.start()
        server = cardio.server()
        first = Line(path)
        first.ask({"v": 1, "credential": server.token})
        with pytest.raises(Problem) as refused:
            Line(path).ask({"v": 1, "credential": server.token})
        assert (refused.value.status, refused.value.slug) == (503, "busy")
        assert first.ask({"op": "end", "ends": []}) == {"ends": []}
        door.close()
        assert path.is_socket()
        with pytest.raises((frames.FrameError, OSError)):
            first.ask({"op": "end", "ends": []})


def test_cells_of_many_connections_share_commits_and_keep_their_own_answers(cardio: Enclave) -> None:
    server = cardio.server()
    kernel = cardio.kernel(server)
    lines = [server.line() for _ in range(8)]

    def run(number: int) -> list[int]:
        cell = {"op": "begin", "kernel": kernel, "kind": "execute", "cell": f"c{number}", "code": "1"}
        return [lines[number].ask(cell)["entry"] for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(run, range(8)))
    cells = {entry["index"]: entry["detail"]["cell"] for entry in cardio.entries("server:cell:begin")}
    assert {entry: f"c{number}" for number, mine in enumerate(got) for entry in mine} == cells
    assert len(cells) == 80


def test_after_the_projects_window_no_cell_runs(enclave: Enclave) -> None:
    enclave.project(until="2026-11-21")
    server = enclave.server()
    kernel = enclave.kernel(server)
    cell = {"kernel": kernel, "kind": "execute", "code": "1"}
    server.begin(**cell)
    enclave.clock.forward(days=1)
    recorded = len(enclave.entries("server:cell:begin"))
    with pytest.raises(Problem) as refused:
        server.begin(**cell)
    assert refused.value.status == 403
    assert len(enclave.entries("server:cell:begin")) == recorded
