from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
import strongroom_lab.main
left_out = ("sqlalchemy.engine", "alembic", "jupyterhub.handlers", "sqlmodel", "fastapi")
print(*(name for name in left_out if name in sys.modules))
"""
STILL_WHOLE = """
import strongroom_lab.main
import jupyterhub.handlers.pages, jupyterhub.orm, jupyterhub.scopes, sqlalchemy.exc
print(issubclass(jupyterhub.orm.User, jupyterhub.orm.Base), hasattr(jupyterhub.handlers.pages, "SpawnHandler"))
print(issubclass(sqlalchemy.exc.OperationalError, sqlalchemy.exc.SQLAlchemyError))
print(jupyterhub.scopes.orm is jupyterhub.orm, jupyterhub.scopes.sa.select is sqlalchemy.select)
"""
AFTER_THE_HUB = """
import jupyterhub.handlers.pages
import strongroom_lab.main
print(jupyterhub.log.HealthCheckHandler is jupyterhub.handlers.pages.HealthCheckHandler)
"""


def said_by(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def test_the_server_does_not_carry_the_hubs_database_layer() -> None:
    assert said_by(LOADED) == []


def test_what_was_put_off_is_whole_when_somebody_uses_it() -> None:
    assert said_by(STILL_WHOLE) == ["True"] * 5


def test_after_the_hubs_own_modules_nothing_is_replaced() -> None:
    assert said_by(AFTER_THE_HUB) == ["True"]
