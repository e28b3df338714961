"""The certificate of the first start: trusted for this machine by who trusts the authority, and for nothing else."""

from __future__ import annotations

import socket
import ssl
import stat
import threading

import pytest
from cryptography import x509
from strongroom_hub import tls


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tls")
    tls.create(made)
    return made


def handshake(folder, name: str) -> None:
    """A real TLS handshake with the made certificate, as a client that trusts only the made authority."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(folder / "server.pem", folder / "server.key")
    client_side = ssl.create_default_context(cafile=folder / "ca.pem")
    left, right = socket.socketpair()

    def serve() -> None:
        try:
            server_side.wrap_socket(right, server_side=True).close()
        except (ssl.SSLError, OSError):
            right.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client_side.wrap_socket(left, server_hostname=name).close()
    finally:
        left.close()
        thread.join(10)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_this_machine_is_trusted(folder, name):
    handshake(folder, name)


@pytest.mark.parametrize("name", ["example.org", "127.0.0.2"])
def test_another_name_is_not(folder, name):
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(folder, name)


def test_the_authority_vouches_for_this_machine_only(folder):
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert {str(name.value) for name in constraints.value.permitted_subtrees} == {
        "localhost",
        "127.0.0.1/32",
        "::1/128",
    }
    life = authority.not_valid_after_utc - authority.not_valid_before_utc
    assert life.days <= 826


def test_keys_are_private(folder):
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_a_second_run_and_an_operators_own_certificate_change_nothing(folder, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    tls.create(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (tmp_path / "server.pem").write_text("my own", encoding="utf-8")
    tls.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["server.pem"]
