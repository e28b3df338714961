"""JupyterHub's login for single-user servers without the hub's own half: database layer, migrations, pages.

`jupyterhub.singleuser` imports all of that (34 MiB in each server, 0.4 s at its start) for one class name and for
functions that only the hub calls. While it is imported here, the database modules are put off until somebody uses
them, and stand-ins take the places from which single classes are imported.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

PUT_OFF = ("sqlalchemy", "jupyterhub.orm", "jupyterhub.roles")
STAND_INS: dict[str, tuple[str, type]] = {
    # of `jupyterhub.log`, which logs that handler's requests at a lower level
    "jupyterhub.handlers.pages": ("HealthCheckHandler", object),
    # of `jupyterhub.utils`, for functions that have the hub's database in their hands
    "sqlalchemy.exc": ("SQLAlchemyError", Exception),
}
"""Module -> the one name that is imported from it, and that class's base."""


class _PutOff(MetaPathFinder):
    """Finds the modules of `PUT_OFF` so that they are loaded when one of their attributes is first used."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002 - as importlib calls it
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname in PUT_OFF else None
        if spec is None or spec.loader is None:
            return None
        spec.loader = LazyLoader(spec.loader)
        return spec


@contextlib.contextmanager
def _without_the_hubs_half() -> Iterator[None]:
    stand_ins = {"jupyterhub.handlers": ModuleType("jupyterhub.handlers")}
    for module, (name, base) in STAND_INS.items():
        stand_ins[module] = ModuleType(module)
        setattr(stand_ins[module], name, type(name, (base,), {}))
    if {"sqlalchemy", *stand_ins} & sys.modules.keys():  # imported in full by somebody else: there is nothing to save
        yield
        return
    finder = _PutOff()
    sys.modules |= stand_ins
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in stand_ins:
            del sys.modules[name]


with _without_the_hubs_half():
    from jupyterhub.singleuser.extension import JupyterHubSingleUser

__all__ = ["JupyterHubSingleUser"]
