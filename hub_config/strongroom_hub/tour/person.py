"""A person at a browser, without the browser: logs in at the hub, opens a project, uses the console.

What a page's script would do (cookies, XSRF headers, OAuth redirects) is done here over real HTTPS, so that the tour
and the tests meet the product through the doors that people use.
"""

from __future__ import annotations

import html
import re
import ssl
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from strongroom_hub.demo import OTP_SECONDS, one_time_code
from strongroom_hub.problems import MEDIA_TYPE, Problem

SPAWN_PATIENCE = 90.0
MAX_REDIRECTS = 12


class TourError(Exception):
    """What a person met was not what the product promises."""


class Person:
    """One account and one cookie jar. Use as a context manager; every call raises `Problem` on a refusal."""

    def __init__(self, base_url: str, ca_file: str, name: str, password: str, otp_secret: str) -> None:
        self.base_url = base_url.rstrip("/")
        self.name = name
        self.password = password
        self.otp_secret = otp_secret
        self.tls = ssl.create_default_context(cafile=ca_file)
        self.tls_for_sockets = ssl.create_default_context(cafile=ca_file)
        # TLS 1.3 sends session tickets right behind its handshake. The websocket library reads them in one thread
        # while it writes its request in another, which OpenSSL does not allow: the request was lost about once in 50.
        self.tls_for_sockets.maximum_version = ssl.TLSVersion.TLSv1_2
        self.http = httpx.Client(base_url=self.base_url, verify=self.tls, timeout=60, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    # -- the hub ------------------------------------------------------------------------------------------------

    def follow(self, url: str) -> httpx.Response:
        """GET a page as a browser would, through all its redirects (login cookies and OAuth included)."""
        for _ in range(MAX_REDIRECTS):
            response = self.http.get(url, headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"})
            if not response.is_redirect:
                return response
            target = response.headers["location"]
            parts = urlsplit(target)
            if parts.netloc and parts.netloc != urlsplit(self.base_url).netloc:
                raise TourError(f"{url} redirects to another host: {parts.netloc}")
            url = target
        raise TourError(f"more than {MAX_REDIRECTS} redirects from {url}")

    def try_login(self, password: str, code: str) -> tuple[bool, str]:
        """Fill in the login form once. Returns whether it worked, and what the page said if not."""
        page = self.follow("/hub/login")
        token = self.cookie("_xsrf", "/hub/")
        if page.status_code != httpx.codes.OK or not token:
            raise TourError(f"the login page answered {page.status_code}")
        response = self.http.post(
            "/hub/login",
            data={"_xsrf": token, "username": self.name, "password": password, "otp": code},
            headers={"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"},
        )
        if response.is_redirect:
            self.follow(response.headers["location"])
            return True, ""
        return False, _visible(_login_error(response.text))

    def login(self) -> None:
        """Log in with password and the present one-time code; waits for the next one where it was used already."""
        for attempt in range(2):
            # A code counts once. The second try uses the next step's, which the server's window of one step admits.
            worked, said = self.try_login(
                self.password, one_time_code(self.otp_secret, time.time() + attempt * OTP_SECONDS)
            )
            if worked:
                return
        raise TourError(f"{self.name} cannot log in: {said}")

    def cookie(self, name: str, path_prefix: str = "/") -> str:
        """The value of a cookie; of several with this name the one with the longest path under `path_prefix`."""
        found = [c for c in self.http.cookies.jar if c.name == name and (c.path or "/").startswith(path_prefix)]
        return (max(found, key=lambda c: len(c.path or "/")).value or "") if found else ""

    def open_project(self, project: str, profile: str = "") -> Server:
        """Start (or find) this person's server of a project and wait until JupyterLab answers.

        `profile`: the name of the one to choose. Raises TourError with the hub's words when the project is refused.
        """
        page = self.follow(f"/hub/spawn/{self.name}/{project}" + (f"?opt-profile={profile}" if profile else ""))
        deadline = time.monotonic() + SPAWN_PATIENCE
        server = Server(self, project)
        while time.monotonic() < deadline:
            if page.status_code >= httpx.codes.BAD_REQUEST:
                raise TourError(f"the hub refuses to open {project}: {_visible(page.text)}")
            if page.url.path.startswith(server.prefix):
                return server
            time.sleep(0.3)
            page = self.follow(server.prefix + "lab")
            if page.status_code in {httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.FAILED_DEPENDENCY}:
                page = self.follow(f"/hub/spawn-pending/{self.name}/{project}")
        raise TourError(f"{project} did not start within {SPAWN_PATIENCE:.0f} s")

    # -- the console --------------------------------------------------------------------------------------------

    def open_console(self) -> httpx.Response:
        """Open the stewards' and auditors' page; no notebook server is involved."""
        page = self.follow("/services/control/")
        if page.status_code != httpx.codes.OK:
            raise TourError(f"the console answered {page.status_code}: {_visible(page.text)}")
        return page

    def console(self, method: str, path: str, body: dict[str, Any] | None = None, **query: Any) -> Any:
        """Call the console's API as its page does."""
        response = self.http.request(
            method,
            f"/services/control/api/v1/{path}",
            json=body,
            params=query,
            headers={"X-XSRFToken": self.cookie("_strongroom_xsrf"), "Sec-Fetch-Site": "same-origin"},
        )
        return _answer(response)


class Server:
    """A person's notebook server of one project, through the REST that JupyterLab and our panels use."""

    def __init__(self, person: Person, project: str) -> None:
        self.person = person
        self.project = project
        self.prefix = f"/user/{person.name}/{project}/"

    def headers(self) -> dict[str, str]:
        """What a page of this server sends with a write."""
        return {"X-XSRFToken": self.person.cookie("_xsrf", self.prefix), "Sec-Fetch-Site": "same-origin"}

    def request(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """Any route below the server's prefix; the raw answer."""
        return self.person.http.request(method, self.prefix + path, json=body, params=query, headers=self.headers())

    def jupyter(self, method: str, path: str, body: Any = None) -> Any:
        """Jupyter's own REST, `api/...`."""
        return _answer(self.request(method, path, body))

    def panel(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The REST of our panels, `strongroom/api/...`."""
        return _answer(self.request(method, f"strongroom/api/{path}", body, **query))


def _answer(response: httpx.Response) -> Any:
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind == MEDIA_TYPE:
        raise Problem.from_json(response.json())
    if response.is_error or response.is_redirect:
        raise TourError(
            f"{response.request.method} {response.request.url.path}: {response.status_code}, no problem+json"
        )
    if not response.content:
        return None
    return response.json() if kind == "application/json" else response.content


def _login_error(page: str) -> str:
    found = re.search(r'class="[^"]*login_error[^"]*"[^>]*>(.*?)</p>', page, re.DOTALL)
    return found.group(1) if found else page


def _visible(page: str) -> str:
    body = re.sub(r"<(script|style|head)\b.*?</\1>", " ", page, flags=re.DOTALL | re.IGNORECASE)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())[:600]
