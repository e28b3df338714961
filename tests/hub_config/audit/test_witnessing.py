"""What control makes of its witnesses: cosignatures kept, and an alarm where history does not fit."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from enclave import METRICS_TOKEN, Clock, Enclave, Vault, make_instance, open_enclave
from strongroom_hub.audit import standalone, store
from strongroom_hub.audit.entries import Action, Entry
from strongroom_hub.audit.proof import prove
from strongroom_hub.audit.settings import AuditSettings, WitnessSettings
from strongroom_hub.audit.verify import verify
from strongroom_hub.audit.witness import Witness
from strongroom_hub.audit.witnessing import LAST_FILE, Witnessing, cosigned
from strongroom_hub.cli.audit import app
from strongroom_hub.control import setup
from strongroom_hub.problems import Problem
from typer.testing import CliRunner

NAME = "w.example"


@dataclass
class Line:
    """The way to the witness, which a test can cut."""

    witness: Witness
    open: bool = True
    sent: list[bytes] = field(default_factory=list)

    def __call__(self, url: str, body: bytes) -> tuple[int, str]:
        assert url == "http://127.0.0.1:9/add-checkpoint"
        if not self.open:
            raise httpx.ConnectError("connection refused")
        self.sent.append(body)
        answer = self.witness.add_checkpoint(body)
        return int(answer.status), answer.text


@dataclass
class House:
    enclave: Enclave
    line: Line

    def start(self, *, required: bool = False) -> None:
        """Control's side anew, as after a restart."""
        settings = replace(self.enclave.instance.audit, witness_required=required)
        old = self.enclave.context
        witnessing = Witnessing(
            settings,
            old.engine,
            old.log_keys,
            folder=self.enclave.instance.control_dir,
            clock=self.enclave.clock,
            post=self.line,
        )
        self.enclave.context = replace(old, witnessing=witnessing)
        self.enclave.__post_init__()

    def round(self) -> dict[str, str]:
        self.enclave.context.witnessing.round(self.enclave.writer)
        return {one.name: str(one.state) for one in self.enclave.context.witnessing.standings()}

    def append(self, count: int = 1) -> None:
        for number in range(count):
            self.enclave.writer.append(Entry(action=Action.LOG_READ, actor="user:x", detail={"n": number}))

    def back_to(self, kept: Path) -> None:
        """Put an old database back and start again on it."""
        self.enclave.close()
        for file in self.enclave.instance.control_dir.glob("strongroom.sqlite*"):
            file.unlink()
        shutil.copy(kept, self.enclave.instance.database)
        self.enclave = open_enclave(self.enclave.instance, self.enclave.clock, self.enclave.vault)
        self.start()

    def keep(self, place: Path) -> Path:
        with closing(sqlite3.connect(self.enclave.instance.database)) as here, closing(sqlite3.connect(place)) as there:
            here.backup(there)
        return place


@pytest.fixture
def house(tmp_path: Path) -> House:  # type: ignore[misc]
    key = Witness.create(tmp_path / "witness", NAME)
    settings = WitnessSettings(url="http://127.0.0.1:9/", key=str(key))
    instance = make_instance(tmp_path, audit=AuditSettings(witnesses=(settings,), witness_alarm_minutes=5))
    setup.create(instance)
    enclave = open_enclave(instance, Clock(), Vault(instance.public_dir / "vault.pub.pem"))
    Witness.add_log(tmp_path / "witness", enclave.context.log_keys.vkey)
    made = House(enclave, Line(Witness.load(tmp_path / "witness", lambda: enclave.clock().timestamp())))
    made.start()
    yield made
    made.enclave.close()


def alarms(house: House) -> list[tuple[str, str]]:
    return [(entry["object"], entry["detail"]["kind"]) for entry in house.enclave.entries("control:witness:alarm")]


def test_each_round_brings_a_cosignature_of_the_newest_checkpoint(house: House, tmp_path: Path) -> None:
    for _ in range(3):
        house.append(3)
        assert house.round() == {"this machine": "fine", NAME: "fine"}
    note = cosigned(house.enclave.context.engine)
    assert note is not None
    assert house.enclave.context.log_keys.open(note).size == house.enclave.context.log_keys.open(note).size
    (tmp_path / "witness.vkey").write_text(house.enclave.instance.audit.witnesses[0].key)
    head = standalone.open_note(
        note,
        standalone.read_key(house.enclave.context.log_keys.vkey, standalone.ED25519),
        [standalone.read_key((tmp_path / "witness.vkey").read_text(), standalone.COSIGNATURE)],
        1,
    )
    assert head.witnesses == [NAME]
    assert alarms(house) == []
    house.start()  # what was co-signed is remembered
    assert house.round()[NAME] == "fine"
    assert b"old 0\n" not in house.line.sent[-1]


def test_cosigned_exports_and_proofs_hold_the_witness(house: House, tmp_path: Path) -> None:
    house.append(3)
    house.round()
    size = house.enclave.context.log_keys.open(cosigned(house.enclave.context.engine) or "").size
    house.append(3)
    vkey = tmp_path / "log.vkey"
    vkey.write_text(house.enclave.context.log_keys.vkey)
    options = ["--database", str(house.enclave.instance.database), "--vkey", str(vkey)]
    done = CliRunner().invoke(app, ["export", str(tmp_path / "out"), "--cosigned", *options])
    assert (done.exit_code, f"sound: {size} entries" in done.output) == (0, True), done.output
    note = (tmp_path / "out" / "checkpoint").read_text()
    assert f"\N{EM DASH} {NAME} " in note
    key = standalone.read_key(vkey.read_text(), standalone.ED25519)
    witness = [standalone.read_key(house.enclave.instance.audit.witnesses[0].key, standalone.COSIGNATURE)]
    standalone.verify_log(tmp_path / "out", standalone.open_note(note, key, witness, 1), [])
    with store.open_database(house.enclave.instance.database) as log:
        verifier = house.enclave.context.log_keys.verifier
        assert standalone.verify_proof(prove(log, verifier, size - 1).text(), key, witness, 1)[1].size == size
        assert prove(log, verifier, size).size == size + 3


