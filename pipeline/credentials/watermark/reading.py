"""Reading a mark: at once from an uncut picture, by a search from a copy that was cut, mirrored, turned or framed."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product

import numpy as np

from pipeline.credentials.watermark.chips import GRIDS, LOOKS, Grid, read
from pipeline.credentials.watermark.grid import WHOLE, Pixels, Placement, Plane, luma, sampled
from pipeline.credentials.watermark.lattice import lattice_bound, read_lattice
from pipeline.credentials.watermark.payload import LOOK_CHANCE
from pipeline.credentials.watermark.search import (
    ANGLES,
    FAR,
    NEAR,
    READ,
    TURNED,
    Frame,
    composed,
    placements,
    shifted,
    turned,
)

LEAST_SIDE = 16  # px
LEAST_CELL = 0.65  # px of a cell
MOST_ASPECT = 8  # beyond, cells would be slivers
PROMISING = 7.5  # score of the likeliest placement from which its edges are moved; chance gives 7.2 on average
NUDGES = (0.3, 0.15)  # cells by which they are
BORDER = 8.0  # grey levels by which a line of a flat border may stray on average, JPEG's ringing included
MOST_BORDER = 0.4  # of a side


@dataclass(frozen=True)
class Found:
    """A payload, and where its picture lies: at `placement` in a luma plane, mirrored back if need be."""

    payload: int
    plane: Plane
    placement: Placement

    def uprights(self, side: int) -> list[Plane]:
        """The picture as it was marked, seen small: luma (side, side), NaN where it was cut off.

        As placed, and turned a little further each way: a mark is also read at a degree from where it lies.
        """
        height, width = self.plane.shape
        views = [turned(angle, width, height) for angle in (0.0, *ANGLES)]
        return [sampled(self.plane, side, composed(self.placement, view)) for view in views]


def extract_direct(rgb: Pixels, key: bytes) -> int | None:
    """The payload of an image (H, W, 3) uint8 that was neither cut nor turned, None when none is read."""
    return _uncut(luma(rgb), key) if _readable(rgb) else None


def extract(rgb: Pixels, key: bytes) -> int | None:
    """The payload that `find` finds, None when there is none."""
    found = find(rgb, key)
    return None if found is None else found.payload


def find(rgb: Pixels, key: bytes) -> Found | None:
    """The mark that an image (H, W, 3) uint8 carries under this key, None when there is none.

    Searches where reading at once does not do. A hint, to be confirmed by the manifest repository: anyone with the
    key could have planted it. The chance of a reading without a mark is below `false_reading_chance`.
    """
    if not _readable(rgb):
        return None
    whole = luma(rgb)
    ways = [whole, _mirrored(whole)]
    inner = _without_border(whole)
    if inner.shape != whole.shape:
        ways += [inner, _mirrored(inner)]
    at_once = ((way, WHOLE, _uncut(way, key)) for way in ways)
    tried = chain(at_once, _searched(ways, key))
    return next((Found(payload, plane, at) for plane, at, payload in tried if payload is not None), None)


def false_reading_chance() -> float:
    """Upper bound of the chance that `extract` reads a payload from an image without a mark of this key."""
    uncut = 4  # as it is, without its border, and both mirrored
    searched = uncut + 2 + len(ANGLES)  # near; far, without a border; turned
    looks = LOOKS * len(GRIDS) * (uncut + READ * searched + uncut * 8 * len(NUDGES))
    return looks * LOOK_CHANCE + uncut * lattice_bound()


def _readable(rgb: Pixels) -> bool:
    return bool(min(rgb.shape[:2]) >= LEAST_SIDE)


def _uncut(plane: Plane, key: bytes) -> int | None:
    for grid in _grids(plane):
        if (payload := read(plane, key, grid)[0]) is not None:
            return payload
    return read_lattice(plane, key)


def _searched(ways: list[Plane], key: bytes) -> Iterator[tuple[Plane, Placement, int | None]]:
    """Readings, and where, at the placements that a search finds, the likeliest changes first."""
    whole, grids = ways[0], _grids(ways[0])
    height, width = whole.shape
    cut = [Frame(way, grid, WHOLE) for way in ways for grid in grids]
    tilted = [Frame(whole, grid, turned(angle, width, height)) for angle in ANGLES for grid in grids]
    for range_, frames in ((NEAR, cut), (FAR, cut[: 2 * len(grids)]), (TURNED, tilted)):
        for frame in frames:
            for rank, placement in enumerate(placements(frame, key, range_)):
                payload, score = read(frame.plane, key, frame.grid, placement)
                yield frame.plane, placement, payload
                if range_ is NEAR and rank == 0 and score >= PROMISING:
                    yield frame.plane, placement, _nudged(frame, key, placement, score)


def _nudged(frame: Frame, key: bytes, placement: Placement, score: float) -> int | None:
    """A reading with the edges moved, by turns, to where the score is best."""
    for step, axis, edge in product(NUDGES, (0, 1), (0, 1)):
        tried = [shifted(placement, axis, edge, sign * step / frame.grid.side) for sign in (-1, 1)]
        for moved in tried:
            payload, found = read(frame.plane, key, frame.grid, moved)
            if payload is not None:
                return payload
            if found > score:
                placement, score = moved, found
    return None


def _grids(plane: Plane) -> list[Grid]:
    """The grids whose cells a plane of this size could still show."""
    short, long = sorted(plane.shape)
    return [grid for grid in GRIDS if short >= grid.side * LEAST_CELL and long <= MOST_ASPECT * short]


def _mirrored(plane: Plane) -> Plane:
    return np.ascontiguousarray(plane[:, ::-1])


def _without_border(plane: Plane) -> Plane:
    """The plane inside a border of one grey level, the whole plane if there is none."""
    rows, columns = _inside(plane), _inside(plane.T)
    return np.ascontiguousarray(plane[rows, columns])


def _inside(plane: Plane) -> slice:
    """Rows from the first to the last that are not on the whole of the corner's grey."""
    strays = np.abs(plane - plane[0, 0]).mean(axis=1) > BORDER
    if not strays.any():
        return slice(None)
    first, last = int(np.argmax(strays)), len(strays) - int(np.argmax(strays[::-1]))
    return slice(first, last) if last - first >= (1 - 2 * MOST_BORDER) * len(strays) else slice(None)
