"""Work images: sized, whole after any crash, grown and never shrunk. In folders and on loop devices of their own."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from strongroom_hub import mounts, work_images
from strongroom_hub.work_images import WorkImage

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not work_images.usable(), reason="loop devices and mounting need root"
)
UID = 297_000_000 + os.getpid()
MIB = 1 << 20
SMALL = {"work_bytes": 64 * MIB, "work_files": 500}
LARGE = {"work_bytes": 256 * MIB, "work_files": 2000}


@pytest.fixture
def image(tmp_path: Path) -> Iterator[WorkImage]:
    (tmp_path / "images").mkdir()
    (tmp_path / "point").mkdir()
    made = WorkImage(tmp_path / "images" / "cardio" / "analyst.ext4", tmp_path / "point", UID)
    yield made
    made.detach()
    mounts.unmount_below(tmp_path)
    wait_for_release(made)


def wait_for_release(image: WorkImage) -> None:
    deadline = time.monotonic() + 10
    while work_images.devices_of(image.file):
        assert time.monotonic() < deadline, "the loop device stays"
        time.sleep(0.02)


def open_(image: WorkImage, profile: dict[str, int] = SMALL) -> None:
    assert image.prepare(profile)
    image.attach()


def test_a_new_image_is_empty_sized_and_the_servers(image: WorkImage) -> None:
    open_(image)
    assert list(image.point.iterdir()) == []
    about = os.statvfs(image.point)
    assert 32 * MIB < about.f_blocks * about.f_frsize <= 64 * MIB
    assert 500 <= about.f_files < 1000
    assert image.point.stat().st_uid == UID
    assert image.point.stat().st_mode & 0o777 == 0o700
    for flag in (os.ST_NOSUID, os.ST_NODEV, os.ST_NOEXEC):
        assert about.f_flag & flag
    assert image.file.stat().st_mode & 0o777 == 0o600
    assert image.file.parent.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["bytes", "files"])
def test_it_can_be_filled_and_no_further(image: WorkImage, kind: str) -> None:
    open_(image)
    names, content = (["big"], bytes(65 * MIB)) if kind == "bytes" else (map(str, range(1000)), b"")
    with pytest.raises(OSError, match="No space left"):
        [(image.point / name).write_bytes(content) for name in names]


def test_content_outlives_the_mount(image: WorkImage) -> None:
    open_(image)
    (image.point / "kept").write_text("x", encoding="ascii")
    image.detach()
    assert list(image.point.iterdir()) == []
    open_(image)
    assert (image.point / "kept").read_text(encoding="ascii") == "x"


def fill_plain(point: Path) -> dict[str, str]:
    """What people leave in a work folder, odd things too."""
    (point / "table.csv").write_text("a,b\n", encoding="ascii")
    (point / "folder" / "inner").mkdir(parents=True)
    (point / "folder" / "closed").write_text("secret", encoding="ascii")
    (point / "folder" / "closed").chmod(0)
    (point / "link").symlink_to("/etc/shadow")
    os.link(point / "table.csv", point / "twin")
    with (point / "sparse").open("wb") as file:
        file.truncate(10 << 30)
    deep = point
    for _ in range(100):
        deep /= "d" * 20
        deep.mkdir()
    (deep / "bottom").touch()
    for path, folders, files in os.walk(point):
        for name in [*folders, *files]:
            os.chown(Path(path, name), UID, UID, follow_symlinks=False)
    return listing(point)


def listing(point: Path) -> dict[str, str]:
    found = {}
    for path, folders, files in os.walk(point):
        for name in [*folders, *files]:
            one = Path(path, name)
            about = one.lstat()
            size = about.st_size if one.is_file() and not one.is_symlink() else 0
            found[str(one.relative_to(point))] = f"{about.st_mode:o} {about.st_uid} {size} {int(about.st_mtime)}"
    return found


def test_a_plain_folder_moves_in_whole(image: WorkImage) -> None:
    before = fill_plain(image.point)
    open_(image)
    assert listing(image.point) == before
    assert (image.point / "link").readlink() == Path("/etc/shadow")
    assert (image.point / "twin").stat().st_nlink == 2
    image.detach()
    assert list(image.point.iterdir()) == []


def test_more_than_the_profile_allows_still_moves_in(image: WorkImage) -> None:
    (image.point / "big").write_bytes(random.randbytes(80 * MIB))
    open_(image)
    assert (image.point / "big").stat().st_size == 80 * MIB


STEPS = ("_allocate", "mkfs.ext4", "mount", "cp", "umount", "_flush", "rename", "_empty_point")


@pytest.mark.parametrize(("step", "when"), [*((step, "before") for step in STEPS), (STEPS[-1], "after")])
def test_a_crash_at_any_step_of_the_move_loses_nothing(image: WorkImage, step: str, when: str) -> None:
    before = fill_plain(image.point)
    crash(image, SMALL, step, when)
    assert listing(image.point) == before or image.file.exists()
    open_(image)
    assert listing(image.point) == before


def crash(image: WorkImage, profile: dict[str, int], step: str, when: str) -> None:
    """`prepare` in a process of its own that kills itself beside one step; its mounts go, as at a hub's next start."""
    program = f"""
import os, signal, sys
from pathlib import Path
from strongroom_hub import work_images
def crashing(module, name, only=None):
    real = getattr(module, name)
    def run(*arguments, **more):
        hit = only is None or only in arguments
        if hit and {when!r} == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **more)
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(module, name, run)
step = {step!r}
if step in ("_allocate", "_flush"):
    crashing(work_images, step)
elif step == "rename":
    crashing(Path, "rename")
elif step == "_empty_point":
    crashing(work_images.WorkImage, step)
else:
    crashing(work_images, "_do", step)
image = work_images.WorkImage(Path(sys.argv[1]), Path(sys.argv[2]), {UID})
image.prepare({profile!r})
"""
    done = subprocess.run([sys.executable, "-c", program, str(image.file), str(image.point)], check=False)
    assert done.returncode == -signal.SIGKILL
    mounts.unmount_below(image.file.parent)


