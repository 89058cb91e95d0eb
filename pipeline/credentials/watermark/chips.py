"""The spread-spectrum code: a key's chips on a grid relative to the picture, and what a placed picture says.

I. Cox et al., "Secure spread spectrum watermarking for multimedia", IEEE Trans. Image Processing 6(12), 1997. Every
cell of the grid repeats one of the 224 coded bits under a keyed sign. A second keyed pattern, the same in every
image, tells where the grid lies; it is a sum of few products of lines, so that `search` tries whole axes at once.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from pipeline.credentials.watermark.grid import WHOLE, Placement, Plane, sampled, unpredicted, whitened
from pipeline.credentials.watermark.payload import CODED_BITS, decoded

RANK = 12  # products of lines in the synchronisation pattern
LOOKS = 2  # decodings in one `read`


@dataclass(frozen=True)
class Grid:
    """Cells a side, of the data and of the synchronisation pattern, and how the latter is looked at."""

    side: int
    sync: int
    samples: int  # a side; more than cells, so that a copy whose cells lie between samples shows them too
    flat: bool  # prediction is taken off too, where there are pixels enough: of a texture that tells more


LARGE = Grid(side=128, sync=128, samples=176, flat=True)
SMALL = Grid(side=72, sync=96, samples=96, flat=False)
GRIDS = (LARGE, SMALL)
LARGE_FROM = 180  # px of the shorter side


@dataclass(frozen=True)
class Chips:
    """What a key means on a grid."""

    signs: Plane  # (side, side): +-1
    bit: NDArray[np.uint8]  # (side, side): the coded bit that a cell repeats
    scramble: Plane  # (CODED_BITS,): +-1, which the false-reading bound rests on; nothing else uses them
    columns: Plane  # (RANK, sync): +-1
    rows: Plane  # (RANK, sync): +-1


def grid_for(width: int, height: int) -> Grid:
    """The grid that a picture of this size is marked on."""
    return LARGE if min(width, height) >= LARGE_FROM else SMALL


@lru_cache(maxsize=16)
def chips(key: bytes, grid: Grid) -> Chips:
    """A key's chips, from SHAKE-256 and not from a random generator whose stream may change."""
    cells, edges = grid.side**2, RANK * grid.sync
    name = f"imprimatur chips 1 {grid.side} {grid.sync}\0".encode()
    stream = hashlib.shake_256(name + key).digest(9 * cells + CODED_BITS + 2 * edges)
    order = np.argsort(np.frombuffer(stream[: 8 * cells], ">u8"), kind="stable")
    bit = np.empty(cells, np.uint8)
    bit[order] = np.arange(cells) % CODED_BITS
    signs = (np.frombuffer(stream[8 * cells :], np.uint8) & 1).astype(np.float32) * 2 - 1
    own, scramble, columns, rows = np.split(signs, np.cumsum([cells, CODED_BITS, edges]))
    square, lines = (grid.side, grid.side), (RANK, grid.sync)
    return Chips(own.reshape(square), bit.reshape(square), scramble, columns.reshape(lines), rows.reshape(lines))


def soft_bits(plane: Plane, code: Chips) -> Plane:
    """The coded bits of a whitened plane (side, side), each the sum of its cells over their root, (CODED_BITS,)."""
    sums: Plane = _despread(plane, code.signs, code.bit) * code.scramble
    return sums


def read(luma_plane: Plane, key: bytes, grid: Grid, placement: Placement = WHOLE) -> tuple[int | None, float]:
    """Payload, None when there is none, and score of the picture that lies in a plane as `placement` says."""
    code = chips(key, grid)
    plane = whitened(sampled(luma_plane, grid.side, placement))
    payload, score = decoded(soft_bits(plane, code))
    if payload is not None:
        return payload, score
    payload, flat_score = decoded(soft_bits(unpredicted(plane), code))
    return payload, max(score, flat_score)


def synchronisation(luma_plane: Plane, grid: Grid, placement: Placement = WHOLE) -> Plane:
    """What a placed picture shows of the synchronisation pattern, (samples, samples).

    Scaled so that the whole pattern's correlation with noise has a standard deviation of 1.
    """
    plane = whitened(sampled(luma_plane, grid.samples, placement))
    if grid.flat and min(luma_plane.shape) >= grid.samples:
        plane = unpredicted(plane)
    scaled: Plane = plane / np.float32(np.sqrt(RANK * np.mean(plane * plane)) + 1e-9)
    return scaled


@numba.njit(cache=True)
def _despread(plane: Plane, signs: Plane, bit: NDArray[np.uint8]) -> Plane:
    sums = np.zeros(CODED_BITS, np.float32)
    counts = np.ones(CODED_BITS, np.float32)
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            value = plane[row, column]
            sums[bit[row, column]] += value * signs[row, column]
            counts[bit[row, column]] += value != 0
    for k in range(CODED_BITS):
        sums[k] /= np.sqrt(counts[k])
    return sums
