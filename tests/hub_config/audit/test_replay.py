"""A notebook read back out of the log: what ran, in which order, what is missing, and that reading it is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from click.testing import Result
from enclave import Clock, Enclave, Vault, make_instance, open_enclave
from sqlalchemy import text
from strongroom_hub.audit.settings import TWO_PERSON, AuditSettings
from strongroom_hub.cli import app, dataset_words
from strongroom_hub.cli import replay as command
from strongroom_hub.control import setup
from strongroom_hub.problems import Problem
from typer.testing import CliRunner

Run = Callable[..., Result]


@pytest.fixture
def enclave(tmp_path: Path) -> Iterator[Enclave]:
    instance = make_instance(tmp_path, audit=AuditSettings(erasure=TWO_PERSON))
    setup.create(instance)
    made = open_enclave(instance, Clock(), Vault(instance.public_dir / "vault.pub.pem"))
    made.project()
    made.dataset()
    yield made
    made.close()


@pytest.fixture
def run(enclave: Enclave, monkeypatch: pytest.MonkeyPatch) -> Run:
    class Line:
        def __init__(self, *_: Path) -> None:
            pass

        def call(self, method: str, path: str) -> object:
            return enclave.operator(method, path)

    enclave.instance.save()
    monkeypatch.setenv("STRONGROOM_INSTANCE", str(enclave.instance.path))
    monkeypatch.setattr(dataset_words, "ControlClient", Line)
    monkeypatch.setattr(command, "_PAGE", 2)
    return lambda *words: CliRunner().invoke(app, ["audit", "replay", *map(str, words)])


class Day:
    """Somebody at work in `analysis/day.ipynb`."""

    def __init__(self, enclave: Enclave, user: str = "analyst") -> None:
        self.enclave, self.server = enclave, enclave.server(user)
        self.kernel = enclave.kernel(self.server)
        self.started = enclave.entries("server:kernel:start")[-1]["index"]

    def restart(self) -> int:
        self.server("DELETE", f"kernels/{self.kernel}", {"reason": "restart"})
        body = {"kernel": self.kernel, "notebook": "analysis/day.ipynb", "tier": "bubblewrap"}
        self.server("POST", "kernels", body)
        return int(self.enclave.entries("server:kernel:start")[-1]["index"])

    def begin(self, code: str, **more: object) -> int:
        cell = {"kernel": self.kernel, "kind": "execute", "notebook": "analysis/day.ipynb", "cell": "c", "code": code}
        return int(self.server.begin(**cell | more)["entry"])

    def ran(self, code: str, count: int | None, status: str = "ok") -> int:
        entry = self.begin(code)
        self.server.end(entry, status=status, count=count)
        return entry


@pytest.fixture
def day(enclave: Enclave) -> Day:
    return Day(enclave)


def test_cells_come_as_they_ran_with_code_reads_and_missing_ends(day: Day, run: Run, tmp_path: Path) -> None:
    day.enclave.grant(day.server, columns=["age"])
    first = day.begin("import strongroom\ntable = 1")
    day.enclave.read(day.server, day.kernel, cell=first)
    day.server.end(first, count=1)
    day.begin("tab", kind="complete")
    day.begin("elsewhere = 1", notebook="other.ipynb")
    failed = day.ran("1 / 0", 2, "error")
    aborted = day.ran("after = 1", None, "aborted")
    restarted = day.restart()
    again = day.ran("table = 2", 1)
    lost = day.begin("while True: pass")
    day.server("DELETE", f"kernels/{day.kernel}", {"reason": "died"})

    file = tmp_path / "replay.ipynb"
    done = run("analysis/day.ipynb", "--to", file)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    heads = [line.split()[0] for line in lines if line[:1] == " " and line.split()[0].isdecimal()]
    assert heads == [str(one) for one in (first, failed, aborted, again, lost)]
    assert [line for line in lines if line.startswith("---")] == [
        f"--- kernel {day.kernel} of analyst in cardio, started in entry {entry}" for entry in (day.started, restarted)
    ]
    assert "         read health/randhie@1: age" in lines
    assert "         | table = 1" in lines
    assert any("public -> confidential" in line for line in lines)
    assert "NO END: Its kernel died" in next(line for line in lines if line.split()[0] == str(lost))
    assert "elsewhere" not in done.stdout

    book = nbformat.reads(file.read_text(), as_version=nbformat.NO_CONVERT)
    nbformat.validate(book)
    assert [cell.source for cell in book.cells if cell.cell_type == "code"] == [
        "import strongroom\ntable = 1",
        "1 / 0",
        "table = 2",
        "while True: pass",
    ]
    said = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    for words in ("error", f"Entry {aborted} was aborted", f"started in entry {restarted}.", "NO END"):
        assert any(words in one for one in said), words
    assert all(cell.outputs == [] and cell.execution_count is None for cell in book.cells if cell.cell_type == "code")
    assert book.cells[0].metadata.strongroom.entry == first
    told = json.loads(run("analysis/day.ipynb", "--json").stdout)["cells"]
    assert [cell["end"]["state"] for cell in told] == ["ended"] * 4 + ["missing"]
    assert [cell["code"] for cell in told][2] == "after = 1"


def test_an_erased_cell_says_so_and_stays_in_its_place(day: Day, run: Run, tmp_path: Path) -> None:
    day.ran("print('Anna')", 1)
    body = {"person": "user:analyst", "why": "Law, article 17."}
    asked = day.enclave.person("admin")("POST", "audit/erasures", body)["id"]
    done = day.enclave.person("auditor")("POST", f"audit/erasures/{asked}/decision", {"verdict": "approve"})
    day.ran("print('later')", 2)
    file = tmp_path / "replay.ipynb"
    told = run("analysis/day.ipynb", "--to", file)
    assert f"by user:auditor, entry {done['done_entry']})" in told.stdout
    assert "Anna" not in told.stdout + file.read_text()
    book = nbformat.read(file, as_version=nbformat.NO_CONVERT)
    nbformat.validate(book)
    assert [cell.cell_type for cell in book.cells] == ["markdown", "code"]
    assert f"entry {done['done_entry']}" in book.cells[0].source


def test_notebooks_of_two_people_are_not_mixed(day: Day, run: Run, tmp_path: Path) -> None:
    day.ran("mine = 1", 1)
    Day(day.enclave, "analyst2").ran("other = 1", 1)
    file = tmp_path / "replay.ipynb"
    done = run("analysis/day.ipynb", "--to", file)
    assert (done.exit_code, file.exists()) == (1, False)
    assert "--user analyst --project cardio; --user analyst2 --project cardio" in done.output
    assert run("analysis/day.ipynb", "--user", "analyst2", "--to", file).exit_code == 0
    assert [cell["source"] for cell in json.loads(file.read_text())["cells"]] == ["other = 1"]
    before = file.read_text()
    assert run("analysis/day.ipynb", "--user", "analyst", "--to", file).exit_code == 1
    assert file.read_text() == before
    none = run("analysis/day.ipynb", "--project", "nowhere")
    assert (none.exit_code, "the log has no cell of 'analysis/day.ipynb'" in none.output) == (1, True)


def test_what_was_typed_does_not_steer_the_terminal(day: Day, run: Run) -> None:
    day.ran("print('\x1b]0;title\x07\x9b2J \u202eevil')", 1)
    shown = run("analysis/day.ipynb").stdout
    assert r"| print('\x1b]0;title\x07\x9b2J \u202eevil')" in shown
    assert "\x1b" not in run("analysis/day.ipynb", "--json").stdout


def test_reading_is_recorded_and_only_the_operator_reads(day: Day) -> None:
    day.ran("secret = 1", 1)
    path = "audit/replay?notebook=analysis/day.ipynb&user=analyst"
    assert len(day.enclave.operator("GET", path)["cells"]) == 1
    read = day.enclave.entries("control:log:read")[-1]
    assert (read["actor"], read["detail"]["replay"], read["detail"]["user"]) == (
        "operator",
        "analysis/day.ipynb",
        "analyst",
    )
    for caller in (day.server, day.enclave.hub_caller):
        with pytest.raises(Problem) as caught:
            caller("GET", path)
        assert caught.value.status == 401


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE log_entries SET leaf = replace(leaf, 'day.ipynb', 'dax.ipynb') WHERE \"index\" = :begin",
        'UPDATE log_entries SET leaf = replace(leaf, \'"status":"error"\', \'"status":"ok"\') WHERE "index" = :end',
        "UPDATE cell SET end_entry = :other WHERE entry = :begin",
    ],
)
def test_nothing_is_shown_that_the_log_does_not_say(day: Day, change: str) -> None:
    begin = day.begin("1 / 0")
    end = day.server.end(begin, status="error", count=1)
    other = day.server.end(day.begin("2"), count=2)
    with day.enclave.context.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
        connection.exec_driver_sql("DROP TRIGGER log_entries_no_update")
        connection.execute(text(change), {"begin": begin, "end": end, "other": other})
        connection.commit()
    with pytest.raises(Problem) as caught:
        day.enclave.operator("GET", "audit/replay?notebook=analysis/day.ipynb")
    assert caught.value.slug == "audit-altered"
