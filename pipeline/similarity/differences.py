"""The largest local difference between two pictures, exposure and blur taken out, compiled.

Exposure and blur that take one picture to the other are fitted by least squares over gain, offset, gamma and two
Laplacians, each within its bounds. Loops are written out, since array expressions take several times as long to
compile. Numba's cache does not see a change in another file: whoever changes this one touches aligned.py too.
"""

import math

import numba
import numpy as np

from pipeline.catalog.tables import THUMBNAIL_SIDE as SIDE

_GAIN = 0.5  # above 1, or its inverse
_OFFSET = 48.0  # levels
_BEND = 0.6  # of the exponent of the tone curve
_BLUR = 0.4  # of the Laplacian that may be added
_BLUE, _RED = 0.564, 0.713  # Cb and Cr of a difference from luminance (ITU-T T.871)
_CHROMA = 3.0  # how much more a difference of chroma counts


@numba.njit(cache=True)
def luminance(channels, out):  # type: ignore[no-untyped-def]
    for row in range(SIDE):
        for column in range(SIDE):
            out[row, column] = (
                0.299 * channels[0, row, column] + 0.587 * channels[1, row, column] + 0.114 * channels[2, row, column]
            )


@numba.njit(cache=True)
def laplacian(plane, out):  # type: ignore[no-untyped-def]
    """Sum of the four neighbours less four times the pixel, edges repeated; returns its sum of squares."""
    last, square = SIDE - 1, 0.0
    for row in range(SIDE):
        above, below = max(row - 1, 0), min(row + 1, last)
        for column in range(SIDE):
            around = plane[above, column] + plane[below, column]
            around += plane[row, max(column - 1, 0)] + plane[row, min(column + 1, last)]
            value = around - 4 * plane[row, column]
            out[row, column] = value
            square += value * value
    return square


@numba.njit(cache=True)
def _statistics(picture):  # type: ignore[no-untyped-def]
    """Mean over all channels, and the sum of squares about it."""
    total, square = 0.0, 0.0
    for channel in range(3):
        for row in range(SIDE):
            for column in range(SIDE):
                level = picture[channel, row, column]
                total += level
                square += level * level
    count = 3 * SIDE * SIDE
    return total / count, max(square - total * total / count, 1e-6)


@numba.njit(cache=True)
def solve(matrix, vector, size):  # type: ignore[no-untyped-def]
    """Solve a symmetric positive system in place by elimination; a little is added to the diagonal."""
    for i in range(size):
        matrix[i, i] += 1e-6 * matrix[i, i] + 1e-6
    for i in range(size):
        for j in range(i + 1, size):
            factor = matrix[j, i] / matrix[i, i]
            for k in range(i, size):
                matrix[j, k] -= factor * matrix[i, k]
            vector[j] -= factor * vector[i]
    for i in range(size - 1, -1, -1):
        for j in range(i + 1, size):
            vector[i] -= matrix[i, j] * vector[j]
        vector[i] /= matrix[i, i]


@numba.njit(cache=True)
def clip(value, low, high):  # type: ignore[no-untyped-def]
    return min(max(value, low), high)


