"""What is left of the bound at `secret`: bits that a kernel can still say by what it does, measured on a real instance.

No byte of a kernel's leaves a workspace that is `secret`; its counts, its order and its times are seen all the same.
For each such channel there is an encoder that runs in the kernel and a decoder that sees what a page sees. Printed are
the symbols that came through, the bits that they carry (capacity of a symmetric channel with the measured errors), per
cell and per second. The sum is what one cell can say that uses all of them together.

    bound.py [--rounds N]
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from strongroom_hub.internal import ControlClient
from strongroom_hub.supervisor import RunningInstance
from strongroom_hub.tour.notebook import Notebook
from strongroom_lab.gate.notices import PLACES

from tests.real import People, policy_rows
from tests.security.conftest import grant
from tests.security.hostile_browser import Browser, Frame
from tests.security.hostile_kernel import PREPARE

DATASET = "health/lymph_node"
ROWS = "g, user:analyst2, project:sealed\ng, user:analyst2, clearance:secret\n"
TYPES = ("text/plain", "text/html", "text/latex", "image/svg+xml", "application/json", "text/markdown")
GAP = 0.15
"""Seconds that stand for a one where time is the channel."""
BITS_IN_TIME = 8


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to say something: `write` gives the code that says a symbol, `read` what a page makes of the frames."""

    name: str
    symbols: int
    write: Callable[[int], str]
    read: Callable[[list[Frame]], int | None]


@dataclass(frozen=True, slots=True)
class Result:
    channel: Channel
    right: int
    rounds: int
    seconds: float
    """Of one cell, median."""

    @property
    def bits(self) -> float:
        """Capacity per cell of a channel whose errors are as likely one way as another."""
        count, error = self.channel.symbols, 1 - self.right / self.rounds
        if error >= 1 - 1 / count:
            return 0.0
        lost = 0.0 if error == 0 else -error * math.log2(error) - (1 - error) * math.log2(1 - error)
        return max(0.0, math.log2(count) - lost - (error * math.log2(count - 1) if count > 1 else 0))


def reply(frames: list[Frame]) -> Frame | None:
    return next((frame for frame in frames if frame.type == "execute_reply"), None)


def status(frames: list[Frame]) -> int | None:
    found = reply(frames)
    return None if found is None else {"ok": 0, "error": 1, "aborted": 2}[found.content["status"]]


def forged_status(symbol: int) -> str:
    told = {"status": ("ok", "error", "aborted")[symbol], "ename": "", "evalue": "", "traceback": [], "payload": []}
    return (
        f"publish('execute_reply', {{**{told!r}, 'execution_count': 1, 'user_expressions': {{}}}}, on=shell_socket(), "
        "ident=kernel._parent_ident['shell'])"
    )


def amount(symbol: int) -> int:
    """Bytes of an output whose size, told in two digits, stands for this symbol."""
    digits, power = symbol % 90, symbol // 90
    return (digits + 10) * 10 ** (power + 2)


def withheld(frames: list[Frame]) -> int | None:
    found = reply(frames)
    told = str(found.metadata.get("strongroom", {}).get("withheld", 0)) if found is not None else "0"
    power = len(told) - 4
    return int(told[:2]) - 10 + 90 * power if power >= 0 else None


def say_amount(symbol: int) -> str:
    """The message's own field names count as well, so the text is that much shorter and the rounding meets the rest."""
    return f"publish('stream', {{'name': 'stdout', 'text': 'x' * ({amount(symbol)} - 30)}})"


def types(symbol: int) -> str:
    data = {mime: "x" for number, mime in enumerate(TYPES) if (symbol + 1) >> number & 1}
    return f"publish('display_data', {{'data': {data!r}, 'metadata': {{}}}})"


def read_types(frames: list[Frame]) -> int | None:
    words = " ".join(str(frame.content) for frame in frames if frame.type in {"display_data", "update_display_data"})
    seen = set(re.findall(r"(?:text|image|application)/[a-z+]+", words))
    return sum(1 << number for number, mime in enumerate(TYPES) if mime in seen) - 1


def counted(symbol: int) -> str:
    told = {"code": "", "execution_count": symbol + 1}
    return f"publish('execute_input', {told!r})\n" + forged_status(0).replace(
        "'execution_count': 1", f"'execution_count': {symbol + 1}"
    )


def read_count(frames: list[Frame]) -> int | None:
    found = reply(frames)
    return None if found is None else int(found.content["execution_count"]) - 1


def ask(symbol: int) -> str:
    return "\n".join(["input()"] * symbol) or "pass"


def read_asked(frames: list[Frame]) -> int | None:
    return sum(frame.type == "input_request" for frame in frames)


def pauses(symbol: int) -> str:
    bits = [symbol >> number & 1 for number in range(BITS_IN_TIME)]
    return "input()\n" + "\n".join(f"time.sleep({GAP * bit}); input()" for bit in bits)


def read_pauses(frames: list[Frame]) -> int | None:
    times = [frame.at for frame in frames if frame.type == "input_request"]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    return sum(1 << number for number, gap in enumerate(gaps) if gap > GAP * 0.75)


def duration(symbol: int) -> str:
    return f"time.sleep({GAP * symbol})"


