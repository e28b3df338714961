"""What this Linux offers: system-call filters, mounts, control groups, and what may carry plaintext elsewhere."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from strongroom_hub import cgroups
from strongroom_hub.machine.check import Check, broken, fine, weaker
from strongroom_hub.vault import confine

MOUNT_TRIAL = Path(__file__).with_name("mounting.py")
PATIENCE = 20
OLDEST_NODE = (20, 19)
_UNSYNCHRONISED, _CLOCK_ERROR = 0x40, 5
_TIMEX_BYTES, _TIMEX_STATUS = 208, 40
"""Size of `struct timex` and place of its status on 64-bit Linux (sys/timex.h)."""


def checks(*, proc: Path = Path("/proc"), sys_: Path = Path("/sys")) -> list[Check]:
    """All of them. `proc`, `sys_`: where those file systems are."""
    return [
        seccomp(proc),
        vault_workers(),
        *mounting(),
        control_groups(),
        swap(proc, sys_),
        core_dumps(proc),
        clock(),
    ]


def seccomp(proc: Path) -> Check:
    name = "seccomp"
    try:
        actions = set((proc / "sys/kernel/seccomp/actions_avail").read_text(encoding="ascii").split())
    except OSError:
        return broken(
            name,
            "This Linux cannot filter system calls.",
            "Run a Linux built with CONFIG_SECCOMP_FILTER; all distributions' own are.",
        )
    if not {"errno", "kill_process"} <= actions:
        return broken(
            name, f"System-call filters lack actions: {', '.join(sorted(actions))}.", "Run Linux 4.14 or later."
        )
    if "user_notif" not in actions:
        return weaker(
            name,
            "System calls are filtered, but denied ones cannot be counted (no user notification).",
            "Run Linux 5.0 or later.",
        )
    return fine(name, "System calls are filtered, and denied ones can be counted.")


def vault_workers() -> Check:
    """The processes in which the vault parses files."""
    name = "vault's workers"
    if lacks := confine.weaknesses():
        return weaker(
            name, " ".join(lacks), "Run Linux 5.13 or later with landlock among `lsm=`, on x86-64 or 64-bit ARM."
        )
    return fine(name, "Each of the vault's workers reaches its own files and nothing else.")


def mounting() -> list[Check]:
    """Mounts of the spawner, tried in a mount namespace that ends with the trial."""
    if os.geteuid() != 0:
        next_step = "Run the hub as root, as a system service."
        return [
            weaker(
                "mounts", "Without root there are no sized work images, overlays and link-free run folders.", next_step
            )
        ]
    tried = subprocess.run(
        [sys.executable, "-I", "-S", str(MOUNT_TRIAL)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    try:
        said: dict[str, str] = json.loads(tried.stdout)
    except ValueError:
        return [
            weaker(
                "mounts",
                f"Mounting could not be tried: {tried.stderr.strip()[-200:] or 'no answer'}.",
                "Give the hub CAP_SYS_ADMIN in its own mount namespace.",
            )
        ]
    return [
        _mount(
            "nosymfollow",
            said,
            "Run folders follow no symbolic link.",
            "A link that a kernel puts in place of its socket is stopped by Landlock alone.",
            "Run Linux 5.10 or later.",
        ),
        _mount(
            "overlay",
            said,
            "Boxes get their own view of shared read-only files, so locks on them carry nothing.",
            "File locks on shared read-only files can carry signals between kernels of different people.",
            "Load the module: modprobe overlay",
        ),
        _mount(
            "loop",
            said,
            "Work folders can be file systems of fixed size.",
            "Work folders have no fixed size: one person can fill the disk for all.",
            "Load the module (modprobe loop) and, in a container, allow /dev/loop-control and /dev/loop*.",
        ),
    ]


def _mount(name: str, said: dict[str, str], good: str, bad: str, mend: str) -> Check:
    trouble = said.get(name, "it was not tried")
    return weaker(name, f"{bad} ({trouble}.)", mend) if trouble else fine(name, good)


def control_groups() -> Check:
    name = "control groups"
    mend = "Run the hub as root on a Linux with control groups; under systemd set Delegate=yes in the unit of the hub."
    found = cgroups.find()
    if found is None:
        why = "there is no writable hierarchy here" if os.geteuid() == 0 else "they need root here"
        return weaker(name, f"Memory, processors and processes are not limited per kernel ({why}).", mend)
    folder = next(iter(found.folders.values()))
    offered = set(found.folders)
    if found.version == cgroups.V2:
        offered = set((folder / "cgroup.controllers").read_text(encoding="ascii").split())
    missing = [one for one in cgroups.WANTED if one not in offered]
    if missing:
        return weaker(
            name, f"Version {found.version}, without: {', '.join(missing)}. Kernels are not held to that.", mend
        )
    return fine(name, f"Version {found.version}: memory, processors and processes are limited per kernel.")


def swap(proc: Path, sys_: Path) -> Check:
    """Plaintext lives in the memory of kernels and of the vault; swap writes memory to a disk."""
    name = "swap"
    lines = _lines(proc / "swaps")[1:]
    plain = [where for where in (line.split()[0] for line in lines if line.split()) if not _harmless_swap(where, sys_)]
    if plain:
        return weaker(
            name,
            f"Memory, and so data in plain, may be written to {', '.join(plain)}.",
            "Turn it off (swapoff -a), use zram, or encrypt it with a random key (`swap` in /etc/crypttab).",
        )
    return fine(name, "Memory is not written to an unencrypted disk." if lines else "There is none.")


def _harmless_swap(where: str, sys_: Path) -> bool:
    device = Path(os.path.realpath(where)).name
    return device.startswith("zram") or is_encrypted(sys_ / "class" / "block" / device)


def is_encrypted(block: Path) -> bool:
    """Whether a block device (its folder in sysfs) is a dm-crypt one, or stands on nothing but such."""
    try:
        uuid = (block / "dm" / "uuid").read_text(encoding="ascii")
    except OSError:
        uuid = ""
    if uuid.startswith("CRYPT-"):
        return True
    below = list((block / "slaves").iterdir()) if (block / "slaves").is_dir() else []
    parent = Path(os.path.realpath(block)).parent
    if not below and (block / "partition").exists():
        return is_encrypted(parent)
    return bool(below) and all(is_encrypted(one) for one in below)


def core_dumps(proc: Path) -> Check:
    name = "core dumps"
    pattern = "".join(_lines(proc / "sys/kernel/core_pattern")[:1])
    if pattern.startswith("|"):
        return weaker(
            name,
            f"A crash of the vault or a notebook server hands its memory to {pattern[1:].split()[0]}.",
            "sysctl -w kernel.core_pattern=core, and set LimitCORE=0 for the hub. Kernels' cores are never written.",
        )
    return fine(name, "No program is handed the memory of a crashed process.")


def clock() -> Check:
    """A hint only: a host may set this machine's clock without telling its Linux."""
    name = "clock"
    state, status = _adjtimex()
    if state == _CLOCK_ERROR or status & _UNSYNCHRONISED:
        return weaker(
            name,
            "Nothing on this machine says that its clock is synchronised. One-time codes count for 30 seconds, and so "
            "do read tickets between machines.",
            "Run chrony or systemd-timesyncd, unless the host of this machine sets its clock.",
        )
    return fine(name, "The clock is synchronised.")


def _adjtimex() -> tuple[int, int]:
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    return state, struct.unpack_from("i", buffer, _TIMEX_STATUS)[0]


def node(program: str | None) -> Check:
    """`program`: what the instance runs; None looks for one."""
    name = "Node.js"
    mend = "Install Node.js 20.19 or later, or run `make setup`, which brings one."
    found = program or shutil.which("node")
    if found is None:
        return broken(name, "There is no Node.js for the proxy.", mend)
    try:
        told = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        version = tuple(int(part) for part in told.strip().lstrip("v").split("."))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return broken(name, f"{found} does not run: {error}.", mend)
    if version < OLDEST_NODE:
        return broken(name, f"{found} is version {told.strip()}.", mend)
    return fine(name, f"{told.strip()} runs the proxy.")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
