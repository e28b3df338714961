"""Work folders of a fixed size: one ext4 image per user and project, made at the first start, mounted while one works.

    data/images/PROJECT/USER.ext4    the image; root's, 0700 above it, so no server and no kernel ever opens it
    data/projects/PROJECT/work/USER  where it is mounted: nosuid, nodev, noexec, owned by the server's uid

What was in a plain work folder moves in. A crash at any point leaves either the plain folder whole or the image whole:
the image gets its name when everything is in it and on disk, and only after that the plain copy goes. Once there is an
image, the plain folder below it is never used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom_hub import mounts
from strongroom_hub.config import Instance

log = logging.getLogger(__name__)
PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
PROGRAMS = ("mkfs.ext4", "e2fsck", "mount", "umount", "du", "cp", "rm")
OPTIONS = "nosuid,nodev,noexec,noatime,errors=remount-ro"
JOURNAL_MIB = 16
OVERHEAD_BYTES = 64 << 20
"""What the file system itself needs beside the content."""
RESERVED_SHARE = 10
"""An image is set aside on the disk in full when it takes at most one part in so many of what is free."""
DETACH_PATIENCE, POLL_SECONDS = 10.0, 0.05
CHECKED = frozenset({0, 1})
"""e2fsck's exit codes after which the file system is clean."""
NO_LOOP = (
    "Your work folder has no fixed size, because this machine offers no loop devices: it can fill the disk that it "
    "shares with others."
)
NO_ROOT = (
    "Your work folder has no fixed size, because the hub is not root: it can fill the disk that it shares with others."
)
NOT_GROWN = "Your work folder is smaller than the profile says, because the disk has no room for a larger one."
NOT_RESERVED = (
    "The disk below your work folder has not set aside all of its size; if that disk fills up, writing fails "
    "(input/output error)."
)


