"""Decoding: every format and mode to one canonical picture; every kind of bad bytes to a reason code."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from pipeline.catalog import decode as limits
from pipeline.catalog.decode import EXPLANATIONS, FORMATS, BadImage, ImageFault, decode, fit, render
from pipeline.catalog.jpeg import outside_scans
from pipeline.catalog.references import key_of


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def photo(width: int = 96, height: int = 64, seed: int = 0) -> Image.Image:
    """Smooth noise: something that every codec has work with."""
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def fault_of(data: bytes, arrays: bool = False) -> ImageFault:
    with pytest.raises(BadImage) as caught:
        decode(data, arrays)
    return caught.value.reason


@pytest.mark.parametrize("image_format", FORMATS)
def test_each_format_decodes_to_nearly_the_same_picture(image_format: str) -> None:
    picture = decode(encoded(photo(), image_format))
    assert (picture.format, picture.width, picture.height) == (image_format, 96, 64)
    difference = np.abs(picture.pixels.astype(int) - np.asarray(photo()).astype(int)).mean()
    assert difference < (12 if image_format == "GIF" else 6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_once(image_format: str, orientation: int) -> None:
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :24], stored[:16, 24:], stored[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100} if image_format in ("JPEG", "WEBP") else {}
    pixels = decode(encoded(Image.fromarray(stored), image_format, exif=exif, **options)).pixels
    # where the stored top-left corner is seen, EXIF 2.32 table 6
    expected = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    assert pixels.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    corner = pixels[4 if expected[0] == 0 else -5, 4 if expected[1] == 0 else -5]
    assert corner[0] > 200 and corner[1:].max() < 60


def test_sixteen_bit_grey_ramp_stays_a_ramp() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).round().astype(np.uint16), (16, 1))
    for image_format in ("PNG", "TIFF"):
        pixels = decode(encoded(Image.fromarray(ramp), image_format)).pixels
        assert np.array_equal(pixels[0, :, 0], np.arange(256))


def test_float_samples_without_a_known_range_are_refused() -> None:
    unit = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (16, 1))
    assert decode(encoded(Image.fromarray(unit), "TIFF")).pixels[0, -1, 0] == 255
    assert fault_of(encoded(Image.fromarray(unit * 300), "TIFF")) == ImageFault.TYPE_NOT_ALLOWED


@pytest.mark.parametrize(
    ("mode", "image_format"),
    [("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "GIF"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF")],
)
def test_every_mode_becomes_rgb(mode: str, image_format: str) -> None:
    picture = decode(encoded(photo().convert(mode), image_format))
    assert picture.pixels.shape == (64, 96, 3) and picture.pixels.dtype == np.uint8
    assert abs(picture.pixels.mean() - np.asarray(photo()).mean()) < 4


def test_transparency_is_kept_where_it_is_real_and_composited_over_the_background() -> None:
    image = photo().convert("RGBA")
    assert decode(encoded(image)).pixels.shape[2] == 3
    image.putpixel((0, 0), (10, 20, 30, 0))
    image.putpixel((1, 0), (200, 100, 0, 51))
    picture = decode(encoded(image))
    assert picture.pixels.shape[2] == 4
    over_white, over_black = picture.rgb((255, 255, 255)), picture.rgb((0, 0, 0))
    assert tuple(over_white[0, 0]) == (255, 255, 255) and tuple(over_black[0, 0]) == (0, 0, 0)
    assert tuple(over_black[0, 1]) == (40, 20, 0)
    assert np.array_equal(over_white[1:], over_black[1:])


def test_palette_transparency_is_seen() -> None:
    image = photo().convert("P")
    assert decode(encoded(image, "GIF", transparency=image.getpixel((3, 3)))).pixels[3, 3, 3] == 0


def test_icc_profile_is_applied_and_a_broken_one_ignored_with_a_note() -> None:
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    in_lab = ImageCms.profileToProfile(photo(), srgb, lab, outputMode="LAB")
    assert in_lab is not None
    profile = ImageCms.ImageCmsProfile(lab).tobytes()
    through = decode(encoded(in_lab, "TIFF", icc_profile=profile)).pixels
    assert np.abs(through.astype(int) - np.asarray(photo()).astype(int)).mean() < 3
    broken = decode(encoded(photo(), "PNG", icc_profile=b"not a profile"))
    assert any("ICC" in note for note in broken.notes)
    assert np.array_equal(broken.pixels, np.asarray(photo()))


def test_a_multi_picture_jpeg_is_its_first_picture() -> None:
    picture = decode(encoded(photo(), "MPO", save_all=True, append_images=[photo(seed=1)]))
    assert picture.format == "JPEG" and "first picture" in picture.notes[0]


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("part", [0.05, 0.4, 0.8])
def test_truncated_files_are_refused(image_format: str, part: float) -> None:
    data = encoded(photo(300, 200), image_format)
    assert fault_of(data[: int(len(data) * part)]) in (ImageFault.TRUNCATED, ImageFault.CORRUPT)


def test_a_jpeg_that_is_overwritten_in_the_middle_is_refused() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (200, 300, 3), dtype=np.uint8))
    data = bytearray(encoded(noise, "JPEG", quality=95))
    data[20_000:24_000] = rng.bytes(4_000)
    assert fault_of(bytes(data)) == ImageFault.CORRUPT


def test_what_a_jpeg_says_is_outside_of_its_scans() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8))
    for options in ({}, {"progressive": True}, {"restart_marker_rows": 1}):
        data = encoded(noise, "JPEG", comment=b"a comment", **options)
        said = outside_scans(data + b"trailing words")
        assert len(said) < len(data) // 10 and b"a comment" in said and said.endswith(b"trailing words")
        between = data[:-2] + b"\xff\xe1\0\x08hidden" + data[-2:]
        assert outside_scans(between) == between
        assert outside_scans(data + data) == data + data
    assert outside_scans(b"\xff\xd8") == b"\xff\xd8" and outside_scans(b"") == b""


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"progressive": True, "restart_marker_blocks": 3}],
)
def test_a_sound_jpeg_of_any_kind_is_accepted(options: dict[str, Any]) -> None:
    data = encoded(photo(300, 200), "JPEG", comment=b"\xff\xd9 \xff\x01", **options)
    assert decode(data + b"trailing \xff\x02 bytes").width == 300


def test_a_png_with_a_flipped_byte_is_refused() -> None:
    data = bytearray(encoded(photo()))
    data[len(data) // 2] ^= 1
    assert fault_of(bytes(data)) == ImageFault.CORRUPT


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more pixels than it has."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def test_limits_are_read_from_the_header() -> None:
    end = encoded(photo())[33:]
    assert fault_of(bomb(8_001, 8_000) + end) == ImageFault.TOO_MANY_PIXELS
    assert fault_of(bomb(60_000, 60_000) + end) == ImageFault.TOO_MANY_PIXELS
    assert fault_of(encoded(photo(7, 64))) == ImageFault.TOO_SMALL
    assert decode(encoded(photo(8, 160))).height == 160
    assert fault_of(encoded(photo(8, 161))) == ImageFault.BAD_ASPECT_RATIO
    assert fault_of(b"\0" * (limits.MAX_FILE_BYTES + 1)) == ImageFault.FILE_TOO_LARGE


def test_metadata_is_limited_even_when_it_is_compressed() -> None:
    large, inflating = PngInfo(), PngInfo()
    large.add_text("Comment", "x" * 900_000)
    large.add_text("More", "x" * 200_000)
    inflating.add_text("Comment", "x" * 5_000_000, zip=True)
    assert fault_of(encoded(photo(), pnginfo=large)) == ImageFault.METADATA_TOO_LARGE
    assert fault_of(encoded(photo(), pnginfo=inflating)) == ImageFault.METADATA_TOO_LARGE


def test_what_is_no_picture_of_ours_is_named() -> None:
    frames = [photo(seed=seed) for seed in range(3)]
    pages = {"save_all": True, "append_images": frames[1:]}
    for image_format in ("GIF", "PNG", "WEBP", "TIFF"):
        assert fault_of(encoded(frames[0], image_format, **pages)) == ImageFault.ANIMATED
    assert fault_of(b"") == ImageFault.EMPTY_FILE
    assert fault_of(b"<html>404 not found</html>") == ImageFault.NOT_AN_IMAGE
    assert fault_of(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>') == ImageFault.TYPE_NOT_ALLOWED
    assert fault_of(b"%!PS-Adobe-3.0 EPSF-3.0\n") == ImageFault.TYPE_NOT_ALLOWED
    assert fault_of(encoded(photo(), "BMP")) == ImageFault.TYPE_NOT_ALLOWED
    assert fault_of(encoded(photo(), "PPM")) == ImageFault.TYPE_NOT_ALLOWED
    assert fault_of(encoded(Image.new("RGBA", (32, 32)))) == ImageFault.FULLY_TRANSPARENT
    assert fault_of(encoded(Image.new("RGB", (32, 32), "teal"))) == ImageFault.FLAT


def test_arrays_are_admitted_on_request_and_lossless() -> None:
    raw = np.random.default_rng(1).integers(0, 255, (28, 20), dtype=np.uint8)
    picture = decode(b"P5\n20 28\n255\n" + raw.tobytes(), arrays=True)
    assert np.array_equal(picture.pixels[..., 0], raw) and picture.format == "PPM"


def test_every_fault_is_explained() -> None:
    assert all(EXPLANATIONS[fault] for fault in ImageFault)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FORMATS), st.integers(0, 10**6), st.binary(min_size=1, max_size=64))
def test_hostile_bytes_give_a_picture_or_a_reason(image_format: str, place: int, junk: bytes) -> None:
    data = bytearray(encoded(photo(), image_format))
    start = place % len(data)
    data[start : start + len(junk)] = junk
    try:
        assert decode(bytes(data)).pixels.dtype == np.uint8
    except BadImage as fault:
        assert fault.reason in EXPLANATIONS


def test_fit_letterboxes_without_distortion() -> None:
    wide = np.full((20, 80, 3), 200, np.uint8)
    square = fit(wide, 40, (1, 2, 3))
    assert square.shape == (40, 40, 3)
    assert tuple(square[0, 0]) == (1, 2, 3) and tuple(square[20, 20]) == (200, 200, 200)
    assert (square == 200).all(axis=2).sum() == 10 * 40


def test_fit_keeps_the_pixels_of_pixel_art() -> None:
    art = np.random.default_rng(2).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(fit(art, 64), art.repeat(2, axis=0).repeat(2, axis=1))
    assert np.array_equal(fit(art, 32), art)


def test_render_gives_the_shape_that_a_model_wants() -> None:
    data = encoded(photo())
    assert render(data, 64, 3).shape == (64, 64, 3)
    assert render(data, 64, 1).shape == (64, 64, 1)


def test_a_tiff_keeps_its_copyright_tag_through_decoding() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33432] = "(c) Ada"
    assert limits.open_image(encoded(photo(), "TIFF", tiffinfo=tags)).getexif()[33432] == "(c) Ada"


@pytest.mark.parametrize(
    ("file", "key"),
    [("a/b/c.png", "c"), ("c.tar.png", "c.tar"), ("x\\y.jpg", "y"), ("train.gz#00042", "00042"), ("C#.png", "C#")],
)
def test_default_keys(file: str, key: str) -> None:
    assert key_of(file) == key
