"""Image files as credentials need them: decoded defensively, and encoded with the IPTC disclosure in their XMP."""

import io
import warnings
from collections.abc import Callable
from typing import Literal
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

Format = Literal["png", "jpeg", "webp", "avif", "tiff", "gif"]
SUFFIXES: dict[Format, str] = {
    "png": ".png", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif", "tiff": ".tif", "gif": ".gif",
}  # fmt: skip
FORMATS: dict[str, Format] = {
    "PNG": "png", "JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp", "AVIF": "avif", "TIFF": "tiff", "GIF": "gif",
}  # fmt: skip
READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF")  # and none of Pillow's rarer, riskier readers
MAXIMUM_PIXELS = 64_000_000
LOOK = 2048  # px
_REDUCIBLE = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F")
# Pillow's readers raise almost anything for a broken file: RuntimeError, struct.error, KeyError, SyntaxError, ...
DECODE_ERRORS = (Exception,)
_SIGNATURES = {
    "image/png": ((0, b"\x89PNG\r\n\x1a\n"),),
    "image/jpeg": ((0, b"\xff\xd8\xff"),),
    "image/gif": ((0, b"GIF8"),),
    "image/webp": ((0, b"RIFF"), (8, b"WEBP")),
    "image/avif": ((4, b"ftypavif"),),
}
XMP_TAG = 700  # TIFF
_BYTE = 1  # TIFF field type

# Iptc4xmpExt:DigitalSourceType, IPTC Photo Metadata 2025.1: what readers without C2PA look at
DISCLOSURE = "<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>"
_XMP = (
    """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/">
   """
    + DISCLOSURE
    + """
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
)


def mime_of(data: bytes) -> str:
    """The MIME type that a file's first bytes announce, "" for none that is read here.

    Not by opening it: Pillow refuses a PNG for a wrong checksum in the very chunk whose manifest was tampered with.
    """
    for mime, places in _SIGNATURES.items():
        if all(data[start:].startswith(mark) for start, mark in places):
            return mime
    return "image/tiff" if data[:4] in (b"II*\0", b"MM\0*") else ""


def open_image(data: bytes) -> Image.Image:
    """Open an image of a format that is read here, without decoding it. Raises one of DECODE_ERRORS."""
    warnings.filterwarnings("ignore", module="PIL")  # of bad metadata; what matters is judged from the pixels
    Image.init()  # else `formats` may only name what Pillow happens to have loaded
    return Image.open(io.BytesIO(data), formats=READABLE)


def decode(data: bytes) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) uint8 of an image file, oriented, on white where transparent. Raises one of DECODE_ERRORS."""
    with open_image(data) as image:
        if image.width * image.height > MAXIMUM_PIXELS:
            raise ValueError(f"{image.width}x{image.height} px is more than this reads")
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            coloured = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)
        return np.asarray(upright.convert("RGB"))


def decode_small(data: bytes) -> NDArray[np.uint8]:
    """As `decode`, but at most LOOK px a side: enough to know a picture again, whatever a stranger's file claims."""
    with open_image(data) as image:
        if image.width * image.height > MAXIMUM_PIXELS:
            raise ValueError(f"{image.width}x{image.height} px is more than this reads")
        image.draft("RGB", (LOOK, LOOK))  # JPEG decodes small at once
        ImageOps.exif_transpose(image, in_place=True)
        factor = -(-max(image.size) // LOOK)
        small = image.reduce(factor) if factor > 1 and image.mode in _REDUCIBLE else image
        if small.has_transparency_data:
            coloured = small.convert("RGBA")
            small = Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)
        return np.asarray(small.convert("RGB"))


def small_pixels(_: None, data: bytes) -> tuple[int, int, bytes] | None:
    """Height, width and RGB bytes of `decode_small`, None for a file that cannot be decoded: work for a guard."""
    try:
        rgb = decode_small(data)
        return rgb.shape[0], rgb.shape[1], rgb.tobytes()
    except DECODE_ERRORS:
        return None


def encode(rgb: NDArray[np.uint8], format: Format, source: str, tool: str) -> bytes:
    """Encode (H, W, 3) uint8 with an XMP packet that names the IPTC digital source type (a URL) and the tool.

    PNG, TIFF and WebP are lossless, JPEG and AVIF fine enough for the watermark, GIF has 256 colours of its own.
    """
    xmp = _XMP.format(source=escape(source), tool=escape(tool))
    return _ENCODERS[format](Image.fromarray(rgb), xmp)


def discloses(data: bytes, source: str) -> bool:
    """True when a file's bytes hold an XMP packet, as `encode` writes it, that names this digital source type."""
    return DISCLOSURE.format(source=escape(source)).encode() in data


def _png(image: Image.Image, xmp: str) -> bytes:
    chunks = PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", xmp)
    return _saved(image, "PNG", pnginfo=chunks)


def _jpeg(image: Image.Image, xmp: str) -> bytes:
    return _saved(image, "JPEG", quality=95, subsampling=0, xmp=xmp.encode())


def _webp(image: Image.Image, xmp: str) -> bytes:
    return _saved(image, "WEBP", lossless=True, xmp=xmp.encode())


def _avif(image: Image.Image, xmp: str) -> bytes:
    return _saved(image, "AVIF", quality=90, subsampling="4:4:4", speed=8, max_threads=1, xmp=xmp.encode())


def _tiff(image: Image.Image, xmp: str) -> bytes:
    tags = ImageFileDirectory_v2()
    tags.tagtype[XMP_TAG] = _BYTE
    tags[XMP_TAG] = xmp.encode()
    return _saved(image, "TIFF", compression="tiff_lzw", tiffinfo=tags)


def _gif(image: Image.Image, xmp: str) -> bytes:
    """GIF with an XMP application extension after the colour table; Pillow does not write one (XMP part 3, 1.1.2)."""
    # dithered towards the widest palette: the watermark lives in local means, which plain quantising flattens
    palette = image.quantize(256, Image.Quantize.MAXCOVERAGE)
    data = _saved(image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG), "GIF")
    flags = data[10]
    start = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    # the "magic trailer" leads a reader that takes the text for sub-blocks to the end of it
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
    return data[:start] + b"\x21\xff\x0bXMP DataXMP" + xmp.encode() + trailer + data[start:]


def _saved(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


_ENCODERS: dict[Format, Callable[[Image.Image, str], bytes]] = {
    "png": _png, "jpeg": _jpeg, "webp": _webp, "avif": _avif, "tiff": _tiff, "gif": _gif,
}  # fmt: skip
