"""The arithmetic of the aligned look, pair by pair, compiled.

When one picture may be a part of the other, the window is first aligned: four numbers, by Gauss-Newton steps on the
squared difference (Lucas and Kanade: An iterative image registration technique, 1981).
"""

import math

import numba
import numpy as np

from pipeline.catalog.tables import THUMBNAIL_SIDE as SIDE
from pipeline.similarity.differences import clip, laplacian, largest_difference, luminance, solve

_GREY = 5.0  # levels of chroma up to which a thumbnail counts as grey
_STRICT = 1.6  # how much nearer a grey and a coloured picture must come, and turned ones
_GREYED = 0.2  # of the freedom of exposure: a grey copy keeps the luminance, a recoloured picture seldom does
_RESAMPLED = 1.6  # how much farther a window may stay: thin lines fall on the grid otherwise
_CROPPED = 0.24  # of the mean Laplacian: in a soft picture a window can be fitted to much
_EXPLAINS = 3.0  # how much nearer the window must come than the whole: pages of other text gain little by one
_STEPS, _STRIDE = 6, 0.05  # of the alignment, in shares of a side
_SMALLEST = 0.7  # share of a side that a window may come to


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
        solve(matrix, vector, 6)
        for i in range(6):
            square -= right_side[i] * vector[i]
        if number == 1 and square > (SIDE - 2) ** 2 * limit**2:
            return False
        gain = max(vector[4], 0.2)
        for i in range(4):
            window[i] += clip(vector[i] / gain, -_STRIDE, _STRIDE)
        for axis in range(2):
            window[axis + 2] = clip(window[axis + 2], _SMALLEST, 1.0)
            window[axis] = clip(window[axis], 0.0, 1.0 - window[axis + 2])
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
            luminance(x, rest[0])
            luminance(y, rest[1])
            detail = math.sqrt(laplacian(rest[0], rest[2]) / (SIDE * SIDE))
            limits[pair] = min((_RESAMPLED if one == other else 1.0) * limits[pair], _CROPPED * detail)
            if not _align(rest[0], rest[1], window, limits[pair], rest[2]):
                differences[pair] = np.inf
                continue
            for channel in range(3):
                _sample(x[channel], window, seen[channel])
            nearest = largest_difference(seen, y, freedom, 1, terms, rest, sums)
            if (
                nearest <= limits[pair]
                and largest_difference(x, y, freedom, 1, terms, rest, sums) < _EXPLAINS * nearest
            ):
                nearest = np.inf
            differences[pair] = nearest
        else:
            differences[pair] = largest_difference(x, y, freedom, 0, terms, rest, sums)
        if one != other or turns[pair]:
            limits[pair] /= _STRICT
