"""Groups of copies, as stars: every member was compared with the kept picture itself.

Near-duplicate is not transitive (a gallery of slowly changing pictures would become one group), so that a group is
never grown through its members. Copies are looked for in three ways: upright (hash, then the aligned look), turned or
mirrored, and cropped by up to a tenth of the sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.settings import DuplicateSettings
from pipeline.similarity.candidates import Rows, cropped_candidates, turned_candidates, unsteady_candidates
from pipeline.similarity.fingerprints import hash_words
from pipeline.similarity.join import Join, near_pairs, near_pairs_between
from pipeline.similarity.looks import (
    WHOLE,
    Candidates,
    Looked,
    Pixels,
    back,
    look,
    then,
    turned_windows,
    upright,
)

MINIMUM_FLATNESS = 2.0  # levels; the hash of a flatter picture is noise, and only pixel-exact twins of it count


@dataclass(frozen=True)
class Prints:
    """What N pictures are compared by, in order of preference: of two copies the earlier row is kept."""

    phash: Sequence[bytes]  # N of 32 bytes
    flatness: NDArray[np.floating]  # (N,)
    thumbnails: Pixels  # (N, 32, 32, 3)
    pixels: Sequence[str]  # digests: equal ones are copies however flat


@dataclass(frozen=True)
class Copies:
    """For each of N pictures the one it is a copy of, itself when of none, and how the aligned look found it."""

    kept: Rows  # (N,)
    turn: Rows  # (N,) position in which the whole shows what the part does, see looks.turned
    window: NDArray[np.float64]  # (N, 4) what of the whole the part shows; looks.WHOLE when all of it
    larger: NDArray[np.bool_]  # (N,) the copy is the whole, and the kept picture the part
    difference: NDArray[np.float32]  # (N,) largest local difference in levels, 0 for pixel-exact twins

    def groups(self) -> NDArray[np.int64]:
        """Group number of each picture, -1 when alone; numbered by kept row from 0 on."""
        kept, member, size = np.unique(self.kept, return_inverse=True, return_counts=True)
        number = np.full(len(kept), -1, dtype=np.int64)
        number[size > 1] = np.arange(int((size > 1).sum()))
        groups: NDArray[np.int64] = number[member.reshape(-1)]
        return groups

    def position(self, rows: Rows) -> Rows:
        """The turn that takes the kept picture of each of the rows, all of it shown, to the row's."""
        return np.where(self.larger[rows], back(self.turn[rows]), self.turn[rows])

    def note(self, row: int, kept: int, looked: Looked, place: int) -> None:
        """Picture `row` is a copy of `kept`, by the pair at `place`."""
        self.kept[row], self.difference[row] = kept, looked.difference[place]
        self.turn[row], self.window[row] = looked.pairs.turn[place], looked.pairs.window[place]
        self.larger[row] = looked.pairs.whole[place] == row


def duplicate_groups(
    phash: Sequence[bytes],
    flatness: NDArray[np.floating],
    thumbnails: Pixels,
    pixels: Sequence[str],
    settings: DuplicateSettings,
) -> NDArray[np.int64]:
    """Group number of each of N pictures, shape (N,) int64, -1 when alone; numbered by first row from 0 on."""
    return find_copies(Prints(phash, flatness, thumbnails, pixels), settings).groups()


def find_copies(prints: Prints, settings: DuplicateSettings, join: Join = near_pairs) -> Copies:
    """Which picture each one is a copy of: its pixel-exact twin, or one that the aligned look finds to be the same.

    Rows come in order of preference. Of several kept pictures the nearest takes a copy; none is a copy itself.
    `join` finds the pairs of hashes, see shard_join.join_with.
    """
    count = len(prints.pixels)
    rows = np.arange(count, dtype=np.int64)
    copies = Copies(
        rows.copy(), np.zeros(count, np.int64), np.tile(WHOLE, (count, 1)), np.zeros(count, bool),
        np.zeros(count, np.float32),
    )  # fmt: skip
    first = _first_of_each(prints.pixels)
    lone = np.flatnonzero((first == rows) & (np.asarray(prints.flatness) >= MINIMUM_FLATNESS))
    _take_upright(copies, prints, settings, lone, join)
    kept = lone[copies.kept[lone] == lone]
    turned = turned_candidates(prints.thumbnails, kept, kept, settings.distance)
    _take(copies, prints, settings, turned.where(turned.whole < turned.part))
    kept = lone[copies.kept[lone] == lone]
    _take(copies, prints, settings, unsteady_candidates(prints.thumbnails, kept, kept))
    kept = lone[copies.kept[lone] == lone]
    _take(copies, prints, settings, cropped_candidates(prints.thumbnails, kept, kept))
    for row in np.flatnonzero(first != rows).tolist():  # twins follow the first of them
        twin = int(first[row])
        copies.kept[row], copies.turn[row], copies.window[row] = (
            copies.kept[twin],
            copies.turn[twin],
            copies.window[twin],
        )
        copies.larger[row], copies.difference[row] = copies.larger[twin], copies.difference[twin]
    return copies


