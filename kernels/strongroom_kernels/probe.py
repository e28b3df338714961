"""A trial of the box on this machine: run it once for real and look from inside whether it holds.

The server refuses to start kernels when it does not. A *failure* is a wall that is missing; a *weakness* is a second
wall behind one that stands.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from strongroom_kernels import launcher
from strongroom_kernels.box import Box, BoxError, Places
from strongroom_kernels.bubblewrap import bubblewrap_version, find_bubblewrap
from strongroom_kernels.folders import KernelFolder
from strongroom_kernels.log import OutputLog
from strongroom_kernels.sandbox import TIERS, Sandbox
from strongroom_kernels.starting import start_failure, userns_advice

_ST_NOSYMFOLLOW = 0x2000
_SECONDS = 20.0
_LINK_SAFE_BUBBLEWRAP = (0, 12)

_LOOK = r"""
import ctypes, errno, json, os, socket, sys
def attempt(action):
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    return "done"
def seen(look):
    try:
        return look()
    except PermissionError:
        return []
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
libc = ctypes.CDLL(None, use_errno=True)
def unshare():
    if libc.unshare(0x10000000):
        raise OSError(ctypes.get_errno(), "unshare")
home, sockets = os.environ["HOME"], sys.argv[1]
print(json.dumps({
    "inet": attempt(lambda: socket.socket(socket.AF_INET).close()),
    "vsock": attempt(lambda: socket.socket(40, socket.SOCK_STREAM).close()),
    "netlink": attempt(lambda: socket.socket(16, socket.SOCK_RAW).close()),
    "links": seen(lambda: [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line]),
    "net": seen(lambda: os.readlink("/proc/self/ns/net")),
    "pages": attempt(lambda: open("/proc/self/smaps").close()),
    "seccomp": int(status["Seccomp_filters" if "Seccomp_filters" in status else "Seccomp"]),
    "no_new_privs": libc.prctl(39, 0, 0, 0, 0),
    "linux": os.uname().release,
    "capabilities": int(status["CapEff"], 16) | int(status["CapPrm"], 16),
    "bounds": int(status["CapBnd"], 16),
    "uid": os.getuid(),
    "pids": seen(lambda: sorted(int(name) for name in os.listdir("/proc") if name.isdigit())),
    "parent": seen(lambda: open(f"/proc/{os.getppid()}/environ").read()),
    "unshare": attempt(unshare),
    "root": attempt(lambda: open("/strongroom-probe", "w").close()),
    "notebooks": attempt(lambda: open(f"{home}/notebooks/strongroom-probe", "w").close()),
    "work": attempt(lambda: open(f"{home}/work/strongroom-probe", "w").close()),
    "link": attempt(lambda: os.symlink("/", f"{sockets}/strongroom-probe")),
}))
"""


class Severity(StrEnum):
    FAILURE = "failure"
    WEAKNESS = "weakness"


class State(StrEnum):
    FINE = "fine"
    WEAKER = "weaker"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at on this machine, and what to do where it is not fine."""

    name: str
    state: State
    text: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about this machine's box that is not as it should be, and how to mend it."""

    check: str
    severity: Severity
    text: str

    def __str__(self) -> str:
        return f"{self.check}: {self.text}"


_Seen = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Wall:
    """What must hold, and in which tiers it can."""

    check: str
    holds: Callable[[_Seen], bool]
    text: str
    tiers: tuple[str, ...] = TIERS


_WALLS = (
    _Wall("network", lambda seen: seen["inet"] == "EAFNOSUPPORT", "sockets of a network open."),
    _Wall("network", lambda seen: seen["links"] in ([], ["lo"]), "a network can be seen.", ("bubblewrap", "gvisor")),
    _Wall("network", lambda seen: seen["net"] != _own_network(), "it is the host's network.", ("bubblewrap",)),
    _Wall("vsock", lambda seen: seen["vsock"] == "EAFNOSUPPORT", "AF_VSOCK sockets open: a line to the hypervisor."),
    _Wall(
        "netlink",
        lambda seen: seen["netlink"] in ("EOPNOTSUPP", "ENOTSUP"),
        "AF_NETLINK is not answered as ZeroMQ needs it.",
    ),
    _Wall("seccomp", lambda seen: seen["seccomp"] >= 2, "the system-call filters are not active."),  # noqa: PLR2004
    _Wall("no_new_privs", lambda seen: seen["no_new_privs"] == 1, "set-user-id programs would work."),
    _Wall("capabilities", lambda seen: seen["capabilities"] == 0, "the kernel would hold capabilities."),
    _Wall("bounds", lambda seen: seen["bounds"] == 0, "capabilities could be gained.", ("bubblewrap", "gvisor")),
    # Inside gVisor the owner of the files is uid 0 of a kernel of its own, without a capability there.
    _Wall("uid", lambda seen: seen["uid"] != 0, "the kernel would be root inside.", ("launcher", "bubblewrap")),
    _Wall("processes", lambda seen: set(seen["pids"]) <= {1, 2}, "the host's processes can be seen."),
    _Wall(
        "environment", lambda seen: not seen["parent"], "what started the box can be read.", ("launcher", "bubblewrap")
    ),
    _Wall("namespaces", lambda seen: seen["unshare"] in ("EPERM", "ENOSYS"), "user namespaces can be nested."),
    _Wall("root", lambda seen: seen["root"] != "done", "the box's own root can be written."),
    _Wall("notebooks", lambda seen: seen["notebooks"] != "done", "the notebooks folder can be written."),
    _Wall("work", lambda seen: seen["work"] == "done", "the work folder cannot be written."),
    _Wall(
        "own kernel",
        lambda seen: seen["linux"] != os.uname().release,
        "system calls reach the host's Linux.",
        ("gvisor",),
    ),
    _Wall(
        "pages",
        lambda seen: seen["link"] == "done" or seen["pages"] != "done",  # Landlock alone holds it, and may be missing
        "it can be seen which pages of libraries others use.",
        ("launcher", "bubblewrap"),
    ),
    _Wall("landlock", lambda seen: seen["link"] != "done", "the launcher's own rules are not active.", ("launcher",)),
)


