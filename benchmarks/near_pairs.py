"""The exact near-duplicate join beside faiss's exact binary index, on the same hashes, in one run. CPU seconds.

faiss answers a sample of queries and is extrapolated to all of them; our join runs whole. Hashes are drawn, 15 % of
them copies of others with up to 12 flipped bits. pip install faiss-cpu

    python benchmarks/near_pairs.py [--codes 1000000] [--ten-million] [--sharded 4000000]

`--sharded`: so many codes of 256 bits by the single join and by the join in shards, with one worker and with two; by
the clock, so the machine must have nothing else to do.
    python benchmarks/near_pairs.py [--codes 1000000] [--ten-million] [--crops]
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.settings import WorkSettings
from pipeline.similarity.crop_index import CropIndex
from pipeline.similarity.hash_index import HashIndex
from pipeline.similarity.join import near_pairs, near_pairs_between
from pipeline.similarity.shard_join import join_with


def codes_of(count: int, words: int) -> NDArray[np.uint64]:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, (count, words), dtype=np.uint64)
    copies = np.arange(count - int(0.15 * count), count)
    codes[copies] = codes[rng.integers(0, copies[0], len(copies))]
    for flip in range(12):
        some = copies[rng.integers(0, 13, len(copies)) > flip]
        bits = rng.integers(0, 64 * words, len(some))
        codes[some, bits // 64] ^= np.uint64(1) << (bits % 64).astype(np.uint64)
    return codes


def cpu(function) -> tuple[float, object]:
    started = time.process_time()
    found = function()
    return time.process_time() - started, found


def measure(count: int, words: int, distance: int, queries: int) -> None:
    codes = codes_of(count, words)
    ours, (pairs, _) = cpu(lambda: near_pairs(codes, distance))
    line = f"{count:>10,} x {64 * words} bits, distance {distance}: {len(pairs):,} pairs in {ours:.1f} CPU-s"
    if queries:
        index = faiss.IndexBinaryFlat(64 * words)
        packed = codes.view(np.uint8).reshape(count, 8 * words)
        index.add(packed)
        asked, (limits, _, _) = cpu(lambda: index.range_search(packed[:queries], distance + 1))  # strictly below
        theirs = asked * count / queries
        pairs_asked, _ = near_pairs_between(codes[:queries], codes, distance)
        assert len(pairs_asked) == int(limits[-1]), "faiss found other pairs"
        line += f"; faiss Flat {theirs:.0f} (from {queries:,} queries): {theirs / ours:.0f}x"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{line}; peak {memory:.2f} GB", flush=True)


def measure_index(stored: int, batch: int) -> None:
    """A batch against a stored index: CPU seconds of the look-up alone; compare the lines of two store sizes."""
    codes = codes_of(stored + batch, 1)
    with tempfile.TemporaryDirectory() as folder:
        built, _ = cpu(lambda: HashIndex(Path(folder), 1, 8).add(codes[:stored]))
        HashIndex(Path(folder), 1, 8).near(codes[:10])  # compiles
        asked, (pairs, _) = cpu(lambda: HashIndex(Path(folder), 1, 8).near(codes[stored:]))
    print(
        f"{batch:,} codes against {stored:,} stored: {len(pairs):,} pairs in {asked:.2f} CPU-s "
        f"(built once in {built:.1f})",
        flush=True,
    )


def measure_shards(count: int) -> None:
    """The join in shards finds the pairs of the single one; seconds of the clock."""
    codes = codes_of(count, 4)
    started = time.monotonic()
    pairs, distances = near_pairs(codes, 31)
    print(
        f"{count:,} x 256 bits, distance 31: {len(pairs):,} pairs in {time.monotonic() - started:.0f} s", flush=True
    )
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            join = join_with(WorkSettings(workers=workers), Path(folder) / "join")
            started = time.monotonic()
            found = join(codes, 31)
            took = time.monotonic() - started
        assert np.array_equal(found[0], pairs) and np.array_equal(found[1], distances)
        print(f"the same pairs in shards, {workers} worker(s): {took:.0f} s", flush=True)


def measure_crops(stored: int, batch: int) -> None:
    """The same for the windows of drawn thumbnails, by which cropped repeats are found."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (stored + batch, 8, 8, 3), dtype=np.uint8)
    pictures = np.stack(
        [np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC)) for one in small]
    )
    with tempfile.TemporaryDirectory() as folder:
        index = CropIndex(Path(folder))
        built, _ = cpu(lambda: [index.add(pictures[at : at + 5_000]) for at in range(0, stored, 5_000)])
        index.near(pictures[:10])  # compiles
        asked, rows = cpu(lambda: index.near(pictures[stored:]))
    print(
        f"windows of {batch:,} pictures against those of {stored:,} stored: {len(rows):,} found in {asked:.2f} CPU-s "
        f"(built once in {built:.1f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=1_000_000)
    parser.add_argument("--ten-million", action="store_true")
    parser.add_argument("--sharded", type=int, default=0)
    parser.add_argument("--crops", action="store_true", help="only the stored index of windows")
    arguments = parser.parse_args()
    for stored in (5_000, 50_000) if arguments.crops else ():
        measure_crops(stored, 500)
    if arguments.crops:
        return
    faiss.omp_set_num_threads(1)
    for words, distance in ((1, 8), (4, 31)):
        near_pairs(codes_of(2000, words), distance)  # compiles
    if arguments.sharded:
        measure_shards(arguments.sharded)
        return
    for words, distance in ((1, 8), (4, 31)):
        measure(arguments.codes, words, distance, queries=1500)
    if arguments.ten_million:
        measure(10_000_000, 1, 8, queries=0)
        for stored in (1_000_000, 10_000_000):
            for batch in (1_000, 10_000):
                measure_index(stored, batch)


if __name__ == "__main__":
    main()
