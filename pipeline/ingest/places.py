"""Where the bytes of a file lie, and how they are read: whole, a span of an archive, a packed member, a table cell.

A place is small, plain and JSON-able; reading one never writes, and never takes more memory than its limit.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.catalog.decode import MAX_FILE_BYTES, ImageFault
from pipeline.ingest.reasons import IngestReason

_MAX_TABLE = 500_000_000
_CELLS = 16  # rows of a Parquet file that are held at a time
_STORED, _DEFLATED = 0, 8  # PKWARE APPNOTE 4.4.5


class Refused(Exception):
    """The bytes cannot be taken: `reason` is the code, `detail` what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class File:
    """A whole file."""

    path: str
    size: int
    version: str  # stands for its content: when it was changed

    def read(self, limit: int) -> bytes:
        """Its bytes, at most `limit` and one more."""
        with Path(self.path).open("rb") as stream:
            data = stream.read(min(self.size, limit) + 1)
            grown = len(data) > self.size  # since it was listed
            return data + stream.read(limit + 1 - len(data)) if grown else data


@dataclass(frozen=True, slots=True)
class Span:
    """A run of bytes of a file: a member of a tar."""

    path: str
    size: int
    version: str
    offset: int

    def read(self, limit: int) -> bytes:
        """Its bytes. Raises Refused when the file has become shorter."""
        with Path(self.path).open("rb") as stream:
            stream.seek(self.offset)
            data = stream.read(min(self.size, limit + 1))
        if len(data) < min(self.size, limit):
            raise Refused(ImageFault.TRUNCATED, "the archive ends before it")
        return data


@dataclass(frozen=True, slots=True)
class Array:
    """One raw array (H, W) or (H, W, 3) of unsigned bytes in a file."""

    path: str
    size: int
    version: str
    offset: int
    shape: tuple[int, ...]

    def read(self, limit: int) -> bytes:
        """The array as binary PGM or PPM: `P5\\n{width} {height}\\n255\\n` (`P6` for colour), then the raw bytes."""
        raw = Span(self.path, prod(self.shape), self.version, self.offset).read(limit)
        return b"P%d\n%d %d\n255\n" % (5 if len(self.shape) == 2 else 6, self.shape[1], self.shape[0]) + raw


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A member of a zip, by the place of its local header (PKWARE APPNOTE 4.3.7)."""

    path: str
    size: int  # unpacked, as declared
    version: str
    offset: int
    packed: int
    method: int
    crc: int

    def read(self, limit: int) -> bytes:
        """Its bytes, unpacked, with their checksum verified. Raises Refused."""
        with Path(self.path).open("rb") as stream:
            stream.seek(self.offset)
            header = stream.read(30)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                raise Refused(ImageFault.CORRUPT, "the zip's directory names a place without a member")
            stream.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
            packed = stream.read(min(self.packed, limit + 1))
        if len(packed) < min(self.packed, limit):
            raise Refused(ImageFault.TRUNCATED, "the archive ends before it")
        data = self._unpacked(packed, limit)
        if len(data) != self.size or zlib.crc32(data) != self.crc:
            raise Refused(ImageFault.CORRUPT, "its checksum or its size is not the one that the zip states")
        return data

    def _unpacked(self, packed: bytes, limit: int) -> bytes:
        if self.method == _STORED:
            return packed
        if self.method != _DEFLATED:
            raise Refused(IngestReason.UNREADABLE, f"zip compression method {self.method}")
        try:
            return zlib.decompressobj(-15).decompress(packed, limit + 1)
        except zlib.error as error:
            raise Refused(ImageFault.CORRUPT, str(error)) from None


@dataclass(frozen=True, slots=True)
class Cell:
    """Bytes in a Parquet file: a binary column, or the `bytes` of a struct column (Hugging Face's image feature)."""

    path: str
    size: int  # an estimate: the column's bytes over its rows
    version: str
    column: str
    row: int

    def read(self, limit: int) -> bytes:
        """Its bytes. Reading the rows of one column in order costs one pass over it. Raises Refused."""
        value = _cells(self.path, self.version, self.column).at(self.row)
        if value is None:
            raise Refused(IngestReason.MISSING_FILE, "the row holds no bytes")
        return value[: limit + 1]


Place = File | Span | Array | ZipMember | Cell
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (File, Span, Array, ZipMember, Cell)}


