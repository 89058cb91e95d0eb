"""Smaller versions of a picture, in whole numbers throughout and so the same on every machine; compiled.

Bit for bit what Pillow's `reduce` and `resize` give along one side (tests hold them to it), in a third of the time:
Pillow goes pixel by pixel, and computes the weights of its filter anew for each picture. Which side comes first,
Pillow chooses otherwise from version to version; here the order is fixed.
"""

from functools import lru_cache
from math import ceil

import numba
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
MOST = 256  # rows or columns of a block: their sum fits into 16 bits
_PRECISION = 22  # bits of a weight, as Pillow has them (Resample.c, PRECISION_BITS)
_LOBES = 3
_ROWS = numba.types.Array(numba.uint8, 2, "C", readonly=True)  # writable ones fit, too
_FLAT = numba.types.Array(numba.uint8, 1, "C", readonly=True)
_SUMS = numba.types.Array(numba.int32, 2, "C", readonly=True)


def block_means(rgb: Bytes, down: int, across: int) -> Bytes:
    """Means of blocks of `down` rows, then of `across` columns: (H, W, 3) to (ceil(H / down), ceil(W / across), 3).

    At most MOST each. Blocks at the right and lower edge may be smaller. Rows round half up; columns as in Pillow.
    """
    height, width, _ = rgb.shape
    rows = _row_means(np.ascontiguousarray(rgb).reshape(height, width * 3), down) if down > 1 else rgb
    if across == 1:
        return rows.reshape(-1, width, 3)
    means: Bytes = _column_means(rows.reshape(-1, width * 3), across)
    return means


def lanczos(grey: Bytes, size: int, extent: tuple[float, float]) -> Bytes:
    """Grey pixels (H, W), of which `extent` (width, height) shows something, to (size, size): columns, then rows."""
    height, width = grey.shape
    across = _resized(np.ascontiguousarray(grey.T), *_lanczos_weights(width, size, extent[0]))
    return _resized(np.ascontiguousarray(across.T), *_lanczos_weights(height, size, extent[1]))


def luma(rgb: Bytes) -> Bytes:
    """`Image.convert("L")` of pixels (H, W, 3): ITU-R 601-2 luma, (H, W)."""
    height, width, _ = rgb.shape
    grey: Bytes = _luma(np.ascontiguousarray(rgb).reshape(-1))
    return grey.reshape(height, width)


def area_means(rgb: Bytes, count: int) -> Bytes:
    """Area averages over a grid of `count` by `count` cells of pixels (H, W, 3), rounded half up."""
    height, width, _ = rgb.shape
    bands = _weighted(np.ascontiguousarray(rgb).reshape(height, width * 3), *_area_weights(height, count))
    means: Bytes = _area_columns(bands, *_area_weights(width, count), height * width)
    return means


def _resized(rows: Bytes, first: NDArray[np.int64], weights: NDArray[np.int32]) -> Bytes:
    resized: Bytes = _to_bytes(_weighted(rows, first, weights))
    return resized


