"""From a format's name to the table in a file."""

from __future__ import annotations

from typing import Any, BinaryIO, Literal

from strongroom_hub.vault.csvtypes import Forms
from strongroom_hub.vault.formats import columnar
from strongroom_hub.vault.formats.delimited import DelimitedTable, Dialect
from strongroom_hub.vault.formats.table import Table

Format = Literal["csv", "parquet", "arrow", "excel", "sas", "xport", "stata", "spss"]


def open_table(stream: BinaryIO, file_format: Format, reading: dict[str, Any], declared: dict[str, str]) -> Table:
    """`reading` as `catalog.schema.Reading`, `declared` types by column. Raises Problem (422)."""
    missing = tuple(reading.get("missing", ()))
    if file_format == "csv":
        forms = Forms(reading.get("decimal", "."), reading.get("dates"))
        dialect = Dialect(reading.get("encoding", "utf-8"), reading.get("separator"), forms, missing)
        return DelimitedTable(stream, dialect, declared)
    if file_format == "parquet":
        return columnar.parquet(stream)
    if file_format == "arrow":
        return columnar.arrow(stream)
    # these two bring libraries along that no other format needs
    if file_format == "excel":
        from strongroom_hub.vault.formats.excel import ExcelTable  # noqa: PLC0415

        return ExcelTable(stream, reading.get("sheet"), declared, missing)
    from strongroom_hub.vault.formats.statistics import StatisticsTable  # noqa: PLC0415

    return StatisticsTable(stream, file_format)
