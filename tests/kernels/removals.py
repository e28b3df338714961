"""What each part of a box is for, as data: take it away, and these attacks of `attacks.py` get through.

The mutation run uses the same table. Parts that stand behind another wall are taken away together with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strongroom_kernels import box as inside
from strongroom_kernels.box import Box
from strongroom_kernels.bubblewrap import Bubblewrap

Change = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Removal:
    """A box of tier bubblewrap without a part of it."""

    name: str
    noticed_by: tuple[str, ...]
    """Attacks that then get through, each of them."""
    still_held: tuple[str, ...] = ()
    """Attacks that another wall holds alone."""
    options: Change = lambda options: options
    """What becomes of bubblewrap's options."""
    filters: bool = True
    landlock: bool = True
    proc: bool = True
    """Whether Landlock grants but a list of /proc."""
    limits: bool = True
    environment: Mapping[str, str] | None = None


class Without(Bubblewrap):
    """Bubblewrap less one removal."""

    def __init__(self, removal: Removal) -> None:
        super().__init__()
        self._removal = removal

    def options(self, box: Box, files: Mapping[str, int], filters: Sequence[int]) -> list[str]:
        return self._removal.options(super().options(box, files, filters))

    def command(self, access: Mapping[str, Any], command: Sequence[str]) -> list[str]:
        read = access["read"] if self._removal.proc else [*access["read"], "/proc"]
        return super().command({**access, "read": read}, command)

    def filters(self) -> tuple[bytes, ...]:
        return super().filters() if self._removal.filters else ()

    def environment(self) -> dict[str, str]:
        return dict(self._removal.environment or super().environment())

    def files(self) -> dict[str, bytes]:
        files = super().files()
        changed = files[inside.LAUNCHER]
        if not self._removal.landlock:
            changed = _replaced(changed, b"    if abi:\n", b"    if False:\n")
        if not self._removal.limits:
            changed = _replaced(changed, b'access["limits"].items()', b"()")
        return {**files, inside.LAUNCHER: changed}


def _replaced(text: bytes, old: bytes, new: bytes) -> bytes:
    assert text.count(old) == 1, "the launcher has changed: mend this table"
    return text.replace(old, new)


def without(*words: str) -> Change:
    """Less a run of words that stand beside each other."""

    def change(options: list[str]) -> list[str]:
        for start in range(len(options)):
            if tuple(options[start : start + len(words)]) == words:
                return options[:start] + options[start + len(words) :]
        raise AssertionError(f"bubblewrap is not given {' '.join(words)}: mend this table")

    return change


def _all(*changes: Change) -> Change:
    def change(options: list[str]) -> list[str]:
        for one in changes:
            options = one(options)
        return options

    return change


def _unmasked(options: list[str]) -> list[str]:
    """All of /proc as Linux shows it."""
    kept: list[str] = []
    words = iter(range(len(options)))
    for n in words:
        if options[n] in ("--ro-bind", "--tmpfs", "--remount-ro", "--ro-bind-data"):
            length = 3 if options[n].startswith("--ro-bind") else 2
            if options[n + length - 1].startswith("/proc/"):
                if options[n] == "--ro-bind-data" and kept[-2:] == ["--perms", "0444"]:
                    del kept[-2:]
                for _ in range(length - 1):
                    next(words)
                continue
        kept.append(options[n])
    return kept


_TMP, _SHM = str(inside.Limits().tmp_bytes), str(inside.Limits().shm_bytes)

_OPEN_PROC = ("smaps of its own", "pagemap of its own", "schedstat of its own", "folder names of the host in mounts")
_NESTED = ("unshare user", "clone user")
_STARTER = "environment of what started the box"
_AMONG_SOCKETS = ("a link among sockets", "a folder among sockets", "a file among sockets")
_ROOT = ("write /", "write /run/", "write beside the work folder")
_NOTEBOOKS = ("write notebooks", "change a notebook")
_CALLS = (
    *("socket tcp", "socket tcp6", "socket vsock stream", "socket netlink route"),
    *("io_uring_setup", "keyctl", "ptrace", "inotify_init1", "userfaultfd", "cachestat"),
    *("few filters", "an attribute on a file"),
)


def _writable(options: list[str]) -> list[str]:
    return [word.replace("--ro-bind", "--bind") if word == "--ro-bind" else word for word in options]


