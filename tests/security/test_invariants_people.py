"""People who try more than they may: deciding on their own requests, other people's rooms, changed files."""

from __future__ import annotations

import hashlib
import io
import socket
import zipfile
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from strongroom_hub import frames
from strongroom_hub.tour.notebook import Notebook

from tests.e2e.processes import below, environment_of
from tests.real import policy_rows, reload_policy
from tests.security.conftest import refused

pytestmark = pytest.mark.e2e

SECRET = "health/lymph_node"
WHY = "To see whether it leaves."


def sealed_file(server, name: str, text: str) -> None:
    with Notebook(server, "write.ipynb") as notebook:
        cell = notebook.run(f"open({name!r}, 'w').write({text!r})")
    assert cell.status == "ok", cell.error


def vote(people, who: str, export: str, verdict: str = "approve"):
    return people.at_console(who).console("POST", f"exports/{export}/votes", {"verdict": verdict, "comment": "seen"})


def test_a_file_changed_after_its_submission_does_not_leave(people, confidential):
    server = people.server("analyst", "cardio")
    shown = "plan,mean\na,1.5\nb,2.5\n"
    sealed_file(server, "swap.csv", shown)
    export = server.panel("POST", "exports", {"paths": ["swap.csv"], "justification": WHY})
    assert export["state"] == "in_review", export["files"]
    sealed_file(server, "swap.csv", "plan,mean\na,1.5\nb,9999.5\n")
    sha256 = hashlib.sha256(shown.encode()).hexdigest()
    assert export["files"][0]["sha256"] == sha256
    reviewed = people.at_console("steward").console("GET", f"exports/{export['id']}/files/{sha256}")
    assert reviewed == shown.encode()
    assert vote(people, "steward", export["id"])["state"] == "approved"
    sealed_file(server, "swap.csv", "plan,mean\na,1.5\nb,7777.5\n")
    # Nobody else's server gives it out, and their lists do not show it.
    other = people.server("analyst2", "cardio")
    assert refused(other.panel, "GET", f"exports/{export['id']}/download").status == 404
    assert export["id"] not in str(other.panel("GET", "exports"))
    with zipfile.ZipFile(io.BytesIO(server.panel("GET", f"exports/{export['id']}/download"))) as archive:
        assert archive.read("swap.csv") == shown.encode()
        assert sha256 in archive.read("manifest.json").decode()


DENIED = [
    ("analyst2", "GET", "policy", None),
    ("analyst2", "POST", "access-requests/{request}/decision", {"verdict": "approve"}),
    ("analyst2", "GET", "access-requests/{request}", None),
    ("analyst2", "POST", "grants/{grant}/revoke", {"reason": "x"}),
    ("analyst2", "GET", "exports/{export}", None),
    ("analyst2", "GET", "exports/{export}/files/{sha256}", None),
    ("analyst2", "GET", "exports/{export}/files/{sha256}/preview", None),
    ("analyst2", "POST", "exports/{export}/votes", {"verdict": "approve", "comment": ""}),
    ("steward", "GET", "policy", None),
    ("admin", "POST", "access-requests/{request}/decision", {"verdict": "approve"}),
    ("admin", "POST", "grants/{grant}/revoke", {"reason": "x"}),
    ("admin", "GET", "exports/{export}/files/{sha256}", None),
    ("admin", "POST", "exports/{export}/votes", {"verdict": "approve", "comment": ""}),
    ("auditor", "POST", "access-requests/{request}/decision", {"verdict": "approve"}),
    ("auditor", "GET", "exports/{export}/files/{sha256}", None),
    ("auditor", "POST", "exports/{export}/votes", {"verdict": "approve", "comment": ""}),
    ("analyst", "POST", "access-requests/{request}/decision", {"verdict": "approve"}),
    ("analyst", "POST", "exports/{export}/votes", {"verdict": "approve", "comment": ""}),
    ("analyst", "GET", "exports/{export}/files/{sha256}", None),
]


