"""The watermark: what goes in comes out, under its key, from recompressed, scaled and cut copies, unseen."""

import numpy as np
import pytest
from credentials_studio import decoded, encoded, picture
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from pipeline.core.errors import ImprimaturError
from pipeline.credentials import watermark
from pipeline.credentials.stamp import DECODE_ERRORS, decode
from pipeline.sample.drawings import CLASSES, draw

KEY = b"k" * 32
OTHER = b"o" * 32
SLOW_MUTATIONS = 60_000


def drawing(number: int, side: int) -> np.ndarray:
    label = sorted(CLASSES)[number % len(CLASSES)]
    return np.asarray(draw(label, number, 11, side).convert("RGB"))


def jpeg(rgb: np.ndarray, quality: int = 75) -> np.ndarray:
    return decoded(encoded(rgb, "JPEG", quality=quality))


def scaled(rgb: np.ndarray, factor: float) -> np.ndarray:
    height, width, _ = rgb.shape
    return np.asarray(Image.fromarray(rgb).resize((round(width * factor), round(height * factor))))


@pytest.fixture(scope="module")
def marked() -> list[np.ndarray]:
    """Eight drawings of 256 px, marked with their numbers."""
    return [watermark.embed(drawing(number, 256), number, KEY)[0] for number in range(8)]


@settings(max_examples=30, deadline=None)
@given(payload=some.integers(0, 2**32 - 1), seed=some.integers(0, 20), side=some.sampled_from([48, 64, 128]))
def test_every_payload_is_read_back(payload: int, seed: int, side: int) -> None:
    marked, _ = watermark.embed(picture(seed, side), payload, KEY)
    assert watermark.extract(marked, KEY) == payload


@pytest.mark.parametrize("key", [b"0123456789abcdef", bytes(32), b"\xff" * 32])
@pytest.mark.parametrize("side", [64, 128])
def test_every_key_serves(key: bytes, side: int) -> None:
    marked, _ = watermark.embed(picture(1, side), 41, key)
    assert watermark.extract(marked, key) == 41
    assert watermark.extract(marked, OTHER) is None


@pytest.mark.parametrize("side", [48, 64, 96, 112, 128, 200, 256])
def test_it_survives_jpeg_75_and_stays_invisible(side: int) -> None:
    for seed in range(12):
        payload = seed * 300_000_007
        marked, decibel = watermark.embed(picture(seed, side), payload, KEY)
        assert decibel >= (41 if side >= 180 else 38)
        assert watermark.extract_direct(jpeg(marked), KEY) == payload
        assert watermark.held(marked, KEY) == payload


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rgb: jpeg(rgb, 50), id="JPEG 50"),
        pytest.param(lambda rgb: scaled(rgb, 0.5), id="half size"),
        pytest.param(lambda rgb: scaled(rgb, 1.5), id="enlarged"),
        pytest.param(lambda rgb: jpeg(rgb[13:-13, 13:-13]), id="tenth cut off"),
        pytest.param(lambda rgb: jpeg(scaled(rgb[25:, 25:], 0.8)), id="corner cut off and scaled"),
        pytest.param(lambda rgb: jpeg(rgb[25:-25, 20:-30]), id="fifth cut off"),
        pytest.param(lambda rgb: jpeg(np.ascontiguousarray(rgb[:, ::-1])), id="mirrored"),
        pytest.param(lambda rgb: jpeg(np.ascontiguousarray(rgb[20:, :-9][:, ::-1])), id="mirrored and cut"),
        pytest.param(lambda rgb: jpeg(np.asarray(Image.fromarray(rgb).rotate(1.2))), id="turned by 1.2 degrees"),
        pytest.param(lambda rgb: jpeg(np.pad(rgb, ((40, 9), (0, 77), (0, 0)), constant_values=230)), id="framed"),
    ],
)
def test_copies_are_read(marked: list[np.ndarray], change) -> None:  # type: ignore[no-untyped-def]
    assert [watermark.extract(change(image), KEY) for image in marked] == list(range(8))


