from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import strongroom_hub.control.app
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from enclave import HUB_TOKEN, METRICS_TOKEN, OPERATOR_TOKEN, make_instance
from sqlmodel import SQLModel
from strongroom_hub.audit.keys import LogKeys
from strongroom_hub.config import Uids
from strongroom_hub.control import setup
from strongroom_hub.database import open_engine

assert strongroom_hub.control.app  # imported so that every room's tables are known below


def test_set_up_twice_changes_no_key(tmp_path: Path) -> None:
    instance = make_instance(tmp_path)
    setup.create(instance)
    kept = {file.name: file.read_bytes() for file in setup.keys_dir(instance).iterdir()}
    public = {file.name: file.read_bytes() for file in instance.public_dir.iterdir()}
    setup.create(instance)
    assert kept == {file.name: file.read_bytes() for file in setup.keys_dir(instance).iterdir()}
    assert public == {file.name: file.read_bytes() for file in instance.public_dir.iterdir()}
    assert set(public) == {"control.pub.pem", "log.vkey"}
    assert public["log.vkey"].decode().strip() == LogKeys.load(setup.keys_dir(instance)).vkey


def test_principals_hold_digests_and_secrets_are_private(tmp_path: Path) -> None:
    instance = make_instance(tmp_path)
    setup.create(instance)
    told = json.loads(setup.principals_file(instance).read_text())
    assert told == {
        "hub": hashlib.sha256(HUB_TOKEN.encode()).hexdigest(),
        "operator": hashlib.sha256(OPERATOR_TOKEN.encode()).hexdigest(),
        "metrics": hashlib.sha256(METRICS_TOKEN.encode()).hexdigest(),
    }
    for name in ("control.pem", "log.pem", "payload.key"):
        assert (setup.keys_dir(instance) / name).stat().st_mode & 0o777 == 0o600
    assert setup.keys_dir(instance).stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_with_uids_everything_belongs_to_control(tmp_path: Path) -> None:
    instance = replace(make_instance(tmp_path), uids=Uids(control=54321, vault=2, proxy=3, first_server=4))
    setup.create(instance)
    owners = {path.stat().st_uid for path in (instance.control_dir, *instance.control_dir.rglob("*"))}
    assert owners == {54321}


def test_migrations_make_exactly_the_tables_of_the_models(tmp_path: Path) -> None:
    instance = make_instance(tmp_path)
    setup.create(instance)
    engine = open_engine(instance.database)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, SQLModel.metadata) == []
    engine.dispose()
