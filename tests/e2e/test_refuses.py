"""What must be refused, is refused in words, through the doors that people use."""

from __future__ import annotations

import time

import pytest
from strongroom_hub.demo import one_time_code
from strongroom_hub.tour.day import refused
from strongroom_hub.tour.notebook import Notebook
from strongroom_hub.tour.person import TourError
from tornado.web import create_signed_value, decode_signed_value

pytestmark = pytest.mark.e2e


def test_a_one_time_code_counts_once(people):
    account = people.running.accounts["steward2"]
    code = one_time_code(account.otp_secret, time.time())
    with people.fresh("steward2") as first:
        worked, said = first.try_login(account.password, code)
        assert worked, said
    with people.fresh("steward2") as second:
        worked, said = second.try_login(account.password, code)
        assert not worked
        assert "code" in said.lower()


def test_wrong_password_and_unknown_person_read_the_same(people):
    with people.fresh("auditor") as person:
        wrong = person.try_login("wrong", "000000")
        person.name = "nobody-of-that-name"
        unknown = person.try_login("wrong", "000000")
    assert wrong[0] is unknown[0] is False
    assert wrong[1] == unknown[1]


def test_a_project_of_others_does_not_open(people):
    with pytest.raises(TourError, match="member"):
        people["analyst2"].open_project("elections")


def test_a_server_of_another_person_does_not_open(people):
    people.server("analyst", "cardio")
    answer = people["analyst2"].follow("/user/analyst/cardio/lab")
    assert answer.status_code in {403, 404}


def test_a_label_that_one_is_not_cleared_for_is_named(people):
    with Notebook(people.server("analyst2", "cardio"), "clearance.ipynb") as notebook:
        cell = notebook.run("import strongroom\nstrongroom.open('health/randhie')")
    assert cell.status == "error"
    assert "confidential" in cell.error
    assert "clear" in cell.error


BIG = """with open("big.csv", "wb") as file:
    try:
        file.truncate(3 * 2**30)
    except OSError as error:
        print("the box:", error.strerror)
        file.truncate(2**31 - 1)
"""


def test_three_gigabytes_cannot_be_made_and_two_are_refused(people):
    server = people.server("analyst2", "cardio")
    with Notebook(server, "big.ipynb") as notebook:
        made = notebook.run(BIG)
        assert "the box: File too large" in made.text, made.text + made.error
        problem = refused(
            lambda: server.panel("POST", "exports", {"paths": ["big.csv"], "justification": "A very large table."})
        )
    assert "big.csv" in problem.detail
    assert problem.status == 413


def test_binary_and_odd_files_do_not_leave(people):
    server = people.server("analyst2", "cardio")
    with Notebook(server, "odd.ipynb") as notebook:
        made = notebook.run(
            "import os, pickle\nopen('model.pkl', 'wb').write(pickle.dumps({'a': 1}))\n"
            "open('noise.csv', 'wb').write(os.urandom(4096))\nos.makedirs('sub', exist_ok=True)\n"
            "open('one.csv', 'w').write('a\\n1\\n')\nos.link('one.csv', 'two.csv')\nprint('made')"
        )
        assert "made" in made.text, made.error
    for name in ("model.pkl", "noise.csv"):
        export = server.panel("POST", "exports", {"paths": [name], "justification": "Not a table at all."})
        assert export["state"] == "blocked", name
        assert any(finding["severity"] == "block" for finding in export["files"][0]["findings"])
    for path in ("sub", "two.csv", "../notebooks/odd.ipynb", "/etc/passwd", "absent.csv"):
        problem = refused(
            lambda path=path: server.panel("POST", "exports", {"paths": [path], "justification": "Odd paths."})
        )
        assert problem.status in {400, 404, 409, 413, 422}, path


ROUTES = [
    ("GET", "files/day.ipynb"),
    ("GET", "api/terminals"),
    ("POST", "api/terminals"),
    ("GET", "nbconvert/html/day.ipynb"),
    ("GET", "api/events"),
    ("GET", "metrics"),
    ("GET", "lab/api/extensions"),
    ("POST", "api/shutdown"),
    ("GET", "api/spec.yaml"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_other_routes_out_of_the_server_are_closed(people, method, path):
    answer = people.server("analyst", "cardio").request(method, path)
    assert answer.status_code in {403, 404, 405}, (path, answer.status_code)


def test_another_kernelspec_does_not_start(people):
    answer = people.server("analyst", "cardio").request("POST", "api/kernels", {"name": "python3"})
    assert answer.status_code >= 400


def test_the_hub_lends_no_tokens(people):
    person = people["analyst"]
    answer = person.http.post(
        "/hub/api/users/analyst/tokens", json={"note": "mine"}, headers={"X-XSRFToken": person.cookie("_xsrf", "/hub/")}
    )
    assert answer.status_code in {403, 404}


@pytest.mark.parametrize(("hours", "page"), [(11, "/hub/home"), (13, "/hub/login")])
def test_a_login_counts_for_half_a_day(people, hours, page):
    """The browser's own cookie, signed anew with the hub's secret as of some hours ago."""
    name = "jupyterhub-hub-login"
    secret = bytes.fromhex((people.running.instance.hub_dir / "cookie_secret").read_text(encoding="utf-8").strip())
    value = decode_signed_value(secret, name, people["analyst2"].cookie(name, "/hub/").strip('"'))
    aged = create_signed_value(secret, name, value, clock=lambda: time.time() - hours * 3600)
    with people.fresh("analyst2") as visitor:
        visitor.http.cookies.set(name, aged.decode(), domain="127.0.0.1", path="/hub/")
        assert visitor.follow("/hub/home").url.path == page
