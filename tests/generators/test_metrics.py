"""The metrics say what they are known to say of distributions with a known answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.generators.metrics import NearCopies, frechet_distance, frechet_figure, inside, nearest, share_figure


def normal(seed: int, count: int = 600, width: int = 8, mean: float = 0.0, scale: float = 1.0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(mean, scale, (count, width)).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3), st.floats(0.2, 3))
def test_the_frechet_distance_of_two_gaussians_is_its_closed_form(mean: float, scale: float) -> None:
    distance = frechet_distance(normal(0, 20_000), normal(1, 20_000, mean=mean, scale=scale))
    expected = 8 * (mean**2 + (1 - scale) ** 2)
    assert distance == pytest.approx(expected, rel=0.1, abs=0.02)


def test_images_fewer_than_their_features_have_the_distance_of_their_own_span() -> None:
    a, b = normal(0, 40), normal(1, 40, mean=0.5, scale=2.0)
    turn, _ = np.linalg.qr(normal(2, 64, width=64))
    in_many = [np.pad(each, ((0, 0), (0, 56))) @ turn.astype(np.float32) for each in (a, b)]
    assert frechet_distance(*in_many) == pytest.approx(frechet_distance(a, b), rel=1e-4)


def test_the_distance_of_a_set_from_itself_is_nothing_and_symmetric_otherwise() -> None:
    a, b = normal(0), normal(1, mean=0.5)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_the_bootstrap_interval_holds_the_value_and_shrinks_with_more_images() -> None:
    real = normal(0, 4_000)
    small = frechet_figure(normal(1, 200, mean=0.5), real, normal(2, 200), 0)
    large = frechet_figure(normal(1, 3_000, mean=0.5), real, normal(2, 3_000), 0)
    assert large.low < large.value < large.high and large.low < 8 * 0.25 < large.high + 0.1
    assert large.high - large.low < small.high - small.low
    assert large.real < large.value and large.real < small.real


def test_precision_and_recall_tell_bad_images_from_missing_ones() -> None:
    real, half = normal(0), normal(1)
    half = half[half[:, 0] > 0]
    assert inside(half, real).mean() > 0.7  # what is made is real-looking ...
    assert inside(real, half).mean() < 0.75 < inside(real, normal(2)).mean()  # ... but half of the real is missing
    assert inside(normal(3, mean=9), real).mean() == 0


def test_a_collapsed_model_has_no_recall() -> None:
    assert inside(normal(0), np.zeros((600, 8), np.float32)).mean() == 0


def test_a_share_stands_with_its_interval() -> None:
    figure = share_figure(np.arange(400) < 100, 0.3, 0)
    assert figure.value == 0.25 and figure.real == 0.3
    assert 0.19 < figure.low < 0.25 < figure.high < 0.31


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 700), st.integers(0, 2**32 - 1))
def test_the_nearest_is_what_the_plain_search_finds(count: int, seed: int) -> None:
    known, queries = normal(seed, count), normal(seed + 1, 5)
    distances, rows = nearest(queries, known)
    plain = np.linalg.norm(queries[:, None] - known, axis=2)
    assert np.allclose(distances, plain.min(axis=1), atol=1e-3)
    assert np.allclose(plain[np.arange(5), rows], plain.min(axis=1), atol=1e-3)
    left_out, _ = nearest(known, known, np.arange(count))
    assert (left_out > 0).all()


@pytest.mark.parametrize(("side", "channels"), [(28, 1), (64, 3), (40, 3)])
def test_copies_are_found_and_new_pictures_are_not(side: int, channels: int) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (300, side, side, channels), np.uint8)
    copies = NearCopies.fit(pixels, 0)
    nearly = np.clip(pixels[:50] + random.normal(0, 3, pixels[:50].shape), 0, 255).astype(np.uint8)
    assert copies.among(nearly).all()
    assert copies.among(random.integers(0, 255, (200, side, side, channels), np.uint8)).mean() < 0.05
    assert copies.expected < 0.06
