"""Tables beside a folder of images: CSV, JSON Lines or Parquet, any column names, one row a file."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
# our column -> what it is called in tables when the config does not say
NAMES: dict[str, tuple[str, ...]] = {
    "file": ("file", "file_name", "filename", "path"),
    "sha256": ("sha256",),
    "licence": ("licence", "license"),
    "holder_id": ("holder_id", "author"),
    "source_url": ("source_url",),
    "attribution": ("attribution",),
    "key": ("key",),
    "depicts": ("depicts",),
    "derived_from": ("derived_from",),
    "collected_at": ("collected_at",),
    "label": ("label",),
}
Fields = dict[str, str]  # our column -> cell


@dataclass(frozen=True)
class Row:
    """One row of a table, in our columns."""

    number: int  # 1 for the first row below the header
    fields: Fields


def constants(dataset: DatasetSettings) -> Fields:
    """The columns that the config gives to every file. Raises ImprimaturError for a column that we do not know."""
    _check_names(dataset, "values", dataset.values)
    both = sorted(dataset.values.keys() & dataset.columns.keys())
    if both:
        raise ImprimaturError(
            f"dataset {dataset.name!r}: both columns and values give {', '.join(both)}", "keep one of the two"
        )
    return dict(dataset.values)


def read_rows(path: Path, dataset: DatasetSettings) -> list[Row]:
    """All rows in our columns; cells are stripped strings. Raises ImprimaturError that names file, row and column."""
    try:
        header, rows = _raw(path)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise ImprimaturError(f"{path}: cannot be read as a table ({error})", "save it as UTF-8 CSV") from None
    mapping = _mapping(path, dataset, header)
    return [
        Row(number, {ours: _text(row.get(theirs)) for ours, theirs in mapping.items()})
        for number, row in enumerate(rows, 1)
    ]


def _mapping(path: Path, dataset: DatasetSettings, header: list[str]) -> Fields:
    _check_names(dataset, "columns", dataset.columns)
    for ours, theirs in dataset.columns.items():
        if theirs not in header:
            raise ImprimaturError(
                f"{path}: has no column {theirs!r} (dataset {dataset.name!r}, columns.{ours})",
                f"its columns are: {', '.join(header)}",
            )
    mapping = dict(dataset.columns)
    for ours, names in NAMES.items():
        known = [name for name in names if name in header]
        if ours not in mapping and ours not in dataset.values and known:
            mapping[ours] = known[0]
    if "file" not in mapping:
        raise ImprimaturError(
            f"{path}: no column names the files", f"set columns.file to one of: {', '.join(header)}"
        )
    return mapping


def _check_names(dataset: DatasetSettings, block: str, given: Mapping[str, str]) -> None:
    unknown = sorted(set(given) - set(NAMES))
    if unknown:
        raise ImprimaturError(
            f"dataset {dataset.name!r}: {block} has unknown column {', '.join(unknown)}",
            f"known columns: {', '.join(NAMES)}",
        )


def _raw(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return table.column_names, table.to_pylist()
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".jsonl":
        rows = list(_json_lines(path, text))
        return list(dict.fromkeys(name for row in rows for name in row)), rows
    return _separated(path, text)


def _json_lines(path: Path, text: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ImprimaturError(f"{path}, line {number}: not JSON ({error})", "mend the line") from None
        if not isinstance(row, dict):
            raise ImprimaturError(f"{path}, line {number}: not a JSON object", "write one object a line")
        yield row


def _separated(path: Path, text: str) -> tuple[list[str], list[dict[str, Any]]]:
    """CSV with commas, semicolons or tabs, whichever the header line has most of."""
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header = [name.strip() for name in next(reader, [])]
    if not any(header) or len(set(header)) < len(header):
        raise ImprimaturError(f"{path}: its first line must name each column once", "add or mend the header line")
    rows = []
    for cells in reader:
        if not any(cells):
            continue
        if len(cells) != len(header):  # cells that slipped would give a file another file's licence
            raise ImprimaturError(
                f"{path}, line {reader.line_num}: {len(cells)} cells under {len(header)} columns",
                "quote cells that hold the separator",
            )
        rows.append(dict(zip(header, cells, strict=True)))
    return header, rows


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN is how tables of numbers say nothing
        return ""
    if isinstance(value, list | tuple):
        return "|".join(_text(item) for item in value)
    return str(value).strip().encode(errors="replace").decode()  # JSON can spell half of a surrogate pair
