"""One band of a multi-index join: codes put in order of a few of their bits, and compared bucket by bucket.

Pigeonhole (Norouzi, Punjani, Fleet: Fast Exact Search in Hamming Space with Multi-Index Hashing, 2014): cut the codes
into bands and allow t_i differing bits in band i, with sum(t_i + 1) > distance. Then two codes within the distance
agree, up to t_i bits, in at least one band i; only such pairs are compared in full. A pair is reported by the first
of its bands that qualifies, so that no pair comes twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numba
import numpy as np
from numpy.typing import NDArray

_MAXIMUM_WIDTH = 22  # bits: a table of 4 million buckets, 32 MB
_BLOCK = 1 << 11  # buckets at a time: their codes and those they are compared with stay in the cache
_LOOKUP = 4.0  # cost of finding a bucket, in comparisons of two codes

Codes = NDArray[np.uint64]  # (N, words): 64 bits a word


@dataclass(frozen=True)
class Plan:
    """How codes are cut into bands: band b has every bands-th bit from b on, since neighbouring bits go together."""

    words: int
    widths: tuple[int, ...]  # bits of each band
    flips: tuple[int, ...]  # bits that may differ in each

    def places(self, band: int) -> list[int]:
        """The bits of a band, lowest bit of its key first."""
        return [band + place * len(self.widths) for place in range(self.widths[band])]

    def earlier(self, band: int) -> tuple[Codes, NDArray[np.int64]]:
        """Bits of the bands before `band`, shape (band, words), and the flips allowed in each."""
        bits = np.zeros((band, self.words), dtype=np.uint64)
        for before in range(band):
            for place in self.places(before):
                bits[before, place // 64] |= np.uint64(1 << place % 64)
        return bits, np.array(self.flips[:band], dtype=np.int64)


@dataclass(frozen=True)
class Bucketed:
    """Codes in order of their key in one band."""

    codes: Codes  # (N, words)
    rows: NDArray[np.int64]  # (N,) where each code stood before
    keys: NDArray[np.uint32]  # (N,) ascending
    starts: NDArray[np.int64]  # (2**width + 1,) where the bucket of each key begins


def plan_bands(words: int, distance: int, count: int) -> Plan:
    """The cheapest plan that finds every pair within `distance` of `count` codes.

    Cost of a code: one look-up a probe, and the codes met there if keys were spread evenly. One band of width 0
    is brute force, which wins for few codes or large distances.
    """
    bits = 64 * words
    plans = [Plan(words, (0,), (0,))]
    for bands in range(-(-bits // _MAXIMUM_WIDTH), min(bits, distance + 1) + 1):
        widths = tuple(bits // bands + (band < bits % bands) for band in range(bands))
        owed = distance + 1 - bands  # on top of one for each band
        flips = tuple(owed // bands + (band < owed % bands) for band in range(bands))
        plans.append(Plan(words, widths, flips))
    return min(plans, key=lambda plan: _cost(plan, count))


def _cost(plan: Plan, count: int) -> float:
    cost = 0.0
    for width, flip in zip(plan.widths, plan.flips, strict=True):
        cost += sum(comb(width, k) for k in range(flip + 1)) * (_LOOKUP + count / 2**width)
    return cost


def band_keys(codes: Codes, plan: Plan, band: int) -> NDArray[np.uint32]:
    """The bits of a band of each code as a number, shape (N,)."""
    keys = np.zeros(len(codes), dtype=np.uint32)
    for place, bit in enumerate(plan.places(band)):
        keys |= ((codes[:, bit // 64] >> np.uint64(bit % 64)) & np.uint64(1)).astype(np.uint32) << place
    return keys


def bucketed(codes: Codes, plan: Plan, band: int) -> Bucketed:
    """Put codes in order of their key in a band."""
    keys = band_keys(codes, plan, band)
    starts, rows = _counting_sort(keys, 2 ** plan.widths[band])
    return Bucketed(codes[rows], rows, keys[rows], starts)


def masks(width: int, flips: int) -> NDArray[np.uint32]:
    """Every way to flip at most `flips` of `width` bits, ascending: masks that lead to near buckets go together."""
    ways = [sum(1 << bit for bit in bits) for k in range(flips + 1) for bits in combinations(range(width), k)]
    return np.array(sorted(ways), dtype=np.uint32)


def band_blocks(
    queries: Bucketed, stored: Bucketed, plan: Plan, band: int, distance: int, ways: NDArray[np.uint32] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Rows (query, stored, distance) of the pairs that `band` is the first to find, shape (m, 3), block by block.

    When `stored` is `queries`, each pair of two different codes comes once. `ways` are the masks to probe with, all
    of the plan's unless given.
    """
    if ways is None:
        ways = masks(plan.widths[band], plan.flips[band])
    earlier, flips = plan.earlier(band)
    itself = stored is queries
    edges = np.arange(0, len(stored.starts) - 1 + _BLOCK, _BLOCK, dtype=np.uint32)
    places = np.searchsorted(queries.keys, edges)
    room = np.empty((4096, 3), dtype=np.int64)
    for first, last in zip(places[:-1].tolist(), places[1:].tolist(), strict=True):
        if first == last:
            continue
        while True:
            count = _probe(queries.codes, queries.keys, first, last, stored.codes, stored.starts,
                           ways, earlier, flips, distance, itself, room)  # fmt: skip
            if count <= len(room):
                break
            room = np.empty((count, 3), dtype=np.int64)
        if count:
            found = room[:count]
            yield np.stack([queries.rows[found[:, 0]], stored.rows[found[:, 1]], found[:, 2]], axis=1)