def test_an_old_database_that_is_put_back_is_an_alarm_although_it_verifies(house: House, tmp_path: Path) -> None:
    house.append(3)
    house.round()
    old = house.keep(tmp_path / "old.sqlite")
    house.append(10)
    house.round()
    house.back_to(old)
    with store.open_database(house.enclave.instance.database) as log:
        assert verify(log, house.enclave.context.log_keys.verifier).ok
    assert house.round() == {"this machine": "rolled-back", NAME: "rolled-back"}
    assert alarms(house) == [("this machine", "rolled-back"), (NAME, "rolled-back")]
    status = house.enclave.operator("GET", "status")["log"]
    assert ["an old database was put back" in text for text in status["alarms"]] == [True, True]
    answer = house.enclave.client.get("/internal/v1/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    assert f'strongroom_log_alarm{{witness="{NAME}"}} 1.0' in answer.text
    # growing past what was seen does not hide it
    house.append(20)
    assert house.round() == {"this machine": "split", NAME: "split"}
    # nor does the loss of the file beside the database: the witness is another memory
    (house.enclave.instance.control_dir / LAST_FILE).unlink()
    assert house.round() == {"this machine": "fine", NAME: "split"}
    assert house.round()[NAME] == "split"


def test_a_history_that_is_signed_anew_is_an_alarm_although_it_verifies(house: House, tmp_path: Path) -> None:
    empty = house.keep(tmp_path / "empty.sqlite")
    house.append(5)
    house.round()
    house.back_to(empty)  # whoever has the key writes another one, as long as the first
    house.append(30)
    with store.open_database(house.enclave.instance.database) as log:
        assert verify(log, house.enclave.context.log_keys.verifier).ok
    (house.enclave.instance.control_dir / LAST_FILE).unlink()
    assert house.round()[NAME] == "split"
    assert alarms(house) == [(NAME, "split")]
    house.round()
    assert len(alarms(house)) == 1  # said once, until it is over
    assert "history was rewritten" in house.enclave.operator("GET", "status")["log"]["alarms"][0]


def test_a_witness_that_is_silent_is_an_alarm_after_a_while_and_work_goes_on(house: House) -> None:
    assert house.round()[NAME] == "fine"
    house.line.open = False
    house.enclave.clock.forward(minutes=4)
    assert house.round()[NAME] == "fine"
    assert house.enclave.operator("GET", "status")["log"]["alarms"] == []
    house.enclave.clock.forward(minutes=2)
    assert house.round()[NAME] == "silent"
    assert alarms(house) == [(NAME, "silent")]
    house.enclave.context.witnessing.check()
    house.line.open = True
    assert house.round()[NAME] == "fine"
    (settled,) = house.enclave.entries("control:witness:settle")
    assert settled["detail"]["kind"] == "silent"


def test_where_a_witness_is_required_no_cell_runs_without_one(house: House, tmp_path: Path) -> None:
    house.start(required=True)
    house.enclave.project()
    server = house.enclave.server()
    kernel = house.enclave.kernel(server)

    def run() -> int:
        return int(server.begin(kernel=kernel, kind="execute", code="1")["entry"])

    house.round()
    assert run()
    old = house.keep(tmp_path / "old.sqlite")
    house.line.open = False
    house.enclave.clock.forward(minutes=6)
    house.round()
    with pytest.raises(Problem) as refused:
        run()
    assert (refused.value.slug, NAME in refused.value.detail) == ("no-witness", True)
    house.line.open = True
    house.append(5)
    house.round()
    assert run()
    house.round()
    house.back_to(old)
    house.start(required=True)
    house.round()
    with pytest.raises(Problem, match="nobody vouches"):
        house.enclave.context.witnessing.check()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, "not known"), "it answers 404"),
        ((403, "no"), "it answers 403"),
        ((200, "\N{EM DASH} someone.else AAAA\n"), "no signature of the key"),
        ((200, f"\N{EM DASH} {NAME} ????\n"), "not base64"),
        ((200, ""), "no signature of the key"),
    ],
)
def test_an_answer_that_is_no_cosignature_is_an_alarm(
    house: House, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], words: str
) -> None:
    post: Callable[..., tuple[int, str]] = lambda url, body: answer  # noqa: E731
    monkeypatch.setattr(house.enclave.context.witnessing, "_post", post)
    assert house.round()[NAME] == "refused"
    assert words in house.enclave.operator("GET", "status")["log"]["alarms"][0]
    assert cosigned(house.enclave.context.engine) is None


def test_only_the_newest_cosignatures_are_kept(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom_hub.audit.witnessing.KEPT", 3)
    for _ in range(6):
        house.append()
        house.round()
    with house.enclave.context.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT size FROM log_cosignatures ORDER BY size").scalars().all()
    assert len(rows) == 3
    assert house.enclave.context.log_keys.open(cosigned(house.enclave.context.engine) or "").size == rows[-1]


def test_a_spoilt_memory_is_said(house: House) -> None:
    house.round()
    (house.enclave.instance.control_dir / LAST_FILE).write_text("rubbish")
    assert house.round()["this machine"] == "refused"
