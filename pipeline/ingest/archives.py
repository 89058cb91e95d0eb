"""Members of tar and zip files, streamed. Nothing is ever written; what must not be followed gets a reason.

Archives are walked by their headers, so that a broken one gives up the members that are whole.
"""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.catalog.decode import ImageFault
from pipeline.ingest.entries import Entry, leads_outside, normal, written
from pipeline.ingest.places import Place, Span, ZipMember, version_of
from pipeline.ingest.reasons import IngestReason

_BLOCK = 512
_LONGEST_HEADER = 1 << 20  # a name or pax record of a tar; longer ones only serve to fill memory
_CHUNK = 1 << 20
_FAULTS = (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError, MemoryError)


def is_tar(path: Path) -> bool:
    """Does it begin with a tar header whose checksum is right, or with the empty blocks of an empty tar?"""
    with path.open("rb") as stream:
        block = stream.read(_BLOCK)
    return len(block) == _BLOCK and (_is_header(block) or not block.strip(b"\0"))


def is_zip(path: Path) -> bool:
    """Does it begin with a zip's local header, or is it an empty zip?"""
    with path.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True)
class Box:
    """An archive: its own name in the source, and what its members' names begin with there."""

    name: str
    prefix: str = ""

    def entry(self, member: str, place: Place | None, reason: str = "", detail: str = "") -> Entry:
        """A member's entry, refused where its name leads out of the archive."""
        if leads_outside(member):
            place, reason = None, IngestReason.PATH_OUTSIDE_SOURCE
        file = normal(member) if member.startswith("./") else member
        return Entry(self.prefix + file, place, {}, reason, detail, self.name)

    def fault(self, reason: str, detail: str = "") -> Entry:
        """What is wrong with the archive itself."""
        return Entry(self.name, None, {}, reason, detail, self.name)


def tar_entries(path: Path, box: Box, reason: str = "") -> Iterator[Entry]:
    """The members of an uncompressed tar, directories left out.

    `reason`: what was wrong with it before it came here (a compressed tar that ended too soon).
    """
    with path.open("rb") as raw:
        size, version = path.stat().st_size, version_of(path)
        position = 0
        while position < size:
            tar = _Walk(raw, position)
            for member in tar.members():
                if not member.isdir():
                    yield _tar_entry(member, path, size, version, box)
            start = tar.end
            position = _next_content(raw, start)
            if start > size or (position - start < _BLOCK and size - position < _BLOCK and position < size):
                reason, position = reason or IngestReason.ARCHIVE_TRUNCATED, size
            elif position < size and (position == start or not _is_header(_block(raw, position))):
                yield box.fault(IngestReason.ARCHIVE_CORRUPT, f"at byte {position:,}")
                position = _next_header(raw, position + _BLOCK)
    if reason:
        yield box.fault(reason)


def zip_entries(path: Path, box: Box) -> Iterator[Entry]:
    """The members of a zip; where its directory is lost, those that can be found without it."""
    version = version_of(path)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, UnicodeDecodeError, OverflowError) as error:
        yield from _zip_without_directory(path, version, box)
        yield box.fault(IngestReason.ARCHIVE_TRUNCATED, f"no directory: {error}")
        return
    end = 0
    for info in infos:
        if info.is_dir():
            continue
        file = written(info.filename)
        place = ZipMember(
            str(path), info.file_size, version, info.header_offset, info.compress_size, info.compress_type, info.CRC
        )
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.header_offset < end:  # one run of packed bytes that many members share
            yield box.entry(file, None, IngestReason.ARCHIVE_BOMB, "its bytes are another member's too")
        elif kind == stat.S_IFLNK:
            yield box.entry(file, None, IngestReason.LINK, "")
        elif kind not in (0, stat.S_IFREG):
            yield box.entry(file, None, IngestReason.NOT_A_FILE, "")
        elif info.flag_bits & 1:
            yield box.entry(file, None, IngestReason.ENCRYPTED, "")
        else:
            yield box.entry(file, place)
        end = max(end, info.header_offset + 30 + info.compress_size)


