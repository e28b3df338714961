"""What one kernel's box may see, as data: folders of the host and where they appear inside.

The one rule above all: no mount point lies below anything that a kernel can write. A symlink planted there would
make the next start create files on the host (bubblewrap before 0.12, GHSA-pxhw-h44j-8pfx).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

TIERS = ("launcher", "bubblewrap", "gvisor")
"""The ways to build boxes, weakest first."""

HOME = "/box"
WORK = "/box/work"
NOTEBOOKS = "/box/notebooks"
PREFIX = "/opt/strongroom/kernel"
LAUNCHER = "/opt/strongroom/launcher.py"
SITE = "/opt/strongroom/site/sitecustomize.py"
CONNECTION_FILE = "/run/strongroom/connection.json"
ASK = "/run/strongroom/server"
DATA = "/run/strongroom/vault"
SOCKETS = "/run/k"

WRITABLE = (WORK, SOCKETS, "/tmp", "/dev/shm")  # noqa: S108 - names inside the box
"""Every place that a kernel can write. Nothing may be mounted below one of these."""

_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/etc/fonts", "/etc/alternatives")
_THREAD_BYTES = 32 * 1024 * 1024 * (os.cpu_count() or 1)
"""Stacks of libraries' thread pools, which count as a process's data though nothing is in them."""
PROC_FILES = ("cpuinfo", "filesystems", "meminfo", "version", "sys/kernel/osrelease", "sys/vm/overcommit_memory")
"""What libraries read of /proc that is not about a process."""
CONSTANT_PROC_FILES = ("loadavg", "stat", "uptime")
"""Further ones, where the box has its own that never change."""
OWN_PROC_FILES = tuple(
    f"/proc/self/{name}" for name in ("cmdline", "comm", "limits", "maps", "stat", "statm", "status")
)
"""Of the kernel's own process. Never smaps, pagemap and numa_maps (who else maps a page of a shared library), schedstat
(how busy the machine is) and mountinfo (names of the host)."""
OWN_CGROUP = "/proc/self/cgroup"
"""The kernel's own as well, where a cgroup namespace makes it say `/`: DuckDB does not start without it."""
DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty"))


class BoxError(Exception):
    """A box that cannot be built or does not hold, in words for people: what, why, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one box may use at most: bytes and counts."""

    open_files: int = 4096
    file_bytes: int = 2 << 30
    locked_bytes: int = 8 << 20
    processes: int = 512
    tmp_bytes: int = 256 << 20
    shm_bytes: int = 64 << 20
    memory_bytes: int | None = None
    """What programs are told that there is, and the bound of each process; None: neither."""
    memory_held: bool = False
    """Whether a control group holds all processes together, so that none needs a bound of its own."""

    def of_processes(self) -> dict[str, int]:
        """The resource limits of each process, by the names of `setrlimit`."""
        memory = None if self.memory_held else self.memory_bytes
        return {
            "NOFILE": self.open_files,
            "FSIZE": self.file_bytes,
            "MEMLOCK": self.locked_bytes,
            "NPROC": self.processes,
            "MSGQUEUE": 0,
            "RTPRIO": 0,
            "NICE": 0,
            "CORE": 1,  # 0 would not stop a core_pattern that pipes to a program of the host
            **({} if memory is None else {"DATA": memory + _THREAD_BYTES}),
        }

    @classmethod
    def of(cls, profile: Mapping[str, Any]) -> Limits:
        """From a PROFILE (docs/developers/wire-formats.md, 9). Raises BoxError where a figure is no count."""
        names = ("open_files", "file_bytes", "processes", "tmp_bytes", "shm_bytes", "memory_bytes")
        for name in names:
            value = profile.get(name)
            if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
                raise BoxError(
                    f"No kernel can start: the profile of this server says {name} = {value!r}, which is no count above "
                    "0. Mend it in policy/profiles.toml and start the server again."
                )
        return cls(**{name: profile[name] for name in names})


