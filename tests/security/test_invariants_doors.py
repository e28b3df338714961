"""A hostile kernel at its two doors: the server's questions and the vault's data."""

from __future__ import annotations

import json

import pytest
from strongroom_hub.tour.notebook import Notebook

from tests.e2e.processes import below
from tests.security.conftest import kernel_json

pytestmark = pytest.mark.e2e

DOORS = """
import base64, json, os, socket, struct, time
from strongroom import _wire
def opened(dataset, **more):
    return _wire.ask("open", dataset=dataset, version=None, columns=None, **more)
def used(ticket):
    answer, descriptor = _wire.fetch(ticket)
    return {"ok": answer["ok"], "data": descriptor is not None, "why": answer.get("problem", {}).get("detail", "")}
"""


def test_a_ticket_is_good_once_and_only_as_it_was_signed(people):
    with Notebook(people.server("analyst2", "cardio"), "tickets.ipynb") as notebook:
        told = kernel_json(
            notebook,
            DOORS
            + """
ticket = opened("public/penguins")["ticket"]
head, body, signature = ticket.split(".")
def b64(raw): return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
claims = json.loads(base64.urlsafe_b64decode(body + "=="))
wider = b64(json.dumps({**claims, "dataset": "health/randhie", "label": "public"}).encode())
nobody = b64(json.dumps({"alg": "none", "typ": "JWT"}).encode())
symmetric = b64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
forged = [f"{head}.{wider}.{signature}", f"{nobody}.{wider}.", f"{symmetric}.{wider}.{signature}",
          f"{head}.{body}.{signature[:-8]}AAAAAAAA", "", "x" * 100_000]
print(json.dumps({"forged": [used(one) for one in forged], "first": used(ticket), "again": used(ticket)}))
""",
        )
    assert [one for one in told["forged"] if one["ok"] or one["data"]] == []
    assert told["first"] == {"ok": True, "data": True, "why": ""}
    assert told["again"]["ok"] is told["again"]["data"] is False
    assert "before" in told["again"]["why"]


def test_another_persons_ticket_is_refused_and_not_used_up(running, people):
    if running.instance.uids is None:
        pytest.skip("under one uid the vault cannot tell kernels apart; the product says so")
    with (
        Notebook(people.server("analyst", "elections"), "mine.ipynb") as mine,
        Notebook(people.server("analyst2", "cardio"), "theirs.ipynb") as theirs,
    ):
        ticket = kernel_json(mine, DOORS + "print(json.dumps(opened('public/penguins')['ticket']))")
        stolen = kernel_json(theirs, DOORS + f"print(json.dumps(used({ticket!r})))")
        assert stolen["ok"] is stolen["data"] is False
        assert "another uid" in stolen["why"]
        assert kernel_json(mine, f"print(json.dumps(used({ticket!r})))")["data"] is True


def test_a_ticket_passed_to_a_sibling_finds_it_labelled_already(people):
    server = people.server("analyst", "elections")
    with Notebook(server, "asks.ipynb") as asks, Notebook(server, "reads.ipynb") as reads:
        before = reads.run(DOORS + "print(1)")
        assert before.seal["label"] == "public"
        asked = asks.run(DOORS + "open('ticket', 'w').write(opened('transport/flights')['ticket']); print('passed on')")
        assert asked.seal["label"] == "internal"
        # The sibling has not asked for anything, and has no data yet.
        ready = reads.run("print(_wire.ask('label')['label'])")
        assert ready.text.strip() == "internal"
        assert ready.seal["label"] == "internal"
        data = reads.run("print(used(open('ticket').read())['data'])")
        assert data.text.strip() == "True", data.error
        assert data.seal["label"] == "internal"
    assert server.panel("GET", "session")["label"] == "internal"


def test_who_asks_is_told_by_the_door_and_not_by_the_question(people):
    with Notebook(people.server("analyst2", "cardio"), "asks.ipynb") as notebook:
        cell = notebook.run(
            DOORS
            + """
answer = opened("public/penguins", kernel="00000000-0000-0000-0000-000000000000", user="analyst", project="elections",
                server="x", cell=1, entry=1, label="public", uid=0)
def listed(folder):
    try:
        return sorted(os.listdir(folder))
    except PermissionError:
        return "closed"
print(json.dumps([answer["ok"], answer["entry"], listed("/run/strongroom/server"), listed("/run/strongroom")]))
"""
        )
        assert cell.status == "ok", cell.error
        ok, entry, own, doors = json.loads(cell.text)
        assert ok is True
        assert own in ("closed", ["ask.sock"]), "the door of another kernel is in sight"
        assert doors in ("closed", ["connection.json", "server", "vault"])
        recorded = people.at_console("auditor").console("GET", f"audit/entries/{entry}")
    assert (recorded["actor"], recorded["project"]) == ("user:analyst2", "cardio")
    assert recorded["kernel"] == notebook.kernel
    assert recorded["detail"]["cell"] == cell.seal["entry"]


def test_rubbish_at_the_doors_harms_nobody(running, people):
    services = [below(running.hub_pid, f"strongroom_hub.{name}")[-1:] for name in ("control", "vault")]
    with Notebook(people.server("analyst2", "cardio"), "rubbish.ipynb") as notebook:
        told = kernel_json(
            notebook,
            DOORS
            + r"""
def frame(body): return struct.pack(">I", len(body)) + body
rubbish = [b"\xff" * 4, struct.pack(">I", 1 << 31), frame(b""), frame(b"[]"), frame(b"{}"), frame(b"\x00\xff"),
           frame(b"[" * 500_000), frame(b'{"v":1,"op":' + b"[" * 400_000), frame(b'{"v":1,"op":{},"ticket":{}}'),
           frame(b'{"v":1,"op":"open","dataset":"../../x","columns":[{}]}'),
           frame(b'{"v":1e999,"op":"label","ticket":"a"}'),
           b"GET / HTTP/1.1\r\n\r\n", frame(b'{"v":1,"ticket":"' + b"a." * 500_000 + b'"}')]
granted, kept = [], []
for door in (_wire.ASK_SOCKET, _wire.DATA_SOCKET):
    for one in rubbish:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            try:
                s.connect(door)
                socket.send_fds(s, [one[:1]], [0, 1, 2])
                s.sendall(one[1:])
                s.shutdown(socket.SHUT_WR)
                answer = s.recv(1 << 16)
                if b'"ok":true' in answer.replace(b" ", b""):
                    granted.append([door, one[:60].decode("latin-1"), answer[:200].decode("latin-1")])
            except OSError:
                pass
    for _ in range(6):  # half a frame, held open
        kept.append(socket.socket(socket.AF_UNIX))
        kept[-1].connect(door)
        kept[-1].sendall(struct.pack(">I", 1000) + b"{")
data = used(opened("public/penguins")["ticket"])["data"]
print(json.dumps({"granted": granted, "label": _wire.ask("label")["ok"], "data": data}))
""",
        )
    assert told == {"granted": [], "label": True, "data": True}
    assert services == [below(running.hub_pid, f"strongroom_hub.{name}")[-1:] for name in ("control", "vault")]
