"""All pairs of perceptual hashes within a Hamming distance: exact, by a multi-index join (see bands.py)."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.similarity.bands import Codes, band_blocks, bucketed, plan_bands

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
Join = Callable[[Codes, int], Pairs]  # near_pairs, or what answers like it


def near_pairs(codes: Codes, distance: int) -> Pairs:
    """Pairs of rows of `codes`, shape (N, W) uint64, at most `distance` bits apart.

    Returns (pairs, distances), shapes (M, 2) and (M,), with i < j in each pair, sorted: the pairs of a brute-force
    search, all of them. A pile of k equal codes has k(k-1)/2 pairs; join `np.unique(codes, axis=0)` to keep it one.
    """
    found = [np.empty((0, 3), dtype=np.int64)]
    if len(codes) and distance >= 0:
        plan = plan_bands(codes.shape[1], distance, len(codes))
        for band in range(len(plan.widths)):
            own = bucketed(codes, plan, band)
            found += band_blocks(own, own, plan, band, distance)
    triples = np.concatenate(found)
    triples[:, :2].sort(axis=1)
    return in_order(triples)


def near_pairs_between(new: Codes, stored: Codes, distance: int) -> Pairs:
    """Pairs (row of `new`, row of `stored`), at most `distance` bits apart, and their distances, sorted."""
    return in_order(np.concatenate([np.empty((0, 3), np.int64), *near_blocks_between(new, stored, distance)]))


def near_blocks_between(new: Codes, stored: Codes, distance: int) -> Iterator[NDArray[np.int64]]:
    """The same as triples (row of `new`, row of `stored`, distance), shape (m, 3), some at a time, in no order."""
    if len(new) and len(stored) and distance >= 0:
        plan = plan_bands(stored.shape[1], distance, len(stored))
        for band in range(len(plan.widths)):
            yield from band_blocks(bucketed(new, plan, band), bucketed(stored, plan, band), plan, band, distance)


def in_order(triples: NDArray[np.int64]) -> Pairs:
    """Triples (i, j, distance) as sorted pairs and their distances."""
    triples = triples[np.lexsort((triples[:, 1], triples[:, 0]))]
    return triples[:, :2].copy(), triples[:, 2].copy()