@lru_cache(maxsize=256)
def _lanczos_weights(length: int, size: int, extent: float) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """(first row, weights of it and the next ones) for each of `size` new rows: Resample.c, precompute_coeffs."""
    scale = float(np.float32(extent)) / size
    stretch = max(scale, 1.0)
    reach = _LOBES * stretch
    centres = (np.arange(size) + 0.5) * scale
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + reach + 0.5).astype(np.int64), length)
    taps = np.arange(2 * ceil(reach) + 1)
    places = (taps + first[:, None] - centres[:, None] + 0.5) / stretch
    inside = (taps < (last - first)[:, None]) & (places >= -_LOBES) & (places < _LOBES)
    weights = np.where(inside, np.sinc(places) * np.sinc(places / _LOBES), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    return first, np.trunc(weights * 2**_PRECISION + np.copysign(0.5, weights)).astype(np.int32)


@lru_cache(maxsize=256)
def _area_weights(length: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The same for bands: weights are `count` times the length shared with each row, and sum to `length`."""
    bands = np.arange(count) * length
    first = bands // count
    rows = (first[:, None] + np.arange(length // count + 2)) * count
    shared = np.minimum(bands[:, None] + length, rows + count) - np.maximum(bands[:, None], rows)
    return first, np.maximum(shared, 0).astype(np.int32)


@numba.njit(numba.int32[:, ::1](_ROWS, numba.int64[::1], numba.int32[:, ::1]), cache=True)
def _weighted(rows, first, weights):  # type: ignore[no-untyped-def]
    """(len(first), N) int32: sums of rows (H, N) from each first one on, by their weights."""
    count, taps = weights.shape
    length = rows.shape[1]
    sums = np.zeros((count, length), np.int32)
    for i in range(count):
        total = sums[i]
        for tap in range(taps):
            weight = weights[i, tap]
            if weight != 0:  # windows may reach beyond the last row, with nothing
                row = rows[first[i] + tap]
                for x in range(length):
                    total[x] += np.int32(row[x]) * weight
    return sums


@numba.njit(numba.uint8[:, :, ::1](_SUMS, numba.int64[::1], numba.int32[:, ::1], numba.int64), cache=True)
def _area_columns(bands, first, weights, whole):  # type: ignore[no-untyped-def]
    """(len(bands), len(first), 3): weighted sums of columns of bands (N, W * 3), over `whole`, rounded half up."""
    count, taps = weights.shape
    means = np.empty((len(bands), count, 3), np.uint8)
    for i in range(len(bands)):
        for j in range(count):
            for c in range(3):
                total = np.int64(0)
                for tap in range(taps):
                    if weights[j, tap] != 0:
                        total += np.int64(weights[j, tap]) * bands[i, (first[j] + tap) * 3 + c]
                means[i, j, c] = (2 * total + whole) // (2 * whole)
    return means


@numba.njit(numba.uint8[:, ::1](_SUMS), cache=True)
def _to_bytes(sums):  # type: ignore[no-untyped-def]
    """Weighted sums, rounded and cut to what a byte holds, as Pillow does (Resample.c, clip8)."""
    levels = np.empty(sums.shape, np.uint8)
    for i in range(len(sums)):
        for x in range(sums.shape[1]):
            level = (sums[i, x] + np.int32(1 << (_PRECISION - 1))) >> np.int32(_PRECISION)
            levels[i, x] = min(max(level, 0), 255)
    return levels


@numba.njit(numba.uint8[::1](_FLAT), cache=True)
def _luma(rgb):  # type: ignore[no-untyped-def]
    """Weights as in Pillow's Convert.c, of 2^16."""
    grey = np.empty(
        np.uint64(len(rgb) // 3), np.uint8
    )  # without a sign, indices need no wrapping: four times as fast
    for i in range(np.uint64(len(grey))):
        red, green, blue = np.uint32(rgb[3 * i]), np.uint32(rgb[3 * i + 1]), np.uint32(rgb[3 * i + 2])
        total = red * np.uint32(19595) + green * np.uint32(38470) + blue * np.uint32(7471) + np.uint32(0x8000)
        grey[i] = np.uint8(total >> np.uint32(16))
    return grey


@numba.njit(numba.uint8[:, ::1](_ROWS, numba.int64), cache=True)
def _row_means(rows, down):  # type: ignore[no-untyped-def]
    """Means of blocks of `down` rows (H, N), round half up; the last block may be smaller."""
    height, length = rows.shape
    means = np.empty((-(-height // down), length), np.uint8)
    sums = np.empty(length, np.uint16)
    for i in range(len(means)):
        top = i * down
        count = min(down, height - top)
        sums[:] = count // 2
        for y in range(top, top + count):
            row = rows[y]
            for x in range(length):
                sums[x] = np.uint16(sums[x] + np.uint16(row[x]))
        inverse = np.uint32(2**24 // count + 1)  # exact for all sums of up to MOST bytes
        for x in range(length):
            means[i, x] = np.uint8((np.uint32(sums[x]) * inverse) >> np.uint32(24))
    return means


@numba.njit(numba.uint8[:, :, ::1](_ROWS, numba.int64), cache=True)
def _column_means(rows, across):  # type: ignore[no-untyped-def]
    """Means of blocks of `across` RGB pixels in rows (H, W * 3), as Pillow's `reduce` (Reduce.c) rounds them.

    Sums are made at every pixel, though one in `across` is used: that goes 32 at a time.
    """
    height, length = rows.shape
    step = across * 3
    whole = length // step
    means = np.empty((height, -(-length // step), 3), np.uint8)
    span = max(0, whole * step - step + 3)
    sums = np.empty(span, np.uint16)
    inverse, rest = np.uint32(2**24 // across), (length - whole * step) // 3
    for i in range(height):
        sums[:] = across // 2
        for shift in range(0, step, 3):
            row = rows[i, shift : shift + span]
            for x in range(span):
                sums[x] = np.uint16(sums[x] + np.uint16(row[x]))
        for c in range(3):
            block, line = sums[c::step], means[i, :, c]
            for j in range(whole):
                line[j] = np.uint8((np.uint32(block[j]) * inverse) >> np.uint32(24))
            if rest:
                total = np.uint32(rest // 2)
                for x in range(whole * step + c, length, 3):
                    total += np.uint32(rows[i, x])
                line[whole] = np.uint8((total * np.uint32(2**24 // rest)) >> np.uint32(24))
    return means
