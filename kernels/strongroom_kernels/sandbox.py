"""The `Sandbox` interface: ways to build boxes, by tier. What a box shows is in `box`, how it is built in the tiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from strongroom_kernels.bare import Bare
from strongroom_kernels.box import TIERS, Box, BoxError
from strongroom_kernels.bubblewrap import Bubblewrap
from strongroom_kernels.gvisor import GVisor
from strongroom_kernels.starting import Cgroup, Output, refuse_unfit_caller, start_failure
from strongroom_kernels.watch import Watch

__all__ = ["TIERS", "Boxed", "Bubblewrap", "Sandbox", "refuse_unfit_caller", "sandbox_of", "start_failure"]


class Boxed(Protocol):
    """A process in a box."""

    @property
    def watch(self) -> Watch | None:
        """The box's watched system calls, for whoever started it with `watch`: ask once, when its log says ready.

        None: this tier or this Linux has none; the calls are refused unseen.
        """

    @property
    def pid(self) -> int:
        """The host's number of the process that holds the box."""

    def poll(self) -> int | None:
        """None while it runs, else its exit status (128 + n after signal n)."""

    def send_signal(self, number: int) -> None:
        """Signal the boxed process and its process group; nothing happens when it is gone."""

    def kill(self) -> None:
        """End everything in the box at once."""

    def close(self) -> None:
        """Give back what the host holds for it. The process must have ended."""


class Sandbox(Protocol):
    """A way to build boxes."""

    name: str
    """Its tier, one of `TIERS`."""

    def sockets(self, box: Box) -> str:
        """The folder of the kernel's own sockets (`box.sockets`) as programs in the box name it."""

    def start(
        self,
        box: Box,
        command: Sequence[str],
        log: Output,
        files: Mapping[str, bytes] | None = None,
        *,
        cgroup: Cgroup | None = None,
        watch: bool = False,
    ) -> Boxed:
        """Run the launcher in a new box: `command` is what follows its ACCESS argument.

        `files`: further read-only files inside, path -> content; where `command` names one of the paths, the program
        gets the name under which it finds the file. `cgroup` takes the box in before anything of it runs. `watch`:
        the caller will answer `Boxed.watch`. Output goes to `log`. Raises BoxError in words, also for a box that asks
        for a stronger tier. Must be called from the main thread.
        """


def sandbox_of(tier: str) -> Sandbox:
    """The way to build boxes of this tier. Raises BoxError for a tier that is none."""
    made: Mapping[str, type[Sandbox]] = {kind.name: kind for kind in (Bare, Bubblewrap, GVisor)}
    if tier not in made:
        raise BoxError(
            f"No kernel can start: there is no sandbox called {tier!r}; the tiers are {', '.join(TIERS)}. Mend the "
            "profile (`sandbox` in policy/profiles.toml)."
        )
    return made[tier]()
