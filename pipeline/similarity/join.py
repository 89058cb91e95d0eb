"""All pairs of perceptual hashes within a Hamming distance: exact, by a multi-index join.

Pigeonhole (Norouzi, Punjani, Fleet: Fast Exact Search in Hamming Space with Multi-Index Hashing, 2014): cut the codes
into bands and allow t_i differing bits in band i, with sum(t_i + 1) > distance. Then two codes within the distance
agree, up to t_i bits, in at least one band i; only such pairs are compared in full. A pair is reported by the first
of its bands that qualifies, so that no pair comes twice.
"""

from itertools import combinations
from math import comb

import numba
import numpy as np
from numpy.typing import NDArray

_MAXIMUM_BAND_BITS = 22  # a table of 4 million buckets: 32 MB

Codes = NDArray[np.uint64]


def near_pairs(codes: Codes, distance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of rows of `codes`, shape (N, W) uint64, at most `distance` bits apart.

    Returns (pairs, distances), shapes (M, 2) and (M,), with i < j in each pair, sorted: the pairs of a brute-force
    search, all of them. A pile of k equal codes has k(k-1)/2 pairs; join `np.unique(codes, axis=0)` to keep it one.
    """
    return _join(codes, codes, distance, itself=True)


def near_pairs_between(new: Codes, stored: Codes, distance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (row of `new`, row of `stored`), at most `distance` bits apart, and their distances, sorted."""
    return _join(new, stored, distance, itself=False)


def _join(queries: Codes, stored: Codes, distance: int, itself: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    found = [np.empty((0, 3), dtype=np.int64)]
    if len(queries) and len(stored) and distance >= 0:
        widths, flips = _plan(64 * stored.shape[1], distance, len(stored))
        stored_keys = _band_keys(stored, widths)
        query_keys = stored_keys if itself else _band_keys(queries, widths)
        for band in range(len(widths)):
            found.append(_probe_band(queries, stored, query_keys, stored_keys, widths, flips, band, distance, itself))
    triples = np.concatenate(found)
    triples = triples[np.lexsort((triples[:, 1], triples[:, 0]))]
    return triples[:, :2].copy(), triples[:, 2].copy()


def _plan(bits: int, distance: int, count: int) -> tuple[list[int], list[int]]:
    """Widths of the bands in bits, and the bits that may differ in each: the cheapest plan for `count` codes.

    Cost of a code: one look-up a probe, and the codes met there if keys were spread evenly. One band of width 0
    is brute force, which wins for few codes or large distances.
    """
    plans = [([0], [0])]
    for bands in range(-(-bits // _MAXIMUM_BAND_BITS), min(bits, distance + 1) + 1):
        widths = [bits // bands + (band < bits % bands) for band in range(bands)]
        owed = distance + 1 - bands  # on top of one for each band
        flips = [owed // bands + (band < owed % bands) for band in range(bands)]
        plans.append((widths, flips))
    return min(plans, key=lambda plan: _cost(plan, count))


def _cost(plan: tuple[list[int], list[int]], count: int) -> float:
    cost = 0.0
    for width, flip in zip(*plan, strict=True):
        cost += sum(comb(width, k) for k in range(flip + 1)) * (1 + count / 2**width)
    return cost


def _band_keys(codes: Codes, widths: list[int]) -> NDArray[np.uint32]:
    """Shape (bands, N): band b takes every bands-th bit from b on, since neighbouring bits go together."""
    bands = len(widths)
    keys = np.zeros((bands, len(codes)), dtype=np.uint32)
    for band, width in enumerate(widths):
        for place in range(width):
            bit = band + place * bands
            keys[band] |= ((codes[:, bit // 64] >> np.uint64(bit % 64)) & np.uint64(1)).astype(np.uint32) << place
    return keys


def _probe_band(
    queries: Codes,
    stored: Codes,
    query_keys: NDArray[np.uint32],
    stored_keys: NDArray[np.uint32],
    widths: list[int],
    flips: list[int],
    band: int,
    distance: int,
    itself: bool,
) -> NDArray[np.int64]:
    """Rows (query, stored, distance) of the pairs that `band` is the first to find."""
    order = np.argsort(stored_keys[band], kind="stable")
    starts = np.searchsorted(stored_keys[band][order], np.arange(2 ** widths[band] + 1))
    turn = (
        order if itself else np.argsort(query_keys[band], kind="stable")
    )  # equal keys in turn: their codes stay cached
    sorted_codes = np.ascontiguousarray(stored[order])
    flips_array = np.array(flips, dtype=np.int64)
    masks = _masks(widths[band], flips[band])
    room = len(queries) + 1024
    while True:
        found = np.empty((room, 3), dtype=np.int64)
        count = _probe(
            queries, sorted_codes, query_keys, stored_keys, turn, order, starts,
            masks, flips_array, band, distance, itself, found,
        )  # fmt: skip
        if count <= room:
            return found[:count]
        room = count


def _masks(width: int, flips: int) -> NDArray[np.uint32]:
    """Every way to flip at most `flips` of `width` bits."""
    masks = [sum(1 << bit for bit in bits) for k in range(flips + 1) for bits in combinations(range(width), k)]
    return np.array(masks, dtype=np.uint32)


def _ones(word: np.uint64) -> np.int64:
    """Number of set bits of a 64-bit word; the compiler turns this form into one instruction."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


_count_ones = numba.njit(cache=True)(_ones)


def _probe_loop(
    queries: Codes,
    sorted_codes: Codes,
    query_keys: NDArray[np.uint32],
    stored_keys: NDArray[np.uint32],
    turn: NDArray[np.int64],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    masks: NDArray[np.uint32],
    flips: NDArray[np.int64],
    band: int,
    distance: int,
    itself: bool,
    found: NDArray[np.int64],
) -> int:
    """Write the pairs that fit into `found`; return how many there are."""
    count = 0
    words = queries.shape[1]
    for query in turn:
        for mask in masks:
            key = query_keys[band, query] ^ mask
            for place in range(starts[key], starts[key + 1]):
                apart = np.int64(0)
                for word in range(words):
                    apart += _count_ones(queries[query, word] ^ sorted_codes[place, word])
                if apart > distance:
                    continue
                row = order[place]
                if itself and row <= query:
                    continue
                first = True
                for earlier in range(band):
                    differing = np.uint64(query_keys[earlier, query] ^ stored_keys[earlier, row])
                    if _count_ones(differing) <= flips[earlier]:
                        first = False
                        break
                if first:
                    if count < len(found):
                        found[count, 0], found[count, 1], found[count, 2] = query, row, apart
                    count += 1
    return count


_probe = numba.njit(cache=True)(_probe_loop)
