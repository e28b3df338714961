"""The synthetic twin of a version: made in the worker that takes the table in, kept encrypted beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from strongroom_hub.vault.manifest import FOOTER, SYNTHETIC, Manifest, Table, aad_prefix
from strongroom_hub.vault.partwriter import new_keys, write_part
from strongroom_hub.vault.synthetic import SAMPLE_ROWS, NoTwinError, fresh_twin, seed_of

SAMPLE_BYTES = 64 << 20


class Sample:
    """Rows of a table that passes, each as likely as every other, bounded in number and bytes."""

    def __init__(self) -> None:
        self._held: list[pl.DataFrame] = []
        self._share = 1.0
        self._turn = 0

    def see(self, batch: pl.DataFrame) -> None:
        self._turn += 1
        taken = batch if self._share == 1 else batch.sample(fraction=self._share, seed=self._turn)
        self._held.append(taken)
        while self._rows() > 2 * SAMPLE_ROWS or (self._bytes() > SAMPLE_BYTES and self._rows() > 1):
            self._share /= 2
            self._held = [pl.concat(self._held).sample(fraction=0.5, seed=self._turn)]

    def frame(self) -> pl.DataFrame:
        whole = pl.concat(self._held) if self._held else pl.DataFrame()
        return whole if whole.height <= SAMPLE_ROWS else whole.sample(SAMPLE_ROWS, seed=0)

    def _rows(self) -> int:
        return sum(one.height for one in self._held)

    def _bytes(self) -> int:
        return sum(int(one.estimated_size()) for one in self._held)


class _Parts:
    """The rows of a version that was just written, part by part, as often as they are wanted."""

    def __init__(self, manifest: Manifest, keys: dict[str, bytes], folder: Path) -> None:
        self._manifest, self._keys, self._folder = manifest, keys, folder

    def __iter__(self) -> Iterator[pl.LazyFrame]:
        about = self._manifest
        columns = {name: key for name, key in self._keys.items() if name != FOOTER}
        for part in about.parts:
            decryption = pl.ParquetDecryptionProperties(
                footer_key=self._keys[FOOTER],
                column_keys=columns,
                aad_prefix=aad_prefix(about.dataset, about.version, part.name),
            )
            file = self._folder / part.name
            yield pl.scan_parquet(file, decryption=decryption, glob=False, cache=False)


def add_twin(
    manifest: Manifest, keys: dict[str, bytes], sample: pl.DataFrame, folder: Path, identifying: Collection[str]
) -> tuple[Manifest, dict[str, bytes], dict[str, Any]]:
    """The manifest with a twin, the twin's keys, and what the steward is told: `{"rows": N}` or `{"why": "..."}`.

    A twin that cannot be made never keeps a table from being taken in.
    """
    seed = seed_of(keys[FOOTER], manifest.dataset, manifest.version)
    try:
        twin = fresh_twin(sample, identifying, seed, _Parts(manifest, keys, folder))
    except NoTwinError as error:
        return manifest, {}, {"why": f"There is no synthetic twin: {error}."}
    except Exception as error:  # noqa: BLE001 - whatever it was, the table itself is whole; its words may quote data
        return manifest, {}, {"why": f"There is no synthetic twin: making it ended in {type(error).__name__}."}
    twin_keys = new_keys(twin.columns)
    part = write_part(twin, folder / f"{SYNTHETIC}-00000.parquet", twin_keys, manifest.dataset, manifest.version)
    beside = Table(rows=twin.height, columns=manifest.columns, parts=[part])
    return manifest.model_copy(update={"companions": {SYNTHETIC: beside}}), twin_keys, {"rows": twin.height}
