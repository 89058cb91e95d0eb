"""Bytes to pixels, defensively: limits before decoding, one orientation, one colour space, 8 bits.

Every room that looks at an asset's pixels comes through here, so that they all see the same picture.
"""

import io
import re
import warnings
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from pipeline.catalog.colour import Colour, Pixels, SampleRangeError, canonical, is_canonical
from pipeline.catalog.jpeg import JpegDamageError, decode_jpeg, jpeg_damage, jpeg_size

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF")
MAX_FILE_BYTES = 50_000_000
MAX_PIXELS = 64_000_000
MIN_SIDE = 8
MAX_ASPECT_RATIO = 20
MAX_METADATA_BYTES = 1_000_000  # EXIF, XMP, text and comments; not C2PA stores, which may hold thumbnails
MAX_ICC_BYTES = 4_000_000  # profiles of printing presses are large
_JPEGS = ("JPEG", "MPO")
_ROWS = 256


class ImageFault(StrEnum):
    """Why bytes are not an image that we take."""

    EMPTY_FILE = "EMPTY_FILE"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    TYPE_NOT_ALLOWED = "TYPE_NOT_ALLOWED"
    TRUNCATED = "TRUNCATED"
    CORRUPT = "CORRUPT"
    TOO_SMALL = "TOO_SMALL"
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    FILE_TOO_LARGE = "FILE_TOO_LARGE"
    METADATA_TOO_LARGE = "METADATA_TOO_LARGE"
    BAD_ASPECT_RATIO = "BAD_ASPECT_RATIO"
    ANIMATED = "ANIMATED"
    FULLY_TRANSPARENT = "FULLY_TRANSPARENT"
    FLAT = "FLAT"


EXPLANATIONS: dict[str, str] = {
    ImageFault.EMPTY_FILE: "The file has no bytes.",
    ImageFault.NOT_AN_IMAGE: "The bytes are not an image in any format that we know.",
    ImageFault.TYPE_NOT_ALLOWED: "An image or document of a type that we do not take.",
    ImageFault.TRUNCATED: "The file ends before the image does.",
    ImageFault.CORRUPT: "The image cannot be decoded without errors.",
    ImageFault.TOO_SMALL: f"A side is shorter than {MIN_SIDE} pixels.",
    ImageFault.TOO_MANY_PIXELS: f"The image has more than {MAX_PIXELS // 1_000_000} megapixels.",
    ImageFault.FILE_TOO_LARGE: f"The file is larger than {MAX_FILE_BYTES // 1_000_000} MB.",
    ImageFault.METADATA_TOO_LARGE: f"Its metadata is larger than {MAX_METADATA_BYTES // 1_000_000} MB.",
    ImageFault.BAD_ASPECT_RATIO: f"One side is more than {MAX_ASPECT_RATIO} times the other.",
    ImageFault.ANIMATED: "The file holds several frames or pages.",
    ImageFault.FULLY_TRANSPARENT: "Every pixel is fully transparent.",
    ImageFault.FLAT: "Every pixel has the same colour.",
}


class BadImage(Exception):
    """The bytes are not an image that we take: `reason` is the code, `detail` what was found."""

    def __init__(self, reason: ImageFault, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["BadImage"], tuple[ImageFault, str]]:
        return type(self), (self.reason, self.detail)


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded image: upright, sRGB, 8 bits."""

    pixels: Pixels  # (H, W, 3), or (H, W, 4) with straight alpha when some pixel is not opaque
    format: str  # Pillow's name: JPEG, PNG, ... or PPM for arrays
    mode: str  # Pillow's mode as stored
    notes: tuple[str, ...] = ()  # what was ignored or assumed on the way

    @property
    def width(self) -> int:
        """Pixels in a row, upright."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows, upright."""
        return int(self.pixels.shape[0])

    def rgb(self, background: Colour = (255, 255, 255)) -> Pixels:
        """Pixels (H, W, 3) uint8, composited over `background` where they are transparent."""
        if self.pixels.shape[2] == 3:
            return self.pixels
        blend = np.empty((self.height, self.width, 3), np.uint8)
        behind = np.array(background, np.uint16)
        for top in range(0, self.height, _ROWS):  # in strips: 16 bits for all of a large picture take much memory
            strip = self.pixels[top : top + _ROWS].astype(np.uint16)
            colour, alpha = strip[..., :3], strip[..., 3:]
            blend[top : top + _ROWS] = (colour * alpha + behind * (255 - alpha) + 127) // 255
        return blend


