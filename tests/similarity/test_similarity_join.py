"""The near-duplicate join: exactly the pairs of a brute-force search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.similarity.join import near_pairs, near_pairs_between

Pairs = list[tuple[int, int, int]]


def _codes(seed: int, count: int, words: int, flips: int) -> NDArray[np.uint64]:
    """Random codes, half of them copies of the first few with up to `flips` random bits flipped."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**64, (count, words), dtype=np.uint64)
    for row in range(count // 2, count):
        codes[row] = codes[rng.integers(0, max(1, count // 8))]
        for bit in rng.integers(0, 64 * words, rng.integers(0, flips + 1)):
            codes[row, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return codes


def _brute(left: NDArray[np.uint64], right: NDArray[np.uint64], distance: int) -> Pairs:
    apart = np.bitwise_count(left[:, None] ^ right[None]).sum(axis=-1, dtype=np.int64)
    return [(int(i), int(j), int(apart[i, j])) for i, j in np.argwhere(apart <= distance)]


def _triples(found: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Pairs:
    return [(i, j, d) for (i, j), d in zip(found[0].tolist(), found[1].tolist(), strict=True)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 200),
    words=st.sampled_from([1, 4]),
    distance=st.integers(0, 80),
)
def test_pairs_within_a_set_are_those_of_brute_force(seed: int, count: int, words: int, distance: int) -> None:
    codes = _codes(seed, count, words, 2 * distance)
    expected = [(i, j, d) for i, j, d in _brute(codes, codes, distance) if i < j]
    assert _triples(near_pairs(codes, distance)) == expected


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    new=st.integers(0, 60),
    stored=st.integers(0, 150),
    words=st.sampled_from([1, 4]),
    distance=st.integers(0, 60),
)
def test_pairs_between_two_sets_are_those_of_brute_force(
    seed: int, new: int, stored: int, words: int, distance: int
) -> None:
    codes = _codes(seed, new + stored, words, 2 * distance)
    rows = np.random.default_rng(seed).permutation(len(codes))
    left, right = codes[rows[:new]], codes[rows[new:]]
    assert _triples(near_pairs_between(left, right, distance)) == _brute(left, right, distance)


@pytest.mark.parametrize(("words", "distance"), [(1, 4), (1, 10), (4, 31), (4, 40)])
def test_banded_plans_miss_and_double_nothing(words: int, distance: int) -> None:
    """Large enough that several bands with flipped bits are cheaper than brute force."""
    codes = _codes(7, 4000, words, distance + 6)
    expected = [(i, j, d) for start in range(0, 4000, 500)
                for i, j, d in _brute(codes[start : start + 500], codes, distance) if start + i < j
                for i in [i + start]]  # fmt: skip
    assert len(expected) > 1000
    assert _triples(near_pairs(codes, distance)) == expected


def test_equal_codes_are_pairs_at_distance_zero() -> None:
    codes = np.full((5, 4), 12345, dtype=np.uint64)
    pairs, distances = near_pairs(codes, 0)
    assert pairs.tolist() == [[i, j] for i in range(5) for j in range(i + 1, 5)]
    assert distances.tolist() == [0] * 10
