"""PostgreSQL as control's database: how it is opened, and what it must promise.

Whoever writes to the log locks its head row first, so the writers of several control processes take turns.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, Integer, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.compiler import compiles

NAME = "postgresql"
LOCK_SECONDS = 10
"""As long as SQLite's busy timeout: who waits longer for the log is refused."""
_LOCK_OF_ALL = 0x5374726F6E67
"""The advisory lock under which the schema is brought up to date and the log is begun."""
# what each connection must answer: anything else would lose acknowledged entries
_REQUIRED = {"fsync": {"on"}, "full_page_writes": {"on"}, "synchronous_commit": {"on", "remote_apply"}}


def engine(url: str, password: str) -> Engine:
    """An engine on the database of `url`, `postgresql://USER@HOST/NAME`, with the password from elsewhere.

    Raises ValueError for a URL that is none or holds a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError("the database is not named by a URL like postgresql://USER@HOST/NAME") from error
    if parsed.drivername != NAME:
        raise ValueError(f"the database's URL begins with {parsed.drivername}:, but must begin with {NAME}:")
    if parsed.password is not None:
        raise ValueError("the database's URL holds a password: write it to a file and name that (database_password)")
    made = create_engine(
        parsed.set(drivername=f"{NAME}+psycopg", password=password or None),
        hide_parameters=True,
        pool_pre_ping=True,
        connect_args={"connect_timeout": LOCK_SECONDS, "application_name": "strongroom-control"},
    )
    event.listen(made, "connect", _configure)
    return made


def alone(driver: Any) -> None:
    """Wait until no other process changes the schema or begins the log; until the transaction ends."""
    driver.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_OF_ALL,))


def _configure(driver: Any, _record: object) -> None:
    """Raises RuntimeError where the server would acknowledge what a power cut takes back."""
    driver.autocommit = True
    driver.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    driver.execute("SET idle_in_transaction_session_timeout = '60s'")
    for name, allowed in _REQUIRED.items():
        (found,) = driver.execute(f"SHOW {name}").fetchone()
        if found not in allowed:
            wanted = " or ".join(sorted(allowed))
            raise RuntimeError(f"the database says {name} = {found}, but must say {wanted}; refusing to start")
    driver.autocommit = False


@compiles(Integer, NAME)
def _integer(_type: Integer, _compiler: Any, **_options: Any) -> str:
    """SQLite's integers have 64 bits, and so have these: bytes are counted in them."""
    return "BIGINT"
