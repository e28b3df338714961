"""Files that are no tables: taken in from a tar archive, sealed one by one, opened again into memory files.

An archive is somebody else's file, so it is read in a worker; nothing of it is ever unpacked by name.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from pathlib import Path
from typing import BinaryIO

from strongroom_hub.problems import Problem
from strongroom_hub.vault import memfd, stream
from strongroom_hub.vault.keys import Keys, new_key
from strongroom_hub.vault.manifest import FILE_NAME, FILES, FORMAT, File, Manifest, aad_prefix
from strongroom_hub.vault.parts import damaged, open_sealed
from strongroom_hub.vault.store import Published
from strongroom_hub.vault.tickets import View

MAX_FILES = 1000
"""Files of one version."""


def seal_files(
    archive: BinaryIO, folder: Path, dataset: str, version: int, label: str
) -> tuple[Manifest, dict[str, bytes]]:
    """Every file of the archive sealed in `folder`, the manifest, and a key for each. Raises Problem (422), OSError."""
    files: list[File] = []
    keys: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=archive, mode="r:") as members:
            for member in members:
                content = _content(members, member, set(keys))
                keys[member.name] = new_key()
                stored = f"file-{len(files):05d}.sealed"
                place = aad_prefix(dataset, version, stored)
                files.append(_seal(content, folder / stored, member.name, keys[member.name], place))
    except tarfile.TarError as error:
        raise _bad(f"The archive cannot be read ({type(error).__name__}).") from error
    if not files:
        raise _bad("The archive holds no files.")
    manifest = Manifest(format=FORMAT, dataset=dataset, version=version, kind=FILES, label=label, files=files)
    return manifest, keys


def _content(members: tarfile.TarFile, member: tarfile.TarInfo, taken: set[str]) -> BinaryIO:
    if not re.fullmatch(FILE_NAME, member.name):
        raise _bad("A file's name is not made of letters, digits, blanks and . _ + - ( ), or is longer than 120.")
    if not member.isreg() or member.issparse():
        raise _bad(f"{member.name!r} is not an ordinary file.")
    if member.name in taken:
        raise _bad(f"Two files are named {member.name!r}.")
    if len(taken) >= MAX_FILES:
        raise _bad(f"There are more than {MAX_FILES} files.")
    content = members.extractfile(member)
    assert content is not None  # noqa: S101 - it is a regular file
    return content  # type: ignore[return-value] # a buffered reader


def _seal(content: BinaryIO, target: Path, name: str, key: bytes, place: bytes) -> File:
    with target.open("x+b") as sealed:
        length = stream.seal(content, sealed, key, place)
        sealed.flush()
        os.fsync(sealed.fileno())
        sealed.seek(0)
        digest = hashlib.file_digest(sealed, "sha256").hexdigest()
        size = sealed.tell()
    return File(name=name, stored=target.name, sha256=digest, bytes=size, length=length)


def check_files_view(view: View, manifest: Manifest) -> None:
    """A view of files names one of them, in clear. Raises Problem: a mask or a row filter has no meaning here."""
    if len(view.columns) != 1 or view.masks or view.rows is not None:
        raise Problem(
            422,
            "bad-view",
            "Files are read one by one, and whole",
            f"{manifest.dataset} version {manifest.version} holds files; a mask or several at once cannot be read.",
            why=("a file is handed out as it is, or not at all",),
            next='Open the dataset, then one of its files: strongroom.open("namespace/name").file("name").',
        )


def unseal(published: Published, view: View, keys: Keys, max_bytes: int) -> int:
    """A new memory file with the one file that the view names; the caller seals and closes it.

    Raises Problem: too large, or not what was signed.
    """
    about = published.manifest
    file = about.file(view.columns[0])
    if file.length > max_bytes:
        raise Problem(
            413,
            "view-too-large",
            "The file is larger than allowed",
            f"It has {file.length} bytes; {max_bytes} may go into one kernel.",
            why=("the ticket's max_bytes, and what this kernel and all together may hold",),
            next="Let go of other opened data (del the variables, or restart the kernel), and try again.",
        )
    target = memfd.create("strongroom-file")
    try:
        source = open_sealed(published.folder, about.dataset, about.version, file)
        try:
            key = published.unwrap_file(file.name, keys)
            place = aad_prefix(about.dataset, about.version, file.stored)
            sealed = stream.Sealed(source, key, place)
            if sealed.length != file.length:
                raise stream.NotSealedError("it has another length than the manifest says")  # noqa: TRY301 - as below
            for piece in sealed:
                memfd.write(target, piece)
        except stream.NotSealedError as error:
            raise damaged(about.dataset, about.version, file.stored, str(error)) from error
        finally:
            os.close(source)
    except BaseException:
        os.close(target)
        raise
    return target


def _bad(detail: str) -> Problem:
    return Problem(
        422,
        "bad-file",
        "The files were not taken in",
        detail,
        next="Correct it and add them again; nothing was kept.",
    )