def like_any(prints: Prints, some: Rows, others: Rows, settings: DuplicateSettings) -> Rows:
    """Those of the rows `some` that are a copy of one of the rows `others`, or that one of those is a copy of."""
    flatness = np.asarray(prints.flatness)
    some, others = (rows[flatness[rows] >= MINIMUM_FLATNESS] for rows in (some, others))
    one, other = (hash_words([prints.phash[row] for row in rows.tolist()]) for rows in (some, others))
    pairs, _ = near_pairs_between(one, other, settings.distance)
    pictures = prints.thumbnails
    alike = [np.empty(0, np.int64)]
    for candidates in (
        upright(some[pairs[:, 0]], others[pairs[:, 1]]),
        turned_candidates(pictures, some, others, settings.distance),
        unsteady_candidates(pictures, some, others),
        unsteady_candidates(pictures, others, some),
        cropped_candidates(pictures, some, others),
        cropped_candidates(pictures, others, some),
    ):
        same = candidates.where(look(pictures, flatness, candidates, settings.pixel_difference).same)
        alike += [same.whole, same.part]
    return np.intersect1d(np.concatenate(alike), some)


def _first_of_each(pixels: Sequence[str]) -> Rows:
    """For each row the first row with the same pixels."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(digest, row) for row, digest in enumerate(pixels)], dtype=np.int64)


def _take_upright(copies: Copies, prints: Prints, settings: DuplicateSettings, rows: Rows, join: Join) -> None:
    """Give each of the rows to the nearest kept picture before it that it is an upright copy of.

    Equal hashes are joined once, so that a pile of copies of one picture costs a look each.
    """
    hashes = hash_words([prints.phash[row] for row in rows.tolist()])
    codes, code = np.unique(hashes, axis=0, return_inverse=True)
    code = code.reshape(-1)
    pairs, _ = join(codes, settings.distance)
    neighbours = _neighbours(pairs)
    in_pair = np.bincount(code, minlength=len(codes)) > 1
    in_pair[pairs.reshape(-1)] = True
    flatness = np.asarray(prints.flatness)
    kept: dict[int, list[int]] = {}  # code -> the kept pictures that have it
    for place in np.flatnonzero(in_pair[code]).tolist():
        row, own = int(rows[place]), int(code[place])
        others = np.array(sorted(other for near in (own, *neighbours.get(own, ())) for other in kept.get(near, ())))
        if len(others):
            candidates = upright(others, np.full(len(others), row))
            looked = look(prints.thumbnails, flatness, candidates, settings.pixel_difference)
            difference = np.where(looked.same, looked.difference, np.inf)
            best = int(difference.argmin())
            if np.isfinite(difference[best]):
                copies.note(row, int(others[best]), looked, best)
                continue
        kept.setdefault(own, []).append(row)


def _neighbours(pairs: NDArray[np.int64]) -> dict[int, list[int]]:
    neighbours: dict[int, list[int]] = {}
    for left, right in pairs.tolist():
        neighbours.setdefault(left, []).append(right)
        neighbours.setdefault(right, []).append(left)
    return neighbours


def _take(copies: Copies, prints: Prints, settings: DuplicateSettings, candidates: Candidates) -> None:
    """Give kept pictures to earlier kept ones that they, and all copies of theirs, are copies of, by the look."""
    flatness = np.asarray(prints.flatness)
    looked = look(prints.thumbnails, flatness, candidates, settings.pixel_difference)
    pairs, accepted = looked.pairs, np.flatnonzero(looked.same)
    later, earlier = np.maximum(pairs.whole, pairs.part), np.minimum(pairs.whole, pairs.part)
    given: dict[int, tuple[int, int]] = {}
    for place in accepted[np.lexsort((looked.difference[accepted], later[accepted]))].tolist():
        row, other = int(later[place]), int(earlier[place])
        if row not in given and other not in given:
            given[row] = (other, place)
    members = [row for row in np.flatnonzero(np.isin(copies.kept, list(given))).tolist() if row not in given]
    if members:
        others = np.array([given[int(copies.kept[row])][0] for row in members])
        places = np.array([given[int(copies.kept[row])][1] for row in members])
        rows, smaller = np.array(members), pairs.whole[places] == others
        turn, window, own = pairs.turn[places], candidates.window[places], copies.position(rows)
        again = look(
            prints.thumbnails, flatness,
            Candidates(
                np.where(smaller, others, rows), np.where(smaller, rows, others),
                np.where(smaller, then(turn, own), then(back(own), turn)),
                np.where(smaller[:, None], turned_windows(window, own), window),
            ),
            settings.pixel_difference,
        )  # fmt: skip
        for row in np.array(members)[~again.same].tolist():
            given.pop(int(copies.kept[row]), None)  # it stays with its copies: they would be lost
        for place, row in enumerate(members):
            if int(copies.kept[row]) in given:
                copies.note(row, int(others[place]), again, place)
    for row, (other, place) in given.items():
        copies.note(row, other, looked, place)