@pytest.mark.parametrize("shape", [(256, 384), (300, 190), (128, 200), (64, 96)])
def test_oblong_images_are_marked(shape: tuple[int, int]) -> None:
    height, width = shape
    oblong = picture(5, max(shape))[:height, :width]
    marked, _ = watermark.embed(oblong, 2024, KEY)
    assert watermark.extract(jpeg(marked), KEY) == 2024
    if min(shape) >= 128:
        assert watermark.extract(marked[height // 20 :, : -width // 20], KEY) == 2024


def test_a_mark_that_does_not_hold_is_told() -> None:
    """Black and white drawings of 64 px: clipping eats the mark of some, and none is marked beyond 38 dB."""
    held = []
    for seed in range(10):
        black = np.where(picture(seed).mean(axis=2, keepdims=True) > 128, 255, 0).astype(np.uint8).repeat(3, axis=2)
        marked, decibel = watermark.embed(black, seed, KEY)
        assert decibel >= 38
        held.append(watermark.held(marked, KEY) == seed)
        assert held[-1] == (watermark.extract(marked, KEY) == seed and watermark.extract(jpeg(marked), KEY) == seed)
    assert 3 <= sum(held) < 10


def test_grey_stays_grey() -> None:
    for side in (64, 128):
        grey = picture(1, side).mean(axis=2, keepdims=True).astype(np.uint8).repeat(3, axis=2)
        marked, _ = watermark.embed(grey, 5, KEY)
        assert (marked == marked[:, :, :1]).all()
        assert watermark.extract(marked, KEY) == 5


@pytest.mark.parametrize("side", [64, 256])
def test_the_same_input_gives_the_same_pixels(side: int) -> None:
    first, _ = watermark.embed(picture(2, side), 77, KEY)
    again, _ = watermark.embed(picture(2, side), 77, KEY)
    assert (first == again).all()


def test_nothing_is_read_without_a_mark_or_under_another_key(marked: list[np.ndarray]) -> None:
    assert watermark.false_reading_chance() < 1e-6
    images = [picture(seed) for seed in range(60)] + [drawing(seed, 256) for seed in range(10)]
    assert [watermark.extract(image, KEY) for image in images] == [None] * len(images)
    assert [watermark.extract(image, OTHER) for image in marked] == [None] * len(marked)


@pytest.mark.parametrize("colour", [0, 128, 255])
@pytest.mark.parametrize("side", [64, 256])
def test_a_blank_image_is_marked_and_holds_no_mark_before(colour: int, side: int) -> None:
    blank = np.full((side, side, 3), colour, np.uint8)
    assert watermark.extract(blank, KEY) is None
    assert watermark.extract(watermark.embed(blank, 2**31, KEY)[0], KEY) == 2**31


def test_a_small_image_is_refused_with_the_setting_that_helps() -> None:
    with pytest.raises(ImprimaturError, match=r"batch\.scale"):
        watermark.embed(picture(0, 47), 1, KEY)
    assert watermark.extract(picture(0, 8), KEY) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (17, 900), (16, 16), (900, 60), (3, 2)])
def test_any_shape_is_searched_without_a_fault(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert watermark.extract(noise, KEY) is None


@given(payload=some.one_of(some.none(), some.integers(0, 2**32 - 1)))
def test_a_payload_is_written_as_eight_hex_digits(payload: int | None) -> None:
    text = watermark.payload_hex(payload)
    assert (text == "") if payload is None else (len(text) == 8 and int(text, 16) == payload)


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """A file with bytes changed, cut out, repeated or cut off."""
    changed = bytearray(data)
    place, length = int(random.integers(len(data))), int(random.integers(1, 64))
    match random.integers(5):
        case 0:
            return bytes(changed[:place])
        case 1:
            del changed[place : place + length]
        case 2:
            changed[place:place] = changed[place : place + length]
        case _:
            for _ in range(int(random.integers(1, 12))):
                changed[int(random.integers(len(data)))] = int(random.integers(256))
    return bytes(changed)


def fuzz(count: int, seed: int) -> tuple[int, int]:
    """(Files that decoded, readings of another payload) among `count` mutations of marked files of four formats."""
    random = np.random.default_rng(seed)
    image, _ = watermark.embed(picture(9, 64), 123, KEY)
    larger, _ = watermark.embed(picture(9, 128), 123, KEY)
    files = [encoded(pixels, kind) for pixels in (image, larger) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    opened, wrong = 0, 0
    for number in range(count):
        try:
            rgb = decode(mutated(files[number % len(files)], random))
        except DECODE_ERRORS:
            continue
        if rgb.size > 3 * 10**6:
            continue  # a mutated header may promise up to 64 million pixels; decoding them is not what is tested
        opened += 1
        wrong += watermark.extract(rgb, KEY) not in (123, None)
    return opened, wrong


def test_mutated_files_are_read_rightly_or_not_at_all() -> None:
    opened, wrong = fuzz(400, seed=1)
    assert opened > 100
    assert wrong == 0


@pytest.mark.slow
def test_many_mutated_files_are_read_rightly_or_not_at_all() -> None:
    opened, wrong = fuzz(SLOW_MUTATIONS, seed=2)
    assert opened > SLOW_MUTATIONS // 4
    assert wrong == 0


@settings(max_examples=60, deadline=None)
@given(data=some.binary(min_size=300, max_size=2000), width=some.integers(1, 90))
def test_arbitrary_pixels_are_read_as_nothing(data: bytes, width: int) -> None:
    height = max(1, len(data) // (3 * width))
    row = np.frombuffer(data.ljust(3 * width * height, b"\0")[: 3 * width * height], np.uint8)
    assert watermark.extract(row.reshape(height, width, 3), KEY) is None
