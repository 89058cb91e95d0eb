"""Shard files: written whole or not at all, with a small completion record beside them.

Outputs on disk are the truth. A shard is finished when its record exists and names the same job key; a crash
leaves at most a temporary file that nobody reads.
"""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import EnvironmentFault

_MACHINE_FAULTS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
}


@contextmanager
def machine_faults_named(path: Path) -> Iterator[None]:
    """Turn a full disk, a read-only folder and their like into an EnvironmentFault that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno in _MACHINE_FAULTS:
            raise EnvironmentFault(
                f"cannot write {path}: {_MACHINE_FAULTS[error.errno]}",
                "free space or choose another --home, then run the same command again; finished work is kept",
            ) from error
        raise


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> Path:
    """Write `path` atomically and durably: temporary name in the same folder, fsync, rename."""
    with machine_faults_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write `value` as indented JSON, atomically."""
    return write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_table(path: Path, table: pd.DataFrame, schema: pa.Schema) -> Path:
    """Write a Parquet file with exactly `schema`, atomically; equal tables give equal bytes."""
    arrow = pa.Table.from_pandas(table, schema=schema, preserve_index=False).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    pq.write_table(arrow, sink, compression="zstd")
    return write_bytes(path, sink.getvalue().to_pybytes())


def read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet file; list columns come back as Python lists, never None."""
    frame: pd.DataFrame = pq.read_table(path, columns=columns).to_pandas()
    return frame


def read_parts(folder: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """All `part-*.parquet` of a folder, in order, as one table. Raises FileNotFoundError when there is none."""
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise FileNotFoundError(f"no part-*.parquet in {folder}")
    frame: pd.DataFrame = pa.concat_tables([pq.read_table(part, columns=columns) for part in parts]).to_pandas()
    return frame


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dicts by column name."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def part_path(folder: Path, number: int, suffix: str = "parquet") -> Path:
    """Where shard `number` of a folder lies: part-00007.parquet."""
    return folder / f"part-{number:05d}.{suffix}"


def is_finished(output: Path, key: str) -> bool:
    """True when the shard at `output` was completed for this very job key."""
    try:
        record = json.loads(_record(output).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return output.exists() and bool(record.get("key") == key)


def finish(output: Path, key: str, **facts: Any) -> None:
    """Record that the shard at `output` is complete; `facts` are small counts for the log."""
    write_json(_record(output), {"key": key, **facts})


def completion(output: Path) -> dict[str, Any]:
    """The completion record of a finished shard."""
    record: dict[str, Any] = json.loads(_record(output).read_text())
    return record


def _record(output: Path) -> Path:
    return output.with_name(f"{output.name}.done.json")