def test_a_larger_profile_grows_it_and_a_smaller_one_leaves_it(image: WorkImage) -> None:
    open_(image)
    (image.point / "kept").write_bytes(b"x" * MIB)
    image.detach()
    open_(image, LARGE)
    grown = os.statvfs(image.point)
    assert 200 * MIB < grown.f_blocks * grown.f_frsize <= 256 * MIB
    image.detach()
    open_(image, SMALL)
    assert os.statvfs(image.point).f_blocks == grown.f_blocks
    assert (image.point / "kept").read_bytes() == b"x" * MIB


@pytest.mark.parametrize(("step", "when"), [("mount", "after"), ("rename", "before"), ("rename", "after")])
def test_a_crash_while_growing_leaves_the_old_or_the_new(image: WorkImage, step: str, when: str) -> None:
    open_(image)
    before = fill_plain(image.point)
    image.detach()
    wait_for_release(image)
    crash(image, LARGE, step, when)
    open_(image, SMALL)
    assert listing(image.point) == before
    image.detach()
    open_(image, LARGE)
    assert listing(image.point) == before
    assert os.statvfs(image.point).f_blocks * 4096 > 200 * MIB


def test_where_a_larger_one_cannot_be_made_the_old_one_serves(
    image: WorkImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_(image)
    before = fill_plain(image.point)
    image.detach()
    monkeypatch.setattr(work_images, "_layout", lambda _files: ["--no-such-option"])
    open_(image, LARGE)
    assert listing(image.point) == before
    assert image.weaknesses(LARGE) == [work_images.NOT_GROWN]


def test_an_unclean_image_is_checked_and_a_broken_one_refused(image: WorkImage) -> None:
    open_(image)
    (image.point / "kept").touch()
    image.detach()
    wait_for_release(image)
    with image.file.open("r+b") as raw:
        raw.seek(1024)
        raw.write(bytes(1024))
    assert image.prepare(SMALL)
    with pytest.raises(OSError, match=r"damaged|no ext4"):
        image.attach()
    assert not os.path.ismount(image.point)


def test_an_image_that_a_foreign_copy_of_the_mounts_holds_is_never_mounted_through_two_devices(
    image: WorkImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_images, "DETACH_PATIENCE", 0.2)
    open_(image)
    (image.point / "kept").write_text("from before")
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        image.detach()
        open_(image, LARGE)
        assert len(work_images.devices_of(image.file)) == 1
        assert (image.point / "kept").read_text() == "from before"
        assert image.file.stat().st_size < LARGE["work_bytes"]
    finally:
        holder.communicate()
    image.detach()
    wait_for_release(image)
    open_(image, LARGE)
    assert (image.point / "kept").read_text() == "from before"
    assert image.file.stat().st_size >= LARGE["work_bytes"]


def test_without_loop_devices_the_folder_stays_plain(image: WorkImage, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fill_plain(image.point)
    monkeypatch.setattr(work_images, "usable", lambda: False)
    assert not image.prepare(SMALL)
    assert listing(image.point) == before
    monkeypatch.undo()
    monkeypatch.setattr(work_images, "OPTIONS", "no-such-option")
    assert not image.prepare(SMALL)
    assert listing(image.point) == before
    assert not image.file.exists()


def test_an_image_that_cannot_be_mounted_is_never_passed_over(
    image: WorkImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain folder in its place would look like lost work, and what is written there would be lost later."""
    open_(image)
    image.detach()
    wait_for_release(image)
    monkeypatch.setattr(work_images, "usable", lambda: False)
    monkeypatch.setattr(work_images, "OPTIONS", "no-such-option")
    assert image.prepare(SMALL)
    with pytest.raises(OSError, match="mount"):
        image.attach()


def test_what_the_disk_has_not_set_aside_is_told(image: WorkImage, monkeypatch: pytest.MonkeyPatch) -> None:
    open_(image)
    assert image.weaknesses(SMALL) == []
    image.detach()
    wait_for_release(image)
    monkeypatch.setattr(work_images, "RESERVED_SHARE", 1 << 40)
    other = dataclasses.replace(image, file=image.file.with_name("other.ext4"))
    open_(other)
    assert other.weaknesses(SMALL) == [work_images.NOT_RESERVED]
    other.detach()
    wait_for_release(other)
