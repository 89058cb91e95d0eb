"""Any image that Pillow loads to one canonical form: upright, sRGB, 8 bits."""

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]


_ROWS = 256


class SampleRangeError(ValueError):
    """Deep grey samples outside the range that has a meaning."""


def canonical(image: Image.Image) -> tuple[Pixels, list[str]]:
    """Pixels (H, W, 3 or 4) uint8 of a loaded image, and notes on what was ignored. Raises SampleRangeError."""
    notes: list[str] = []
    return np.ascontiguousarray(_eight_bit(_upright(image, notes), notes)), notes


def is_canonical(image: Image.Image) -> bool:
    """Is it upright 8-bit grey or sRGB as it is stored? The header alone is looked at."""
    if image.mode not in ("L", "RGB"):
        return False
    try:
        if image.getexif().get(0x0112, 1) in _TURNS:
            return False
        profile = image.info.get("icc_profile")
        return not profile or (image.mode == "RGB" and _is_srgb(ImageCms.ImageCmsProfile(io.BytesIO(profile))))
    except Exception:  # what is broken is noted on the longer way
        return False


_TURNS = {  # EXIF 2.32, tag 0x0112
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """Turn the image as its EXIF says (Pillow has already turned a TIFF)."""
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception as error:
        notes.append(f"EXIF ignored: {type(error).__name__}: {error}")
        return image
    return image.transpose(turn) if turn is not None else image


def _eight_bit(image: Image.Image, notes: list[str]) -> Pixels:
    """Any Pillow mode to (H, W, 3 or 4) uint8 sRGB."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_grey(image)
    transparent = image.has_transparency_data
    if image.mode in ("P", "PA", "1", "RGBX", "YCbCr", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA" if transparent else "RGB")
    managed = _to_srgb(image, notes)
    if managed is not None:
        image = managed
    elif image.mode == "LAB":
        image = ImageCms.applyTransform(image, _lab_to_srgb()) or image
    mode = "RGBA" if transparent else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _deep_grey(image: Image.Image) -> Pixels:
    """16-bit and floating-point grey, scaled and not clipped: a ramp stays a ramp."""
    values = np.asarray(image)
    full = 1.0 if image.mode == "F" else 65535.0
    low, high = float(values.min()), float(values.max())  # NaN and infinity fail the comparison
    if not 0 <= low <= high <= full:
        raise SampleRangeError(f"{image.mode}: samples outside 0 to {full:g}")
    grey = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _ROWS):  # as float64 all of it would take eight times the memory
        grey[top : top + _ROWS] = np.rint(values[top : top + _ROWS].astype(np.float64) * (255 / full))
    return np.repeat(grey[..., None], 3, axis=2)


def _to_srgb(image: Image.Image, notes: list[str]) -> Image.Image | None:
    """The image in sRGB by its ICC profile; None when it has none, or none that fits."""
    profile = image.info.get("icc_profile")
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode in ("RGB", "RGBA") and _is_srgb(source):
            return None
        alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
        opaque = image.convert(image.mode[:-1]) if alpha else image
        managed = ImageCms.profileToProfile(
            opaque,
            source,
            _srgb(),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except Exception as error:
        notes.append(f"ICC profile ignored: {error}")
        return None
    if managed is not None and alpha is not None:
        managed.putalpha(alpha)
    return managed


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    return "sRGB" in ImageCms.getProfileDescription(profile)


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@cache
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.buildTransform(lab, _srgb(), "LAB", "RGB")
