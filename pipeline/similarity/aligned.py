"""The arithmetic of the aligned look, pair by pair, compiled.

Exposure and blur that take one picture to the other are fitted by least squares over gain, offset, gamma and two
Laplacians, each within its bounds. When one picture may be a part of the other, the window is first aligned: four
numbers, by Gauss-Newton steps on the squared difference (Lucas and Kanade: An iterative image registration technique,
1981). Loops are written out, since array expressions take several times as long to compile. All of it is in one file,
since Numba's cache does not see a change in another.
"""

import math

import numba
import numpy as np

from pipeline.catalog.tables import THUMBNAIL_SIDE as SIDE

_GREY = 5.0  # levels of chroma up to which a thumbnail counts as grey
_STRICT = 1.6  # how much nearer a grey and a coloured picture must come, and turned ones
_GREYED = 0.2  # of the freedom of exposure: a grey copy keeps the luminance, a recoloured picture seldom does
_RESAMPLED = 1.6  # how much farther a window may stay: thin lines fall on the grid otherwise
_CROPPED = 0.24  # of the mean Laplacian: in a soft picture a window can be fitted to much
_EXPLAINS = 3.0  # how much nearer the window must come than the whole: pages of other text gain little by one
_STEPS, _STRIDE = 6, 0.05  # of the alignment, in shares of a side
_SMALLEST = 0.7  # share of a side that a window may come to
_GAIN = 0.5  # above 1, or its inverse
_OFFSET = 48.0  # levels
_BEND = 0.6  # of the exponent of the tone curve
_BLUR = 0.4  # of the Laplacian that may be added
_NOISE = 2.0  # levels: how well a pixel is known; in a picture of few tones gain and bend cannot be told apart
_EXPECTED = (1.0, 0.0, 0.0, 0.0)  # gain, bend, blur, wider blur
_SPREAD = (0.3, 0.3, 0.2, 0.2)  # how far each is expected to stray
_BLUE, _RED = 0.564, 0.713  # Cb and Cr of a difference from luminance (ITU-T T.871)
_FINE, _BROAD = 6, 12  # sides of the cells of chroma: JPEG's own are 8 to 16 in a picture of 64 to 32 pixels
_CHROMA = 2.2  # how much more a broad difference of chroma counts


@numba.njit(cache=True)
def _luminance(channels, out):  # type: ignore[no-untyped-def]
    for row in range(SIDE):
        for column in range(SIDE):
            out[row, column] = (
                0.299 * channels[0, row, column] + 0.587 * channels[1, row, column] + 0.114 * channels[2, row, column]
            )


@numba.njit(cache=True)
def _laplacian(plane, out):  # type: ignore[no-untyped-def]
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
def _solve(matrix, vector, size):  # type: ignore[no-untyped-def]
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
def _clip(value, low, high):  # type: ignore[no-untyped-def]
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
        _laplacian(x[channel], terms[2, channel])
        _laplacian(terms[2, channel], terms[3, channel])
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
        bound = count * (_NOISE / _SPREAD[i]) ** 2
        matrix[i, i] += bound
        vector[i] += bound * _EXPECTED[i]
    _solve(matrix, vector, 4)
    most, bow = 1 + freedom * _GAIN, freedom * _BEND
    gain = _clip(vector[0], 1 / most, most)
    bend = _clip(vector[1], -bow, bow) if gain == vector[0] else 0.0
    blur = _clip(vector[2], 0.0, _BLUR * gain)
    wider = _clip(vector[3], -_BLUR * gain, _BLUR * gain)
    bound = freedom * _OFFSET * max(gain, 1.0)
    offset = mean_y - gain * mean_x
    lost = mean_y - (offset - _clip(offset, -bound, bound)) - bend * means[1] - blur * means[2] - wider * means[3]
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
        total += _laplacian(picture[channel], room)
    return total / _statistics(picture)[1]


@numba.njit(cache=True)
def _largest_difference(one, other, freedom, margin, terms, rest, sums):  # type: ignore[no-untyped-def]
    """Largest local difference between pictures (3, 32, 32), exposure and blur taken out, in the flatter's levels."""
    room = rest[0]
    if _sharpness(one, room) < _sharpness(other, room):
        gain = _without_exposure(other, one, freedom, terms, rest)
    else:
        gain = _without_exposure(one, other, freedom, terms, rest)
    grey = terms[0, 0]
    _luminance(rest, grey)
    apart = _largest_mean(grey, 3, margin, sums)
    for channel, scale in ((0, _RED), (2, _BLUE)):
        for row in range(SIDE):
            for column in range(SIDE):
                rest[channel, row, column] = scale * (rest[channel, row, column] - grey[row, column])
        apart = max(apart, _largest_mean(rest[channel], _FINE, margin, sums))
        apart = max(apart, _CHROMA * _largest_mean(rest[channel], _BROAD, margin, sums))
    return apart / max(gain, 1.0)


@numba.njit(cache=True)
def _load(picture, turn, grey, out):  # type: ignore[no-untyped-def]
    """Red, green and blue of a thumbnail in a turned position as out (3, 32, 32), or luminance in all three."""
    last = SIDE - 1
    for row in range(SIDE):
        for column in range(SIDE):
            r, c = row, column
            for _ in range(turn % 4):
                r, c = c, last - r
            if turn >= 4:
                c = last - c
            red, green, blue = float(picture[r, c, 0]), float(picture[r, c, 1]), float(picture[r, c, 2])
            if grey:
                red = green = blue = 0.299 * red + 0.587 * green + 0.114 * blue
            out[0, row, column], out[1, row, column], out[2, row, column] = red, green, blue