def decode(data: bytes, arrays: bool = False) -> Picture:
    """Decode an image. `arrays` also admits binary PGM and PPM, our lossless encoding of raw arrays.

    Raises BadImage, and nothing else, for bytes that are not an image that we take.
    """
    return examine(data, arrays)[1]


def examine(data: bytes, arrays: bool = False) -> tuple[ImageFile, Picture]:
    """Metadata (a Pillow image, of which nothing but info and tags is to be used) and picture. Raises BadImage."""
    image = open_header(data, arrays)
    if image.format in _JPEGS and is_canonical(image):
        return image, _finished(_straight(image, data), image, [])
    _load(image, data)
    return image, _picture_of(image)


def open_header(data: bytes, arrays: bool = False) -> ImageFile:
    """Check `data` against all limits that its header can break; no pixel is decoded. Raises BadImage."""
    if not data:
        raise BadImage(ImageFault.EMPTY_FILE)
    if len(data) > MAX_FILE_BYTES:
        raise BadImage(ImageFault.FILE_TOO_LARGE, f"{len(data):,} bytes")
    formats = (*FORMATS, "PPM") if arrays and data[:2] in (b"P5", b"P6") else FORMATS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of bad metadata and of bombs; both are judged below
        try:
            image = Image.open(io.BytesIO(data), formats=formats)
            _check_header(image)
        except (BadImage, MemoryError):
            raise
        except UnidentifiedImageError:
            raise _unidentified(data) from None
        except Image.DecompressionBombError as error:
            raise BadImage(ImageFault.TOO_MANY_PIXELS, str(error)) from None
        except Exception as error:  # decoders of hostile bytes raise nearly anything
            raise _broken(data, error) from None
    return image


def glance(data: bytes, least: int, arrays: bool = False) -> tuple[ImageFile, Pixels]:
    """Metadata, and grey pixels (H, W) of a smaller version where the format has one to give (JPEG), else in full.

    No side is reduced below `least`. Upright, ITU-R 601-2 luma, over white. Raises BadImage as `decode` does, but for
    faults that only the full picture shows (flat colour, damage in the finest detail).
    """
    image = open_header(data, arrays)
    if image.format in _JPEGS and is_canonical(image):
        return image, _straight(image, data, grey=True, least=least)[..., 0]
    _load(image, data)
    return image, np.asarray(Image.fromarray(_picture_of(image).rgb()).convert("L"))


def open_image(data: bytes, arrays: bool = False) -> ImageFile:
    """Check `data` and load it as a Pillow image, as stored. Raises BadImage."""
    image = open_header(data, arrays)
    _load(image, data)
    return image


def _load(image: ImageFile, data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _check_integrity(image, data)
            image.load()
            _check_metadata(image)  # again: PNG text may follow the pixels
        except (BadImage, MemoryError):
            raise
        except Exception as error:  # decoders of hostile bytes raise nearly anything
            raise _broken(data, error) from None


def _straight(image: Image.Image, data: bytes, grey: bool = False, least: int = 0) -> Pixels:
    """The pixels of a grey or RGB JPEG as stored. `image` is its header. Raises BadImage."""
    try:
        if jpeg_size(data) != image.size:  # limits were checked on what Pillow read
            raise BadImage(ImageFault.CORRUPT, "its headers disagree about its size")
        return decode_jpeg(data, grey, least)
    except JpegDamageError as error:
        raise _broken(data, error) from None


def _picture_of(image: Image.Image) -> Picture:
    """Pixels of a loaded image: upright, sRGB, 8 bits. Raises BadImage when there is nothing to see in it."""
    try:
        pixels, notes = canonical(image)
    except SampleRangeError as error:
        raise BadImage(ImageFault.TYPE_NOT_ALLOWED, str(error)) from None
    except MemoryError:
        raise
    except Exception as error:
        raise BadImage(ImageFault.CORRUPT, f"{type(error).__name__}: {error}") from None
    return _finished(pixels, image, notes)


def _finished(pixels: Pixels, image: Image.Image, notes: list[str]) -> Picture:
    """The picture, unless there is nothing to see in it. Raises BadImage."""
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3]
        if not alpha.any():
            raise BadImage(ImageFault.FULLY_TRANSPARENT)
        if (alpha == 255).all():
            pixels = np.ascontiguousarray(pixels[..., :3])
    # a few pixels tell almost always; comparing all takes as long as decoding them
    if (pixels[::64, ::64] == pixels[0, 0]).all() and (pixels == pixels[0, 0]).all():
        raise BadImage(ImageFault.FLAT, "every pixel is " + ",".join(str(value) for value in pixels[0, 0]))
    # a multi-picture JPEG (phone cameras) is a JPEG whose first picture counts
    several = image.format == "MPO"
    if several:
        notes.append("multi-picture JPEG: only its first picture is used")
    return Picture(pixels, "JPEG" if several else image.format or "", image.mode, tuple(notes))


