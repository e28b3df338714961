"""The calls that the vault makes of an object store, against a local folder, our stand-in and moto's; its errors."""

from __future__ import annotations

import io
import os
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from obstore.store import LocalStore
from strongroom_hub import tls
from strongroom_hub.problems import Problem
from strongroom_hub.vault.objects import ATTEMPTS, MissingError, Objects, S3Settings, s3

from tests.hub_config.standins.s3 import ACCESS, BUCKET, S3, SECRET, credentials


@pytest.fixture
def server() -> Iterator[S3]:
    one = S3()
    yield one
    one.close()


@pytest.fixture
def at(server: S3, tmp_path: Path) -> dict[str, Any]:
    return {
        "bucket": BUCKET,
        "endpoint": server.address,
        "credentials": str(credentials(tmp_path)),
        "deadline": 20,
    }


@pytest.fixture(params=["folder", "stand-in", "moto"])
def place(request: pytest.FixtureRequest, tmp_path: Path, at: dict[str, Any]) -> Iterator[Objects]:
    if request.param == "folder":
        folder = LocalStore(tmp_path)
        yield Objects(lambda: folder, what="a folder")
    elif request.param == "stand-in":
        yield s3(S3Settings.model_validate(at))
    else:
        moto = pytest.importorskip("moto.moto_server.threaded_moto_server", reason="needs moto[s3], flask, flask-cors")
        other = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        other.start()
        host, port = other.get_host_and_port()
        made = urllib.request.Request(f"http://{host}:{port}/{BUCKET}", method="PUT")
        urllib.request.urlopen(made).close()  # noqa: S310
        yield s3(S3Settings.model_validate(at | {"endpoint": f"http://{host}:{port}"}))
        other.stop()


def whole(place: Objects, name: str) -> bytes:
    return b"".join(place.pieces(name))


@pytest.mark.parametrize("size", [0, 1, (8 << 20) + 1, 20 << 20])
def test_what_is_put_comes_back(place: Objects, size: int) -> None:
    content = os.urandom(size)
    place.put("0" * 32, io.BytesIO(content))
    assert whole(place, "0" * 32) == content


def test_names_are_put_replaced_listed_and_removed(place: Objects) -> None:
    names = [f"{number:032x}" for number in range(8)]
    for name in names:
        place.put(name, io.BytesIO(name.encode()))
    place.put(names[0], io.BytesIO(b"other"))
    assert whole(place, names[0]) == b"other"
    assert set(names) <= set(place.names())
    place.remove(names[1])
    place.remove(names[1])
    assert set(names) & set(place.names()) == set(names) - {names[1]}
    with pytest.raises(MissingError):
        whole(place, names[1])


def test_only_what_is_below_the_prefix_is_listed(server: S3, at: dict[str, Any]) -> None:
    server.objects |= {"others/a": b"", "strongroom/b": b"", "strongroom-2/c": b""}
    assert list(s3(S3Settings.model_validate(at)).names()) == ["b"]


@pytest.mark.parametrize("fault", ["500", "drop", "half", "silent"])
def test_a_store_that_fails_is_said_to_be_away_in_time(server: S3, at: dict[str, Any], fault: str) -> None:
    place = s3(S3Settings.model_validate(at | {"timeout": 1}))
    place.put("a", io.BytesIO(b"x" * 1000))
    server.fault = lambda _method, _name: fault
    before = time.monotonic()
    with pytest.raises(Problem) as refused:
        whole(place, "a")
    assert refused.value.slug == "object-store-away"
    assert time.monotonic() - before < 60
    assert len(server.calls) <= 1 + ATTEMPTS + 1
    if fault != "half":
        with pytest.raises(Problem, match="gave no usable answer"):
            place.put("b", io.BytesIO(b"x"))
    server.fault = lambda _method, _name: None
    assert whole(place, "a") == b"x" * 1000


@pytest.mark.parametrize(("access", "secret"), [(ACCESS, "another-secret-key"), ("AKIAOTHER", SECRET)])
def test_wrong_credentials_are_named_and_never_quoted(
    at: dict[str, Any], tmp_path: Path, access: str, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = s3(S3Settings.model_validate(at))
    credentials(tmp_path, secret, access)  # from here on: they are read at each use
    for attempt in (lambda: whole(place, "a"), lambda: place.put("a", io.BytesIO(b"x")), lambda: list(place.names())):
        with pytest.raises(Problem, match="refuses the credentials") as refused:
            attempt()
        told = str(refused.value.as_json()) + repr(refused.value.__cause__) + caplog.text
        assert secret not in told
        assert access not in told
    credentials(tmp_path)
    place.put("a", io.BytesIO(b"x"))
    assert whole(place, "a") == b"x"


def test_a_bucket_that_is_not_there_is_named(at: dict[str, Any]) -> None:
    place = s3(S3Settings.model_validate(at | {"bucket": "another"}))
    for attempt in (lambda: whole(place, "a"), lambda: place.put("a", io.BytesIO(b"x"))):
        with pytest.raises(Problem, match=r"'another' .* no such bucket"):
            attempt()


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (f"[default]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n", 0o640, "read by others"),
        (f"[default]\naws_access_key_id = {ACCESS}\n", 0o600, "no aws_secret_access_key"),
        (f"aws_secret_access_key = {SECRET}\n", 0o600, r"no section \[default\]"),
        (f"[default]\n{SECRET}\n", 0o600, r"no section \[default\]"),
        ("", 0o600, r"no section \[default\]"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_a_file_of_credentials_that_cannot_be_used_is_named(
    at: dict[str, Any], text: str | None, mode: int, words: str
) -> None:
    file = Path(at["credentials"])
    file.unlink()
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    with pytest.raises(Problem, match=words) as refused:
        s3(S3Settings.model_validate(at))
    assert str(file) in refused.value.detail
    assert SECRET not in str(refused.value.as_json())


def test_credentials_come_from_systemd_too(at: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    place = s3(S3Settings.model_validate(at | {"credentials": "credential:s3-credentials"}))
    place.put("a", io.BytesIO(b"x"))
    assert whole(place, "a") == b"x"


def test_the_environment_changes_nothing(server: S3, at: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_SESSION_TOKEN", "t"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_ACCESS_KEY_ID", "AKIAOTHER"),
        ("AWS_UNSIGNED_PAYLOAD", "true"),
    ):
        monkeypatch.setenv(name, value)
    place = s3(S3Settings.model_validate(at))
    place.put("a", io.BytesIO(b"x"))
    assert server.objects == {"strongroom/a": b"x"}


def test_a_certificate_counts_only_if_its_ca_is_known(server: S3, at: dict[str, Any], tmp_path: Path) -> None:
    made = tmp_path / "tls"
    made.mkdir()
    tls.create(made)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / tls.CERTIFICATE_FILE, made / tls.KEY_FILE)
    server.close()
    server.start(context)
    at |= {"endpoint": server.address.replace("http:", "https:")}
    with pytest.raises(Problem, match="gave no usable answer") as refused:
        s3(S3Settings.model_validate(at)).put("a", io.BytesIO(b"x"))
    assert server.objects == {}
    assert "no CA" in str(refused.value.why)
    known = s3(S3Settings.model_validate(at | {"ca_file": str(made / tls.CA_FILE)}))
    known.put("a", io.BytesIO(b"x"))
    assert whole(known, "a") == b"x"
    with pytest.raises(Problem, match=r"ca_file: .* cannot be read"):
        s3(S3Settings.model_validate(at | {"ca_file": "/nowhere/ca.pem"}))
