"""Compressed files, unpacked once into the cache as a stream: gzip, bzip2, xz, Zstandard."""

import bz2
import gzip
import json
import lzma
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import pyarrow as pa

from pipeline.core.digests import json_digest
from pipeline.core.shards import machine_faults_named, write_json
from pipeline.core.workspace import Workspace
from pipeline.ingest.places import version_of
from pipeline.ingest.reasons import IngestReason

MAX_RATIO = 100  # images hardly compress; a file that unpacks to more is a bomb
_FREE = 100_000_000  # bytes that any archive may unpack to
_CHUNK = 1 << 20
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def compression_of(path: Path) -> str:
    """gzip, bz2, xz or zstd by the file's first bytes; "" for none of them."""
    with path.open("rb") as stream:
        head = stream.read(6)
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def unpacked(path: Path, workspace: Workspace) -> tuple[Path, str]:
    """(the unpacked file in the cache, reason code when it is not whole). What could be unpacked is kept.

    The cache knows a file by its place, size and time of change, so that nothing is read twice. Raises
    EnvironmentFault when the disk is full.
    """
    folder = workspace.cache / json_digest([str(path), version_of(path)])
    target, record = folder / (path.stem or path.name), folder / "unpacked.json"
    if target.exists() and record.exists():
        return target, str(json.loads(record.read_text())["reason"])
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}.tmp")
    with machine_faults_named(target):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as output:
                reason = _copy(path, output)
                output.flush()
                os.fsync(output.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    write_json(record, {"reason": reason})
    return target, reason


def _copy(path: Path, output: IO[bytes]) -> str:
    limit = max(_FREE, MAX_RATIO * path.stat().st_size)
    for chunk in _chunks(path):
        if isinstance(chunk, str):
            return chunk
        if output.tell() + len(chunk) > limit:
            return IngestReason.ARCHIVE_BOMB
        output.write(chunk)
    return ""


def _chunks(path: Path) -> Iterator[bytes | str]:
    """Unpacked chunks, and a reason code at the end when there is something wrong."""
    try:
        with _open(path) as stream:
            while chunk := stream.read1(_CHUNK):  # what there is: `read` would lose it when it meets damage
                yield chunk
    except EOFError:
        yield IngestReason.ARCHIVE_TRUNCATED
    except (OSError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
        truncated = "truncated" in str(error).lower() or "end of" in str(error).lower()
        yield IngestReason.ARCHIVE_TRUNCATED if truncated else IngestReason.ARCHIVE_CORRUPT


def _open(path: Path) -> Any:
    kind = compression_of(path)
    if kind == "gzip":
        return gzip.open(path)
    if kind == "bz2":
        return bz2.open(path)
    if kind == "xz":
        return lzma.open(path)
    return pa.input_stream(str(path), compression="zstd")
