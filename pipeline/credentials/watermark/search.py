"""Finding the grid again in a copy that was cut, mirrored, turned a little or framed.

The synchronisation pattern is a sum of products of lines, so that two matrix products correlate a frame with every
pair of a horizontal and a vertical span at once. The best pairs are judged again by how far the coded bits' energy
stands above chance, and the best of those are refined edge by edge. None of this knows the scramble signs of the key,
so that only decodings count in the bound of false readings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import cos, radians, sin

import numba
import numpy as np
from numpy.typing import NDArray

from pipeline.credentials.watermark.chips import RANK, Chips, Grid, chips
from pipeline.credentials.watermark.grid import Placement, Plane, sampled, whitened

Span = NDArray[np.float64]  # (2,): where a frame starts in the picture, and how much of the picture it shows
Spans = NDArray[np.float64]  # (n, 2)


@dataclass(frozen=True)
class Range:
    """Which placements a search tries."""

    least: float  # of the picture that a frame shows along an axis
    most: float
    rank: int  # lines of the pattern that are correlated: half of them cost half, and peaks are 0.7 as high
    peak: float  # least height, in standard deviations; chance gives a few above


NEAR = Range(0.88, 1.04, RANK, 3.6)
FAR = Range(0.78, 0.88, RANK // 2, 4.2)
TURNED = Range(0.92, 1.02, RANK // 2, 3.7)
ANGLES = (-0.7, 0.7, -1.4, 1.4, -2.1, 2.1)  # degrees
CANDIDATES = 24  # peaks whose energy is looked at
REFINED = 3  # of them
LEAST_SUM = 5.5  # of peak and energy, for a placement to be refined
DETAIL = 1.25  # samples in a cell of the plane that energy is measured on
_STEPS = (0.35, 0.2, 0.1)  # cells by which edges are moved


@dataclass(frozen=True)
class Frame:
    """A luma plane looked at as `view` says, whitened for one grid."""

    plane: Plane
    grid: Grid
    view: Placement

    @cached_property
    def sync(self) -> Plane:
        return whitened(sampled(self.plane, self.grid.sync, self.view))

    @cached_property
    def detail(self) -> Plane:
        return whitened(sampled(self.plane, int(self.grid.side * DETAIL), self.view), DETAIL)


def placements(frame: Frame, key: bytes, range_: Range) -> Iterator[Placement]:
    """Likely placements of the picture in the frame's plane, at most REFINED, the likeliest first."""
    code = chips(key, frame.grid)
    scored = []
    for height, across, down in _peaks(frame, key, range_):
        energy = _energy(frame.detail, code.signs, code.bit, across, down)
        scored.append((height + max(float(energy), 0.0), across, down))
    scored.sort(key=lambda candidate: -candidate[0])
    for total, across, down in scored[:REFINED]:
        if total >= LEAST_SUM:
            (x, width), (y, height) = _refined(frame.sync, code, across, down)
            yield composed(frame.view, np.array([[1 / width, 0.0, -x / width], [0.0, 1 / height, -y / height]]))


def turned(degrees: float, width: int, height: int) -> Placement:
    """A view of a plane of this size, turned about its middle."""
    c, s, aspect = cos(radians(degrees)), sin(radians(degrees)), width / height
    linear = np.array([[c, -s / aspect], [s * aspect, c]])
    return np.column_stack([linear, [0.5, 0.5] - linear @ [0.5, 0.5]])


