"""What a box may see, as data."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom_kernels import box as inside
from strongroom_kernels.box import WRITABLE, Box, BoxError, Places, base_prefixes, refuse_mounts_below_writable

_names = st.text(alphabet="abc.-_", min_size=1, max_size=5).filter(lambda name: name not in (".", ".."))


@given(top=st.sampled_from(WRITABLE), below=st.lists(_names, min_size=1, max_size=4))
def test_any_mount_below_a_writable_place_is_refused(top: str, below: list[str]) -> None:
    with pytest.raises(BoxError, match="could reach the host"):
        refuse_mounts_below_writable(["/usr", "/".join([top, *below])])


@given(path=st.lists(_names, min_size=1, max_size=4).map(lambda parts: "/srv/" + "/".join(parts)))
def test_other_mounts_are_accepted(path: str) -> None:
    refuse_mounts_below_writable([path, *WRITABLE])


def test_mounts_of_an_ordinary_box(box: Box) -> None:
    writable = {mount.target: mount.source for mount in box.mounts() if mount.writable}
    assert writable == {inside.WORK: box.work, inside.SOCKETS: box.sockets}
    targets = [mount.target for mount in box.mounts()]
    assert {inside.NOTEBOOKS, inside.PREFIX, inside.ASK, inside.DATA, "/usr"} <= set(targets)
    assert set(targets) & {"/", "/etc", "/home", "/root", "/var", "/run", "/tmp", "/proc", "/sys", "/dev"} == set()


@pytest.mark.parametrize("folder", ["work", "notebooks", "ask", "data", "sockets"])
def test_a_missing_folder_is_said(box: Box, folder: str) -> None:
    with pytest.raises(BoxError, match=r"/missing .* does not exist"):
        replace(box, **{folder: box.work / "missing"}).mounts()


def test_python_in_usr_needs_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/python").symlink_to("python3")
    (tmp_path / "venv/bin/python3").symlink_to(os.path.realpath("/usr/bin/env"))
    assert base_prefixes(tmp_path / "venv") == ()


def test_python_elsewhere_is_bound_as_spelled_and_as_resolved(tmp_path: Path) -> None:
    (tmp_path / "real-3.11.2/bin").mkdir(parents=True)
    (tmp_path / "real-3.11.2/bin/python3").touch(0o755)
    (tmp_path / "named").symlink_to("real-3.11.2")
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/python").symlink_to(tmp_path / "named/bin/python3")
    assert base_prefixes(tmp_path / "venv") == (tmp_path / "named", tmp_path / "real-3.11.2")


def test_python_below_a_place_that_kernels_write_is_refused(box: Box, root_folder: Path) -> None:
    for name in ("base", "venv"):
        (root_folder / name / "bin").mkdir(parents=True)
    (root_folder / "base/bin/python3").touch(0o755)
    (root_folder / "venv/bin/python").symlink_to(root_folder / "base/bin/python3")
    with pytest.raises(BoxError, match="below /tmp, which kernels can write"):
        replace(box, prefix=root_folder / "venv").mounts()


def test_python_that_this_user_may_not_read_is_said(
    root_folder: Path, unprivileged: Callable[[Callable[[], Any]], Any]
) -> None:
    for name in ("closed", "venv"):
        (root_folder / name / "bin").mkdir(parents=True)
    (root_folder / "closed/bin/python3").touch(0o755)
    (root_folder / "venv/bin/python").symlink_to(root_folder / "closed/bin/python3")
    (root_folder / "closed").chmod(0)

    def look() -> str:
        with pytest.raises(BoxError) as caught:
            base_prefixes(root_folder / "venv")
        return str(caught.value)

    try:
        assert "may not read" in unprivileged(look)
    finally:
        (root_folder / "closed").chmod(0o700)


def test_places_come_from_the_environment() -> None:
    names = {"RUN_DIR": "/r", "WORK": "/w", "NOTEBOOKS": "/n", "KERNEL_PREFIX": "/k", "DATA_SOCKET": "/d/data.sock"}
    environment = {f"STRONGROOM_{name}": value for name, value in names.items()}
    places = Places.from_environment(environment)
    assert (places.run_dir, places.prefix, places.data_socket) == (Path("/r"), Path("/k"), Path("/d/data.sock"))
    for name in environment:
        with pytest.raises(BoxError, match=f"{name} not set"):
            Places.from_environment({**environment, name: ""})


def test_a_kernels_environment_names_only_the_box() -> None:
    for value in inside.ENVIRONMENT.values():
        assert not value.startswith(("/home", "/root", "/srv", "/var"))
    assert inside.ENVIRONMENT["HOME"] == "/box"