def fit(rgb: Pixels, size: int, background: Colour = (255, 255, 255)) -> Pixels:
    """Letterbox (H, W, 3) uint8 into (size, size, 3): Lanczos, but nearest for a whole-number enlargement."""
    height, width = rgb.shape[:2]
    longest = max(height, width)
    if longest != size:
        scale = size / longest
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        # pixel art keeps its pixels
        method = Image.Resampling.NEAREST if size % longest == 0 else Image.Resampling.LANCZOS
        rgb = np.asarray(Image.fromarray(rgb).resize(shape, method))
        height, width = rgb.shape[:2]
    if height == width:
        return np.ascontiguousarray(rgb)
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = background
    top, left = (size - height) // 2, (size - width) // 2
    canvas[top : top + height, left : left + width] = rgb
    return canvas


def render(data: bytes, size: int, channels: int, background: Colour = (255, 255, 255)) -> Pixels:
    """Decode and letterbox an asset's bytes: (size, size, channels) uint8; 1 channel is luma (ITU-R 601-2).

    Raises BadImage.
    """
    square = fit(decode(data, arrays=True).rgb(background), size, background)
    return square if channels == 3 else np.asarray(Image.fromarray(square).convert("L"))[..., None]


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImage(ImageFault.TOO_MANY_PIXELS, f"{width}x{height}")
    if min(width, height) < MIN_SIDE:
        raise BadImage(ImageFault.TOO_SMALL, f"{width}x{height}")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise BadImage(ImageFault.BAD_ASPECT_RATIO, f"{width}x{height}")
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise BadImage(ImageFault.ANIMATED)
    _check_metadata(image)


def _check_metadata(image: Image.Image) -> None:
    info = dict(image.info)
    profile = info.pop("icc_profile", None) or b""
    size = _size_of(info)
    if size > MAX_METADATA_BYTES or len(profile) > MAX_ICC_BYTES:
        raise BadImage(ImageFault.METADATA_TOO_LARGE, f"{size:,} bytes, colour profile {len(profile):,} bytes")


def _size_of(value: Any) -> int:
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, dict):
        return sum(_size_of(item) for item in value.values())
    return 0


def _check_integrity(image: Image.Image, data: bytes) -> None:
    """Find damage that decoders pass over in silence: PNG checksums, damaged JPEG data."""
    if image.format == "PNG":
        Image.open(io.BytesIO(data), formats=("PNG",)).verify()
    elif image.format in _JPEGS:
        if image.mode in ("L", "RGB"):
            _straight(image, data)
        elif damage := jpeg_damage(data):
            raise BadImage(ImageFault.CORRUPT, damage)


def _broken(data: bytes, error: Exception) -> BadImage:
    """The fault behind a decoder's exception."""
    message = str(error) or type(error).__name__
    if "MAX_TEXT" in message:  # a text chunk that inflates beyond Pillow's limits
        return BadImage(ImageFault.METADATA_TOO_LARGE, message)
    riff_length = int.from_bytes(data[4:8], "little") + 8 if data[:4] == b"RIFF" else 0
    if "truncated" in message.lower() or "premature end of jpeg" in message.lower() or riff_length > len(data):
        return BadImage(ImageFault.TRUNCATED, message)
    return BadImage(ImageFault.CORRUPT, message)


def _unidentified(data: bytes) -> BadImage:
    """Tell an image that is broken from one of another type and from what is no image at all."""
    Image.init()
    head = data[:16]
    for name, (_, accept) in sorted(Image.OPEN.items()):
        if accept is not None and _accepts(accept, head):
            if name in FORMATS:
                return BadImage(ImageFault.CORRUPT, f"its header is not a valid {name} header")
            return BadImage(ImageFault.TYPE_NOT_ALLOWED, name)
    if data.startswith(b"%PDF") or re.search(rb"<svg[\s>]", data[:1024]):
        return BadImage(ImageFault.TYPE_NOT_ALLOWED, "PDF" if data.startswith(b"%PDF") else "SVG")
    return BadImage(ImageFault.NOT_AN_IMAGE, f"begins with {head[:8].hex(' ')}")


def _accepts(accept: Any, head: bytes) -> bool:
    """Ask a Pillow plug-in whether it knows these first bytes; some stumble over a few."""
    try:
        return bool(accept(head))
    except Exception:
        return False
