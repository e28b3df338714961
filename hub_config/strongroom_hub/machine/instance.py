"""What an instance stands on: its disk, the owners and modes of its folders, its certificate, the packages it runs."""

from __future__ import annotations

import os
import re
import stat
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from cryptography import x509
from packaging.requirements import Requirement

import strongroom_hub
from strongroom_hub import setup, tls
from strongroom_hub.config import Instance
from strongroom_hub.machine.check import Check, broken, fine, weaker
from strongroom_hub.machine.linux import is_encrypted
from strongroom_hub.problems import Problem
from strongroom_hub.vault.holding import strays
from strongroom_hub.vault.keyfiles import CREDENTIALS_VARIABLE
from strongroom_hub.vault.objects import s3
from strongroom_hub.vault.places import Places
from strongroom_hub.vault.settings import VaultSettings

DISTRIBUTION = "jupyter-strongroom"
LOW_BYTES, TOO_LOW_BYTES, LOW_SHARE = 5 << 30, 512 << 20, 0.05
RENEW_BEFORE = timedelta(days=21)
NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "fuse",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "gpfs",
    "beegfs",
    "vboxsf",
    "virtiofs",
)
"""File systems (by the start of their names) whose locks SQLite cannot rely on."""
_OCTAL = re.compile(r"\\([0-7]{3})")


def checks(place: Instance) -> list[Check]:
    """All that is about this instance; reads only."""
    return [
        uids(place),
        *ownership(place),
        space(place.data),
        inodes(place.data),
        encryption(place.data),
        file_system(place),
        certificate(place),
        *object_store(place),
    ]


def uids(place: Instance) -> Check:
    name = "separate uids"
    if place.uids is None:
        return weaker(name, " ".join(setup.separation(place)[:-1]), setup.separation(place)[-1])
    return fine(name, "Control, vault, proxy and each workspace run under uids of their own.")


@dataclass(frozen=True, slots=True)
class _Rule:
    path: Path
    forbidden: int
    """Mode bits that must not be set."""
    owner: int | None


def _rules(place: Instance) -> list[_Rule]:
    own = place.path.stat().st_uid
    control, vault, proxy = (
        (own, own, own) if place.uids is None else (place.uids.control, place.uids.vault, place.uids.proxy)
    )
    secret = [(file, own) for file in (place.hub_token_file, place.operator_token_file, place.metrics_token_file)]
    secret += [(file, own) for file in (place.tls_dir / tls.CA_KEY_FILE,) if file.exists()]
    secret += [
        (place.tls_dir / tls.KEY_FILE, proxy),
        *((file, control) for file in (place.database, place.database_password) if file is not None and file.exists()),
    ]
    closed = [(place.hub_dir, own), (place.logs_dir, own), (place.control_dir, control), (place.vault_dir, vault)]
    closed += [(place.control_dir / "keys", control), (place.vault_dir / "keys", vault)]
    open_ones = [place.data, place.policy_dir, place.public_dir, place.tls_dir, place.projects_dir]
    return [
        *(_Rule(path, 0o077, owner) for path, owner in (*secret, *closed)),
        # Others may look, nobody but the hub may write: who can change the policy decides everything.
        *(_Rule(path, 0o022, own) for path in (*open_ones, *sorted(place.policy_dir.glob("*")))),
    ]


def ownership(place: Instance) -> list[Check]:
    """Owners and modes of what must be closed, and of what only the hub may change."""
    name = "owners and modes"
    wrong: list[str] = []
    try:
        for rule in _rules(place):
            found = rule.path.lstat()
            mode = stat.S_IMODE(found.st_mode)
            if stat.S_ISLNK(found.st_mode):
                wrong.append(f"{rule.path} is a link")
            elif mode & rule.forbidden:
                wrong.append(f"{rule.path} has mode {mode:04o} (chmod {mode & ~rule.forbidden:04o})")
            elif rule.owner is not None and found.st_uid != rule.owner:
                wrong.append(f"{rule.path} belongs to uid {found.st_uid} (chown {rule.owner}:{rule.owner})")
    except PermissionError as error:
        return [
            weaker(name, f"{error.filename} cannot be looked at by this user.", "Run it as the user that runs the hub.")
        ]
    except FileNotFoundError as error:
        return [
            broken(
                name,
                f"{error.filename} is missing.",
                "Run the set-up again: it makes what is missing and replaces no key.",
            )
        ]
    if wrong:
        return [
            broken(name, "; ".join(wrong)[:900] + ".", "Set them as said in brackets, and find out who changed them.")
        ]
    return [
        fine(name, "Keys, tokens, log and data are closed to all but their parts; only the hub can change the rules.")
    ]


def space(folder: Path) -> Check:
    """Without room no entry can be written, and then nothing is allowed."""
    name = "free disk"
    found = os.statvfs(folder)
    free, whole = found.f_bavail * found.f_frsize, max(1, found.f_blocks * found.f_frsize)
    text = f"{free / (1 << 30):.1f} GiB of {whole / (1 << 30):.1f} GiB are free below {folder}."
    mend = (
        "Make room, or move the data folder to a larger disk: without room nothing is recorded, so nothing is allowed."
    )
    if free < TOO_LOW_BYTES:
        return broken(name, text, mend)
    if free < LOW_BYTES or free / whole < LOW_SHARE:
        return weaker(name, text, mend)
    return fine(name, text)


