"""Finding the grid again in a copy that was cut, mirrored, turned a little or framed.

The synchronisation pattern is a sum of products of lines, so that two matrix products correlate a frame with every
pair of a horizontal and a vertical span at once. The best pairs are refined edge by edge, which raises a true peak
and hardly a chance one. None of this knows the scramble signs of the key, so that only decodings count in the bound
of false readings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import cos, radians, sin

import numba
import numpy as np
from numpy.typing import NDArray

from pipeline.credentials.watermark.chips import RANK, Chips, Grid, chips, synchronisation
from pipeline.credentials.watermark.grid import Placement, Plane

Span = NDArray[np.float64]  # (2,): where a frame starts in the picture, and how much of the picture it shows
Spans = NDArray[np.float64]  # (n, 2)


@dataclass(frozen=True)
class Range:
    """Which placements a search tries."""

    least: float  # of the picture that a frame shows along an axis
    most: float
    rank: int  # lines of the pattern that are correlated: half of them cost half, and peaks are 0.7 as high
    peak: float  # least height, in standard deviations, for a placement to be refined; chance gives some above
    refined: int  # placements, at most


NEAR = Range(0.88, 1.04, RANK, 3.4, 10)
FAR = Range(0.78, 0.88, RANK // 2, 4.2, 4)
TURNED = Range(0.92, 1.02, RANK // 2, 3.7, 4)
ANGLES = (-0.7, 0.7, -1.4, 1.4, -2.1, 2.1)  # degrees
HEIGHT = 4.2  # least refined height, for a placement to be read
READ = 3  # placements of a frame, at most
_STEPS = (0.35, 0.2, 0.1)  # cells by which edges are moved


@dataclass(frozen=True)
class Frame:
    """A luma plane looked at as `view` says, whitened for one grid."""

    plane: Plane
    grid: Grid
    view: Placement

    @cached_property
    def sync(self) -> Plane:
        return synchronisation(self.plane, self.grid, self.view)


def placements(frame: Frame, key: bytes, range_: Range) -> Iterator[Placement]:
    """Likely placements of the picture in the frame's plane, at most READ, the likeliest first."""
    code, (deviation, peaks) = chips(key, frame.grid), _peaks(frame, key, range_)
    refined = [_refined(frame.sync, code, across, down) for across, down in peaks]
    refined.sort(key=lambda candidate: -candidate[0])
    for found, (x, width), (y, height) in refined[:READ]:
        if found >= HEIGHT * deviation:
            yield composed(frame.view, np.array([[1 / width, 0.0, -x / width], [0.0, 1 / height, -y / height]]))


def shifted(placement: Placement, axis: int, edge: int, distance: float) -> Placement:
    """A placement with its first (0) or last (1) edge along an axis moved by a part of the frame's side."""
    moved = placement.copy()
    moved[axis, axis] += distance if edge else -distance
    moved[axis, 2] += 0.0 if edge else distance
    return moved


def turned(degrees: float, width: int, height: int) -> Placement:
    """A view of a plane of this size, turned about its middle."""
    c, s, aspect = cos(radians(degrees)), sin(radians(degrees)), width / height
    linear = np.array([[c, -s / aspect], [s * aspect, c]])
    return np.column_stack([linear, [0.5, 0.5] - linear @ [0.5, 0.5]])