@dataclass(frozen=True, slots=True)
class Mount:
    """One folder or file of the host at one place inside."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """Where this single-user server keeps what its kernels see. Set by the spawner, never by a client."""

    run_dir: Path
    """Short folder of this server for sockets; best on a tmpfs mounted `nosymfollow`."""
    work: Path
    notebooks: Path
    prefix: Path
    """The kernel's virtual environment."""
    data_socket: Path
    _: KW_ONLY
    tier: str = "bubblewrap"
    """Which sandbox the profile asks for: one of `TIERS`."""
    limits: Limits = Limits()
    system: Path | None = None
    """Folder of private read-only overlays (`usr`, `prefix`) that are shown instead of the host's own folders."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Places:
        """Read STRONGROOM_RUN_DIR, _WORK, _NOTEBOOKS, _KERNEL_PREFIX, _DATA_SOCKET; BoxError names what is missing.

        Optional: STRONGROOM_PROFILE (PROFILE as JSON) and STRONGROOM_SYSTEM.
        """
        found = os.environ if environment is None else environment
        names = ("RUN_DIR", "WORK", "NOTEBOOKS", "KERNEL_PREFIX", "DATA_SOCKET")
        missing = [f"STRONGROOM_{name}" for name in names if not found.get(f"STRONGROOM_{name}")]
        if missing:
            raise BoxError(
                f"No kernel can start: this server was not told where its folders are ({', '.join(missing)} not set). "
                "The hub's spawner sets these; start the server through the hub."
            )
        tier, limits = _profile(found.get("STRONGROOM_PROFILE"))
        return cls(
            *(Path(found[f"STRONGROOM_{name}"]) for name in names),
            tier=tier,
            limits=limits,
            system=Path(system) if (system := found.get("STRONGROOM_SYSTEM")) else None,
        )

    def box(self, ask: Path, sockets: Path) -> Box:
        """The box of one kernel of this server: `ask` and `sockets` are the folders of its own."""
        return Box(
            work=self.work,
            notebooks=self.notebooks,
            prefix=self.prefix,
            ask=ask,
            data=self.data_socket.parent,
            sockets=sockets,
            limits=self.limits,
            system=self.system,
            tier=self.tier,
        )


def _profile(text: str | None) -> tuple[str, Limits]:
    """Tier and limits of a PROFILE; without one the defaults. Raises BoxError."""
    if not text:
        return "bubblewrap", Limits()
    try:
        profile = json.loads(text)
        return str(profile["sandbox"]), Limits.of(profile)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BoxError(
            "No kernel can start: the hub told this server a profile that it does not understand. Update hub and "
            "server together, then start the server again."
        ) from error


@dataclass(frozen=True, slots=True)
class Box:
    """What one kernel sees. All paths are the host's."""

    work: Path
    notebooks: Path
    prefix: Path
    ask: Path
    """Folder of this kernel's ask socket, and of nothing else."""
    data: Path
    """Folder of the vault's data socket: a folder, so that a restarted vault is reachable."""
    sockets: Path
    """Folder of this kernel's own ZeroMQ sockets, and of nothing else."""
    limits: Limits = Limits()
    system: Path | None = None
    """Private read-only overlays, as `Places.system`."""
    extra: tuple[Mount, ...] = ()
    """Further read-only folders."""
    tier: str = "bubblewrap"
    """The weakest tier that may build this box."""

    def mounts(self) -> tuple[Mount, ...]:
        """All binds in order; raises BoxError where a folder is missing, unreadable or in a forbidden place."""
        folders = (
            Mount(self.notebooks, NOTEBOOKS),
            Mount(self._shared("prefix", self.prefix), PREFIX),
            Mount(self.ask, ASK),
            Mount(self.data, DATA),
            *self.extra,
            Mount(self.work, WORK, writable=True),
            Mount(self.sockets, SOCKETS, writable=True),
        )
        for mount in folders:
            if not os.access(mount.source, os.R_OK | os.X_OK) or not mount.source.is_dir():
                raise BoxError(
                    f"No kernel can start: the folder {mount.source} (seen by kernels as {mount.target}) does not "
                    "exist or this server's user may not enter it. Create it or mend its owner and mode."
                )
        system = tuple(
            Mount(self._shared(name.lstrip("/"), Path(name)), name)
            for name in ("/usr", *real_system_folders(), *SYSTEM_FILES)
            if os.access(name, os.R_OK)
        )
        bases = tuple(
            Mount(self._shared(str(base).lstrip("/"), base), str(base)) for base in base_prefixes(self.prefix)
        )
        mounts = (*system, *bases, *folders)
        refuse_mounts_below_writable(mount.target for mount in mounts)
        return mounts

    def devices(self) -> tuple[Mount, ...]:
        """Device nodes of this box's own, in place of the host's: locks on those would be seen in every box."""
        own = tuple(Mount(self._shared(name.lstrip("/"), Path(name)), name) for name in DEVICES)
        return tuple(mount for mount in own if str(mount.source) != mount.target)

    def _shared(self, name: str, host: Path) -> Path:
        """This box's own overlay of a folder that all boxes show, or the host's folder where there is none.

        An overlay has inodes of its own, so locks on its files carry nothing to other boxes.
        """
        overlay = self.system / name if self.system is not None else host
        return overlay if overlay.exists() else host

    def access(self) -> dict[str, Any]:
        """What Landlock and rlimits grant inside, for the launcher: lists of paths by right, and limits."""
        return {
            "execute": ["/usr", *real_system_folders(), PREFIX, *map(str, base_prefixes(self.prefix))],
            "read": ["/etc", "/opt/strongroom", HOME, *_readable_of_proc(), *(m.target for m in self.extra)],
            "list": ["/proc"],
            "own": [*OWN_PROC_FILES, OWN_CGROUP],
            "files": ["/run/strongroom"],
            "write": [WORK],
            "scratch": ["/tmp", "/dev/shm"],  # noqa: S108 - names inside the box
            "sockets": [SOCKETS],
            "devices": list(DEVICES),
            "limits": self.limits.of_processes(),
        }