def composed(outer: Placement, inner: Placement) -> Placement:
    """Where `outer` puts what `inner` puts."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _peaks(frame: Frame, key: bytes, range_: Range) -> list[tuple[float, Span, Span]]:
    """(Height, horizontal span, vertical span) of the highest correlations, no two of them neighbours."""
    spans, (across, down) = _spans(frame.grid.sync, range_), _lines_of_spans(key, frame.grid, range_)
    rank, count, side = range_.rank, len(spans), frame.grid.sync
    sync = frame.sync / np.float32(np.sqrt(rank * np.mean(frame.sync**2)) + 1e-9)
    by_column = (sync @ across.T).reshape(side, rank, count)
    stacked = by_column.transpose(1, 0, 2).reshape(rank * side, count)
    scores = (down @ stacked).ravel()
    high = np.flatnonzero(scores > range_.peak)
    high = high[np.argsort(-scores[high], kind="stable")][: 40 * CANDIDATES]
    vertical, horizontal = np.divmod(high, count)
    edges = np.hstack([_edges(spans[horizontal]), _edges(spans[vertical])])
    chosen = _apart(edges, 1.5 / side, CANDIDATES)
    return [(float(scores[high[n]]), spans[horizontal[n]], spans[vertical[n]]) for n in chosen]


def _edges(spans: Spans) -> Spans:
    return np.column_stack([spans[:, 0], spans.sum(axis=1)])


def _refined(sync: Plane, code: Chips, across: Span, down: Span) -> tuple[Span, Span]:
    """Spans whose edges fit the pattern best, by turns along each axis."""
    for step in _STEPS:
        rows = _lines(code.rows, down[None], sync.shape[0])[0]
        across = _moved(code.columns, rows @ sync, across, step / sync.shape[1])
        columns = _lines(code.columns, across[None], sync.shape[1])[0]
        down = _moved(code.rows, columns @ sync.T, down, step / sync.shape[0])
    return across, down


def _moved(pattern: Plane, heard: Plane, span: Span, step: float) -> Span:
    shifts = np.arange(-2, 3) * step
    start, end = (edge.ravel() for edge in np.meshgrid(span[0] + shifts, span.sum() + shifts))
    tried = np.column_stack([start, end - start])
    views = _lines(pattern, tried, heard.shape[1])
    best: Span = tried[np.argmax(np.einsum("nkx,kx->n", views, heard))]
    return best


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
    """The pattern as each span shows it: columns (rank * spans, sync) and rows (spans, rank * sync)."""
    code, spans = chips(key, grid), _spans(grid.sync, range_)
    across = _lines(code.columns[: range_.rank], spans, grid.sync)
    down = _lines(code.rows[: range_.rank], spans, grid.sync)
    columns = np.ascontiguousarray(across.transpose(1, 0, 2)).reshape(-1, grid.sync)
    return columns, down.reshape(len(spans), -1)


@numba.njit(cache=True)
def _lines(lines: Plane, spans: Spans, side: int) -> Plane:
    """Lines of cells (k, cells) as each span shows them, interpolated, of unit length on average; (n, k, side)."""
    count, cells = lines.shape
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
                value = lines[k, first] * (1 - part) + lines[k, second] * part
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


@numba.njit(cache=True)
def _energy(detail: Plane, signs: Plane, bit: NDArray[np.uint8], across: Span, down: Span) -> float:
    """How far the coded bits' energy stands above chance, in standard deviations; whatever the bits say."""
    size, side = detail.shape[0], signs.shape[0]
    sums, squares = np.zeros(256, np.float32), np.zeros(256, np.float32)
    for row in range(side):
        y = ((row + 0.5) / side - down[0]) / down[1] * size - 0.5
        top = int(np.floor(y))
        fy = np.float32(y - top)
        if top < 0 or top + 1 >= size:
            continue
        for column in range(side):
            x = ((column + 0.5) / side - across[0]) / across[1] * size - 0.5
            left = int(np.floor(x))
            fx = np.float32(x - left)
            if left < 0 or left + 1 >= size:
                continue
            upper = detail[top, left] + fx * (detail[top, left + 1] - detail[top, left])
            lower = detail[top + 1, left] + fx * (detail[top + 1, left + 1] - detail[top + 1, left])
            value = upper + fy * (lower - upper)
            sums[bit[row, column]] += value * signs[row, column]
            squares[bit[row, column]] += value * value
    total, used = 0.0, 0
    for b in range(256):
        if squares[b] > 0:
            total += sums[b] * sums[b] / squares[b]
            used += 1
    return (total - used) / np.sqrt(2.0 * used) if used else 0.0
