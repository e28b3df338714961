from __future__ import annotations

from pathlib import Path

import pytest
from enclave import Enclave, Person, TestClient
from strongroom_hub.control import console
from strongroom_hub.control.session import IDLE, LONGEST
from strongroom_hub.problems import MEDIA_TYPE, Problem

PREFIX = "/services/control/"


def browser(enclave: Enclave) -> TestClient:
    return TestClient(enclave.public, base_url="https://strongroom.test", follow_redirects=False)


def refused(call, *arguments, **more) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments, **more)
    return caught.value


def begin(client: TestClient) -> str:
    answer = client.get(PREFIX)
    assert answer.status_code == 302
    assert "code_challenge=its-challenge" in answer.headers["location"]
    return str(answer.headers["location"].partition("state=")[2].partition("&")[0])


def test_login_by_state_and_pkce(enclave: Enclave) -> None:
    client = browser(enclave)
    state = begin(client)
    done = client.get(f"{PREFIX}oauth_callback", params={"code": "code-steward", "state": state})
    assert (done.status_code, done.headers["location"]) == (302, PREFIX)
    assert enclave.hub.verifiers == ["a-verifier"]
    cookies = {cookie.partition("=")[0]: cookie for cookie in done.headers.get_list("set-cookie")}
    session = cookies["strongroom-session"]
    for word in ("HttpOnly", "Secure", "SameSite=lax", f"Path={PREFIX}"):
        assert word in session
    assert "HttpOnly" not in cookies["_strongroom_xsrf"]
    assert "token-steward" not in str(done.headers)
    assert client.get(f"{PREFIX}api/v1/me").json()["user"] == "steward"


def test_a_login_begun_elsewhere_is_refused(enclave: Enclave) -> None:
    mine, other = browser(enclave), browser(enclave)
    state = begin(other)
    begin(mine)
    for params in (
        {"code": "code-steward", "state": state},  # another browser's state: login forgery
        {"code": "code-steward", "state": ""},
        {"code": "code-steward", "state": "made-up"},
        {"code": "code-steward"},
    ):
        answer = mine.get(f"{PREFIX}oauth_callback", params=params)
        assert answer.status_code == 403, params
        assert "strongroom-session" not in answer.cookies
    assert refused_status(mine) == 401


def refused_status(client: TestClient) -> int:
    return int(client.get(f"{PREFIX}api/v1/me").status_code)


def test_a_state_works_once_and_for_ten_minutes(enclave: Enclave) -> None:
    client = browser(enclave)
    state = begin(client)
    cookie = client.cookies["strongroom-login"]
    client.get(f"{PREFIX}oauth_callback", params={"code": "code-steward", "state": state})
    client.cookies.set("strongroom-login", cookie, path=PREFIX)
    again = client.get(f"{PREFIX}oauth_callback", params={"code": "code-steward", "state": state})
    assert again.status_code == 403
    late = browser(enclave)
    state = begin(late)
    enclave.clock.forward(minutes=10)
    assert late.get(f"{PREFIX}oauth_callback", params={"code": "code-steward", "state": state}).status_code == 403


