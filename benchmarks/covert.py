"""What gets from one kernel to another of a different person on one host, in bits per second: `make bench-covert`.

As root, on a machine that does nothing else: other load is noise, which makes the figures better than they are. Each
way is tried at several speeds; the table has the fastest rate, with its share of wrong bits, of what carries, and says
of the rest whether it was tried and heard nothing (`silent`) or could not be tried (`refused`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.security.covert import Heard, Row, talk_in_boxes, two_grounds

SLOTS = {
    "flock": (0.02,),
    "posix": (0.02,),
    "ofd": (0.02,),
    "marks": (0.02,),
    "names": (0.02,),
    "keys": (0.02,),
    "inotify": (0.02,),
    "page cache": (0.02,),
    "disk": (0.05,),
    "load": (0.1,),
    "user limits": (0.2,),
    "counters": (0.05, 0.1, 0.3),
    "mapped": (0.002, 0.005, 0.02),
    "mapped view": (0.02,),
    "futex": (0.005, 0.02),
    "census": (0.01, 0.02, 0.1),
    "processor": (0.02, 0.05, 0.2),
    "wait": (0.02, 0.05, 0.2),
}
PAYLOAD = 100
GVISOR_SLOWER, GVISOR_PAYLOAD = 4, 40
"""Inside gVisor calls and forks take many times as long: the slowest slot of each, longer, and fewer bits."""


def table(heard: list[Heard]) -> Iterator[str]:
    """The lines; probes of one signal that heard nothing are counted."""
    yield f"{'signal':<12} {'seen as':<34} {'result':<8} {'wrong':>7} {'slot':>8} {'bit/s':>8}"
    names = dict.fromkeys((one.signal, one.probe) for one in heard)
    silent: dict[str, int] = {}
    refused: dict[str, int] = {}
    for signal, probe in names:
        mine = [one for one in heard if (one.signal, one.probe) == (signal, probe)]
        best = max((one for one in mine if one.carries), key=lambda one: one.bits_per_second, default=None)
        if best is not None:
            told = f"{best.error:>7.0%} {best.slot * 1000:>5.0f} ms {best.bits_per_second:>8.1f}"
            yield f"{signal:<12} {probe:<34} {'OPEN':<8} {told}"
        elif not all(one.right is None for one in mine):
            silent[signal] = silent.get(signal, 0) + 1
        else:
            refused[signal] = refused.get(signal, 0) + 1
    for result, counts in (("silent", silent), ("refused", refused)):
        for signal, count in counts.items():
            yield f"{signal:<12} {f'{count} ways to look':<34} {result}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prefix", type=Path, default=os.environ.get("STRONGROOM_TEST_KERNEL_PREFIX"))
    parser.add_argument("--only", nargs="*", default=list(SLOTS), choices=list(SLOTS))
    parser.add_argument("--tier", default="bubblewrap", choices=("bubblewrap", "gvisor"))
    arguments = parser.parse_args()
    if os.geteuid() != 0 or arguments.prefix is None:
        parser.error("run it as root, with --prefix naming the kernels' environment")
    slots, payload = SLOTS, PAYLOAD
    if arguments.tier == "gvisor":
        slots, payload = {signal: (GVISOR_SLOWER * max(known),) for signal, known in SLOTS.items()}, GVISOR_PAYLOAD
    rows = [
        Row.random(signal, sender, slot, payload)
        for signal in arguments.only
        for slot in slots[signal]
        for sender in "ab"
    ]
    with two_grounds(Path(arguments.prefix), tier=arguments.tier) as grounds:
        heard = talk_in_boxes(grounds, rows)
    for line in table(heard):
        print(line)


if __name__ == "__main__":
    main()
