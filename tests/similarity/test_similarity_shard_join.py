"""The join over shards, through the work seam, finds the pairs of the single join."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.settings import WorkSettings
from pipeline.core.work import mapper
from pipeline.similarity.join import near_pairs
from pipeline.similarity.shard_join import join_shards, join_with


@pytest.mark.parametrize(("words", "distance", "backend"), [(1, 8, "serial"), (4, 31, "serial"), (1, 60, "serial"),
                                                            (1, 4, "processes")])  # fmt: skip
def test_the_same_pairs_as_the_single_join(tmp_path: Path, words: int, distance: int, backend: str) -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 2**64, (3000, words), dtype=np.uint64)
    for row in range(1500, 3000):
        codes[row] = codes[rng.integers(0, 600)]
        for bit in rng.integers(0, 64 * words, rng.integers(0, distance + 6)):
            codes[row, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    codes = codes[:300] if distance == 60 else codes[rng.permutation(3000)]
    shards, counts = [], []
    for number, part in enumerate(np.array_split(codes, 3)):
        shards.append(tmp_path / f"codes-{number}.npy")
        counts.append(len(part))
        np.save(shards[-1], part)
    with mapper(backend, 2) as pmap:  # type: ignore[arg-type]
        pairs, distances = join_shards(pmap, shards, counts, words, distance, tmp_path / "work")
    expected, apart = near_pairs(codes, distance)
    assert len(expected) > 500
    assert np.array_equal(pairs, expected) and np.array_equal(distances, apart)


def test_more_codes_than_a_shard_holds_go_to_the_workers_and_leave_nothing_behind(tmp_path: Path) -> None:
    codes = np.random.default_rng(4).integers(0, 2**64, (2500, 4), dtype=np.uint64)
    codes[2000:] = codes[:500] ^ np.uint64(0b1011)
    join = join_with(WorkSettings(backend="serial"), tmp_path, shard_size=1000)
    pairs, distances = join(codes, 20)
    assert len(pairs) == 500 and (distances == 12).all()
    assert np.array_equal(pairs, near_pairs(codes, 20)[0])
    assert not list(tmp_path.iterdir())
