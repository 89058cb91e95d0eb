"""Tables of facts about files: CSV, JSON Lines or Parquet, any column names, one row a file, read as a stream."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings
from pipeline.ingest.entries import Fields

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes")
# our column -> what it is called in tables when the config does not say
NAMES: dict[str, tuple[str, ...]] = {
    "file": ("file", "file_name", "filename", "path"),
    "sha256": ("sha256",),
    "licence": ("licence", "license"),
    "holder_id": ("holder_id", "author"),
    "source_url": ("source_url", "url"),
    "attribution": ("attribution",),
    "key": ("key",),
    "depicts": ("depicts",),
    "derived_from": ("derived_from",),
    "collected_at": ("collected_at",),
    "label": ("label",),
    "image": IMAGE_NAMES,  # bytes of the image itself, in a Parquet file
}
_IMG2DATASET = {"key", "status", "url"}  # its sha256 is of the file as downloaded, and not of what it then encoded
_LONGEST_LINE = 10_000_000


@dataclass(frozen=True)
class Row:
    """One row of a table, in our columns."""

    number: int  # 1 for the first row below the header
    fields: Fields
    status: str = ""  # img2dataset: what became of the download, when it failed


@dataclass(frozen=True)
class Mapping:
    """How a dataset's records are read: our column -> theirs, and the columns that the config gives itself."""

    columns: Fields
    values: Fields

    def of(self, names: list[str]) -> Fields:
        """Our column -> theirs, for a record with these names."""
        found = {ours: theirs for ours, theirs in self.columns.items() if theirs in names}
        for ours, known in NAMES.items():
            present = [name for name in known if name in names]
            if ours not in self.columns and ours not in self.values and present:
                found[ours] = present[0]
        if "sha256" not in self.columns and set(names) >= _IMG2DATASET:
            found.pop("sha256", None)
        return found


def mapping_of(dataset: DatasetSettings) -> Mapping:
    """The mapping that a dataset's settings give. Raises ImprimaturError for a column that we do not know."""
    _check_names(dataset, "columns", dataset.columns)
    return Mapping(dataset.columns, constants(dataset))


def map_record(record: dict[str, Any], mapping: Mapping) -> Fields:
    """The cells of one record in our columns, as stripped text; the image itself is left out."""
    names = mapping.of(list(record))
    return {ours: _text(record[theirs]) for ours, theirs in names.items() if ours != "image"}


def constants(dataset: DatasetSettings) -> Fields:
    """The columns that the config gives to every file. Raises ImprimaturError for a column that we do not know."""
    _check_names(dataset, "values", dataset.values)
    both = sorted(dataset.values.keys() & dataset.columns.keys())
    if both:
        raise ImprimaturError(
            f"dataset {dataset.name!r}: both columns and values give {', '.join(both)}", "keep one of the two"
        )
    return dict(dataset.values)


def read_rows(path: Path, dataset: DatasetSettings, by: str = "file") -> Iterator[Row]:
    """The rows in our columns; `by` is the column that must be there. Raises ImprimaturError that says where."""
    mapping = mapping_of(dataset)
    try:
        header, records = _open(path)
        for ours, theirs in dataset.columns.items():
            if theirs not in header:
                raise ImprimaturError(
                    f"{path}: has no column {theirs!r} (dataset {dataset.name!r}, columns.{ours})",
                    f"its columns are: {', '.join(header)}",
                )
        if by not in mapping.of(header):
            raise ImprimaturError(
                f"{path}: no column names the files", f"set columns.{by} to one of: {', '.join(header)}"
            )
        for number, record in enumerate(records, 1):
            failed = record.keys() >= _IMG2DATASET and record["status"] != "success"
            status = f"{record['status']} {record.get('error_message') or ''}".strip() if failed else ""
            yield Row(number, map_record(record, mapping), status)
    except (OSError, UnicodeError, csv.Error, pa.ArrowException) as error:
        raise ImprimaturError(f"{path}: cannot be read as a table ({error})", "save it as UTF-8 CSV") from None


def _check_names(dataset: DatasetSettings, block: str, given: Fields) -> None:
    unknown = sorted(set(given) - set(NAMES))
    if unknown:
        raise ImprimaturError(
            f"dataset {dataset.name!r}: {block} has unknown column {', '.join(unknown)}",
            f"known columns: {', '.join(NAMES)}",
        )


def _open(path: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """The names of a table's columns, and its records as a stream."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        file = pq.ParquetFile(path)
        names = [field.name for field in file.schema_arrow]
        return names, (record for batch in file.iter_batches(1024) for record in batch.to_pylist())
    if suffix == ".jsonl":
        names = list(dict.fromkeys(name for record in _json_lines(path) for name in record))
        return names, _json_lines(path)
    return _separated(path)


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        number = 0
        while line := stream.readline(_LONGEST_LINE):
            number += 1
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ImprimaturError(f"{path}, line {number}: not JSON ({error})", "mend the line") from None
            if not isinstance(record, dict):
                raise ImprimaturError(f"{path}, line {number}: not a JSON object", "write one object a line")
            yield record


def _separated(path: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """CSV with commas, semicolons or tabs, whichever the header line has most of; UTF-8, or UTF-16 with its mark."""
    with path.open("rb") as raw:
        encoding = "utf-16" if raw.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with path.open(encoding=encoding, newline="") as stream:
        first = stream.readline(_LONGEST_LINE)
        skipped = len(first) if first.lower().startswith("sep=") else 0  # a line for spreadsheet programs
        if skipped:
            first = stream.readline(_LONGEST_LINE)
    separator = max(",;\t", key=first.count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=separator, strict=True), [])]
    while header and not header[-1]:
        header.pop()  # spreadsheets save empty columns at the right
    named = [name for name in header if name]
    if not named or len(set(named)) < len(named):
        raise ImprimaturError(f"{path}: its first line must name each column once", "add or mend the header line")
    return named, _csv_records(path, encoding, separator, header, bool(skipped))


def _csv_records(
    path: Path, encoding: str, separator: str, header: list[str], skip: bool
) -> Iterator[dict[str, Any]]:
    with path.open(encoding=encoding, newline="") as stream:
        if skip:
            stream.readline()
        reader = csv.reader(stream, delimiter=separator, strict=True)
        next(reader, None)
        for cells in reader:
            if not any(cells):
                continue
            width = len(header)
            if len(cells) < width or any(cells[width:]):  # slipped cells would give a file another one's licence
                raise ImprimaturError(
                    f"{path}, line {reader.line_num + skip}: {len(cells)} cells under {width} columns",
                    "quote cells that hold the separator",
                )
            yield {name: cell for name, cell in zip(header, cells, strict=False) if name}


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN is how tables of numbers say nothing
        return ""
    if isinstance(value, list | tuple):
        return "|".join(_text(item) for item in value)
    return str(value).strip().encode(errors="replace").decode()  # JSON can spell half of a surrogate pair
