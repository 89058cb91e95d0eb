"""Hostile XMP, EXIF, IPTC, manifests and headers are read, or reported, in bounded time and memory; never raised."""

import io
import json
import multiprocessing
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.catalog.decode import BadImage, open_image
from pipeline.core.settings import CredentialSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import ensure_identity
from pipeline.credentials.permissions import sign_training_mining
from pipeline.ingest.signals import read_signals
from pipeline.rights.findings import parse_purpose
from pipeline.rights.signals import read_signals as interpret

Sidecar = tuple[str, bytes]
CPU_SECONDS, MEMORY = 20, 1_500_000_000  # beside what the test process holds already
PACKET = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:p="http://ns.useplus.org/ldf/xmp/1.0/">%s</x:xmpmeta>'
PURPOSE = parse_purpose("train_generative:commercial")


def encoded(image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((48, 48)).convert("RGB").save(stream, image_format, **options)
    return stream.getvalue()


def facts(data: bytes, sidecars: tuple[Sidecar, ...] = ()) -> str:
    """What ingest records of a file, "refused" where the image itself is; then what rights makes of it."""
    try:
        image = open_image(data)
    except BadImage:
        return "refused"
    found = read_signals(data, image, sidecars)
    json.loads(found or "{}")
    interpret(found, PURPOSE, ("imprimatur",))
    return found


def _child(pipe: Any, data: bytes, sidecars: tuple[Sidecar, ...]) -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    pipe.send(facts(data, sidecars))


def limited(data: bytes, *sidecars: Sidecar) -> str:
    """The same in a process of its own with bounded time and memory."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_child, args=(sender, data, sidecars))
    process.start()
    sender.close()
    try:
        return str(receiver.recv())
    finally:
        process.join()


def png_with(*chunks: bytes) -> bytes:
    data = encoded("PNG")
    more = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return data[:33] + more + data[33:]


def jpeg_with(marker: int, body: bytes, times: int = 1) -> bytes:
    data = encoded("JPEG")
    return data[:2] + (bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body) * times + data[2:]


def box(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    return struct.pack(">I", len(content) + 8 if length is None else length) + kind + content


def deep_boxes(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = box(b"jumb", box(b"jumd", bytes(17)) + content)
    return content


def jumbf(content: bytes) -> bytes:
    return jpeg_with(0xEB, b"JP\x00\x01\x00\x00\x00\x01" + content)


def exif_loop() -> bytes:
    """An IFD whose next IFD is itself, with an entry of four thousand million values."""
    entry = struct.pack("<HHII", 0x8298, 2, 0xFFFFFFFF, 8)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 8)


LAUGHS = b'<!DOCTYPE l [<!ENTITY a "ha">%s]>' % b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12)
)
HOSTILE: dict[str, Callable[[], bytes]] = {
    "a million laughs": lambda: encoded("WEBP", xmp=LAUGHS + PACKET % b"&m;"),
    "external entity": lambda: encoded("WEBP", xmp=b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + PACKET % b""),
    "deep elements": lambda: encoded("WEBP", xmp=PACKET % (b"<a>" * 60_000 + b"</a>" * 60_000)),
    "many attributes": lambda: encoded(
        "WEBP", xmp=PACKET % (b"<a %s/>" % b" ".join(b'p:a%d="x"' % n for n in range(40_000)))
    ),
    "many values": lambda: encoded("WEBP", xmp=PACKET % (b"<p:DataMining>x</p:DataMining>" * 20_000)),
    "many packets": lambda: encoded("PNG") + PACKET % b"<p:DataMining>x</p:DataMining>" * 5_000,
    "packets without end": lambda: encoded("PNG") + b"<x:xmpmeta" * 90_000,
    "extension segments": lambda: jpeg_with(
        0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"G" * 32 + b"\xff" * 12, 9_000
    ),
    "compressed text": lambda: png_with(b"iTXtXML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<" * 200_000_000)),
    "exif loop": lambda: jpeg_with(0xE1, exif_loop()),
    "iptc lengths": lambda: jpeg_with(
        0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\xff\xff\xff\xff" + b"\x1c\x02\x74\xff\xff" * 500
    ),
    "deep boxes": lambda: jumbf(deep_boxes(1_500)),
    "box without end": lambda: jumbf(box(b"jumb", b"c2pa" * 100, length=0xFFFFFFFF)),
    "box of size one": lambda: jumbf(box(b"jumb", b"\xff" * 8 + b"c2pa", length=1)),
    "box of size zero": lambda: jumbf(box(b"jumb", b"c2pa", length=0) * 2_000),
    "png manifest of noise": lambda: png_with(b"caBX" + bytes(range(256)) * 3_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_metadata_neither_hangs_nor_crashes_nor_exhausts(name: str) -> None:
    began = time.monotonic()
    found = limited(HOSTILE[name]())
    assert found == "refused" or isinstance(json.loads(found or "{}"), dict)
    assert len(found) < 4_000_000 and time.monotonic() - began < 120


@pytest.mark.parametrize(
    "content",
    [
        "[" * 400_000,
        '{"a":' * 90_000,
        json.dumps({f"x-{n}": "noai" for n in range(20_000)}),
        json.dumps({"X-Robots-Tag": ["a" * 900_000]}),
        json.dumps({"X-Robots-Tag": "noai: " * 100_000}),
        json.dumps({"Content-Usage": "train-ai=" + "(" * 300_000}),
        json.dumps({"headers": {"headers": {"X-Robots-Tag": "noai"}}}),
        json.dumps([{"name": "x"}]),
        json.dumps([["a", "b", "c"]]),
        json.dumps({"X-Robots-Tag": {"value": "noai"}}),
    ],
    ids=range(10),
)
def test_hostile_headers(content: str) -> None:
    sidecar = ("a.headers.json", content.encode())
    assert limited(encoded("PNG"), sidecar), "what was there is recorded or reported, never lost"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Sound files with a signed wish, XMP, EXIF: what mutations start from."""
    identity = ensure_identity(CredentialSettings(), Workspace(tmp_path_factory.mktemp("studio")))
    exif = Image.Exif()
    exif[0x8298] = "(c) Ada"
    plus = PACKET % b'<r:D xmlns:r="urn:r" p:DataMining="http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"/>'
    plain = encoded("JPEG", exif=exif, xmp=plus)
    entries = {"cawg.ai_generative_training": "notAllowed"}
    signed = sign_training_mining(plain, "image/jpeg", entries, "plate", "2026-01-01T00:00:00Z", identity)
    return [signed, plain, encoded("WEBP", xmp=plus, exif=exif), encoded("TIFF", tiffinfo={700: plus})]


@settings(max_examples=150, deadline=5_000)
@given(data=st.data())
def test_mutated_files_are_read_or_reported(data: st.DataObject, sound: list[bytes]) -> None:
    original = bytearray(data.draw(st.sampled_from(sound)))
    metadata = min(len(original), 6_000)
    for _ in range(data.draw(st.integers(1, 12))):
        place = data.draw(st.integers(2, metadata - 1))
        original[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    facts(bytes(original))
