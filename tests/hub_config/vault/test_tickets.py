from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strongroom_hub.problems import Problem
from strongroom_hub.vault.tickets import FetchTicket, IngestTicket, ReadTicket, TicketVerifier, load_public_key

FETCH = {"export": "e1", "sha256": "0" * 64}


@pytest.fixture
def verifier(signer: Any) -> TicketVerifier:
    return TicketVerifier(signer.key.public_key(), started=time.time() - 5)


def refused(verifier: TicketVerifier, token: str, words: str, kind: Any = FetchTicket, **how: Any) -> None:
    with pytest.raises(Problem, match=words) as problem:
        verifier.verify(token, kind, **how)
    assert problem.value.slug == "ticket-refused"
    assert token not in str(problem.value.as_json())


def test_a_fresh_ticket_is_good_once(verifier: TicketVerifier, signer: Any) -> None:
    token = signer.token("fetch", **FETCH)
    assert verifier.verify(token, FetchTicket).export == "e1"
    refused(verifier, token, "presented before")
    # the same right under another signature of the same jti is still the same ticket
    refused(
        verifier,
        signer.token("fetch", jti=jwt.decode(token, options={"verify_signature": False})["jti"], **FETCH),
        "before",
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"iss": "strongroom:vault"}, "Issuer"),
        ({"aud": "strongroom:control"}, "Audience"),
        ({"exp": 1}, "expired"),
        ({"iat": 1}, "before this vault started"),
        ({"iat": 9e9}, "Immature"),
        ({"nbf": 9e9}, "Immature"),
        ({"sha256": "../../keys/master.key"}, "sha256"),
        ({"export": "../e"}, "export"),
        ({"export": 7}, "export"),
        ({"iat": "now"}, "not valid"),
    ],
)
def test_every_field_counts(verifier: TicketVerifier, signer: Any, changed: dict[str, Any], words: str) -> None:
    refused(verifier, signer.token("fetch", **{**FETCH, **changed}), words)


@pytest.mark.parametrize("gone", ["iss", "aud", "exp", "iat", "jti", "act", "sha256"])
def test_no_field_may_be_missing(verifier: TicketVerifier, signer: Any, gone: str) -> None:
    claims = jwt.decode(signer.token("fetch", **FETCH), options={"verify_signature": False})
    del claims[gone]
    refused(verifier, jwt.encode(claims, signer.key, algorithm="EdDSA"), "MissingRequired|sha256")


def test_a_ticket_for_one_act_is_none_for_another(verifier: TicketVerifier, signer: Any) -> None:
    refused(verifier, signer.token("ingest", **FETCH), "ingest ticket; this needs a fetch")


def test_only_control_s_signature_by_the_one_algorithm(verifier: TicketVerifier, signer: Any) -> None:
    token = signer.token("fetch", **FETCH)
    claims = jwt.decode(token, options={"verify_signature": False})
    head, body, _ = token.split(".")
    none = urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).rstrip(b"=").decode()
    refused(verifier, jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA"), "InvalidSignature")
    refused(verifier, jwt.encode(claims, generate_private_key(65537, 2048), algorithm="RS256"), "not valid")
    refused(verifier, jwt.encode(claims, "x" * 32, algorithm="HS256"), "not valid")
    refused(verifier, f"{none}.{body}.", "not valid")
    refused(verifier, f"{head}.{body}.", "not valid")
    for rubbish in ("", "a", "..", "a.b.c", "x" * 600_000, "é.é.é", "\x00"):
        with pytest.raises(Problem):
            verifier.verify(rubbish, FetchTicket)
    assert verifier.verify(token, FetchTicket).sha256 == "0" * 64


def test_a_restarted_vault_takes_nothing_from_its_former_life(signer: Any) -> None:
    verifier = TicketVerifier(signer.key.public_key(), started=time.time())
    refused(verifier, signer.token("fetch", iat=int(time.time()), **FETCH), "before this vault started")
    assert 0 <= verifier.ready_at - time.time() <= 1


def test_a_read_ticket_is_bound_to_the_kernel_s_uid(verifier: TicketVerifier, signer: Any, room: Any) -> None:
    claims = room.read_claims("a/b", ["x"])
    assert verifier.verify(signer.token("read", **claims), ReadTicket, peer_uid=7).columns == ["x"]
    bound = {**claims, "uid": 1001}
    refused(verifier, signer.token("read", **bound), "another uid", ReadTicket, peer_uid=1002)
    refused(verifier, signer.token("read", **bound), "another uid", ReadTicket)
    assert verifier.verify(signer.token("read", **bound), ReadTicket, peer_uid=1001).uid == 1001


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": "age > 3"},
        {"rows": []},
        {"rows": [3]},
        {"rows": ["x" * 20_001]},
        {"columns": []},
        {"masks": {"x": {"method": "generalise"}}},
        {"masks": {"x": {"method": "generalise", "width": "0"}}},
        {"masks": {"x": {"method": "generalise", "width": 5}}},
        {"masks": {"x": {"method": "generalise", "width": "5", "offset": "2"}}},
        {"masks": {"x": {"method": "scramble"}}},
        {"masks": {"x": {"method": "prefix", "characters": 65}}},
        {"masks": {"x": {"method": "date", "unit": "week"}}},
        {"masks": {"x": {"method": "round", "decimals": 1.5}}},
        {"masks": {"x": {"method": "topcode", "quantile": "1"}}},
        {"masks": {"x": {"method": "shift-date"}}},
        {"masks": {"x": {"method": "hash", "key": "mine"}}},
        {"masks": {"x": "hash"}},
        {"view": "0"},
        {"entry": "1"},
        {"dataset": "a/../b"},
        {"version": 0},
        {"version": "1"},
        {"max_bytes": -1},
        {"uid": "0"},
    ],
)
def test_what_the_vault_cannot_honour_it_refuses(
    verifier: TicketVerifier, signer: Any, room: Any, changed: dict[str, Any]
) -> None:
    claims = {**room.read_claims("a/b", ["x"]), **changed}
    refused(verifier, signer.token("read", **claims), next(iter(changed)), ReadTicket)