@numba.njit(cache=True)
def _without_exposure(x, y, freedom, terms, rest):  # type: ignore[no-untyped-def]
    """What is left between pictures (3, 32, 32) once the exposure and blur that take x to y are taken out.

    Least squares of y - mean over the terms x, x log x (the slope of a gamma curve in its exponent), the Laplacian
    and the Laplacian of that, each within its bounds; of those of exposure `freedom` (0 to 1) is allowed. The gain is
    returned. `terms` is room for (4, 3, 32, 32).
    """
    mean_x = _statistics(x)[0]
    mean_y = _statistics(y)[0]
    matrix, vector, means = np.zeros((4, 4)), np.zeros(4), np.zeros(4)
    count = 3 * SIDE * SIDE
    for channel in range(3):
        laplacian(x[channel], terms[2, channel])
        laplacian(terms[2, channel], terms[3, channel])
        for row in range(SIDE):
            for column in range(SIDE):
                level = x[channel, row, column]
                a, b = level - mean_x, -level * math.log(max(level, 1.0) / 255)
                c, d = terms[2, channel, row, column], terms[3, channel, row, column]
                v = y[channel, row, column] - mean_y
                terms[0, channel, row, column], terms[1, channel, row, column] = a, b
                means[1] += b
                means[2] += c
                means[3] += d
                matrix[0, 0] += a * a
                matrix[0, 1] += a * b
                matrix[0, 2] += a * c
                matrix[0, 3] += a * d
                matrix[1, 1] += b * b
                matrix[1, 2] += b * c
                matrix[1, 3] += b * d
                matrix[2, 2] += c * c
                matrix[2, 3] += c * d
                matrix[3, 3] += d * d
                vector[0] += a * v
                vector[1] += b * v
                vector[2] += c * v
                vector[3] += d * v
    for i in range(4):
        means[i] /= count
    for i in range(4):
        for j in range(i, 4):
            matrix[i, j] -= count * means[i] * means[j]
            matrix[j, i] = matrix[i, j]
    solve(matrix, vector, 4)
    most, bow = 1 + freedom * _GAIN, freedom * _BEND
    gain = clip(vector[0], 1 / most, most)
    bend = clip(vector[1], -bow, bow) if gain == vector[0] else 0.0
    blur = clip(vector[2], 0.0, _BLUR * gain)
    wider = clip(vector[3], -_BLUR * gain, _BLUR * gain)
    bound = freedom * _OFFSET * max(gain, 1.0)
    offset = mean_y - gain * mean_x
    lost = mean_y - (offset - clip(offset, -bound, bound)) - bend * means[1] - blur * means[2] - wider * means[3]
    for channel in range(3):
        for row in range(SIDE):
            for column in range(SIDE):
                rest[channel, row, column] = (
                    lost
                    - y[channel, row, column]
                    + (
                        gain * terms[0, channel, row, column]
                        + bend * terms[1, channel, row, column]
                        + blur * terms[2, channel, row, column]
                        + wider * terms[3, channel, row, column]
                    )
                )
    return gain


@numba.njit(cache=True)
def _largest_mean(plane, size, margin, sums):  # type: ignore[no-untyped-def]
    """The largest absolute mean over size x size cells of a plane, without a margin; `sums` is room for (33, 33)."""
    for row in range(SIDE):
        line = 0.0
        for column in range(SIDE):
            line += plane[row, column]
            sums[row + 1, column + 1] = sums[row, column + 1] + line
    largest = 0.0
    for row in range(margin, SIDE - size + 1 - margin):
        for column in range(margin, SIDE - size + 1 - margin):
            total = sums[row + size, column + size] - sums[row, column + size]
            total += sums[row, column] - sums[row + size, column]
            largest = max(largest, abs(total))
    return largest / (size * size)


@numba.njit(cache=True)
def _sharpness(picture, room):  # type: ignore[no-untyped-def]
    total = 0.0
    for channel in range(3):
        total += laplacian(picture[channel], room)
    return total / _statistics(picture)[1]


@numba.njit(cache=True)
def largest_difference(one, other, freedom, margin, terms, rest, sums):  # type: ignore[no-untyped-def]
    """Largest local difference between pictures (3, 32, 32), exposure and blur taken out, in the flatter's levels."""
    room = rest[0]
    if _sharpness(one, room) < _sharpness(other, room):
        gain = _without_exposure(other, one, freedom, terms, rest)
    else:
        gain = _without_exposure(one, other, freedom, terms, rest)
    grey = terms[0, 0]
    luminance(rest, grey)
    apart = _largest_mean(grey, 3, margin, sums)
    for channel, scale in ((0, _RED), (2, _BLUE)):
        for row in range(SIDE):
            for column in range(SIDE):
                rest[channel, row, column] = scale * (rest[channel, row, column] - grey[row, column])
        apart = max(apart, _CHROMA * _largest_mean(rest[channel], 6, margin, sums))
    return apart / max(gain, 1.0)