def read_duration(frames: list[Frame]) -> int | None:
    states = {frame.content["execution_state"]: frame.at for frame in frames if frame.type == "status"}
    if set(states) < {"busy", "idle"}:
        return None
    return round((states["idle"] - states["busy"]) / GAP)


def outputs(symbol: int) -> str:
    """A number in binary, a leading one before it: displays are ones, results are noughts."""
    kinds = {"1": "display_data", "0": "execute_result"}
    sent = [kinds[digit] for digit in f"{symbol + 1:b}"[1:]]
    return (
        "\n".join(f"publish({kind!r}, {{'data': {{'text/plain': 'x'}}, 'metadata': {{}}}})" for kind in sent) or "pass"
    )


def read_outputs(frames: list[Frame]) -> int | None:
    kinds = {"display_data": "1", "execute_result": "0"}
    return int("1" + "".join(kinds[frame.type] for frame in frames if frame.type in kinds), 2) - 1


def channels(run_before: int) -> list[Channel]:
    return [
        Channel("status of the reply", 3, forged_status, status),
        Channel("size of what was withheld", 90 * 5, say_amount, withheld),
        Channel("number and kind of outputs", (1 << PLACES + 1) - 1, outputs, read_outputs),
        Channel("types of what was withheld", (1 << len(TYPES)) - 1, types, read_types),
        Channel("execution count", run_before, counted, read_count),
        Channel("number of questions for input", 16, ask, read_asked),
        Channel("duration of a cell", 8, duration, read_duration),
        Channel("pauses between questions", 1 << BITS_IN_TIME, pauses, read_pauses),
    ]


def measure(browser: Browser, channel: Channel, rounds: int, chance: random.Random) -> Result:
    right, seconds = 0, []
    for _ in range(rounds):
        symbol = chance.randrange(channel.symbols)
        began = time.monotonic()
        frames = browser.run(channel.write(symbol), quiet=0.1)
        seconds.append(time.monotonic() - began - 0.1)
        right += channel.read(frames) == symbol
    return Result(channel, right, rounds, statistics.median(seconds))


def deaths(browser: Browser, rounds: int, chance: random.Random) -> Result:
    """How a kernel that ends tells the page its exit status; the time includes that of the next kernel's start."""
    channel = Channel("exit status of the kernel", 120, lambda symbol: f"import os; os._exit({symbol + 1})", read_end)
    right, seconds = 0, []
    for _ in range(rounds):
        symbol = chance.randrange(channel.symbols)
        began = time.monotonic()
        right += channel.read(browser.run(channel.write(symbol), quiet=0.1)) == symbol
        while status(browser.run("pass", quiet=0.1)) != 0:
            time.sleep(0.1)
        seconds.append(time.monotonic() - began - 0.2)
    return Result(channel, right, rounds, statistics.median(seconds))


def read_end(frames: list[Frame]) -> int | None:
    words = " ".join(str(frame.content) for frame in frames if frame.type == "error")
    found = re.search(r"(?:status|code) (\d+)", words)
    return int(found[1]) - 1 if found else None


@contextmanager
def sealed_browser() -> Iterator[Browser]:
    """A page of a workspace that has read secret data, in an instance of its own."""
    with RunningInstance.fresh(Path(os.environ["STRONGROOM_HOME"])) as running:
        people = People(running)
        operator = ControlClient(running.instance.control_socket, running.instance.operator_token_file)
        operator.call("POST", "projects", {"name": "sealed", "title": "Sealed", "purpose": "To be measured."})
        with policy_rows(running, ROWS):
            server = people.server("analyst2", "sealed")
            grant(people, server, DATASET)
            with Notebook(server, "reads.ipynb") as notebook:
                cell = notebook.run(f"import strongroom\nstrongroom.open({DATASET!r})")
                if cell.seal.get("label") != "secret":
                    raise SystemExit(f"the workspace is not secret: {cell.error}")
            with Browser(server, "bound.ipynb") as browser:
                browser.run(PREPARE)
                yield browser
        people.close()


def report(results: list[Result]) -> None:
    width = max(len(result.channel.name) for result in results)
    print(f"{'channel':{width}}  came through  bits a cell  cells a second  bits a second")
    for result in results:
        rate = 1 / max(result.seconds, 1e-3)
        print(
            f"{result.channel.name:{width}}  {result.right:5} of {result.rounds:<4} {result.bits:12.1f} {rate:15.1f} "
            f"{result.bits * rate:14.1f}"
        )
    whole = sum(result.bits for result in results)
    print(f"\nAll together at most {whole:.0f} bits a cell; each cell is in the log, with its code.")


def main() -> None:
    asked = argparse.ArgumentParser(description="What a kernel can still say at secret, in bits.")
    asked.add_argument("--rounds", type=int, default=40, help="symbols sent over each channel")
    rounds = asked.parse_args().rounds
    chance = random.Random(7)  # noqa: S311 - the same symbols in each run
    with sealed_browser() as browser:
        results = [measure(browser, channel, rounds, chance) for channel in channels(64)[:4]]
        while (before := read_count(browser.run("pass", quiet=0.1))) is not None and before < 64:  # noqa: PLR2004
            pass
        results += [measure(browser, channel, rounds, chance) for channel in channels(64)[4:]]
        results.append(deaths(browser, max(5, rounds // 8), chance))
    report(results)


if __name__ == "__main__":
    main()