def _counting(keys: NDArray[np.uint32], buckets: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each bucket begins, shape (buckets + 1,), and the rows in order of their keys."""
    starts = np.zeros(buckets + 1, dtype=np.int64)
    for row in range(len(keys)):
        starts[keys[row] + 1] += 1
    for bucket in range(buckets):
        starts[bucket + 1] += starts[bucket]
    following = starts[:-1].copy()
    rows = np.empty(len(keys), dtype=np.int64)
    for row in range(len(keys)):
        rows[following[keys[row]]] = row
        following[keys[row]] += 1
    return starts, rows


_counting_sort = numba.njit(cache=True)(_counting)


def _ones(word: np.uint64) -> np.int64:
    """Number of set bits of a 64-bit word; the compiler turns this form into one instruction."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


_count_ones = numba.njit(cache=True)(_ones)


def _probe_loop(
    queries: Codes,
    query_keys: NDArray[np.uint32],
    first: int,
    last: int,
    stored: Codes,
    starts: NDArray[np.int64],
    ways: NDArray[np.uint32],
    earlier: Codes,
    flips: NDArray[np.int64],
    distance: int,
    itself: bool,
    found: NDArray[np.int64],
) -> int:
    """Write the pairs of the queries first..last that fit into `found`; return how many there are."""
    count = 0
    words = queries.shape[1]
    for way in ways:
        for query in range(first, last):
            key = query_keys[query]
            other = key ^ way
            if itself and other < key:
                continue
            begin = query + 1 if itself and way == 0 else starts[other]
            for place in range(begin, starts[other + 1]):
                apart = _count_ones(queries[query, 0] ^ stored[place, 0])
                for word in range(1, words):
                    apart += _count_ones(queries[query, word] ^ stored[place, word])
                if apart > distance:
                    continue
                new = True
                for band in range(len(earlier)):
                    differing = np.int64(0)
                    for word in range(words):
                        differing += _count_ones((queries[query, word] ^ stored[place, word]) & earlier[band, word])
                    new = new and differing > flips[band]
                if new:
                    if count < len(found):
                        found[count, 0], found[count, 1], found[count, 2] = query, place, apart
                    count += 1
    return count


_probe = numba.njit(cache=True)(_probe_loop)