def test_each_role_keeps_to_its_own_rooms(people, confidential):
    server = people.server("analyst", "cardio")
    sealed_file(server, "roles.csv", "plan,mean\na,1.5\n")
    export = server.panel("POST", "exports", {"paths": ["roles.csv"], "justification": WHY})
    ask = {"dataset": "surveys/anes96", "columns": None, "purpose": "x", "days": 1}
    request = server.panel("POST", "access-requests", ask)
    [held, *_] = people.at_console("steward").console("GET", "grants")["grants"]
    names = {
        "request": request["id"],
        "grant": held["id"],
        "export": export["id"],
        "sha256": export["files"][0]["sha256"],
    }
    for who, method, path, body in DENIED:
        problem = refused(people.at_console(who).console, method, path.format(**names), body)
        assert problem.status in {403, 404}, (who, path)
    for who in ("analyst2", "admin", "auditor"):
        person = people.at_console(who)
        assert person.console("GET", "grants")["grants"] == []
        assert person.console("GET", "exports", state="all")["exports"] == []
        assert person.console("GET", "access-requests", state="all")["access_requests"] == []
    for who in ("analyst2", "admin"):
        entries = people.at_console(who).console("GET", "audit/entries", limit=200)["entries"]
        assert {entry["actor"] for entry in entries} <= {f"user:{who}"}, "the log of others"
    [begun, *_] = people.at_console("auditor").console(
        "GET", "audit/entries", actor="user:analyst", action="server:cell:begin"
    )["entries"]
    assert refused(people.at_console("analyst2").console, "GET", f"audit/entries/{begun['index']}").status == 404
    assert people.at_console("steward").console("GET", f"audit/entries/{begun['index']}")["payload"] is None
    server.panel("POST", f"access-requests/{request['id']}/withdraw")
    server.panel("POST", f"exports/{export['id']}/withdraw")


def test_pages_of_other_sites_cannot_write(people, confidential):
    person = people.at_console("analyst")
    server = people.server("analyst", "cardio")
    ask = {"dataset": "surveys/anes96", "columns": None, "purpose": "x", "days": 1}
    before = len(server.panel("GET", "access-requests")["access_requests"])
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    for headers in ({}, foreign, {**foreign, "X-XSRFToken": "guess"}):
        for path in ("strongroom/api/access-requests", "api/kernels", "api/sessions"):
            answer = person.http.post(server.prefix + path, json=ask, headers=headers)
            assert answer.status_code == 403, (path, headers)
        answer = person.http.post("/services/control/api/v1/grants/x/revoke", json={}, headers=headers)
        assert answer.status_code == 403
        assert "xsrf" in answer.json()["type"]
    assert len(server.panel("GET", "access-requests")["access_requests"]) == before


def test_no_token_that_a_person_can_hold_opens_the_internal_api(running, people):
    server = people.server("analyst2", "cardio")
    with Notebook(server, "tokens.ipynb") as notebook:
        instance = running.instance
        tokens = {cookie.value.strip('"') for cookie in people["analyst2"].http.cookies.jar if cookie.value}
        for pid in below(running.hub_pid, "strongroom_lab.main"):
            for part in environment_of(pid).split("\0"):
                name, _, value = part.partition("=")
                assert "STRONGROOM_CREDENTIAL" not in name or not Path(value).exists(), "the credential lies about"
                tokens |= {value} if "TOKEN" in name else set()
        assert list(instance.servers_run.glob("*/credential")) == []
        assert len(tokens) > 3
        hub_token = instance.hub_token_file.read_text(encoding="ascii").strip()
        operator_token = instance.operator_token_file.read_text(encoding="ascii").strip()
        cell = {
            "op": "begin",
            "kernel": notebook.kernel,
            "notebook": "x",
            "cell": "x",
            "kind": "execute",
            "code": "forged",
        }
        read = {"kernel": notebook.kernel, "cell": 0, "dataset": "public/penguins"}
        calls = [("GET", "session", None), ("POST", "reads", read)]
        transport = httpx.HTTPTransport(uds=str(instance.control_socket))
        with httpx.Client(transport=transport, base_url="http://control/internal/v1/") as client:
            for token in {*tokens, hub_token, operator_token, "", "null"}:
                for method, path, body in calls:
                    headers = {"Authorization": f"Bearer {token}"} if token else {}
                    assert client.request(method, path, json=body, headers=headers).status_code == 401, path
            for token in {*tokens, hub_token, operator_token, "", "null"}:
                with socket.socket(socket.AF_UNIX) as line:
                    line.connect(str(instance.cells_socket))
                    for message in ({"v": 1, "credential": token}, cell):
                        with suppress(BrokenPipeError):
                            frames.send(line, message)
                    answer, _ = frames.receive(line)
                    assert answer["problem"]["status"] == 401
                    with pytest.raises((frames.FrameError, ConnectionResetError)):
                        frames.receive(line)
            for token in tokens:
                headers = {"Authorization": f"Bearer {token}"}
                for method, path in (("POST", "servers"), ("GET", "datasets"), ("POST", "policy/reload")):
                    answer = client.request(
                        method, path, json={"user": "analyst2", "project": "cardio"}, headers=headers
                    )
                    assert answer.status_code == 401, path
    # The internal API is on its socket alone.
    for url in (f"http://127.0.0.1:{instance.control_port}/internal/v1/status",):
        assert httpx.get(url, headers={"Authorization": f"Bearer {operator_token}"}).status_code == 404


