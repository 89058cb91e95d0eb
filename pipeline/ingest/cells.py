"""Parquet with image bytes: Hugging Face's image feature (a struct of `bytes` and `path`), or a binary column."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import ImprimaturError
from pipeline.ingest.archives import Box
from pipeline.ingest.entries import Entry
from pipeline.ingest.places import Cell, version_of
from pipeline.ingest.reasons import IngestReason
from pipeline.ingest.table import IMAGE_NAMES, Mapping, map_record

_ROWS = 1024


def is_parquet(path: Path) -> bool:
    """Does it begin like a Parquet file?"""
    with path.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def column_names(path: Path) -> list[str]:
    """The names of a Parquet file's columns."""
    return list(pq.read_schema(path).names)


def image_column(path: Path, chosen: str = "") -> str:
    """The column of a Parquet file that holds images; "" when none does. Raises ImprimaturError."""
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise ImprimaturError(f"{path}: not a readable Parquet file ({error})", "fetch the file again") from None
    if chosen:
        return chosen if chosen in schema.names else ""
    structs = [field.name for field in schema if pa.types.is_struct(field.type) and _has_bytes(field.type)]
    binaries = [name for name in IMAGE_NAMES if name in schema.names and _is_binary(schema.field(name).type)]
    return next(iter([*structs, *binaries]), "")


def cell_entries(path: Path, column: str, mapping: Mapping, box: Box) -> Iterator[Entry]:
    """One entry a row: named by the struct's `path` or the mapped `file`, else by `<file>#<row>`."""
    version, row = version_of(path), 0
    try:
        file = pq.ParquetFile(path, buffer_size=1 << 20)
        size, kind = _average(file, column), file.schema_arrow.field(column).type
        named = [f"{column}.path"] if pa.types.is_struct(kind) and _has(kind, "path") else []
        others = [field.name for field in file.schema_arrow if field.name != column]
        for batch in file.iter_batches(_ROWS, columns=[*others, *named], use_threads=False):
            for record in batch.to_pylist() if batch.num_columns else [{}] * batch.num_rows:
                fields = map_record(record, mapping)
                given = str((record.get(column) or {}).get("path") or "") if named else ""
                name = PurePosixPath((fields.pop("file", "") or given).replace("\\", "/")).as_posix()
                label = name if name not in ("", ".") else f"{PurePosixPath(box.name).name}#{row:05d}"
                yield Entry(box.prefix + label, Cell(str(path), size, version, column, row), fields, box=box.name)
                row += 1
    except (OSError, ValueError, pa.ArrowException) as error:
        yield box.fault(IngestReason.ARCHIVE_CORRUPT, f"after {row:,} rows: {error}"[:300])


def _average(file: Any, column: str) -> int:
    """Bytes of the image column over its rows, from the footer."""
    metadata, total = file.metadata, 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for index in range(group.num_columns):
            if group.column(index).path_in_schema.split(".")[0] == column:
                total += group.column(index).total_uncompressed_size
    return int(total // max(1, metadata.num_rows))


def _has_bytes(struct: pa.StructType) -> bool:
    return _has(struct, "bytes") and _is_binary(struct.field("bytes").type)


def _has(struct: pa.StructType, name: str) -> bool:
    return bool(struct.get_field_index(name) >= 0)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))
