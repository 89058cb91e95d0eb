"""The front end that embedding and reading share: luma, sampled on a grid of the picture's own, whitened.

Whitening makes a picture's own content look like noise of one strength: off comes what is smooth, the rest is
divided by its local strength; where that does not do, so does what the eight neighbours of a cell foretell.
"""

import numba
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]
Placement = NDArray[np.float64]  # (2, 3): where a picture's (x, y), both 0..1, lie in a plane, 0..1

FINE = 0.6  # sigma, in cells, of the blur that is taken off
LOCAL = 0.8  # sigma, in cells, of the window of the local strength
FLOOR = 0.7  # grey levels added to it, lest rounding in flat areas count as much as a mark
CLIP = 3.0
WHOLE: Placement = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# Row and column steps to half of the neighbours; the other half mirrors it.
_NEIGHBOURS = np.array([(0, 1), (1, -1), (1, 0), (1, 1)])
_RIDGE = 0.02  # keeps the system solvable for blank pictures


def luma(rgb: Pixels) -> Plane:
    """BT.601 luma, shape (H, W), of an image (H, W, 3) uint8."""
    return np.asarray(_weighted(np.ascontiguousarray(rgb), _LUMA))


def resized(plane: Plane, width: int, height: int) -> Plane:
    """A plane resampled bicubically."""
    if plane.shape == (height, width):
        return plane
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def reduced(plane: Plane, side: int) -> Plane:
    """A plane brought down by whole factors, so that its shorter side stays above twice `side`."""
    factor = min(plane.shape) // (2 * side)
    return plane if factor < 2 else np.asarray(Image.fromarray(plane).reduce(factor), np.float32)


def sampled(plane: Plane, side: int, placement: Placement = WHOLE) -> Plane:
    """`side` x `side` cells of the picture that lies in `plane` as `placement` says; NaN where it was cut off."""
    (xx, xy, x), (yx, yy, y) = placement
    if xy == yx == 0.0:
        return np.asarray(_sample_straight(reduced(plane, side), side, (xx, x), (yy, y)))
    return np.asarray(_sample(reduced(plane, side), side, placement))


def whitened(cells: Plane, scale: float = 1.0) -> Plane:
    """Cells without what is smooth, over their local strength; 0 where they are NaN. `scale`: samples in a cell."""
    known = np.isfinite(cells)
    if not known.any():
        return np.zeros_like(cells)
    if not known.all():
        cells = np.where(known, cells, cells[known].mean())
    fine = cells - blurred(cells, FINE * scale)
    local = np.sqrt(blurred(fine * fine, LOCAL * scale)) + np.float32(FLOOR)
    plane: Plane = np.clip(fine / local, -CLIP, CLIP)
    plane[~known] = 0.0
    return plane


def unpredicted(plane: Plane) -> Plane:
    """A whitened plane less the linear prediction of each cell from its eight neighbours: a flat spectrum."""
    moments = _autocorrelation(plane)

    def moment(step: NDArray[np.int64]) -> float:
        row, column = step if step[0] >= 0 else -step
        return float(moments[row, column + 2])

    system = np.array([[moment(a - b) + moment(a + b) for b in _NEIGHBOURS] for a in _NEIGHBOURS])
    system += np.eye(len(_NEIGHBOURS)) * (_RIDGE * moments[0, 2] + 1e-6)
    weights = np.linalg.solve(system, [moment(a) for a in _NEIGHBOURS])
    kernel = np.zeros((3, 3), np.float32)
    for (row, column), weight in zip(_NEIGHBOURS, weights, strict=True):
        kernel[1 + row, 1 + column] = kernel[1 - row, 1 - column] = -weight
    kernel[1, 1] = 1.0
    filtered: Plane = _filtered(plane, kernel) * (plane != 0)
    return filtered