def read(place: Place) -> bytes:
    """The bytes of a place, at most MAX_FILE_BYTES. Raises Refused, and nothing else."""
    if place.size > MAX_FILE_BYTES:
        raise Refused(ImageFault.FILE_TOO_LARGE, f"{place.size:,} bytes")
    try:
        data = place.read(MAX_FILE_BYTES)
    except OSError as error:
        raise Refused(IngestReason.UNREADABLE, error.strerror or str(error)) from None
    except pa.ArrowException as error:
        raise Refused(IngestReason.UNREADABLE, f"Parquet: {error}"[:300]) from None
    if len(data) > MAX_FILE_BYTES:
        raise Refused(ImageFault.FILE_TOO_LARGE, f"more than {MAX_FILE_BYTES:,} bytes")
    return data


def copy_out(place: Place, target: Path) -> Path:
    """Copy a table out of its archive. Raises Refused."""
    if place.size > _MAX_TABLE:
        raise Refused(ImageFault.FILE_TOO_LARGE, f"{place.size:,} bytes; put the table beside the archive")
    try:
        target.write_bytes(place.read(_MAX_TABLE))
    except OSError as error:
        raise Refused(IngestReason.UNREADABLE, error.strerror or str(error)) from None
    return target


def referable(place: Place) -> tuple[str, int, int] | None:
    """(path, offset, length) of a place that others can read without us; None for what must be packed."""
    if isinstance(place, File):
        return place.path, 0, place.size
    return (place.path, place.offset, place.size) if isinstance(place, Span) else None


def to_json(place: Place | None) -> str:
    """A place as text."""
    return "" if place is None else json.dumps([type(place).__name__, *astuple(place)])


def from_json(text: str) -> Place | None:
    """The place behind to_json's text."""
    if not text:
        return None
    kind, *values = json.loads(text)
    place: Place = _KINDS[kind](*(tuple(value) if isinstance(value, list) else value for value in values))
    return place


def without_path(place: Place | None) -> str:
    """What identifies a place's content wherever it lies."""
    return to_json(replace(place, path="")) if place else ""


def version_of(path: Path) -> str:
    """Stands for the content of a file without reading it: size and time of its last change."""
    facts = path.stat()
    return f"{facts.st_size}:{facts.st_mtime_ns}"


class _Cells:
    """One column of a Parquet file, read forwards, a few rows at a time."""

    def __init__(self, path: str, column: str) -> None:
        self._file = pq.ParquetFile(path, buffer_size=1 << 20)
        self._column = column
        self._batches = self._forward()
        self._start = self._end = 0
        self._values: list[bytes | None] = []

    def at(self, row: int) -> bytes | None:
        """The value of a row of the file."""
        if row < self._start:
            self._batches, self._start, self._end = self._forward(), 0, 0
        while row >= self._end:
            batch = next(self._batches)
            self._start, self._end = self._end, self._end + len(batch)
            self._values = batch
        return self._values[row - self._start]

    def _forward(self) -> Iterator[list[bytes | None]]:
        for batch in self._file.iter_batches(_CELLS, columns=[self._column], use_threads=False):
            column = batch.column(0)
            if pa.types.is_struct(column.type):
                column = column.field("bytes")
            yield column.to_pylist()


_opened: dict[tuple[str, str, str], _Cells] = {}  # the one that was read last


def _cells(path: str, version: str, column: str) -> _Cells:
    key = (path, version, column)
    if key not in _opened:
        _opened.clear()
        _opened[key] = _Cells(path, column)
    return _opened[key]
