"""Kernels of two people on one host, in boxes as the product makes them: what one does, the other cannot see.

Each way of saying something is tried both ways with 40 random bits, after known ones that show the receiver what a 1
looks like. That each would work without the protection is shown beside it: between plain processes, or in boxes
without that one protection. What is not closed is measured by `benchmarks/covert.py` and told in docs/limitations.md.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.security.covert import (
    CALIBRATION,
    Heard,
    Making,
    Row,
    decode,
    talk_in_boxes,
    talk_in_the_open,
    two_grounds,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="boxes of two users need root")

SLOT = 0.02
LOCKS = ("flock", "posix", "ofd")
QUICK = (*LOCKS, "marks", "names")
NOT_EVEN_TRIED = ("keys", "inotify", "page cache", "mapped", "wait")
SLOW = {"disk": 0.04, "load": 0.08}


@pytest.fixture(scope="module")
def prefix() -> Path:
    named = os.environ.get("STRONGROOM_TEST_KERNEL_PREFIX", "")
    assert named, "STRONGROOM_TEST_KERNEL_PREFIX is not set: run these tests with `make test`"
    return Path(named)


def rows(names: tuple[str, ...], senders: str = "ab") -> list[Row]:
    return [Row.random(name, sender, SLOW.get(name, SLOT)) for name in names for sender in senders]


@pytest.fixture(scope="module")
def boxed(prefix: Path) -> Iterator[list[Heard]]:
    """One run of all of it between two boxes."""
    with two_grounds(prefix) as grounds:
        refused = [Row.random(name, "a", SLOT, payload=2) for name in NOT_EVEN_TRIED]
        yield talk_in_boxes(grounds, [*rows((*QUICK, *SLOW)), *refused])


def in_rounds(talk: Callable[[], list[Heard]], wanted: dict[str, set[str]]) -> list[Heard]:
    """What gets through where it can: on a busy machine the two sides may miss each other, so they may try again."""
    heard: list[Heard] = []
    for _ in range(4):
        heard += talk()
        if all(probes <= carried(heard, name) for name, probes in wanted.items()):
            break
    return heard


@pytest.fixture(scope="module")
def plain(prefix: Path) -> list[Heard]:
    """The same, one way, between processes without boxes."""

    def talk() -> list[Heard]:
        with tempfile.TemporaryDirectory(prefix="sr-", dir="/tmp") as folder:
            return talk_in_the_open(Path(folder), rows((*QUICK, "inotify", "page cache"), "a"), prefix)

    return in_rounds(talk, OPEN)


def carried(heard: list[Heard], name: str) -> set[str]:
    return {one.probe for one in heard if one.signal == name and one.carries}


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_nothing_gets_from_one_box_to_another(boxed: list[Heard], name: str) -> None:
    assert carried(boxed, name) == set()
    looked = {one.probe for one in boxed if one.signal == name and one.right is not None}
    # It was tried: what is looked at here is there, in the box's own copy.
    for probe in EXPECTED[name]:
        assert probe in looked


EXPECTED = {
    **dict.fromkeys(LOCKS, ("/usr/bin/env", "/opt/strongroom/kernel/pyvenv.cfg", "/dev/null", "/dev/urandom", "view")),
    "marks": ("atime /usr/bin/env", "atime view", "offset view"),
    "names": ("file /tmp", "file /dev/shm", "abstract socket"),
    "disk": ("statfs /box/work", "statfs /tmp", "statfs /usr", "statfs /box/notebooks", "statfs /dev/shm"),
    "load": ("sysinfo processes", "sysinfo free", "/proc/loadavg [0]", "/proc/meminfo [1]"),
}


@pytest.mark.parametrize("name", NOT_EVEN_TRIED)
def test_what_the_box_does_not_even_let_try(boxed: list[Heard], name: str) -> None:
    assert [one for one in boxed if one.signal == name]
    assert all(one.right is None for one in boxed if one.signal == name)


def test_the_folder_of_the_vaults_door_cannot_be_opened(boxed: list[Heard]) -> None:
    assert not [one for one in boxed if one.probe == "/run/strongroom/vault"]


OPEN = {
    **{key: {"/usr/bin/env", "/usr", "/dev/null", "/dev/urandom", "view"} for key in LOCKS},
    "names": {"file /tmp", "file /dev/shm", "abstract socket", "System V memory"},
    "inotify": {"inotify"},
    "page cache": {"RWF_NOWAIT"},
}


@pytest.mark.parametrize(("name", "probes"), OPEN.items())
def test_all_of_it_would_get_through_without_boxes(plain: list[Heard], name: str, probes: set[str]) -> None:
    assert probes <= carried(plain, name)


def test_without_copies_of_their_own_locks_get_through(prefix: Path) -> None:
    def talk() -> list[Heard]:
        with two_grounds(prefix) as grounds:
            return talk_in_boxes(grounds, rows(LOCKS[:2], "a"), Making(overlays=False))

    wanted = {"/usr/bin/env", "/opt/strongroom/kernel/pyvenv.cfg", "/dev/null"}
    heard = in_rounds(talk, dict.fromkeys(LOCKS[:2], wanted))
    for name in LOCKS[:2]:
        assert wanted <= carried(heard, name)
        assert "view" not in carried(heard, name)


def test_a_view_that_two_people_shared_would_carry(prefix: Path) -> None:
    def talk() -> list[Heard]:
        with two_grounds(prefix, shared_view=True) as grounds:
            return talk_in_boxes(grounds, rows(LOCKS[1:], "b"))

    heard = in_rounds(talk, {key: {"view"} for key in LOCKS[1:]})
    for name in LOCKS[1:]:
        assert carried(heard, name) == {"view"}


def test_without_filters_and_copies_the_page_cache_gets_through(prefix: Path) -> None:
    def talk() -> list[Heard]:
        with two_grounds(prefix) as grounds:
            return talk_in_boxes(grounds, rows(("page cache",), "b"), Making(filters=False, overlays=False))

    heard = in_rounds(talk, {"page cache": {"RWF_NOWAIT"}})
    assert "RWF_NOWAIT" in carried(heard, "page cache")


def test_with_all_of_proc_it_is_seen_who_else_uses_a_page_and_how_long_one_waited(prefix: Path) -> None:
    def talk() -> list[Heard]:
        schedule = [*rows(("mapped",), "b"), Row.random("wait", "a", SLOT, 2)]
        with two_grounds(prefix) as grounds:
            return talk_in_boxes(grounds, schedule, Making(proc=False))

    heard = in_rounds(talk, {"mapped": {"smaps", "pagemap"}})
    assert carried(heard, "mapped") == {"smaps", "pagemap"}
    assert {one.probe for one in heard if one.signal == "wait" and one.right is not None} == {"run delay"}


# -- the measure itself -------------------------------------------------------------------------------------------

SECRET = "0110100110010110" * 2 + "00110101"
BITS = CALIBRATION + SECRET


@pytest.mark.parametrize("turned", [False, True], ids=["1 is high", "1 is low"])
@pytest.mark.parametrize("drift", [0.0, 50.0], ids=["level", "counter"])
def test_the_measure_hears_what_is_there(turned: bool, drift: float) -> None:
    level, values = 0.0, []
    for place, bit in enumerate(BITS):
        level += drift + (10 if bit == "1" else 0)
        values.append(level if drift else (10.0 if (bit == "1") is not turned else 0.0) + place % 3)
    assert decode(values, BITS) == len(SECRET)


def test_the_measure_hears_nothing_where_nothing_is() -> None:
    for nothing in ([0.0] * len(BITS), [float(place * 7 % 11) for place in range(len(BITS))]):
        right = decode(nothing, BITS)
        assert right is not None
        assert not Heard("x", "y", 1.0, right, len(SECRET)).carries
    assert decode([None] * len(BITS), BITS) is None
    assert decode([1.0] * 5, BITS) is None


def test_rates_are_those_of_a_binary_symmetric_channel() -> None:
    assert Heard("x", "y", 0.1, 20, 40).bits_per_second == pytest.approx(0)
    assert Heard("x", "y", 0.1, 40, 40).bits_per_second == pytest.approx(9.03, abs=0.01)
    assert Heard("x", "y", 0.1, 0, 40).bits_per_second == Heard("x", "y", 0.1, 40, 40).bits_per_second
