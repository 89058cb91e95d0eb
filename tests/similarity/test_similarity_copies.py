"""The copy guard: planted copies are found and flagged at the stated rate of false alarms."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.similarity.copies import CopyGuard
from pipeline.similarity.fingerprints import fingerprint, thumbnails

Pictures = NDArray[np.uint8]


def _pictures(start: int, count: int) -> Pictures:
    """Smooth random colour pictures as thumbnails, shape (count, 32, 32, 3)."""
    prints = []
    for seed in range(start, start + count):
        small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        prints.append(fingerprint(np.asarray(Image.fromarray(small).resize((48, 48), Image.Resampling.BICUBIC))))
    return thumbnails([one.thumbnail for one in prints])


def _noisy(pictures: Pictures) -> Pictures:
    noise = np.random.default_rng(0).normal(0, 8, pictures.shape)
    return np.clip(pictures + noise, 0, 255).astype(np.uint8)


def _shifted(pictures: Pictures) -> Pictures:
    return np.pad(pictures, ((0, 0), (1, 0), (1, 0), (0, 0)), mode="edge")[:, :-1, :-1]


def _blurred(pictures: Pictures) -> Pictures:
    soft = [np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1))) for picture in pictures]
    return np.stack(soft)


CHANGES = {
    "none": lambda pictures: pictures,
    "noise": _noisy,
    "blur": _blurred,
    "darker": lambda pictures: (0.85 * pictures).astype(np.uint8),
    "mirror": lambda pictures: pictures[:, :, ::-1].copy(),
    "shift": _shifted,
    "mirror and shift": lambda pictures: _shifted(pictures[:, :, ::-1]),
}


@pytest.fixture(scope="module")
def known() -> Pictures:
    return _pictures(0, 400)


@pytest.fixture(scope="module")
def guard(known: Pictures) -> CopyGuard:
    return CopyGuard.fit(known, 0.02, seed=0)


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_are_found_and_flagged(guard: CopyGuard, known: Pictures, change: str) -> None:
    nearest = guard.query(CHANGES[change](known[:60]))
    assert nearest.indices.shape == nearest.distances.shape == (60, 5)
    assert nearest.distances.dtype == np.float32 and nearest.indices.dtype == np.int64
    assert (nearest.indices[:, 0] == np.arange(60)).all()
    assert nearest.copies.mean() >= 0.95
    assert (np.diff(nearest.distances, axis=1) >= 0).all()


def test_a_copy_is_told_from_the_variants_of_its_source(known: Pictures) -> None:
    """Each picture is there five times, each time with another square in it."""
    variants = np.repeat(known[:80], 5, axis=0)
    for row, picture in enumerate(variants):
        corner = 4 + 5 * (row % 5)
        picture[corner : corner + 5, corner : corner + 5] = 255 - picture[corner : corner + 5, corner : corner + 5]
    guard = CopyGuard.fit(variants, 0.02, seed=0)
    for change in (_noisy, _blurred):
        nearest = guard.query(change(variants[:60]))
        assert (nearest.indices[:, 0] == np.arange(60)).all() and nearest.copies.mean() >= 0.9


def test_a_flat_picture_is_no_copy(guard: CopyGuard, known: Pictures) -> None:
    flat = np.full((2, 32, 32, 3), 255, dtype=np.uint8)
    flat[1, 0, 0] = 0  # all that is in it lies at the edge
    assert not guard.query(flat).copies.any()
    assert not CopyGuard.fit(np.concatenate([flat, known[:50]]), 0.02, seed=0).query(flat).copies.any()


def test_new_pictures_raise_few_false_alarms(guard: CopyGuard) -> None:
    assert guard.query(_pictures(10_000, 300)).copies.mean() <= 0.05  # stated rate 0.02


def test_the_expected_rate_of_honest_pictures_is_near_the_rate_that_was_asked_for(known: Pictures) -> None:
    honest = CopyGuard.fit(known, 0.1, seed=0).honest
    assert honest.pictures == len(known)
    assert 0.04 <= honest.rate <= 0.2
    assert CopyGuard.fit(known[:1], 0.1, seed=0).honest.rate == 0


def test_thresholds_come_from_the_known_pictures_and_follow_the_rate(known: Pictures) -> None:
    strict, lax = CopyGuard.fit(known, 0.01, seed=0), CopyGuard.fit(known, 0.2, seed=0)
    assert (strict.thresholds > 0).all() and (strict.thresholds < lax.thresholds).all()
    alike = (0.9 * known[:1].astype(float) + 0.1 * known[:200]).astype(np.uint8)  # a set of look-alikes
    assert CopyGuard.fit(alike, 0.01, seed=0).thresholds[0] < strict.thresholds[0]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
def test_few_known_pictures_are_enough(known: Pictures, count: int) -> None:
    nearest = CopyGuard.fit(known[:count], 0.01, seed=0).query(np.concatenate([known[:count], known[300:310]]))
    assert nearest.indices.shape == (count + 10, min(5, count))
    assert nearest.copies.tolist() == [True] * count + [False] * 10


def test_a_set_of_one_picture_repeated_still_flags_that_picture(known: Pictures) -> None:
    nearest = CopyGuard.fit(np.repeat(known[:1], 30, axis=0), 0.01, seed=0).query(known[:2])
    assert nearest.copies.tolist() == [True, False]
    assert nearest.indices[0].tolist() == [0, 1, 2, 3, 4]


def test_duplicates_among_the_known_pictures_do_not_blind_the_guard(known: Pictures) -> None:
    doubled = np.concatenate([known[:200], _noisy(known[:200])])
    assert CopyGuard.fit(doubled, 0.02, seed=0).query(CHANGES["darker"](known[:60])).copies.mean() >= 0.95


def test_among_searches_a_part_with_the_same_thresholds(guard: CopyGuard, known: Pictures) -> None:
    part = guard.among(np.arange(100, 200))
    assert np.array_equal(part.thresholds, guard.thresholds)
    assert part.query(known[150:152]).indices[:, 0].tolist() == [50, 51]
    assert not part.query(known[:20]).copies.any()


def test_the_same_seed_gives_the_same_guard(guard: CopyGuard, known: Pictures) -> None:
    again = CopyGuard.fit(known, 0.02, seed=0)
    assert np.array_equal(again.thresholds, guard.thresholds)
    first, second = guard.query(known[:30]), again.query(known[:30])
    assert np.array_equal(first.indices, second.indices) and np.array_equal(first.distances, second.distances)
