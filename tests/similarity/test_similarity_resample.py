"""Smaller versions of a picture: Pillow's, bit for bit, along one side at a time."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.similarity.resample import MOST, area_means, block_means, lanczos, luma

sides, seeds = st.integers(1, 300), st.integers(0, 2**32 - 1)


def _noise(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Noise, or pixels that are black or white, which go furthest; sometimes read-only, as decoders give them."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if seed % 3 == 0:
        rgb = np.where(rgb < 128, np.uint8(0), np.uint8(255))
    rgb.flags.writeable = bool(seed % 2)
    return rgb


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 12), seeds)
def test_means_of_columns_are_those_of_reduce(height: int, width: int, across: int, seed: int) -> None:
    rgb = _noise(height, width, seed)
    assert np.array_equal(block_means(rgb, 1, across), np.asarray(Image.fromarray(rgb).reduce((across, 1))))


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, MOST), seeds)
def test_means_of_rows_are_rounded_half_up(height: int, width: int, down: int, seed: int) -> None:
    rgb = _noise(height, width, seed)
    for top, means in zip(range(0, height, down), block_means(rgb, down, 1), strict=True):
        block = rgb[top : top + down].astype(np.int64)
        assert np.array_equal(means, (block.sum(axis=0) + len(block) // 2) // len(block))


def test_means_of_the_largest_blocks_of_any_level_are_exact() -> None:
    for level in range(256):
        assert (block_means(np.full((MOST, 2, 3), level, np.uint8), MOST, 1) == level).all()


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.floats(0, 0.999), st.integers(1, 100), seeds)
def test_lanczos_is_that_of_resize_by_columns_and_then_by_rows(
    height: int, width: int, cut: float, size: int, seed: int
) -> None:
    grey = luma(_noise(height, width, seed))
    extent = (width - cut, height - cut)
    across = Image.fromarray(grey).resize((size, height), Image.Resampling.LANCZOS, box=(0, 0, extent[0], height))
    both = across.resize((size, size), Image.Resampling.LANCZOS, box=(0, 0, size, extent[1]))
    assert np.array_equal(lanczos(grey, size, extent), np.asarray(both))


@settings(max_examples=40, deadline=None)
@given(sides, sides, seeds)
def test_luma_is_that_of_convert(height: int, width: int, seed: int) -> None:
    rgb = _noise(height, width, seed)
    assert np.array_equal(luma(rgb), np.asarray(Image.fromarray(rgb).convert("L")))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), seeds)
def test_area_means_share_pixels_between_cells(height: int, width: int, count: int, seed: int) -> None:
    rgb = _noise(height, width, seed)
    parts = rgb.astype(np.int64).repeat(count, axis=0).repeat(count, axis=1)  # each cell holds height x width of them
    sums = parts.reshape(count, height, count, width, 3).sum(axis=(1, 3))
    assert np.array_equal(area_means(rgb, count), (2 * sums + height * width) // (2 * height * width))