def inodes(folder: Path) -> Check:
    name = "free inodes"
    found = os.statvfs(folder)
    if not found.f_files:
        return fine(name, "This file system makes inodes as it needs them.")
    share = found.f_favail / found.f_files
    text = f"{found.f_favail:,} of {found.f_files:,} are free below {folder}."
    if share < LOW_SHARE:
        return weaker(name, text, "Remove many small files, or make a file system with more inodes (mkfs.ext4 -N).")
    return fine(name, text)


def encryption(folder: Path, sys_: Path = Path("/sys")) -> Check:
    """A hint only: a disk that its host encrypts looks like any other from here."""
    name = "disk encryption"
    device = folder.stat().st_dev
    block = sys_ / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    if block.exists() and is_encrypted(block):
        return fine(name, f"{folder} lies on an encrypted device (dm-crypt).")
    return weaker(
        name,
        "No encryption is visible below the data folder. Datasets are encrypted in any case, but work folders, "
        "notebooks and the keys lie on that disk in plain.",
        "Use a LUKS volume for the data folder, unless the disk is encrypted below this machine, as cloud volumes are.",
    )


def file_system(place: Instance) -> Check:
    name = "database and log"
    kind = kind_of(place.control_dir, Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"))
    if kind.startswith(NETWORK):
        return broken(
            name,
            f"{place.control_dir} lies on {kind}, a network file system: SQLite's locks do not hold there and entries "
            "that were acknowledged can be lost.",
            "Move the data folder to a local disk.",
        )
    return fine(name, f"They lie on a local file system ({kind}).")


def kind_of(folder: Path, mountinfo: str) -> str:
    """The type of the file system that holds `folder`, by the text of /proc/self/mountinfo; `unknown` if none does."""
    real = Path(os.path.realpath(folder))
    best, kind = -1, "unknown"
    for line in mountinfo.splitlines():
        mounted, _, rest = line.partition(" - ")
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), mounted.split(" ")[4]))
        # The last of several at one place is the one that is seen.
        if real.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), rest.split(" ")[0]
    return kind


def certificate(place: Instance) -> Check:
    name = "TLS certificate"
    file = place.tls_dir / tls.CERTIFICATE_FILE
    mend = f"Put a new {tls.CERTIFICATE_FILE} and {tls.KEY_FILE} into {place.tls_dir} and restart the hub."
    try:
        expires = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        return broken(name, f"{file} cannot be used: {error}.", mend)
    left = expires - datetime.now(UTC)
    text = f"It is valid until {expires:%Y-%m-%d}."
    if left <= timedelta():
        return broken(name, f"It has expired on {expires:%Y-%m-%d}: browsers refuse the hub.", mend)
    return weaker(name, text, mend) if left < RENEW_BEFORE else fine(name, text)


def packages() -> list[Check]:
    """Python, and whether the packages of this environment are those that this release was made for."""
    version = ".".join(map(str, sys.version_info[:3]))
    found = [fine("Python", f"Python {version} runs this command.")]
    try:
        wanted = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:
        return [*found, broken("packages", f"{DISTRIBUTION} is not installed here.", "Run `make setup`.")]
    wrong = [
        f"{one.name} {_version(one.name) or 'is missing'} (needs {one.specifier})"
        for one in wanted
        if one.marker is not None and one.marker.evaluate({"extra": "hub"}) and not _satisfied(one)
    ]
    if wrong:
        return [*found, broken("packages", "; ".join(wrong) + ".", "Run `make setup`, or install this release again.")]
    tested = _constraints()
    other = [
        f"{name} {have} (tested: {pin})" for name, pin in tested.items() if (have := _version(name)) not in {None, pin}
    ]
    if other:
        return [
            *found,
            weaker("packages", f"Other versions than tested: {'; '.join(other)}"[:900] + ".", "Run `make setup`."),
        ]
    return [*found, fine("packages", "The packages are those that this release asks for.")]


def _satisfied(wanted: Requirement) -> bool:
    have = _version(wanted.name)
    return have is not None and wanted.specifier.contains(have, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _constraints() -> dict[str, str]:
    """The pinned versions, where this runs from a checkout; a wheel carries none."""
    file = Path(strongroom_hub.__file__).parents[2] / "constraints" / "trusted.txt"
    if not file.is_file():
        return {}
    lines = (line.partition("==") for line in file.read_text(encoding="utf-8").splitlines())
    return {name.strip(): pin.strip() for name, equals, pin in lines if equals}


def object_store(place: Instance) -> list[Check]:
    """Where encrypted parts lie in one: whether it answers, and whether it holds what no version names."""
    name, store = "object store", Places.of(place).store
    try:
        at = VaultSettings.load(place).store.s3
        if at is None:
            return []
        if at.credentials.startswith("credential:") and CREDENTIALS_VARIABLE not in os.environ:
            return [weaker(name, "It was not asked: the vault's unit alone is given the credentials.", "See its log.")]
        if not os.access(store, os.R_OK | os.X_OK):
            return [weaker(name, f"{store} cannot be looked at by this user.", "Run it as the user that runs the hub.")]
        left = strays(s3(at), store)
    except Problem as problem:
        return [broken(name, " ".join([problem.detail, *(f"({why})" for why in problem.why)]), problem.next)]
    if left:
        return [
            weaker(
                name,
                f"It answers; {len(left)} objects there belong to no version that this vault knows ({left[0]} ...).",
                "They are never read. Remove them by hand if no other instance and no backup has them "
                "(docs/operators/object-store.md).",
            )
        ]
    return [fine(name, "It answers, and every object there belongs to a version that this vault knows.")]
