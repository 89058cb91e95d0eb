"""Verifying files from strangers: whatever they hold, an answer comes back in time."""

import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from credentials_studio import Studio, encoded, picture
from PIL import Image

from pipeline.core.errors import ImprimaturError
from pipeline.credentials.guard import MEMORY, SECONDS, guarded
from pipeline.credentials.verify import verify

PNG = encoded(picture(1), "PNG")


def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    return struct.pack(">I", size) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def in_png(store: bytes, length: int | None = None) -> bytes:
    """A PNG with these bytes for its manifest store."""
    return PNG[:33] + chunk(b"caBX", store, length) + PNG[33:]


def boxes(depth: int) -> bytes:
    """JUMBF superboxes inside each other."""
    kind = b"c2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"
    description = struct.pack(">I", 30) + b"jumd" + kind + b"\x03c2pa\0"
    inner = b""
    for _ in range(depth):
        inner = struct.pack(">I", 8 + len(description) + len(inner)) + b"jumb" + description + inner
    return inner


def headers(depth: int) -> bytes:
    """Nothing but box headers, each around the next."""
    return b"".join(struct.pack(">I", 8 * (depth - each)) + b"jumb" for each in range(depth))


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a few kilobytes."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(10**7))
    return PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


HOSTILE = {
    "a hundred thousand headers": in_png(headers(100_000)),
    "thousands of nested boxes": in_png(boxes(3_000)),
    "a chunk longer than the file": in_png(b"", length=0x7FFFFFFF),
    "a box longer than the file": in_png(struct.pack(">I", 0xFFFFFFF0) + b"jumb"),
    "a pixel bomb": bomb(),
    "endless XMP": PNG[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<x>" * 2_000_000) + PNG[33:],
    "deep nesting in AVIF": struct.pack(">I", 20)
    + b"ftypavif"
    + bytes(8)
    + headers(50_000).replace(b"jumb", b"meta"),
    "a TIFF whose directory points at itself": b"II*\0\x08\0\0\0\x00\x00\x08\0\0\0" * 50,
    "a truncated WebP": encoded(picture(1), "WEBP")[:40],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("hostile")


def test_hostile_files_end_in_an_answer(folder: Path) -> None:
    """The worker's own bounds make it one in time: 10 seconds and a gigabyte are what is promised."""
    assert SECONDS < 10
    assert MEMORY < 2**30
    with guarded() as verify_file:
        for number, (name, data) in enumerate(HOSTILE.items()):
            path = folder / f"{number}"
            path.write_bytes(data)
            found = verify_file(path)
            assert found.state in {"Unreadable", "Invalid", "None"}, name


def test_a_huge_file_is_refused_or_given_up(folder: Path) -> None:
    """Sparse: it takes no room on the disk."""
    with guarded(seconds=3) as verify_file:
        huge = folder / "huge.png"
        huge.write_bytes(PNG[:33] + struct.pack(">I", 240 * 2**20) + b"caBX")
        with huge.open("r+b") as stream:
            stream.truncate(250 * 2**20)
        assert verify_file(huge).state == "Unreadable"
        with huge.open("r+b") as stream:
            stream.truncate(300 * 2**20)
        assert verify_file(huge).codes == ["file.tooLarge"]


def test_time_and_memory_run_out_for_one_file_and_not_for_the_next(folder: Path) -> None:
    large = folder / "large.tif"
    Image.new("RGB", (7_000, 7_000), "teal").save(large, compression="tiff_lzw")
    small = folder / "small.png"
    small.write_bytes(PNG)
    with guarded(seconds=0.05) as verify_file:
        assert verify_file(large).codes == ["file.timeout"]
        time.sleep(0.2)
    with guarded(memory=80 * 2**20) as verify_file:
        found = verify_file(large)
        assert found.state == "Unreadable"
        assert set(found.codes) <= {"image.undecodable", "file.exhausted", "file.crashedReader"}
        assert verify_file(small).state == "None"


def test_the_answers_are_those_of_verify(studio: Studio, folder: Path) -> None:
    path = studio.published(1, "guarded")
    tampered = folder / "tampered.png"
    tampered.write_bytes(path.read_bytes() + b"\0")
    anchors, key = [studio.identity.anchors_pem], studio.identity.watermark_key
    with guarded(anchors, studio.workspace, key) as verify_file:
        for each in (path, tampered, folder / "missing", folder):
            assert verify_file(each) == verify(each, anchors, studio.workspace, key)


def test_anchors_that_are_none_are_refused_at_once() -> None:
    with pytest.raises(ImprimaturError, match="no PEM certificate"), guarded(["rubbish"]):
        pass