def blurred(plane: Plane, sigma: float) -> Plane:
    """A Gaussian blur, edges repeated."""
    radius = int(3 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(_convolved(plane, (taps / taps.sum()).astype(np.float32)))


def added(rgb: Pixels, change: Plane, scale: float) -> tuple[Pixels, float]:
    """The image with `scale` times `change` (H, W) added to each channel, and the root mean square of what it did."""
    marked, squares = _added(np.ascontiguousarray(rgb), change, np.float32(scale))
    return marked, float(np.sqrt(squares / rgb.size))


def psnr(original: Pixels, changed: Pixels) -> float:
    """Peak signal-to-noise ratio in dB over all channels; infinite for equal images."""
    error = float(np.mean((original.astype(np.float32) - changed.astype(np.float32)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255.0**2 / error))


@numba.njit(cache=True, fastmath=True)
def _weighted(rgb: Pixels, weights: Plane) -> Plane:
    height, width, _ = rgb.shape
    plane = np.empty((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            plane[y, x] = rgb[y, x, 0] * weights[0] + rgb[y, x, 1] * weights[1] + rgb[y, x, 2] * weights[2]
    return plane


@numba.njit(cache=True)
def _added(rgb: Pixels, change: Plane, scale: np.float32) -> tuple[Pixels, int]:
    height, width, _ = rgb.shape
    marked = np.empty_like(rgb)
    squares = 0
    for y in range(height):
        for x in range(width):
            step = int(np.rint(change[y, x] * scale))
            for channel in range(3):
                before = int(rgb[y, x, channel])
                after = min(max(before + step, 0), 255)
                marked[y, x, channel] = after
                squares += (after - before) * (after - before)
    return marked, squares


@numba.njit(cache=True, fastmath=True)
def _convolved(plane: Plane, taps: Plane) -> Plane:
    height, width = plane.shape
    radius = taps.size // 2
    across = np.zeros((height, width), np.float32)
    padded = np.empty(width + 2 * radius, np.float32)
    for y in range(height):
        padded[:radius] = plane[y, 0]
        padded[radius : radius + width] = plane[y]
        padded[radius + width :] = plane[y, width - 1]
        for k in range(taps.size):
            tap = taps[k]
            for x in range(width):
                across[y, x] += tap * padded[x + k]
    result = np.zeros((height, width), np.float32)
    for y in range(height):
        for k in range(taps.size):
            row = min(max(y + k - radius, 0), height - 1)
            tap = taps[k]
            for x in range(width):
                result[y, x] += tap * across[row, x]
    return result


@numba.njit(cache=True)
def _taps(side: int, size: int, scale: float, offset: float) -> tuple[NDArray[np.int64], Plane]:
    """Indices and weights (side, 4) of the pixels along an axis that a cell averages; weights NaN where cut off."""
    places, weights = np.empty((side, 4), np.int64), np.empty((side, 4), np.float32)
    for cell in range(side):
        for part in range(2):
            place = (scale * (cell + 0.25 + 0.5 * part) / side + offset) * size - 0.5
            known = place > -0.75 and place < size - 0.25
            left = int(np.floor(place))
            fraction = np.float32(place - left)
            places[cell, 2 * part] = min(max(left, 0), size - 1)
            places[cell, 2 * part + 1] = min(max(left + 1, 0), size - 1)
            weights[cell, 2 * part] = np.float32(0.5) * (1 - fraction) if known else np.float32(np.nan)
            weights[cell, 2 * part + 1] = np.float32(0.5) * fraction
    return places, weights


@numba.njit(cache=True)
def _sample_straight(plane: Plane, side: int, x: tuple[float, float], y: tuple[float, float]) -> Plane:
    """As `_sample`, for a placement (scale, offset) along each axis: rows first, then columns."""
    height, width = plane.shape
    rows, row_weights = _taps(side, height, y[0], y[1])
    columns, column_weights = _taps(side, width, x[0], x[1])
    cells, line = np.empty((side, side), np.float32), np.empty(width, np.float32)
    for row in range(side):
        line[:] = 0
        for k in range(4):
            weight, source = row_weights[row, k], plane[rows[row, k]]
            for column in range(width):
                line[column] += weight * source[column]
        for column in range(side):
            total = np.float32(0)
            for k in range(4):
                total += column_weights[column, k] * line[columns[column, k]]
            cells[row, column] = total
    return cells


@numba.njit(cache=True)
def _sample(plane: Plane, side: int, placement: Placement) -> Plane:
    """Each cell is the mean of four bilinear samples."""
    height, width = plane.shape
    cells = np.empty((side, side), np.float32)
    for row in range(side):
        for column in range(side):
            total, known = np.float32(0.0), True
            for part in range(4):
                u = (column + 0.25 + 0.5 * (part & 1)) / side
                v = (row + 0.25 + 0.5 * (part >> 1)) / side
                x = (placement[0, 0] * u + placement[0, 1] * v + placement[0, 2]) * width - 0.5
                y = (placement[1, 0] * u + placement[1, 1] * v + placement[1, 2]) * height - 0.5
                if not (x > -0.75 and y > -0.75 and x < width - 0.25 and y < height - 0.25):
                    known = False
                    break
                left, top = int(np.floor(x)), int(np.floor(y))
                fx, fy = np.float32(x - left), np.float32(y - top)
                x0, x1 = max(left, 0), min(left + 1, width - 1)
                y0, y1 = max(top, 0), min(top + 1, height - 1)
                upper = plane[y0, x0] + fx * (plane[y0, x1] - plane[y0, x0])
                lower = plane[y1, x0] + fx * (plane[y1, x1] - plane[y1, x0])
                total += upper + fy * (lower - upper)
            cells[row, column] = total * np.float32(0.25) if known else np.float32(np.nan)
    return cells


@numba.njit(cache=True, fastmath=True)
def _autocorrelation(plane: Plane) -> NDArray[np.float64]:
    """Sums of products at row steps 0..2 and column steps -2..2, shape (3, 5)."""
    height, width = plane.shape
    moments = np.zeros((3, 5))
    for down in range(3):
        for across in range(-2, 3):
            first, last = max(0, -across), min(width, width - across)
            for y in range(height - down):
                part = np.float32(0)
                for x in range(first, last):
                    part += plane[y, x] * plane[y + down, x + across]
                moments[down, across + 2] += part
    return moments


@numba.njit(cache=True, fastmath=True)
def _filtered(plane: Plane, kernel: Plane) -> Plane:
    height, width = plane.shape
    result = np.zeros((height, width), np.float32)
    for y in range(height):
        for down in range(-1, 2):
            row = min(max(y + down, 0), height - 1)
            for across in range(-1, 2):
                tap = kernel[down + 1, across + 1]
                for x in range(max(0, -across), min(width, width - across)):
                    result[y, x] += tap * plane[row, x + across]
    return result
