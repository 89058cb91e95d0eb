"""The drawings: reproducible, distinct, and fit to be hashed."""

import itertools

import imagehash
import numpy as np
import pytest
from PIL import Image

from pipeline.sample.drawings import CLASSES, draw
from pipeline.sample.encoding import copied, encode


@pytest.mark.parametrize("label", sorted(CLASSES))
def test_a_drawing_depends_on_its_class_number_and_seed_alone(label: str) -> None:
    first, again = draw(label, 5, seed=7), draw(label, 5, seed=7)
    assert first.tobytes() == again.tobytes()
    assert (first.size, first.mode) == ((64, 64), "RGB")
    assert first.tobytes() != draw(label, 6, seed=7).tobytes()
    assert first.tobytes() != draw(label, 5, seed=8).tobytes()


@pytest.mark.parametrize("label", sorted(CLASSES))
def test_drawings_have_contrast_and_use_the_canvas(label: str) -> None:
    for number in range(40):
        pixels = np.asarray(draw(label, number, seed=7), np.float64)
        assert pixels.std() > 12, f"{label} {number} is nearly blank"
        assert (pixels == 255).all(axis=2).mean() < 0.3, f"{label} {number} is burnt out"


@pytest.mark.parametrize("label", sorted(CLASSES))
def test_no_two_drawings_are_near_duplicates(label: str) -> None:
    """The default rule: phash-256 within 40 bits and 32x32 thumbnails within 10 grey levels."""
    drawings = [draw(label, number, seed=7) for number in range(150)]
    hashes = [imagehash.phash(image, hash_size=16) for image in drawings]
    thumbnails = [np.asarray(image.resize((32, 32), Image.Resampling.BOX), np.int16) for image in drawings]
    for one, other in itertools.combinations(range(len(drawings)), 2):
        alike = np.abs(thumbnails[one] - thumbnails[other]).mean() <= 10
        assert not (alike and hashes[one] - hashes[other] <= 40), f"{label} {one} and {other}"


@pytest.mark.parametrize("label", sorted(CLASSES))
@pytest.mark.parametrize("kind", ["recompressed", "resized", "brighter"])
def test_near_copies_are_within_reach_of_the_duplicate_rule(label: str, kind: str) -> None:
    for number in range(12):
        original = draw(label, number, seed=7)
        near = _decoded(copied(encode(original, "png"), kind, "jpeg" if kind == "recompressed" else "png"))
        assert imagehash.phash(original, hash_size=16) - imagehash.phash(near, hash_size=16) <= 24
        small = [np.asarray(i.resize((32, 32), Image.Resampling.BOX), np.int16) for i in (original, near)]
        assert np.abs(small[0] - small[1]).mean() <= 8


@pytest.mark.parametrize("format_", ["png", "webp"])
def test_a_reencoded_copy_has_the_pixels_and_not_the_mark(format_: str) -> None:
    from pipeline.sample.encoding import data_mining_mark

    marked = encode(draw("emblems", 1, seed=7), "png", data_mining_mark("PROHIBITED"))
    stripped = copied(marked, "reencoded", format_)
    assert b"DMI-PROHIBITED" in marked
    assert b"DMI-" not in stripped
    assert _decoded(stripped).tobytes() == _decoded(marked).tobytes()


def _decoded(data: bytes) -> Image.Image:
    import io

    return Image.open(io.BytesIO(data)).convert("RGB")
