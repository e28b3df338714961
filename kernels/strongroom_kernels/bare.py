"""Boxes by the launcher alone: the tier for pods and jobs, where no namespace can be made.

The pod around it is the outer wall. Inside it Landlock decides which files can be opened, the seccomp filters leave no
sockets but local ones, and the keeper ends what a kernel leaves behind. Paths are the host's own: nothing is mounted,
so a kernel can see that a file exists, and cannot open it. Needs Landlock ABI 6 (Linux 6.12).
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from strongroom_kernels import box as inside
from strongroom_kernels import launcher, seccomp
from strongroom_kernels.box import Box
from strongroom_kernels.folders import remove_tree
from strongroom_kernels.starting import (
    Cgroup,
    KeptProcess,
    Output,
    Watching,
    launcher_files,
    refuse_unfit_caller,
    refuse_weaker,
    start_kept,
    streams_of,
)

_FILTERS = "/opt/strongroom/filters"


class Bare:
    """Boxes by Landlock, seccomp and resource limits alone."""

    name = "launcher"

    def sockets(self, box: Box) -> str:
        """Where the kernel's own sockets are: nothing is mounted."""
        return str(box.sockets)

    def start(
        self,
        box: Box,
        command: Sequence[str],
        log: Output,
        files: Mapping[str, bytes] | None = None,
        *,
        cgroup: Cgroup | None = None,
        watch: bool = False,
    ) -> KeptProcess:
        """As `Sandbox.start`."""
        refuse_unfit_caller()
        refuse_weaker(box, self.name)
        box.mounts()  # the same folders, checked in the same way
        folder = box.sockets.parent / "launcher"
        if folder.exists():
            remove_tree(folder)
        folder.mkdir(mode=0o700)
        # Not in the run folder, where no link can be followed: the home folder is made of links.
        own = _own_folder(box)
        with contextlib.ExitStack() as stack:
            watching = Watching(stack, box) if watch else None
            watched = watching.watched if watching else None
            programs = watched.programs if watched else self.filters()
            given = {**self.files(programs), **(files or {}), **(watched.files if watched else {})}
            names = self._write(folder, given)
            streams = streams_of(log)
            access = {
                **self.access(box, folder, own),
                "filters": [names[f"{_FILTERS}/{number}"] for number in range(len(programs))],
                **streams.access(),
                **(watched.access if watched else {}),
            }
            if watched:
                access["watch_filters"] = [names[path] for path in watched.files]
            python = [str(box.prefix / "bin" / "python"), "-s", names[inside.LAUNCHER]]
            process = start_kept(
                [*python, json.dumps(access), *(names.get(word, word) for word in command)],
                log,
                self.environment(box, own, Path(names[inside.SITE]).parent),
                cgroup,
                folder=box.work,
                inherited=[watching.inherited] if watching else [],
                temporary=own,
            )
        return KeptProcess(process, [folder], watching)

    def filters(self) -> tuple[bytes, ...]:
        """The seccomp programs, which the launcher loads."""
        return seccomp.programs()

    def files(self, programs: Sequence[bytes]) -> dict[str, bytes]:
        """What the launcher needs: path as in other boxes -> content."""
        return {**launcher_files(), **{f"{_FILTERS}/{number}": code for number, code in enumerate(programs)}}

    def environment(self, box: Box, own: Path, site: Path) -> dict[str, str]:
        """All that a kernel finds in its environment; `site` is the folder of what runs first in every Python."""
        moved = {
            name: value.replace("/tmp", str(own / "tmp"), 1)  # noqa: S108 - as the other boxes name it
            for name, value in inside.ENVIRONMENT.items()
        }
        return {
            **moved,
            "PATH": f"{box.prefix}/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(own / "home"),
            "PYTHONPATH": str(site),
            "STRONGROOM_ASK_SOCKET": str(box.ask / "ask.sock"),
            "STRONGROOM_DATA_SOCKET": str(box.data / "data.sock"),
        }

    def access(self, box: Box, folder: Path, own: Path) -> dict[str, Any]:
        """What Landlock and the resource limits grant; only what exists here."""
        readable = [*inside.SYSTEM_FILES, *(f"/proc/{name}" for name in inside.PROC_FILES)]
        return {
            "landlock": launcher.SCOPE_ABI,
            "execute": [
                "/usr",
                *inside.real_system_folders(),
                str(box.prefix),
                *map(str, inside.base_prefixes(box.prefix)),
            ],
            "read": [
                *(path for path in readable if os.path.exists(path)),  # noqa: PTH110 - a string is what is wanted
                *map(str, (folder / "files", own / "home", box.notebooks)),
                *(str(mount.source) for mount in box.extra),
            ],
            "files": [],
            "list": ["/proc/self/fd"],
            "own": list(inside.OWN_PROC_FILES),
            "write": [str(box.work)],
            "scratch": [str(own / "tmp"), "/dev/shm"],  # noqa: S108 - the pod's own
            "sockets": [str(box.sockets)],
            "devices": [path for path in inside.DEVICES if os.path.exists(path)],  # noqa: PTH110
            "limits": box.limits.of_processes(),
        }

    def _write(self, folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
        """Put the files there: name in other boxes -> path here."""
        names = {}
        for number, (path, content) in enumerate(files.items()):
            place = folder / "files" / str(number) / Path(path).name
            place.parent.mkdir(parents=True)
            place.write_bytes(content)
            place.chmod(0o400)
            names[path] = str(place)
        return names


def _own_folder(box: Box) -> Path:
    """A new folder with this box's home (links to where things are) and its folder for temporary files."""
    own = Path(tempfile.mkdtemp(prefix="strongroom-"))
    for name in ("home", "tmp"):
        (own / name).mkdir()
    (own / "home" / "work").symlink_to(box.work)
    (own / "home" / "notebooks").symlink_to(box.notebooks)
    return own
