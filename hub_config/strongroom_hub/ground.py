"""What a server stands on while it runs: its folders, its work image, overlays and control groups; made and cleared.

With root all of it, so that one workspace can neither fill, slow nor signal another. What this machine does not have
is left out, and people are told in a sentence each what that weakens.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom_hub import cgroups, overlays, run_folders, setup, work_images
from strongroom_hub.config import Instance
from strongroom_hub.work_images import WorkImage

WITHOUT_GROUPS = {
    "memory": "Memory is held per process and not per kernel: many processes together can use more than the profile "
    "says, and the machine may run out.",
    "pids": "Processes are counted by the system's own limit alone.",
    "cpu": "A kernel can use every processor of the machine.",
}
WITHOUT_OVERLAYS = (
    "Locks on shared read-only files (packages, system libraries) can be seen by kernels of others, which two kernels "
    "could use to signal each other."
)


@dataclass(slots=True)
class Ground:
    """One server's ground. `lay` makes it, `clear` takes it away; both block, and `clear` may be repeated."""

    place: Instance
    project: str
    user: str
    server: str
    uid: int | None
    profile: Mapping[str, Any]
    run: Path = field(init=False)
    folders: dict[str, Path] = field(init=False)
    system: Path | None = None
    groups: dict[str, Any] | None = None
    weaker: list[str] = field(default_factory=list)
    """What this machine lacks, in sentences for people."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _cleared: bool = False

    def lay(self) -> None:
        """Make all of it; moving an old work folder into its image may take as long as a copy. Raises OSError.

        Where `clear` came meanwhile (a start that took too long), nothing is mounted any more.
        """
        self.folders = make_folders(self.place, self.project, self.user, self.uid)
        image = self._image
        if image is not None and not image.prepare(self.profile):
            self.weaker.append(work_images.NO_LOOP)
            image = None
        with self._lock:
            if self._cleared:
                return
            self.run = run_folders.make(self.place, self.server, self.uid)
            if self.uid is None:
                self._lack_root()
                return
            self._lay_groups(self.uid)
            self._lay_overlays()
            if image is not None:
                image.attach()
                self.weaker += image.weaknesses(self.profile)

    def _lack_root(self) -> None:
        self.weaker += [" ".join(line.removeprefix("- ") for line in setup.separation(self.place))]
        self.weaker += [*WITHOUT_GROUPS.values(), work_images.NO_ROOT, WITHOUT_OVERLAYS]

    def _lay_groups(self, uid: int) -> None:
        hierarchy = cgroups.find()
        self.weaker += [WITHOUT_GROUPS[name] for name in cgroups.missing(hierarchy)]
        if hierarchy is not None:
            self.groups = cgroups.make(hierarchy, self.place, self.server, uid, self.profile)

    def _lay_overlays(self) -> None:
        try:
            self.system = overlays.make(self.run, Path(self.place.kernel_prefix))
        except OSError:
            self.weaker.append(WITHOUT_OVERLAYS)

    def environment(self) -> dict[str, str]:
        """What the server is told of it."""
        told = {
            "STRONGROOM_RUN_DIR": str(self.run),
            "STRONGROOM_NOTEBOOKS": str(self.folders["notebooks"]),
            "STRONGROOM_WORK": str(self.folders["work"]),
            "STRONGROOM_WEAKER": json.dumps(self.weaker),
        }
        if self.groups is not None:
            told["STRONGROOM_CGROUP"] = json.dumps(self.groups)
        if self.system is not None:
            told["STRONGROOM_SYSTEM"] = str(self.system)
        return told

    def admit(self, pid: int) -> None:
        """Put the server's process into its control group. Raises OSError."""
        hierarchy = cgroups.find() if self.groups else None
        if hierarchy is not None:
            cgroups.add_server(hierarchy, self.place, self.server, pid)

    def clear(self) -> None:
        """End what still runs in it, unmount and remove. Tries all of it; raises OSError for the first that stays."""
        with self._lock, contextlib.ExitStack() as stack:
            self._cleared = True
            stack.callback(run_folders.remove, self.place, self.server)
            image = self._image
            if image is not None:
                stack.callback(image.detach)
            hierarchy = cgroups.find() if self.uid is not None else None
            if hierarchy is not None:
                stack.callback(cgroups.remove, hierarchy, self.place, self.server)

    @property
    def _image(self) -> WorkImage | None:
        return None if self.uid is None else WorkImage.of(self.place, self.project, self.user, self.uid)


def make_folders(place: Instance, project: str, user: str, uid: int | None) -> dict[str, Path]:
    """The user's folders in a project: `notebooks`, `work`, and `state` (the server's own, no kernel sees it).

    Each 0700 and the server's; the folders above are the hub's. Raises OSError, PermissionError for another's folder.
    """
    root = place.projects_dir / project
    made = {}
    for kind in ("notebooks", "work", "state"):
        for parent in (root, root / kind):
            parent.mkdir(exist_ok=True)
            parent.chmod(0o711 if uid is not None else 0o700)
        made[kind] = private_folder(root / kind / user, uid)
    return made


def private_folder(path: Path, uid: int | None) -> Path:
    """A 0700 folder of `uid` (None: this uid). Raises OSError, PermissionError for another's folder."""
    path.mkdir(mode=0o700, exist_ok=True)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        owner = os.fstat(folder).st_uid
        if uid is not None and owner not in {os.geteuid(), uid}:
            raise PermissionError(f"{path} belongs to uid {owner}, not to uid {uid}")
        if uid is not None:
            os.fchown(folder, uid, uid)
        os.fchmod(folder, 0o700)
    finally:
        os.close(folder)
    return path