MASKS = [
    {"method": "hash"},
    {"method": "generalise", "width": "2.5"},
    {"method": "prefix", "characters": 3},
    {"method": "date", "unit": "month"},
    {"method": "round", "decimals": -2},
    {"method": "topcode", "quantile": "0.99"},
    {"method": "shift-date", "subject": "who"},
]
READING = {
    "columns": ["x", "y"],
    "masks": {f"c{number}": mask for number, mask in enumerate(MASKS)},
    "rows": ["site = 'A'", "age > 18"],
}
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(["act", "iss", "aud", "exp", "iat", "jti", "dataset", "version", "label", "columns",
    "masks", "rows", "project", "user", "kernel", "uid", "view", "max_bytes", "entry"]), value=values)  # fmt: skip
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_ticket_with_any_field_changed_after_signing_is_refused(
    signer: Any, room: Any, field: str, value: Any
) -> None:
    verifier = TicketVerifier(signer.key.public_key(), started=time.time() - 5)
    token = signer.token("read", **room.read_claims("a/b", **READING))
    claims = jwt.decode(token, options={"verify_signature": False})
    if json.dumps(claims[field]) == json.dumps(value):
        return
    head, _, signature = token.split(".")
    body = urlsafe_b64encode(json.dumps({**claims, field: value}).encode()).rstrip(b"=").decode()
    refused(verifier, f"{head}.{body}.{signature}", "InvalidSignature", ReadTicket)
    assert verifier.verify(token, ReadTicket).rows == READING["rows"]  # and the true one is not used up by that


@given(
    changed=st.fixed_dictionaries(
        {},
        optional={
            "columns": st.lists(st.sampled_from("xyz"), min_size=1, unique=True),
            "masks": st.dictionaries(st.sampled_from("xyz"), st.sampled_from(MASKS)),
            "rows": st.none() | st.lists(st.sampled_from(["a = 1", "b = 2"]), min_size=1),
            "dataset": st.sampled_from(["a/b", "a/c"]),
            "version": st.integers(1, 2),
            "project": st.sampled_from(["cardio", "elections"]),
        },
    )
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_the_vault_understands_must_be_the_view_that_control_named(
    signer: Any, room: Any, changed: dict[str, Any]
) -> None:
    """Also a rightly signed ticket: a claim that one of the two does not know may not widen what is seen."""
    verifier = TicketVerifier(signer.key.public_key(), started=time.time() - 5)
    meant = room.read_claims("a/b", **READING)
    said = {**meant, **changed}
    if said == meant:
        verifier.verify(signer.token("read", **said), ReadTicket)
    else:
        refused(verifier, signer.token("read", **said), "another view", ReadTicket)


def test_used_tickets_are_forgotten_when_they_could_not_be_used_anyway(verifier: TicketVerifier, signer: Any) -> None:
    for number in range(20):
        verifier._seen[f"old{number}"] = time.time() - 10
    verifier.verify(signer.token("fetch", **FETCH), FetchTicket)
    assert len(verifier._seen) == 1


def test_only_an_ed25519_public_key_is_control_s(tmp_path: Any) -> None:
    file = tmp_path / "control.pub.pem"
    for content in (b"", b"rubbish"):
        file.write_bytes(content)
        with pytest.raises(Problem, match="no Ed25519 public key"):
            load_public_key(file)


def test_an_ingest_ticket_names_a_known_format(verifier: TicketVerifier, signer: Any) -> None:
    claims = {"dataset": "a/b", "version": 1, "label": "secret"}
    refused(verifier, signer.token("ingest", format="pickle", **claims), "format", IngestTicket)