@numba.njit(cache=True)
def _is_grey(picture):  # type: ignore[no-untyped-def]
    for row in range(SIDE):
        for column in range(SIDE):
            red, green, blue = (
                int(picture[row, column, 0]),
                int(picture[row, column, 1]),
                int(picture[row, column, 2]),
            )
            if max(red, green, blue) - min(red, green, blue) > _GREY:
                return False
    return True


@numba.njit(cache=True)
def _sample(plane, window, out):  # type: ignore[no-untyped-def]
    """Bilinear samples of a window of a plane on the same grid."""
    last = SIDE - 1
    for row in range(SIDE):
        y = min(max((window[0] + window[2] * (row + 0.5) / SIDE) * SIDE - 0.5, 0.0), float(last))
        y0 = min(int(y), last - 1)
        fy = y - y0
        for column in range(SIDE):
            x = min(max((window[1] + window[3] * (column + 0.5) / SIDE) * SIDE - 0.5, 0.0), float(last))
            x0 = min(int(x), last - 1)
            fx = x - x0
            above = (1 - fx) * plane[y0, x0] + fx * plane[y0, x0 + 1]
            below = (1 - fx) * plane[y0 + 1, x0] + fx * plane[y0 + 1, x0 + 1]
            out[row, column] = (1 - fy) * above + fy * below


@numba.njit(cache=True)
def _align(x, y, window, limit, seen):  # type: ignore[no-untyped-def]
    """Move a window of plane x, in place, to where it comes nearest to plane y; `seen` is room for (32, 32).

    False when after one step the two are still farther apart on average than `limit`.
    """
    matrix, vector, step = np.empty((6, 6)), np.empty(6), np.empty(6)
    right_side = np.empty(6)
    for number in range(_STEPS):
        _sample(x, window, seen)
        square = 0.0
        for i in range(6):
            vector[i] = 0.0
            for j in range(6):
                matrix[i, j] = 0.0
        for row in range(1, SIDE - 1):
            for column in range(1, SIDE - 1):
                down = (seen[row + 1, column] - seen[row - 1, column]) / 2 / window[2] * SIDE
                right = (seen[row, column + 1] - seen[row, column - 1]) / 2 / window[3] * SIDE
                step[0], step[1] = down, right
                step[2], step[3] = down * (row + 0.5) / SIDE, right * (column + 0.5) / SIDE
                step[4], step[5] = seen[row, column], 1.0
                square += y[row, column] * y[row, column]
                for i in range(6):
                    vector[i] += step[i] * y[row, column]
                    for j in range(i, 6):
                        matrix[i, j] += step[i] * step[j]
        for i in range(6):
            right_side[i] = vector[i]
            for j in range(i):
                matrix[i, j] = matrix[j, i]
        _solve(matrix, vector, 6)
        for i in range(6):
            square -= right_side[i] * vector[i]
        if number == 1 and square > (SIDE - 2) ** 2 * limit**2:
            return False
        gain = max(vector[4], 0.2)
        for i in range(4):
            window[i] += _clip(vector[i] / gain, -_STRIDE, _STRIDE)
        for axis in range(2):
            window[axis + 2] = _clip(window[axis + 2], _SMALLEST, 1.0)
            window[axis] = _clip(window[axis], 0.0, 1.0 - window[axis + 2])
    return True


@numba.njit(cache=True)
def look_all(pictures, wholes, parts, turns, windows, differences, limits):  # type: ignore[no-untyped-def]
    """Fill `differences` (M,), move `windows` (M, 4) and `limits` (M,), for M pairs of thumbnails; see looks.look."""
    x, y, seen = np.empty((3, SIDE, SIDE)), np.empty((3, SIDE, SIDE)), np.empty((3, SIDE, SIDE))
    terms, rest = np.empty((4, 3, SIDE, SIDE)), np.empty((3, SIDE, SIDE))
    sums = np.zeros((SIDE + 1, SIDE + 1))
    for pair in range(len(wholes)):
        whole, part, window = pictures[wholes[pair]], pictures[parts[pair]], windows[pair]
        one, other = _is_grey(whole), _is_grey(part)
        grey = one or other
        freedom = 1.0 if one == other else _GREYED
        _load(whole, turns[pair], grey, x)
        _load(part, 0, grey, y)
        if window[2] < 1 or window[3] < 1:
            _luminance(x, rest[0])
            _luminance(y, rest[1])
            detail = math.sqrt(_laplacian(rest[0], rest[2]) / (SIDE * SIDE))
            limits[pair] = min((_RESAMPLED if one == other else 1.0) * limits[pair], _CROPPED * detail)
            if not _align(rest[0], rest[1], window, limits[pair], rest[2]):
                differences[pair] = np.inf
                continue
            for channel in range(3):
                _sample(x[channel], window, seen[channel])
            nearest = _largest_difference(seen, y, freedom, 1, terms, rest, sums)
            if (
                nearest <= limits[pair]
                and _largest_difference(x, y, freedom, 1, terms, rest, sums) < _EXPLAINS * nearest
            ):
                nearest = np.inf
            differences[pair] = nearest
        else:
            differences[pair] = _largest_difference(x, y, freedom, 0, terms, rest, sums)
        if one != other or (turns[pair] and window[2] == 1 and window[3] == 1):
            limits[pair] /= _STRICT