def review_withheld_at_secret(people, server, entry):
    """What the cell printed leaves by two others' votes, byte by byte, though its page never saw it."""
    kept = next(one for one in server.panel("GET", "withheld")["withheld"] if one["entry"] == entry)
    assert (kept["mime"], kept["bytes"]) == (None, None)
    sent = server.panel("POST", "withheld/review", {"ids": [kept["id"]], "justification": WHY})
    assert (sent["state"], sent["label"], sent["reviewers_needed"]) == ("in_review", "secret", 2)
    files = people.at_console("steward").console("GET", f"exports/{sent['id']}")["files"]
    # What it printed, and the value of its last line: one id stands for all that a cell at this label holds back.
    assert [file["name"] for file in files] == [f"cell-{entry}-1.txt", f"cell-{entry}-2.txt"]
    assert vote(people, "steward", sent["id"])["state"] == "in_review"
    assert refused(server.panel, "GET", f"exports/{sent['id']}/download").status == 409
    assert vote(people, "steward2", sent["id"])["state"] == "approved"
    archive = zipfile.ZipFile(io.BytesIO(server.panel("GET", f"exports/{sent['id']}/download")))
    left = [archive.read(file["name"]) for file in files]
    assert [hashlib.sha256(raw).hexdigest() for raw in left] == [file["sha256"] for file in files]
    assert b"never shown\n" in left


def test_who_is_steward_and_analyst_decides_on_nothing_of_their_own(running, people):
    """Secret data takes two others; the policy that they approved under must still be in force."""
    server = people.server("analyst2", "cardio")
    # The guards of the demo's policy keep the two roles apart; an installation may have none.
    with policy_rows(running, "g, user:analyst2, role:steward", guards=""):
        me = people.at_console("analyst2")
        ask = {"dataset": SECRET, "columns": None, "purpose": WHY, "days": 1}
        request = server.panel("POST", "access-requests", ask)
        decision = f"access-requests/{request['id']}/decision"
        assert me.console("GET", f"access-requests/{request['id']}")["id"] == request["id"], "not a steward here"
        assert refused(me.console, "POST", decision, {"verdict": "approve"}).slug == "own-request"
        people.at_console("steward").console("POST", decision, {"verdict": "approve"})
        with Notebook(server, "secret.ipynb") as notebook:
            cell = notebook.run(
                f"import strongroom\nd = strongroom.open({SECRET!r})\nprint('never shown')\n"
                "open('secret.csv', 'w').write('plan,mean\\na,1.5\\n')"
            )
            assert cell.seal["label"] == "secret", cell.error
            assert "never shown" not in cell.text
        review_withheld_at_secret(people, server, cell.seal["entry"])
        export = server.panel("POST", "exports", {"paths": ["secret.csv"], "justification": WHY})
        assert (export["state"], export["label"], export["reviewers_needed"]) == ("in_review", "secret", 2)
        [file] = me.console("GET", f"exports/{export['id']}")["files"]
        for path in (
            f"exports/{export['id']}/files/{file['sha256']}",
            f"exports/{export['id']}/files/{file['sha256']}/preview",
        ):
            assert refused(me.console, "GET", path).slug == "own-request", (
                "the requester reads what nobody has approved"
            )
        assert refused(vote, people, "analyst2", export["id"]).slug == "own-request"
        assert vote(people, "steward", export["id"])["state"] == "in_review"
        assert refused(vote, people, "steward", export["id"]).slug == "already-voted"
        assert refused(server.panel, "GET", f"exports/{export['id']}/download").status == 409
        assert vote(people, "steward2", export["id"])["state"] == "approved"
        with policy_rows(running, "# the policy is another one now"):
            problem = refused(server.panel, "GET", f"exports/{export['id']}/download")
            assert problem.slug == "approvals-void"
    reload_policy(running)
    assert refused(server.panel, "GET", f"exports/{export['id']}/download").status == 409


def test_a_grant_ends_at_its_project(people, confidential):
    """The same person, in another project."""
    with Notebook(people.server("analyst", "elections"), "elsewhere.ipynb") as notebook:
        cell = notebook.run("import strongroom\nstrongroom.open('health/randhie')")
    assert cell.status == "error"
    assert "randhie" in cell.error
