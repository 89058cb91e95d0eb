"""The stored index answers like the join, however its codes came in."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import ImprimaturError
from pipeline.similarity.hash_index import HashIndex
from pipeline.similarity.join import near_pairs_between


@pytest.mark.parametrize(("words", "distance"), [(1, 8), (4, 31)])
def test_batches_added_one_by_one_are_all_found(tmp_path: Path, words: int, distance: int) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, (3000, words), dtype=np.uint64)
    index = HashIndex(tmp_path, words, distance)
    for start, stop in ((0, 2000), (2000, 2100), (2100, 2150), (2150, 2900), (2900, 3000)):
        index.add(codes[start:stop])
        assert len(HashIndex(tmp_path, words, distance)) == stop
    kept = {path.parent.name for path in tmp_path.glob("*/*.npy")}
    assert kept == {path.parent.name for path in tmp_path.glob("*/segment.json")}  # joined segments are gone
    batch = codes[rng.integers(0, 3000, 500)].copy()
    for row in range(500):
        for bit in rng.integers(0, 64 * words, rng.integers(0, distance + 4)):
            batch[row, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    pairs, distances = HashIndex(tmp_path, words, distance).near(batch)
    expected, apart = near_pairs_between(batch, codes, distance)
    assert len(expected) > 300
    assert np.array_equal(pairs, expected) and np.array_equal(distances, apart)


def test_an_index_of_another_distance_is_refused(tmp_path: Path) -> None:
    HashIndex(tmp_path, 1, 8).add(np.arange(10, dtype=np.uint64)[:, None])
    with pytest.raises(ImprimaturError, match="another distance"):
        HashIndex(tmp_path, 1, 4).near(np.zeros((1, 1), np.uint64))
