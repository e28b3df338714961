from __future__ import annotations

from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from strongroom_hub.control.tickets import FETCH_LIFE, INGEST_LIFE, RETIRE_LIFE, STAGE_LIFE, TicketSigner
from strongroom_hub.control.times import end_of_day, iso, parse

NOW = datetime(2026, 11, 21, 5, tzinfo=UTC)


def test_each_ticket_lives_as_long_as_the_contract_says() -> None:
    key = Ed25519PrivateKey.generate()
    signer = TicketSigner(key, lambda: NOW)
    made = {
        signer.ingest(dataset="a/b", version=1, file_format="csv", label="public"): INGEST_LIFE,
        signer.stage(export="e", index=0, name="n", sources=[], rules={}): STAGE_LIFE,
        signer.fetch(export="e", sha256="0"): FETCH_LIFE,
        signer.retire(dataset="a/b", version=1): RETIRE_LIFE,
    }
    ids = set()
    for token, life in made.items():
        assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
        claims = jwt.decode(
            token,
            key.public_key(),
            algorithms=["EdDSA"],
            audience="strongroom:vault",
            issuer="strongroom:control",
            options={"verify_exp": False, "verify_iat": False},
        )
        assert claims["exp"] - claims["iat"] == life
        ids.add(claims["jti"])
    assert len(ids) == len(made)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_times_read_back_and_order_as_text(moment: datetime) -> None:
    cut = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert parse(iso(cut)) == cut
    assert (iso(cut) < iso(NOW)) == (cut < NOW)
    assert len(iso(cut)) == 24
    assert cut < end_of_day(cut)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        iso(datetime(2026, 1, 1))  # noqa: DTZ001