def composed(outer: Placement, inner: Placement) -> Placement:
    """Where `outer` puts what `inner` puts."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _peaks(frame: Frame, key: bytes, range_: Range) -> tuple[float, list[tuple[Span, Span]]]:
    """Standard deviation of the whole pattern's correlations; the horizontal and vertical span of the highest ones.

    No two of them are neighbours.
    """
    spans, (across, down) = _spans(frame.grid.sync, range_), _lines_of_spans(key, frame.grid, range_)
    stacked = np.matmul(frame.sync, across).reshape(-1, len(spans))
    scores = (down @ stacked).ravel()
    deviation = float(np.median(np.abs(scores[::7]))) / 0.6745  # not the peaks'
    high = np.flatnonzero(scores > np.float32(range_.peak * deviation))
    high = high[np.argsort(-scores[high], kind="stable")][: 40 * range_.refined]
    vertical, horizontal = np.divmod(high, len(spans))
    edges = np.hstack([_edges(spans[horizontal]), _edges(spans[vertical])])
    chosen = _apart(edges, 1.5 / frame.grid.sync, range_.refined)
    whole = deviation * float(np.sqrt(RANK / range_.rank))
    return whole, [(spans[horizontal[n]], spans[vertical[n]]) for n in chosen]


def _edges(spans: Spans) -> Spans:
    return np.column_stack([spans[:, 0], spans.sum(axis=1)])


def _refined(sync: Plane, code: Chips, across: Span, down: Span) -> tuple[float, Span, Span]:
    """Height, and spans whose edges fit the pattern best, by turns along each axis."""
    height, samples, cells = 0.0, sync.shape[0], code.rows.shape[1]
    for step in _STEPS:
        rows = lines(code.rows, down[None], samples)[0]
        across, _ = _moved(code.columns, rows @ sync, across, step / cells)
        columns = lines(code.columns, across[None], samples)[0]
        down, height = _moved(code.rows, columns @ sync.T, down, step / cells)
    return height, across, down


@lru_cache(maxsize=16)
def _spans(side: int, range_: Range) -> Spans:
    """Spans that show between the least and the most of a picture, no edge further than half a cell from one."""
    spans = []
    for shown in np.linspace(range_.most, range_.least, int(np.ceil((range_.most - range_.least) * side / 1.4)) + 1):
        room = 1.0 - shown
        starts = np.linspace(0.0, room, int(np.ceil(abs(room) * side * 2 - 1e-9)) + 1)
        spans += [(start, shown) for start in starts]
    return np.array(spans)


@lru_cache(maxsize=12)
def _lines_of_spans(key: bytes, grid: Grid, range_: Range) -> tuple[Plane, Plane]:
    """The pattern as each span shows it: columns (rank, samples, spans) and rows (spans, rank * samples)."""
    code, spans = chips(key, grid), _spans(grid.sync, range_)
    across = lines(code.columns[: range_.rank], spans, grid.samples)
    down = lines(code.rows[: range_.rank], spans, grid.samples)
    return np.ascontiguousarray(across.transpose(1, 2, 0)), down.reshape(len(spans), -1)


@numba.njit(cache=True)
def lines(pattern: Plane, spans: Spans, side: int) -> Plane:
    """Lines of a pattern (k, cells) as each span shows them, of unit length on average; (n, k, side)."""
    count, cells = pattern.shape
    views = np.zeros((spans.shape[0], count, side), np.float32)
    for n in range(spans.shape[0]):
        energy = np.float32(1e-9)
        for x in range(side):
            place = (spans[n, 0] + (x + 0.5) / side * spans[n, 1]) * cells - 0.5
            if place < -0.5 or place > cells - 0.5:
                continue
            left = int(np.floor(place))
            part = np.float32(place - left)
            first, second = max(left, 0), min(left + 1, cells - 1)
            for k in range(count):
                value = pattern[k, first] * (1 - part) + pattern[k, second] * part
                views[n, k, x] = value
                energy += value * value
        views[n] *= np.float32(1 / np.sqrt(energy / count))
    return views


@numba.njit(cache=True)
def _apart(edges: NDArray[np.float64], distance: float, most: int) -> NDArray[np.int64]:
    """The first rows of which none is near an earlier one in every edge, at most `most`."""
    kept = np.empty(most, np.int64)
    count = 0
    for n in range(len(edges)):
        alone = True
        for m in range(count):
            if np.abs(edges[kept[m]] - edges[n]).max() < distance:
                alone = False
                break
        if alone:
            kept[count] = n
            count += 1
            if count == most:
                break
    return kept[:count]


def _moved(pattern: Plane, heard: Plane, span: Span, step: float) -> tuple[Span, float]:
    """The span with its edges moved by up to two steps under which the pattern fits best, and how well."""
    first, last, height = _best_move(np.ascontiguousarray(pattern.T), np.ascontiguousarray(heard.T), span, step)
    return np.array([first, last - first]), height


@numba.njit(cache=True, fastmath=True)
def _best_move(pattern: Plane, heard: Plane, span: Span, step: float) -> tuple[float, float, float]:
    cells, count = pattern.shape
    side = heard.shape[0]
    best_first, best_last, most = span[0], span[0] + span[1], np.float32(-1e30)
    for early in range(-2, 3):
        for late in range(-2, 3):
            first, last = span[0] + early * step, span[0] + span[1] + late * step
            fit, energy = np.float32(0), np.float32(1e-9)
            for x in range(side):
                place = (first + (x + 0.5) / side * (last - first)) * cells - 0.5
                if place < -0.5 or place > cells - 0.5:
                    continue
                left = int(np.floor(place))
                part = np.float32(place - left)
                one, two = max(left, 0), min(left + 1, cells - 1)
                for k in range(count):
                    value = pattern[one, k] * (np.float32(1) - part) + pattern[two, k] * part
                    fit += value * heard[x, k]
                    energy += value * value
            fit /= np.float32(np.sqrt(energy / count))
            if fit > most:
                best_first, best_last, most = first, last, fit
    return float(best_first), float(best_last), float(most)
