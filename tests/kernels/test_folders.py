"""The run folders of kernels: short, locked while in use, removed whatever a kernel left in them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from strongroom_kernels.box import BoxError
from strongroom_kernels.folders import KernelFolder, remove_tree, sweep


def test_create_and_remove(tmp_path: Path) -> None:
    folder = KernelFolder.of(tmp_path, "kernel-1")
    folder.create()
    assert folder.ask_socket == folder.path / "ask" / "ask.sock"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder.path, folder.sockets, folder.ask)} == {0o700}
    folder.remove()
    folder.remove()
    assert list((tmp_path / "k").iterdir()) == []


def test_two_kernels_have_two_folders(tmp_path: Path) -> None:
    assert KernelFolder.of(tmp_path, "a").path != KernelFolder.of(tmp_path, "b").path
    assert KernelFolder.of(tmp_path, "a").path == KernelFolder.of(tmp_path, "a").path


def test_an_id_cannot_name_another_place(tmp_path: Path) -> None:
    assert KernelFolder.of(tmp_path, "../../etc").path.parent == tmp_path / "k"


def test_too_long_a_run_folder_is_said() -> None:
    with pytest.raises(BoxError, match="shorter `run` folder"):
        KernelFolder.of(Path("/" + "x" * 90), "kernel-1")


def test_sweep_removes_what_nobody_holds(tmp_path: Path) -> None:
    live, dead = KernelFolder.of(tmp_path, "live"), KernelFolder.of(tmp_path, "dead")
    live.create()
    dead.create()
    os.close(dead._lock or 0)  # as when its server was killed
    dead._lock = None
    sweep(tmp_path)
    assert list((tmp_path / "k").iterdir()) == [live.path]
    live.remove()


def test_create_replaces_what_a_killed_server_left(tmp_path: Path) -> None:
    folder = KernelFolder.of(tmp_path, "kernel-1")
    (folder.path / "sock").mkdir(parents=True)
    (folder.path / "sock" / "c-1").touch()
    folder.create()
    assert list(folder.sockets.iterdir()) == []
    folder.remove()


def test_remove_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    (tmp_path / "tree/inner").mkdir(parents=True)
    (tmp_path / "tree/link").symlink_to(tmp_path / "outside")
    (tmp_path / "tree/inner/link").symlink_to(tmp_path / "outside")
    remove_tree(tmp_path / "tree")
    assert (tmp_path / "outside/kept").exists()
    assert not (tmp_path / "tree").exists()


def test_remove_refuses_a_link_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "tree").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r"Not a directory|symbolic link"):
        remove_tree(tmp_path / "tree")


def test_remove_copes_with_depth_and_closed_folders(
    root_folder: Path, unprivileged: Callable[[Callable[[], Any]], Any]
) -> None:
    def fill_and_remove() -> bool:
        tree = root_folder / "tree"
        tree.mkdir()
        here = os.open(tree, os.O_RDONLY)
        for _ in range(2500):
            os.mkdir("d" * 100, dir_fd=here)
            deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        os.close(here)
        (tree / "closed").mkdir()
        (tree / "closed/file").touch()
        (tree / "closed").chmod(0)
        remove_tree(tree)
        return tree.exists()

    assert unprivileged(fill_and_remove) is False
