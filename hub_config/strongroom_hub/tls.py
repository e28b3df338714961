"""A certificate authority and a server certificate for this machine, made at first start.

Real installations put their own `server.pem` and `server.key` into the `tls` folder before the first start.
"""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 825
"""Longest life that browsers accept for a certificate of a private authority."""
NAMES = ("localhost",)
ADDRESSES = ("127.0.0.1", "::1")
CA_FILE, CA_KEY_FILE, CERTIFICATE_FILE, KEY_FILE = "ca.pem", "ca.key", "server.pem", "server.key"


def create(folder: Path, *, key_owner: int | None = None) -> None:
    """Make `ca.pem`, `ca.key`, `server.pem`, `server.key` in `folder`, unless a server certificate lies there.

    The keys are 0600; `key_owner` becomes the owner of `server.key` (the proxy's uid). Raises OSError.
    """
    if not (folder / CERTIFICATE_FILE).exists():
        authority_key = ec.generate_private_key(ec.SECP256R1())
        authority = _authority(authority_key)
        server_key = ec.generate_private_key(ec.SECP256R1())
        server = _server(server_key, authority, authority_key)
        _write_key(folder / CA_KEY_FILE, authority_key)
        _write_key(folder / KEY_FILE, server_key)
        (folder / CA_FILE).write_bytes(authority.public_bytes(Encoding.PEM))
        # Last: with it in place the set is whole. The chain, so that clients which trust the authority need no more.
        (folder / CERTIFICATE_FILE).write_bytes(
            server.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM)
        )
        for name in (CA_FILE, CERTIFICATE_FILE):
            (folder / name).chmod(0o644)
    if key_owner is not None:
        os.chown(folder / KEY_FILE, key_owner, key_owner)


def _builder(subject: str, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
    )


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = f"Strongroom local authority {x509.random_serial_number() % 10**8:08d}"
    public = key.public_key()
    return (
        _builder(name, DAYS)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_only_this_machine(), critical=True)
        .sign(key, SHA256())
    )


def _only_this_machine() -> x509.NameConstraints:
    """Whoever trusts this authority trusts it for localhost alone, even if its key is stolen."""
    networks = [x509.IPAddress(ipaddress.ip_network(address)) for address in ADDRESSES]
    return x509.NameConstraints([*(x509.DNSName(name) for name in NAMES), *networks], None)


def _server(
    key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    public = key.public_key()
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES]
    names = x509.SubjectAlternativeName([*(x509.DNSName(name) for name in NAMES), *addresses])
    return (
        _builder("localhost", DAYS)
        .issuer_name(authority.subject)
        .public_key(public)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, SHA256())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