class _Walk:
    """Members of a tar from a byte on, in constant memory; `end` is where they end."""

    def __init__(self, raw: BinaryIO, start: int) -> None:
        self._raw = raw
        self.end = start

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Until the end marker, or until something that is no header."""
        self._raw.seek(self.end)
        try:
            tar = tarfile.TarFile(fileobj=_Capped(self._raw), mode="r")  # type: ignore[arg-type]
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                self.end = tar.offset
                yield member
        except _FAULTS:
            return


class _Capped:
    """A stream that refuses to read much at once: headers are small, and nothing else is read through it."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.seek, self.tell = raw.seek, raw.tell

    def read(self, size: int) -> bytes:
        """Read a header."""
        if size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._raw.read(size)


def _tar_entry(member: tarfile.TarInfo, path: Path, size: int, version: str, box: Box) -> Entry:
    file = written(member.name)
    if member.issym() or member.islnk():
        return box.entry(file, None, IngestReason.LINK, written(f"to {member.linkname}"))
    if not member.isreg() or member.issparse():
        return box.entry(file, None, IngestReason.NOT_A_FILE, "")
    if member.offset_data + member.size > size:
        return box.entry(file, None, ImageFault.TRUNCATED, "the archive ends before it")
    return box.entry(file, Span(str(path), member.size, version, member.offset_data))


def _next_content(raw: BinaryIO, position: int) -> int:
    """The next block that is not empty, or the end of the file."""
    raw.seek(position)
    while chunk := raw.read(_CHUNK):
        content = len(chunk) - len(chunk.lstrip(b"\0"))
        if content < len(chunk):
            return position + content // _BLOCK * _BLOCK
        position += len(chunk)
    return position


def _next_header(raw: BinaryIO, position: int) -> int:
    """The next block that is a header by its magic (POSIX.1, ustar) and its checksum, or the end of the file."""
    raw.seek(position)
    while chunk := raw.read(_CHUNK):
        found = chunk.find(b"ustar")
        while found >= 0:
            start = found - 257
            if start >= 0 and start % _BLOCK == 0 and _is_header(chunk[start : start + _BLOCK]):
                return position + start
            found = chunk.find(b"ustar", found + 1)
        position += len(chunk)
    return position


def _block(raw: BinaryIO, position: int) -> bytes:
    raw.seek(position)
    return raw.read(_BLOCK)


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except _FAULTS:
        return False
    return True


def _zip_without_directory(path: Path, version: str, box: Box) -> Iterator[Entry]:
    """Members of a zip by their local headers, one after the other, until something that is no header."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        position = 0
        while True:
            stream.seek(position)
            header = stream.read(30)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                return
            flags, method = (int.from_bytes(header[at : at + 2], "little") for at in (6, 8))
            crc, packed, unpacked = (int.from_bytes(header[at : at + 4], "little") for at in (14, 18, 22))
            names, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
            name = stream.read(names).decode("utf-8" if flags & 0x800 else "cp437", "backslashreplace")
            start = position + 30 + names + extra
            if flags & 8:  # sizes stand behind the data (4.4.4, bit 3)
                stream.seek(start)
                measured = _measured(stream) if method == zipfile.ZIP_DEFLATED else None
                if measured is None:
                    yield box.entry(name, None, ImageFault.TRUNCATED, "the archive ends before it")
                    return
                packed, unpacked, crc = measured
            if start + packed > size:
                yield box.entry(name, None, ImageFault.TRUNCATED, "the archive ends before it")
                return
            if not name.endswith("/"):
                reason = IngestReason.ENCRYPTED if flags & 1 else ""
                place = ZipMember(str(path), unpacked, version, position, packed, method, crc)
                yield box.entry(name, None if reason else place, reason)
            position = start + packed + _descriptor(stream, start + packed) * bool(flags & 8)


def _measured(stream: BinaryIO) -> tuple[int, int, int] | None:
    """(packed size, unpacked size, CRC) of the deflated data that begins here; None when it does not end."""
    inflater, packed, unpacked, crc = zlib.decompressobj(-15), 0, 0, 0
    try:
        while not inflater.eof:
            chunk = inflater.unconsumed_tail or stream.read(_CHUNK)
            if not chunk:
                return None
            data = inflater.decompress(chunk, _CHUNK)
            packed += len(chunk) - len(inflater.unconsumed_tail) - len(inflater.unused_data)
            unpacked, crc = unpacked + len(data), zlib.crc32(data, crc)
    except zlib.error:
        return None
    return packed, unpacked, crc


def _descriptor(stream: BinaryIO, position: int) -> int:
    """Length of the data descriptor: with or without signature (4.3.9)."""
    stream.seek(position)
    return 16 if stream.read(4) == b"PK\x07\x08" else 12
