"""Fingerprints: the published hash, bit for bit, and thumbnails that survive storage."""

import io

import imagehash
import numpy as np
import pdqhash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.catalog.decode import glance
from pipeline.similarity.fingerprints import (
    GLANCE_SIDE,
    exchange_hash,
    fingerprint,
    glance_hash,
    hash_words,
    thumbnails,
)


def _reference(rgb: NDArray[np.uint8]) -> bytes:
    return np.packbits(imagehash.phash(Image.fromarray(rgb), hash_size=16).hash).tobytes()


def _symmetric_emblem(side: int) -> NDArray[np.uint8]:
    """Mirror-symmetric in both axes: half of its DCT coefficients are zero but for rounding."""
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((side // 4, side // 8, side - 1 - side // 4, side - 1 - side // 8), fill="black")
    half = np.asarray(image)[:, : side // 2]
    whole = np.concatenate([half, half[:, ::-1]], axis=1)
    return np.concatenate([whole[: side // 2], whole[: side // 2][::-1]], axis=0)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90), st.just(3)), fill=st.integers(0, 255)))
def test_hash_has_exactly_the_bits_of_imagehash(rgb: NDArray[np.uint8]) -> None:
    assert fingerprint(rgb).phash == _reference(rgb)


@pytest.mark.parametrize("side", [16, 28, 32, 64, 200])
def test_symmetric_pictures_hash_like_imagehash_too(side: int) -> None:
    emblem = _symmetric_emblem(side)
    assert fingerprint(emblem).phash == _reference(emblem)


def test_flat_picture_has_no_deviation_and_a_busy_one_has() -> None:
    assert fingerprint(np.full((50, 70, 3), 200, np.uint8)).flatness == 0.0
    busy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert fingerprint(busy).flatness > 10


def test_thumbnail_is_the_box_average_of_the_picture() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    averages = rgb.reshape(32, 2, 32, 3, 3).mean(axis=(1, 3))
    assert np.abs(thumbnails([fingerprint(rgb).thumbnail])[0] - averages).max() <= 1.0


def test_stored_hashes_and_thumbnails_come_back_in_order() -> None:
    rng = np.random.default_rng(2)
    prints = [fingerprint(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)) for _ in range(5)]
    words = hash_words([p.phash for p in prints])
    assert words.shape == (5, 4) and words.dtype == np.uint64
    assert [row.astype(">u8").tobytes() for row in words] == [p.phash for p in prints]
    assert [t.tobytes() for t in thumbnails([p.thumbnail for p in prints])] == [p.thumbnail for p in prints]
    assert hash_words([]).shape == (0, 4) and thumbnails([]).shape == (0, 32, 32, 3)


def _photograph(width: int, height: int, seed: int) -> Image.Image:
    """Detail at every scale, as in a photograph."""
    rng = np.random.default_rng(seed)
    sides = [(max(2, width // step), max(2, height // step)) for step in (200, 50, 12, 3)]
    layers = [rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8) for columns, rows in sides]
    image = Image.fromarray(layers[0]).resize((width, height), Image.Resampling.BICUBIC)
    for layer in layers[1:]:
        image = Image.blend(image, Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC), 0.25)
    return image


def _bits(packed: bytes) -> NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(packed, np.uint8))


def test_the_hash_of_a_large_picture_stays_close_to_that_of_imagehash() -> None:
    far = []
    for seed, (width, height) in enumerate([(640, 480), (701, 503), (1500, 300), (2000, 1333)]):
        rgb = np.asarray(_photograph(width, height, seed))
        far.append(int((_bits(fingerprint(rgb).phash) != _bits(_reference(rgb))).sum()))
    assert max(far) <= 12, far  # of 256 bits; two pictures count as the same up to 40


def test_the_hash_at_a_glance_stays_close_too() -> None:
    for seed in range(3):
        stream = io.BytesIO()
        _photograph(701, 503, seed).save(stream, "JPEG", quality=85)
        _, grey = glance(stream.getvalue(), GLANCE_SIDE)
        assert 64 <= min(grey.shape) < 128
        reference = _reference(np.asarray(Image.open(stream).convert("RGB")))
        assert (_bits(glance_hash(grey)) != _bits(reference)).sum() <= 24


def test_hashes_for_exchange_are_those_of_imagehash_and_pdqhash() -> None:
    image = _photograph(160, 120, 0)
    rgb = np.asarray(image)
    assert exchange_hash(rgb, "phash").hex() == str(imagehash.phash(image))
    assert exchange_hash(rgb, "dhash").hex() == str(imagehash.dhash(image))
    assert exchange_hash(rgb, "whash").hex() == str(imagehash.whash(image))
    assert np.array_equal(_bits(exchange_hash(rgb, "pdq")), pdqhash.compute(rgb)[0])


@pytest.mark.parametrize("side", [28, 200, 300])
def test_a_view_of_pixels_has_the_fingerprint_of_its_copy(side: int) -> None:
    rgb = np.random.default_rng(side).integers(0, 256, (side + 2, side + 2, 3), dtype=np.uint8)
    for view in (rgb[1:-1, 1:-1], rgb[:, ::-1], rgb.transpose(1, 0, 2)):
        assert fingerprint(view) == fingerprint(view.copy())