def _own_network() -> str:
    return str(Path("/proc/self/ns/net").readlink())


def probe(sandbox: Sandbox, places: Places) -> list[Finding]:
    """Build one box with this server's Python and folders of its own, look from inside, and judge. Takes about 0.2 s.

    Returns an empty list when all is well. Never raises for a box that cannot be built: that is a failure in words.
    """
    folder = KernelFolder.of(places.run_dir, f"probe-{os.urandom(8).hex()}")
    try:
        folder.create()
        seen = _look(sandbox, places, folder)
        return _judge(seen, sandbox.name, nosymfollow=bool(os.statvfs(folder.path).f_flag & _ST_NOSYMFOLLOW))
    except (BoxError, OSError) as error:
        return [Finding("start", Severity.FAILURE, str(error))]
    finally:
        folder.remove()


def require_sound(sandbox: Sandbox, places: Places) -> list[Finding]:
    """Probe, and raise BoxError with all failures in words; returns the weaknesses."""
    findings = probe(sandbox, places)
    failures = [str(finding) for finding in findings if finding.severity is Severity.FAILURE]
    if failures:
        raise BoxError(
            "No kernel can start: its box would not hold on this machine. " + " ".join(failures) + " Ask whoever runs "
            "this Strongroom to mend it; kernels start again as soon as the box holds."
        )
    return findings


def checks() -> list[Check]:
    """What this machine has for boxes, without building one. Any user may ask, root too."""
    return [_check_bubblewrap(), _check_namespaces(), _check_landlock()]


def _check_bubblewrap() -> Check:
    try:
        version = bubblewrap_version(find_bubblewrap())
    except BoxError as error:
        return Check("bubblewrap", State.BROKEN, str(error), "Install bubblewrap 0.8 or later.")
    told = ".".join(map(str, version))
    if version < _LINK_SAFE_BUBBLEWRAP:
        text = (
            f"bubblewrap {told} follows links below folders that a kernel can write (GHSA-pxhw-h44j-8pfx, mended in "
            "0.12). Strongroom never mounts anything there, so it cannot be used against this machine."
        )
        return Check("bubblewrap", State.FINE, text, "Update bubblewrap when your distribution has 0.12.")
    return Check("bubblewrap", State.FINE, f"bubblewrap {told} is installed.")


def _check_namespaces() -> Check:
    advice = userns_advice()
    if advice:
        return Check("user namespaces", State.BROKEN, "Ordinary users cannot build boxes here.", advice)
    return Check("user namespaces", State.FINE, "No switch of this Linux keeps ordinary users from building boxes.")


def _check_landlock() -> Check:
    abi = launcher.landlock_abi()
    if abi >= launcher.SCOPE_ABI:
        return Check("Landlock", State.FINE, f"Landlock ABI {abi}: files, TCP, abstract sockets and signals.")
    lacks = "file rights" if not abi else "TCP, abstract sockets and signals" if abi < launcher.NET_ABI else "signals"
    text = f"Landlock ABI {abi}: the second wall for {lacks} is missing; the namespaces alone guard them."
    return Check("Landlock", State.WEAKER, text, "Run Linux 6.12 or later with `landlock` among `lsm=`.")


def _look(sandbox: Sandbox, places: Places, folder: KernelFolder) -> _Seen:
    work, notebooks, data = (folder.path / name for name in ("work", "notebooks", "data"))
    for own in (work, notebooks, data):
        own.mkdir()
    box = Box(
        work=work,
        notebooks=notebooks,
        prefix=places.prefix,
        ask=folder.ask,
        data=data,
        sockets=folder.sockets,
        tier=sandbox.name,
    )
    log = OutputLog(folder.log)
    try:
        boxed = sandbox.start(box, ["exec", "python", "-c", _LOOK, sandbox.sockets(box)], log)
        deadline = time.monotonic() + _SECONDS
        while boxed.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        boxed.kill()
        boxed.close()
    finally:
        log.close()
    if not log.ready.is_set():
        raise BoxError(start_failure(log))
    with contextlib.suppress(ValueError):
        seen = json.loads(log.head().splitlines()[-1])
        if isinstance(seen, dict):
            return seen
    raise BoxError(f"the trial box gave no clear answer: {log.head().strip()}")


def _judge(seen: _Seen, tier: str, *, nosymfollow: bool) -> list[Finding]:
    findings = [
        Finding(wall.check, Severity.FAILURE, wall.text)
        for wall in _WALLS
        if tier in wall.tiers and not wall.holds(seen)
    ]
    landlock = seen["link"] != "done"
    if not landlock and not nosymfollow:
        findings.append(
            Finding(
                "links",
                Severity.FAILURE,
                "a kernel could put a link in place of its socket and lead this server elsewhere. Mount the run folder "
                "with nosymfollow (the hub does so where it has root), or, for the tier bubblewrap, run a Linux with "
                "Landlock (5.13 or later, `lsm=` including landlock).",
            )
        )
    elif not landlock and tier != "gvisor":
        findings.append(
            Finding(
                "landlock",
                Severity.WEAKNESS,
                "Landlock does not run here: the mounts alone guard files, and kernels see which pages of libraries "
                "others use, how busy the machine is, and names of the host's folders.",
            )
        )
    return findings