def _readable_of_proc() -> list[str]:
    names = (*PROC_FILES, *CONSTANT_PROC_FILES)
    return [path for path in (f"/proc/{name}" for name in names) if os.path.exists(path)]  # noqa: PTH110


ENVIRONMENT: Mapping[str, str] = {
    "PATH": f"{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin",
    "HOME": HOME,
    "PYTHONPATH": str(PurePosixPath(SITE).parent),
    "USER": "analyst",
    "LOGNAME": "analyst",
    "LANG": "C.UTF-8",
    "TERM": "xterm-color",
    "TMPDIR": "/tmp",  # noqa: S108 - the box's own tmpfs, as below
    "MPLCONFIGDIR": "/tmp/.matplotlib",  # noqa: S108
    "PLOTLY_RENDERER": "plotly_mimetype",  # data, which pages draw; its other form is a script, which no page runs
    "IPYTHONDIR": "/tmp/.ipython",  # noqa: S108
    "JUPYTER_CONFIG_DIR": "/tmp/.jupyter",  # noqa: S108
    "JUPYTER_DATA_DIR": "/tmp/.jupyter",  # noqa: S108
    "JUPYTER_RUNTIME_DIR": "/tmp/.jupyter/runtime",  # noqa: S108
    "XDG_CACHE_HOME": "/tmp/.cache",  # noqa: S108
    "XDG_CONFIG_HOME": "/tmp/.config",  # noqa: S108
    "XDG_DATA_HOME": "/tmp/.local/share",  # noqa: S108
    "XDG_STATE_HOME": "/tmp/.local/state",  # noqa: S108
    "XDG_RUNTIME_DIR": "/tmp",  # noqa: S108
}
"""All that a kernel finds in its environment."""


def system_links() -> tuple[tuple[str, str], ...]:
    """(target, path) of the symlinks /bin, /lib ... where this host has merged them into /usr."""
    return tuple(
        (str(Path(f"/{name}").readlink()), f"/{name}") for name in _SYSTEM_FOLDERS if Path(f"/{name}").is_symlink()
    )


def real_system_folders() -> tuple[str, ...]:
    return tuple(
        f"/{name}" for name in _SYSTEM_FOLDERS if Path(f"/{name}").is_dir() and not Path(f"/{name}").is_symlink()
    )


def base_prefixes(prefix: Path) -> tuple[Path, ...]:
    """Folders outside /usr that hold the Python a virtual environment was made from (as spelled and as resolved).

    Raises BoxError where there is no Python or this user may not read it.
    """
    link = prefix / "bin" / "python"
    for _ in range(40):  # as many links as Linux itself follows
        if not link.is_symlink():
            break
        link = Path(os.path.normpath(link.parent / link.readlink()))
        if not link.is_relative_to(prefix):
            break
    if not os.access(link, os.R_OK | os.X_OK):
        raise BoxError(
            f"No kernel can start: {prefix}/bin/python needs {link}, which does not exist or which this server's user "
            "may not read (a Python below a private home folder, for example). Build the kernel environment from the "
            "system's Python or from one in a folder that everybody may enter."
        )
    spelled, resolved = link.parent.parent, Path(os.path.realpath(link)).parent.parent
    outside = {
        base: None
        for base in (spelled, resolved)
        if not base.is_relative_to("/usr") and not base.is_relative_to(prefix)
    }
    for base in outside:
        if len(base.parts) < 3:  # noqa: PLR2004 - "/" and "/opt" would show half the host
            raise BoxError(
                f"No kernel can start: the kernel's Python lies directly in {base}, and showing that folder to kernels "
                "would show them too much. Use a Python with a folder of its own."
            )
    return tuple(outside)


def refuse_mounts_below_writable(targets: Any) -> None:
    """Raise BoxError when a mount point lies below a place that a kernel can write. `targets`: paths inside."""
    for target in map(PurePosixPath, targets):
        for writable in WRITABLE:
            if target != PurePosixPath(writable) and target.is_relative_to(writable):
                raise BoxError(
                    f"No kernel can start: {target} would be mounted below {writable}, which kernels can write; a "
                    "planted link there could reach the host. Move it elsewhere on the host."
                )