def test_sessions_idle_out_and_end(enclave: Enclave) -> None:
    person = enclave.person("steward")
    enclave.clock.forward(seconds=IDLE.total_seconds() - 1)
    person("GET", "me")
    enclave.clock.forward(seconds=IDLE.total_seconds())
    assert refused(person, "GET", "me").status == 401
    person = enclave.person("steward")
    steps = int(LONGEST.total_seconds() // (IDLE.total_seconds() - 60))
    for _ in range(steps):
        enclave.clock.forward(seconds=IDLE.total_seconds() - 60)
        person("GET", "me")
    enclave.clock.forward(seconds=IDLE.total_seconds() - 60)
    assert refused(person, "GET", "me").status == 401


def test_a_logout_at_the_hub_ends_the_session(enclave: Enclave) -> None:
    person = enclave.person("steward")
    person("GET", "me")
    enclave.hub.logged_out.add("steward")
    assert refused(person, "GET", "me").status == 401
    enclave.hub.logged_out.clear()
    assert refused(person, "GET", "me").status == 401


WRITES = [
    ("POST", "access-requests/x/decision"),
    ("POST", "grants/x/revoke"),
    ("POST", "exports/x/votes"),
    ("POST", "policy/proposals"),
    ("POST", "policy/proposals/x/decision"),
    ("POST", "policy/rollback"),
    ("POST", "policy/what-if"),
    ("PUT", "datasets/x/x/synthetic"),
    ("POST", "datasets/x/x/x/decision"),
    ("POST", "datasets/x/x/x/release"),
    ("POST", "datasets/x/x/x/relabel"),
    ("POST", "datasets/x/x/x/retire"),
    ("POST", "relabellings/x/decision"),
    ("POST", "shreds"),
    ("POST", "shreds/x/decision"),
    ("POST", "reidentifications"),
    ("POST", "reidentifications/x/decision"),
    ("POST", "reidentifications/x/values"),
    ("POST", "audit/erasures"),
    ("POST", "audit/erasures/x/decision"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize("header", [None, "", "wrong"])
def test_writes_need_the_pages_own_header(enclave: Enclave, method: str, path: str, header: str | None) -> None:
    person = enclave.person("steward")
    headers = {} if header is None else {"X-XSRFToken": header}
    answer = person.client.request(method, f"{PREFIX}api/v1/{path}", json={}, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["type"].endswith(":xsrf")


def test_a_forged_pair_of_cookie_and_header_is_refused(enclave: Enclave) -> None:
    person = enclave.person("steward")
    person.client.cookies.set("_strongroom_xsrf", "forged", domain="strongroom.test", path=PREFIX)
    headers = {"X-XSRFToken": "forged"}
    answer = person.client.post(f"{PREFIX}api/v1/grants/x/revoke", json={}, headers=headers)
    assert answer.status_code == 403


def test_every_public_write_is_tested_for_it(enclave: Enclave) -> None:
    writes = {
        (method.upper(), "/".join("x" if part.startswith("{") else part for part in path.split("/")))
        for path, methods in enclave.public.openapi()["paths"].items()
        for method in methods
        if method != "get"
    }
    assert writes == {(method, f"{PREFIX}api/v1/{path}") for method, path in WRITES}


def test_nothing_of_the_api_is_open(enclave: Enclave) -> None:
    client = browser(enclave)
    paths = client.app.openapi()["paths"]
    assert len(paths) > 12
    for path, methods in paths.items():
        for method in methods:
            address = path
            for part in ("request", "grant", "export", "sha256", "index"):
                address = address.replace(f"{{{part}}}", "1")
            answer = client.request(method.upper(), address, json={})
            assert answer.status_code == 401, (method, path)
            assert answer.headers["content-type"] == MEDIA_TYPE
    assert client.get(f"{PREFIX}api/openapi.json").status_code == 401


def test_the_description_is_for_people_logged_in(enclave: Enclave) -> None:
    person = enclave.person("steward")
    described = person.client.get(f"{PREFIX}api/openapi.json").json()
    assert f"{PREFIX}api/v1/exports/{{export}}/votes" in described["paths"]


@pytest.mark.parametrize(
    ("user", "can"),
    [
        ("analyst", set()),
        ("steward", {"approve_access", "approve_exports"}),
        ("admin", {"administer"}),
        ("auditor", {"audit"}),
        ("stranger", set()),
    ],
)
def test_me_says_what_one_can_do(cardio: Enclave, user: str, can: set[str]) -> None:
    told = cardio.person(user)("GET", "me")
    assert {name for name, held in told["can"].items() if held} == can
    assert cardio.person(user)("GET", "status")["mode"] == "one-uid"


def test_the_policy_is_read_by_admins_and_auditors(cardio: Enclave) -> None:
    shown = cardio.person("admin")("GET", "policy")
    assert shown["state"] == "in-force"
    assert {one["name"] for one in shown["files"]} == {
        "model.conf", "policy.csv", "labels.toml", "profiles.toml", "tests.csv",
    }  # fmt: skip
    cardio.person("auditor")("GET", "policy")
    for user in ("analyst", "steward"):
        assert refused(cardio.person(user), "GET", "policy").status == 403


def test_datasets_of_the_console(cardio: Enclave) -> None:
    assert [one["name"] for one in cardio.person("steward")("GET", "datasets")["datasets"]] == ["health/randhie"]
    assert cardio.person("stranger")("GET", "datasets")["datasets"] == []


def page(person: Person) -> str:
    answer = person.client.get(PREFIX)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == console.PAGE_POLICY
    assert "unsafe" not in console.PAGE_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    return str(answer.text)


def test_the_built_page_and_its_files(enclave: Enclave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    static = tmp_path / "static"
    static.mkdir()
    monkeypatch.setattr(console, "STATIC", static)
    person = enclave.person("steward")
    assert "not built" in page(person)
    (static / "index.html").write_text("<title>Console</title>")
    (static / "console.js").write_text("1")
    (tmp_path / "secret").write_text("secret")
    (static / "link.js").symlink_to(tmp_path / "secret")
    assert "<title>Console</title>" in page(person)
    script = person.client.get(f"{PREFIX}static/console.js")
    assert script.headers["content-type"].startswith("text/javascript")
    for name in ("nothing.js", "..%2Fsecret", "%2e%2e/secret", "link.js", ".."):
        answer = person.client.get(f"{PREFIX}static/{name}")
        assert "secret" not in answer.text or answer.status_code in {302, 404}, name
        assert answer.text != "secret"


def test_errors_are_problems_without_traces_or_secrets(
    enclave: Enclave, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("inner words")

    monkeypatch.setattr("strongroom_hub.projects.service.projects_of", crash)
    problem = refused(enclave.hub_caller, "GET", "users/analyst/projects")
    assert problem.status == 500
    assert "inner words" not in str(problem.as_json())
    incident = problem.detail.split("Incident ")[1].rstrip(".")
    assert incident in caplog.text
    assert refused(enclave.hub_caller, "GET", "nothing/here").status == 404
    assert refused(enclave.hub_caller, "PATCH", "servers").status == 405
    invalid = refused(enclave.hub_caller, "POST", "logins", {"user": "a", "password": 12345678, "otp": "1"})
    assert invalid.status == 422
    assert "12345678" not in str(invalid.as_json())
    assert any("password" in line for line in invalid.why)