@dataclass(frozen=True, slots=True)
class WorkImage:
    """The work folder of one user in one project; `uid` owns what is in it."""

    file: Path
    point: Path
    uid: int

    @classmethod
    def of(cls, instance: Instance, project: str, user: str, uid: int) -> WorkImage:
        return cls(
            file=folder(instance) / project / f"{user}.ext4",
            point=instance.projects_dir / project / "work" / user,
            uid=uid,
        )

    def prepare(self, profile: Mapping[str, Any]) -> bool:
        """Make the image where there is none, and a larger one where the profile has more. May take as long as a copy.

        Returns whether there is an image now: not where this machine has no loop devices. Raises OSError, and
        BlockingIOError while another start does the same.
        """
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.file.parent.parent.chmod(0o700)
        with self._locked():
            mounts.unmount(self.point)
            free = self._released()
            if not self.file.exists():
                return usable() and self._make(profile, self.point)
            self._empty_point()
            if free and self.file.stat().st_size < profile["work_bytes"]:
                self._grow(profile)
            return True

    def attach(self) -> None:
        """Check the image and mount it. Raises OSError."""
        with self._locked():
            held = devices_of(self.file)
            if held:
                # Never through a second device. A running file system needs no check, and could not have one.
                self._mount(Path(held[0]), self.point)
            else:
                self._check()
                self._mount(self.file, self.point)
            try:
                self._own()
            except BaseException:
                mounts.unmount(self.point)
                raise

    def detach(self) -> None:
        """Unmount; the loop device goes when the last user of it has gone. Raises OSError."""
        mounts.unmount(self.point)

    def weaknesses(self, profile: Mapping[str, Any]) -> list[str]:
        """Sentences for people about an image that should have the profile's size."""
        about = self.file.stat()
        reserved = about.st_blocks * 512 >= about.st_size
        grown = about.st_size >= profile["work_bytes"]
        return [sentence for sentence, true in ((NOT_RESERVED, reserved), (NOT_GROWN, grown)) if not true]

    def _make(self, profile: Mapping[str, Any], source: Path) -> bool:
        """Put an image in place that has the profile's size and all that `source` holds; False where none mounts."""
        made, inside = self.file.with_suffix(".new"), self.file.with_suffix(".mnt")
        mounts.unmount(inside)
        inside.mkdir(exist_ok=True)
        made.unlink(missing_ok=True)
        bytes_used, files_used = _usage(source)
        size = max(int(profile["work_bytes"]), bytes_used + bytes_used // 4 + OVERHEAD_BYTES)
        files = max(int(profile["work_files"]), files_used + files_used // 4)
        try:
            _allocate(made, size)
            _do("mkfs.ext4", *_layout(files), str(made))
            try:
                self._mount(made, inside)
            except OSError:
                if source == self.point:
                    return False
                raise
            (inside / "lost+found").rmdir()
            # As root, because people may have files that their own uid cannot read; nothing runs under it now.
            _do("cp", "--archive", "--one-file-system", f"{source}/.", str(inside))
            _do("umount", str(inside))
            _flush(made)
            made.rename(self.file)
            _flush(self.file.parent)
            self._empty_point()
        finally:
            mounts.unmount(inside)
            made.unlink(missing_ok=True)
            inside.rmdir()
        return True

    def _grow(self, profile: Mapping[str, Any]) -> None:
        """A larger image with the same content takes the place of this one; where that fails, this one stays."""
        old = self.file.with_suffix(".old")
        mounts.unmount(old)
        old.mkdir(exist_ok=True)
        try:
            self._check()
            self._mount(self.file, old)
            self._make(profile, old)
        except OSError as error:
            log.error("the work folder %s keeps its size: %s", self.point, error)  # noqa: TRY400 - words suffice
        finally:
            mounts.unmount(old)
            old.rmdir()

    def _mount(self, file: Path, point: Path) -> None:
        options = OPTIONS if file.is_block_device() else f"loop,{OPTIONS}"
        _do("mount", "-t", "ext4", "-o", options, str(file), str(point))

    def _check(self) -> None:
        if _run("e2fsck", "-p", str(self.file)) not in CHECKED:
            raise OSError(f"the file system in {self.file} is damaged: an administrator must run e2fsck on it")

    def _empty_point(self) -> None:
        """Remove the plain copy of what is in the image."""
        for left in self.point.iterdir():
            _do("rm", "-rf", "--one-file-system", "--", str(left))

    def _own(self) -> None:
        top = os.open(self.point, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(top, self.uid, self.uid)
            os.fchmod(top, 0o700)
            with contextlib.suppress(FileNotFoundError, OSError):
                os.rmdir("lost+found", dir_fd=top)  # made again by a check that found nothing for it
        finally:
            os.close(top)

    def _released(self) -> bool:
        """Wait until the device of the run before is gone; False when something else on this machine holds it.

        A process that was started with a copy of all mounts (a new mount namespace) keeps it until it ends.
        """
        deadline = time.monotonic() + DETACH_PATIENCE
        while devices_of(self.file):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self.file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(lock)


def folder(instance: Instance) -> Path:
    return instance.data / "images"


def usable() -> bool:
    """Whether this machine has what images need."""
    return Path("/dev/loop-control").exists() and all(shutil.which(name, path=PATH) for name in PROGRAMS)


def devices_of(file: Path) -> list[str]:
    """The loop devices that stand for a file: `/dev/loop0`, ..."""
    return [device for device, backing in _loops() if backing == os.path.realpath(file)]


def release_all(instance: Instance) -> None:
    """Detach loop devices of this instance's images that nothing has mounted any more (`reaper`)."""
    for device, backing in _loops():
        if Path(backing).is_relative_to(os.path.realpath(folder(instance))):
            _run("losetup", "-d", device)


def _loops() -> list[tuple[str, str]]:
    found = []
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            backing = entry.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
            found.append((f"/dev/{entry.parts[3]}", backing.removesuffix(" (deleted)")))
    return found


def _layout(files: int) -> list[str]:
    """Options of mkfs. The image reads as zeros, so inode tables need not be written, now or later."""
    extended = "nodiscard,assume_storage_prezeroed=1"
    return ["-q", "-F", "-N", str(files), "-m", "0", "-J", f"size={JOURNAL_MIB}", "-E", extended]


def _allocate(file: Path, size: int) -> None:
    """A new file of this size: set aside on the disk where there is plenty, else as a hole."""
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b") as image:
        about = os.fstatvfs(image.fileno())
        os.truncate(image.fileno(), size)
        if size * RESERVED_SHARE <= about.f_bavail * about.f_frsize:
            os.posix_fallocate(image.fileno(), 0, size)


def _usage(path: Path) -> tuple[int, int]:
    """Bytes and files of a tree; links are not followed. Raises OSError."""
    count = [_do("du", "--summarize", how, str(path)).split()[0] for how in ("--block-size=1", "--inodes")]
    return int(count[0]), int(count[1])


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _do(program: str, *arguments: str) -> str:
    """What the program printed. Raises OSError with what it said."""
    done = _started(program, arguments)
    if done.returncode:
        raise OSError(f"{program}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def _run(program: str, *arguments: str) -> int:
    return _started(program, arguments).returncode


def _started(program: str, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shutil.which(program, path=PATH) or program, *arguments],
        env={"PATH": PATH, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
