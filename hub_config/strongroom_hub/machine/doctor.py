"""All checks in their order: of the machine, of the boxes on it, and of an instance where there is one."""

from __future__ import annotations

import os
from dataclasses import dataclass

from strongroom_hub import setup
from strongroom_hub.config import Instance
from strongroom_hub.machine import boxes, instance, linux
from strongroom_hub.machine.check import Check, weaker
from strongroom_hub.setup import Runtime

TRIAL_UID = setup.FIRST_UID - 1
"""Of trial boxes where no instance says which uids are its own; nobody else's."""


@dataclass(frozen=True, slots=True)
class Programs:
    """What boxes are tried with."""

    node: str | None = None
    server_python: str | None = None
    kernel_prefix: str | None = None
    uid: int | None = None

    @classmethod
    def of_instance(cls, place: Instance) -> Programs:
        """The uid is the one below the servers': in the instance's range, and no workspace's."""
        uid = place.uids.first_server - 1 if place.uids is not None else None
        return cls(place.node, place.server_python, place.kernel_prefix, uid)

    @classmethod
    def of_runtime(cls, runtime: Runtime) -> Programs:
        return cls(runtime.node, runtime.server_python, runtime.kernel_prefix, _trial_uid())


def _trial_uid() -> int | None:
    return TRIAL_UID if os.geteuid() == 0 else None


def examine(programs: Programs, place: Instance | None) -> list[Check]:
    """Look at everything; takes a second or two. Changes nothing that stays."""
    found = [*instance.packages(), linux.node(programs.node), *linux.checks()]
    if programs.server_python is not None and programs.kernel_prefix is not None:
        found += boxes.checks(programs.server_python, programs.kernel_prefix, programs.uid)
    else:
        found.append(
            weaker(
                "boxes",
                "The environments of servers and kernels are not known, so no box was tried.",
                "Run `make setup`, then this again through --home FOLDER or --instance FILE.",
            )
        )
    return found if place is None else [*found, *instance.checks(place)]
