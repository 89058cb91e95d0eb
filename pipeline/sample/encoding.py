"""From a drawing to bytes: PNG, JPEG and WebP with their marks, copies in every kind, and files broken on purpose."""

import io
import struct
import zlib
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipeline.sample.definition import CopyKind, Damage

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/">
<plus:DataMining>http://ns.useplus.org/ldf/vocab/DMI-{term}</plus:DataMining>{constraints}
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
CONSTRAINTS = """
<plus:OtherConstraints><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></plus:OtherConstraints>"""


def data_mining_mark(term: str) -> bytes:
    """An XMP packet with plus:DataMining (PLUS LDF / IPTC PMD 2023.1); `term` is the part after DMI-."""
    asks = term.endswith("SEECONSTRAINT")
    constraints = CONSTRAINTS.format(text="ask the studio before you train on this") if asks else ""
    return XMP.format(term=escape(term), constraints=constraints).encode()


def encode(image: Image.Image, format_: str, xmp: bytes = b"") -> bytes:
    """PNG, JPEG or WebP bytes of an image, with an XMP packet when one is given."""
    stream = io.BytesIO()
    if format_ == "png":
        chunks = PngInfo()
        if xmp:
            chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(stream, "PNG", pnginfo=chunks)
    elif format_ == "jpeg":
        image.save(stream, "JPEG", quality=92, subsampling=0, xmp=xmp)
    else:
        image.save(stream, "WEBP", quality=92, method=4, xmp=xmp)
    return stream.getvalue()


def copied(original: bytes, kind: CopyKind, format_: str) -> bytes:
    """A copy of an encoded image; all but the exact one leave its metadata behind."""
    if kind == "exact":
        return original
    image = Image.open(io.BytesIO(original)).convert("RGB")
    stream = io.BytesIO()
    if kind == "reencoded":
        image.save(stream, format_.upper(), **({"lossless": True} if format_ == "webp" else {"compress_level": 9}))
    elif kind == "recompressed":
        image.save(stream, "JPEG", quality=75, subsampling=0)
    elif kind == "resized":
        larger = (image.width * 3 // 2, image.height * 3 // 2)
        image.resize(larger, Image.Resampling.LANCZOS).save(stream, "PNG")
    else:
        Image.blend(image, Image.new("RGB", image.size, "white"), 0.04).save(stream, "PNG")  # clips nothing
    return stream.getvalue()


def damaged(kind: Damage, image: Image.Image) -> bytes | None:
    """Bytes that no ingest may accept; None for the file that is only named."""
    if kind == "missing":
        return None
    if kind == "empty":
        return b""
    if kind == "text":
        return b"Dear studio,\nplease find the picture attached.\n"
    if kind == "markup":
        return b"<!doctype html><html><script>alert('404')</script><p>Not found</p></html>\n"
    if kind == "giant":
        return _giant_header(60_000)
    if kind.startswith("truncated"):
        whole = encode(image, kind.removeprefix("truncated-"))
        return whole[: len(whole) // 2]
    stream = io.BytesIO()
    if kind == "one-pixel":
        Image.new("RGB", (1, 1), "white").save(stream, "PNG")
    elif kind == "transparent":
        Image.fromarray(np.zeros((64, 64, 4), np.uint8), "RGBA").save(stream, "PNG")
    else:
        turned = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image.save(stream, "GIF", save_all=True, append_images=[turned], duration=200)
    return stream.getvalue()


def _giant_header(side: int) -> bytes:
    """A PNG that claims side x side pixels and holds none."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
