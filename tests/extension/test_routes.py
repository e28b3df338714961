"""No route but the ones decided on: every way around the gate that Jupyter ships is gone."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from pathlib import Path

import httpx
import pytest
import websockets
from strongroom_lab import routes

from tests.extension.conftest import Lab, launch, own

CLOSED_PATHS = [
    "files/a.ipynb",
    "view/a.ipynb",
    "nbconvert/html/a.ipynb",
    "api/events",
    "api/terminals",
    "terminals/1",
    "lsp/status",
    "lab/api/extensions",
    "lab/api/plugins",
    "lab/api/build",
    "lab/api/news",
    "lab/api/update",
    "lab/api/listings/blocked.json",
    "lab/api/licenses",
    "api/spec.yaml",
    "api/shutdown",
    "api/security/csp-report",
    "metrics",
    "kernelspecs/strongroom/kernel.json",
    "api/kernels/00000000-0000-0000-0000-000000000000/execute",
    "custom/custom.css",
]

DISCOVER = """
import json, os
from strongroom_lab import main, routes
def look(application, *, hub):
    roots = (application.default_router, application.wildcard_router)
    names = sorted({routes.name_of(rule.target) for root in roots for _, rule in routes.leaves(root)})
    print("FOUND" + json.dumps(names), flush=True)
    os._exit(0)
main.prune = look
main.main()
"""


def test_closed_routes_are_gone(lab: Lab) -> None:
    (lab.notebooks / "a.ipynb").write_text("{}")
    own(lab.notebooks / "a.ipynb")
    for path in CLOSED_PATHS:
        for method in ("GET", "POST", "PUT"):
            response = lab.call(method, path)
            assert response.status_code in {403, 404, 405}, (method, path, response.status_code)


def test_every_handler_was_decided_on(lab: Lab) -> None:
    """A new handler of a new version fails here until somebody puts it in one of the lists."""
    with tempfile.TemporaryDirectory(prefix="sr", dir="/tmp") as folder:
        root = Path(folder)
        root.chmod(0o755)
        (root / "control.sock").symlink_to(lab.control.path)
        process = launch(root, lab.prefix, lab.control.credential, DISCOVER, 1, "token")
        process.wait(60)
        log = (root / "server.log").read_text()
    assert "FOUND" in log, log
    names = set(json.loads(log.split("FOUND", 1)[1].splitlines()[0]))
    own_names = {name for name in names if name.startswith(routes.OWN)}
    assert len(own_names) == 22
    assert names - own_names - routes.OPEN.keys() - routes.TOKEN_LOGIN.keys() - routes.CLOSED == set()


def test_no_other_server_extension_is_loaded(lab: Lab) -> None:
    """A package that brings one with it fails here until somebody decides about it."""
    loaded = set(re.findall(r"([\w.-]+) \| extension was successfully loaded", lab.log))
    assert loaded == {"jupyterlab"}


def test_there_is_one_kernelspec(lab: Lab) -> None:
    """Whatever is installed beside it."""
    found = lab.call("GET", "api/kernelspecs").json()
    assert (found["default"], set(found["kernelspecs"])) == ("strongroom", {"strongroom"})
    assert lab.call("GET", "api/kernelspecs/python3").status_code == 404


def test_methods_are_restricted(lab: Lab) -> None:
    assert lab.call("GET", "api/config/notebook").status_code == 200
    for method in ("PUT", "PATCH"):
        assert lab.call(method, "api/config/notebook", json={"a": 1}).status_code == 405
    assert lab.call("PATCH", "api/me", json={"name": "x"}).status_code == 405


async def test_events_are_a_dead_end(lab: Lab) -> None:
    """Lab wants the socket; nothing ever comes out of it, and without a login it does not open."""
    url = f"ws://127.0.0.1:{lab.port}/api/events/subscribe"
    headers = {"Authorization": f"token {lab.token}"}
    async with websockets.connect(url, additional_headers=headers, proxy=None) as events:
        await events.send('{"schema_id": "x"}')
        kernel = lab.start_kernel("events.ipynb")
        assert lab.call("DELETE", f"api/kernels/{kernel}").status_code == 204
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(events.recv(), 0.5)
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(url, proxy=None)
    assert lab.call("GET", "api/nbconvert").json() == {}
    assert lab.call("GET", "api/resolvePath?path=/etc/shadow").json() == {"resolved": []}


def test_without_login_nothing_answers(lab: Lab) -> None:
    for path in (
        "session",
        "stream",
        "datasets",
        "access-requests",
        "work",
        "exports",
        "cells",
        "cells/1/proof",
        "withheld",
    ):
        assert httpx.get(lab.url + "strongroom/api/" + path, trust_env=False).status_code == 403
    assert httpx.get(lab.url + "api/kernels", trust_env=False).status_code == 403


def test_the_page_has_a_strict_policy_and_locks(lab: Lab) -> None:
    response = lab.call("GET", "lab")
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert "script-src 'self' 'unsafe-eval' 'sha256-" in policy
    assert "http:" not in policy
    config = json.loads(response.text.split('type="application/json">', 1)[1].split("</script>", 1)[0])
    assert "@jupyterlab/docmanager-extension:download" in config["lockedExtensions"]
    assert "@jupyterlab/docmanager-extension:download" in config["disabledExtensions"]
    assert config["terminalsAvailable"] is False
    assert {extension["name"] for extension in config["federated_extensions"]} <= {
        "jupyter-strongroom",
        "@jupyter-widgets/jupyterlab-manager",
        "jupyterlab_pygments",
    }


@pytest.mark.parametrize("body", [{"name": "python3"}, {"name": "../python3"}, {"name": "python3", "path": "/etc"}])
def test_no_other_kernel_starts(lab: Lab, body: dict[str, str]) -> None:
    assert lab.call("POST", "api/kernels", json=body).status_code == 404
    session = {"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"name": body["name"]}}
    assert lab.call("POST", "api/sessions", json=session).status_code >= 400
    assert lab.call("GET", "api/kernels").json() == []
    assert lab.control.named("POST kernels") == []
    assert list(lab.call("GET", "api/kernelspecs").json()["kernelspecs"]) == ["strongroom"]


def test_a_kernel_id_is_no_path(lab: Lab) -> None:
    response = lab.call("POST", "api/kernels", json={"name": "strongroom", "kernel_id": "../../x"})
    assert response.status_code == 400


def test_the_credential_is_read_once(lab: Lab) -> None:
    assert not (lab.root / "run" / "credential").exists()
    assert lab.control.credential not in lab.log
    raw = Path(f"/proc/{lab.process.pid}/environ").read_bytes() + Path(f"/proc/{lab.process.pid}/cmdline").read_bytes()
    assert lab.control.credential.encode() not in raw


def test_the_log_holds_no_secrets_of_requests(lab: Lab) -> None:
    """Tornado writes the address of a request that failed, with all that stands in it."""
    for path in (
        "api/kernels/7b1ee7c4-58e3-4f8a-9fd0-3c58b1c1a111",
        "oauth_callback",
        "strongroom/api/exports/x/download",
    ):
        lab.call("GET", f"{path}?code=SECRETCODE&state=SECRETSTATE&why=to-find-the-line")
    assert "to-find-the-line" in lab.log
    assert "SECRETCODE" not in lab.log
    assert "SECRETSTATE" not in lab.log