REMOVALS: tuple[Removal, ...] = (
    Removal(
        "process namespace",
        ("see foreign processes",),
        ("read cmdline of the host's process", "kill the host's process"),
        options=without("--unshare-pid"),
    ),
    Removal(
        "process namespace, all of /proc",
        ("read cmdline of the host's process",),
        options=without("--unshare-pid"),
        proc=False,
    ),
    Removal(
        "process namespace, no Landlock", ("kill the host's process",), options=without("--unshare-pid"), landlock=False
    ),
    Removal(
        "network namespace",
        ("the host's network by its number",),
        ("see the host's listening ports", "connect to the host's tcp", "the host's abstract socket"),
        options=without("--unshare-net"),
    ),
    Removal(
        "network namespace, all of /proc",
        ("see the host's listening ports", "see the names of the host's sockets"),
        options=without("--unshare-net"),
        proc=False,
    ),
    Removal(
        "network namespace, no filters, no Landlock",
        ("connect to the host's tcp", "the host's abstract socket"),
        options=without("--unshare-net"),
        filters=False,
        landlock=False,
    ),
    Removal(
        "ipc namespace, all of /proc",
        ("list shared memory of the host",),
        options=without("--unshare-ipc"),
        proc=False,
    ),
    Removal(
        "host name",
        ("see the host's name",),
        options=_all(without("--unshare-uts"), without("--hostname", "strongroom")),
    ),
    Removal(
        "control-group namespace, all of /proc",
        ("see the host's control group",),
        options=without("--unshare-cgroup"),
        proc=False,
    ),
    Removal("no nested namespaces", (), _NESTED, options=without("--disable-userns")),
    Removal("no nested namespaces, no filters", _NESTED, options=without("--disable-userns"), filters=False),
    # Without root bubblewrap drops capabilities unasked: taking the option away alone would change nothing.
    Removal(
        "no capabilities",
        ("hold capabilities", "gain capabilities"),
        options=lambda options: ["--cap-add" if word == "--cap-drop" else word for word in options],
    ),
    Removal(
        "own uid", ("be root inside",), options=lambda options: ["0" if word == "1000" else word for word in options]
    ),
    Removal("read-only root", ("a root that can be written",), _ROOT, options=without("--remount-ro", "/")),
    Removal("read-only root, no Landlock", _ROOT, options=without("--remount-ro", "/"), landlock=False),
    Removal(
        "read-only devices", ("devices that can be written",), ("write /dev/",), options=without("--remount-ro", "/dev")
    ),
    Removal(
        "read-only devices, no Landlock", ("write /dev/",), options=without("--remount-ro", "/dev"), landlock=False
    ),
    Removal("read-only notebooks", ("notebooks that can be written",), _NOTEBOOKS, options=_writable),
    Removal(
        "read-only notebooks, no Landlock",
        (*_NOTEBOOKS, "write beside the ask door", "a socket in place of the data door"),
        options=_writable,
        landlock=False,
    ),
    Removal("size of /tmp", ("a large /tmp",), options=without("--size", _TMP)),
    Removal("size of /dev/shm", ("a large /dev/shm",), options=without("--size", _SHM)),
    Removal("new session", ("the session of what started the box",), options=without("--new-session")),
    Removal(
        "empty environment",
        ("secrets in the environment",),
        (_STARTER,),
        options=without("--clearenv"),
        environment={"HUB_TOKEN": "the-secret-of-another-kernel"},
    ),
    Removal(
        "empty environment of bubblewrap, no Landlock",
        (_STARTER, "the secret in any environment"),
        environment={"HUB_TOKEN": "the-secret-of-another-kernel"},
        landlock=False,
    ),
    Removal(
        "Landlock's list of /proc",
        _OPEN_PROC,
        ("the host's load by vmstat", "names of the host in arguments", _STARTER),
        proc=False,
    ),
    Removal(
        "masks on /proc",
        ("the host's load",),
        ("the host's load by vmstat", "the host's load by interrupts", "the host's load by sys/fs/file-nr"),
        options=_unmasked,
    ),
    Removal(
        "masks on /proc, all of /proc",
        ("the host's load by vmstat", "the host's load by interrupts", "the host's load by sys/fs/file-nr"),
        options=_unmasked,
        proc=False,
    ),
    Removal("filters", _CALLS, (*_NESTED, "a pipe in the work folder"), filters=False),
    Removal("filters, no Landlock", ("a pipe in the work folder",), filters=False, landlock=False),
    Removal(
        "Landlock",
        (
            *_AMONG_SOCKETS,
            *_OPEN_PROC,
            "a program from the work folder",
            "a program from temporary files",
            "a socket in the work folder",
        ),
        (*_NOTEBOOKS, *_ROOT, "write /dev/", _STARTER, "a pipe in the work folder", "the host's abstract socket"),
        landlock=False,
    ),
    Removal("limits", ("no limit NOFILE", "no limit FSIZE", "no limit CORE"), limits=False),
)
