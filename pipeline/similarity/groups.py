"""Groups of duplicate pictures, as stars: every member was compared with the kept picture itself.

Near-duplicate is not transitive (a gallery of slowly changing pictures would become one group), so that a group is
never grown through its members.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.settings import DuplicateSettings
from pipeline.similarity.fingerprints import hash_words
from pipeline.similarity.join import near_pairs
from pipeline.similarity.looks import Looks, allowed, differences, looks

MINIMUM_FLATNESS = 2.0  # levels; the hash of a flatter picture is noise, and only pixel-exact twins of it count


def duplicate_groups(
    phash: Sequence[bytes],
    flatness: NDArray[np.floating],
    thumbnails: NDArray[np.uint8],
    pixels: Sequence[str],
    settings: DuplicateSettings,
) -> NDArray[np.int64]:
    """Group number of each of N pictures, shape (N,) int64, -1 when alone; numbered by first row from 0 on.

    Rows come in order of preference: the first of a group is its representative, and every other member is either
    its pixel-exact twin (same digest in `pixels`) or looks like it: hashes within settings.distance, thumbnails,
    shape (N, 32, 32, 3) uint8, within settings.pixel_difference. The nearest representative takes the row.
    """
    count = len(pixels)
    representative = _first_of_each(pixels)
    lone = np.flatnonzero((representative == np.arange(count)) & (np.asarray(flatness) >= MINIMUM_FLATNESS))
    codes, code = np.unique(hash_words([phash[row] for row in lone.tolist()]), axis=0, return_inverse=True)
    pairs, _ = near_pairs(codes, settings.distance)
    stars = _stars(code.reshape(-1), pairs, lone, flatness, thumbnails, settings.pixel_difference)
    representative[lone] = lone[stars]
    return _numbered(representative[representative])  # twins of a member follow it


def _first_of_each(pixels: Sequence[str]) -> NDArray[np.int64]:
    """For each row the first row with the same pixels."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(digest, row) for row, digest in enumerate(pixels)], dtype=np.int64)


def _stars(
    code: NDArray[np.int64],
    pairs: NDArray[np.int64],
    rows: NDArray[np.int64],
    flatness: NDArray[np.floating],
    thumbnails: NDArray[np.uint8],
    pixel_difference: float,
) -> NDArray[np.int64]:
    """For each of the rows (by place) the place of its representative; `pairs` are near codes."""
    star = np.arange(len(rows), dtype=np.int64)
    neighbours = _neighbours(pairs)
    repeated = np.bincount(code, minlength=int(code.max(initial=-1)) + 1) > 1
    in_pair = np.zeros(len(repeated), dtype=bool)
    in_pair[pairs.reshape(-1)] = True
    involved = np.flatnonzero(repeated[code] | in_pair[code])
    seen = looks(thumbnails[rows[involved]], np.asarray(flatness)[rows[involved]])
    kept: dict[int, list[int]] = {}  # code -> its representatives, as places in `involved`
    for place, member in enumerate(involved):
        own = int(code[member])
        others = [other for near in (own, *neighbours.get(own, ())) for other in kept.get(near, ())]
        nearest = _nearest_match(seen, place, np.array(sorted(others), dtype=np.int64), pixel_difference)
        if nearest is None:
            kept.setdefault(own, []).append(place)
        else:
            star[member] = involved[nearest]
    return star


def _neighbours(pairs: NDArray[np.int64]) -> dict[int, list[int]]:
    neighbours: dict[int, list[int]] = {}
    for left, right in pairs.tolist():
        neighbours.setdefault(left, []).append(right)
        neighbours.setdefault(right, []).append(left)
    return neighbours


def _nearest_match(seen: Looks, row: int, others: NDArray[np.int64], pixel_difference: float) -> int | None:
    """The most alike of `others` that counts as the same picture; the earliest of several."""
    if not len(others):
        return None
    apart = differences(seen, row, seen, others)
    apart[apart > allowed(seen, row, seen, others, pixel_difference)] = np.inf
    best = int(apart.argmin())
    return int(others[best]) if np.isfinite(apart[best]) else None


def _numbered(representative: NDArray[np.int64]) -> NDArray[np.int64]:
    """Group numbers in order of the representatives' rows, -1 for pictures that are alone."""
    kept, member, size = np.unique(representative, return_inverse=True, return_counts=True)
    number = np.full(len(kept), -1, dtype=np.int64)
    number[size > 1] = np.arange(int((size > 1).sum()))
    groups: NDArray[np.int64] = number[member.reshape(-1)]
    return groups
