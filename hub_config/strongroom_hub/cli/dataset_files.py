"""`strongroom dataset add-files`: bring models, images, documents or texts in."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Annotated

import typer

from strongroom_hub.cli.common import InstanceOption, fail, load_instance


def add_files(
    files: Annotated[list[Path], typer.Argument(help="Files that are no tables, in any format.")],
    name: Annotated[str, typer.Option(help="The dataset: namespace/name.")],
    label: Annotated[str, typer.Option(help="public, internal, confidential or secret.")],
    metadata: Annotated[Path | None, typer.Option(help="TOML, as for `dataset add`; columns are the files.")] = None,
    instance: InstanceOption = None,
) -> None:
    """Take files in as a new version of a dataset; each is granted, tagged and read by its own name."""
    # The command line starts without what only bringing data in needs.
    from strongroom_hub.cli.metadata import describe  # noqa: PLC0415
    from strongroom_hub.demo_data import intake  # noqa: PLC0415

    place = load_instance(instance)
    body = {"name": name, "label": label, **describe(name, metadata)}
    if len({file.name for file in files}) != len(files):
        fail("two of these files have the same name; within a dataset each is known by its name alone")
    # in memory: a copy in a temporary folder would be plaintext that stays on a disk
    with os.fdopen(os.memfd_create("strongroom-files"), "w+b") as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for file in files:
                _add(tar, file)
        archive.seek(0)
        dataset, version = intake.add(place, body, archive, "files")
    typer.echo(f"{dataset} version {version} is there with {len(files)} file(s), labelled {label}")


def _add(tar: tarfile.TarFile, file: Path) -> None:
    try:
        with file.open("rb") as content:
            member = tarfile.TarInfo(file.name)
            member.size = os.fstat(content.fileno()).st_size
            tar.addfile(member, content)
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
