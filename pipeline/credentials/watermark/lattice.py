"""The mark of small images: 32 bits by spread-transform dither modulation, which the picture itself does not disturb.

B. Chen and G. Wornell, "Quantization Index Modulation", IEEE Trans. Information Theory 47(4), 2001.
Luma, resized to a canonical square, gives five low 8x8 DCT coefficients a block; the key deals them into one group
for each bit, and the projection of a group is moved onto the lattice that means 0 or 1. A reading is accepted only
when the CRC fits *and* the projections lie near lattice points. Crops break it.

False readings. The key's dither makes the places of the 48 projections between lattice points independent and
uniform, whatever the image: so are their signs (the bits) and distances, and CRC and nearness are independent.
`lattice_bound` adds up 2^-16 for each word tried, times the chance (normal, 48 uniform terms) of such nearness.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb, erfc, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from pipeline.credentials.watermark.grid import Pixels, Plane, luma, psnr, resized
from pipeline.credentials.watermark.jpeg import recompressed
from pipeline.credentials.watermark.payload import WORD_BITS, payload_of, word_of

BITS = WORD_BITS
SIDE = 64  # px of the canonical square, whatever the image's size: so the reader need not know that
STEPS = (36.0, 52.0, 70.0, 76.0)  # lattice steps in grey levels of a projection, weakest first
LEAST_PSNR = 38.0  # dB: an image that needs more is not marked well enough, and is kept back
WEAKEST = 7  # of so many unreliable bits up to two are flipped in search of a fitting CRC
# Mean lattice nearness that is asked of a reading with 0, 1, 2 flipped bits: 0.25 is a perfect mark, 0.125 no mark.
NEARNESS = (0.157, 0.165, 0.175)
ROUNDS = 4  # embedding is repeated to make good what rounding, clipping and resizing lost
_COEFFICIENTS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))
_ROWS, _COLUMNS = np.array(_COEFFICIENTS).T


@dataclass(frozen=True)
class _Code:
    """What a key means on the canonical square."""

    spread: Plane  # (BITS, coefficients): unit rows with disjoint support
    dither: Plane  # (BITS,), in steps
    mask: NDArray[np.uint8]  # (BITS,) whitening of the code word


def embed_lattice(rgb: Pixels, payload: int, key: bytes) -> Pixels:
    """The image (H, W, 3) uint8 with a payload of 32 bits.

    The weakest mark that survives JPEG 50, else (black and white drawings, where clipping eats the mark) the weakest
    that survives JPEG 75, else the strongest; of at least LEAST_PSNR.
    """
    code = _code(key)
    word = word_of(payload) ^ code.mask
    strongest, fallback = rgb, None
    for step in STEPS:
        marked = _embed_at(rgb, word, code, step)
        if psnr(rgb, marked) < LEAST_PSNR:
            break
        strongest = marked
        if read_lattice(luma(recompressed(marked, 50)), key) == payload:
            return marked
        if fallback is None and read_lattice(luma(recompressed(marked, 75)), key) == payload:
            fallback = marked
    return strongest if fallback is None else fallback


def read_lattice(plane: Plane, key: bytes) -> int | None:
    """The payload that a luma plane (H, W) carries under this key, None when there is none."""
    code = _code(key)
    projections = code.spread @ _coefficients(resized(plane, SIDE, SIDE))
    readings = (_decode(projections, code, step) for step in STEPS)
    return next((payload for payload in readings if payload is not None), None)


def lattice_bound() -> float:
    """The chance that `read_lattice` accepts an image without a mark of this key."""
    deviation = 0.25 / sqrt(12 * BITS)
    tails = [erfc((needed - 0.125) / deviation / sqrt(2)) / 2 for needed in NEARNESS]
    return len(STEPS) * 2.0**-16 * sum(comb(WEAKEST, flips) * tail for flips, tail in enumerate(tails))


def _embed_at(rgb: Pixels, word: NDArray[np.uint8], code: _Code, step: float) -> Pixels:
    height, width, _ = rgb.shape
    marked, residual = rgb, np.zeros((height, width), np.float32)
    for _ in range(ROUNDS):
        projections = code.spread @ _coefficients(resized(luma(marked), SIDE, SIDE))
        offset = step * (code.dither + word / 2)
        target = np.round((projections - offset) / step) * step + offset
        change = _plane(code.spread.T @ (target - projections))
        residual += resized(change, width, height)
        marked = np.clip(np.rint(rgb + residual[:, :, None]), 0, 255).astype(np.uint8)
    return marked


def _decode(projections: Plane, code: _Code, step: float) -> int | None:
    place = (projections / step - code.dither) % 1.0
    from_zero = np.minimum(place, 1.0 - place)  # 0 on the lattice of bit 0, 0.5 on that of bit 1
    reliability = np.abs(from_zero - 0.25)
    nearness = float(reliability.mean())
    word = (from_zero > 0.25).astype(np.uint8) ^ code.mask
    weakest = np.argsort(reliability, kind="stable")[:WEAKEST]
    for count, needed in enumerate(NEARNESS):
        if nearness < needed:
            break
        for flips in combinations(weakest, count):
            tried = word.copy()
            tried[list(flips)] ^= 1
            if (payload := payload_of(tried)) is not None:
                return payload
    return None


@lru_cache(maxsize=16)
def _code(key: bytes) -> _Code:
    """Groups, signs, dither and whitening, from SHAKE-256 and not from a random generator whose stream may change."""
    count = (SIDE // 8) ** 2 * len(_COEFFICIENTS)
    stream = hashlib.shake_256(b"imprimatur stdm 1\0" + key).digest(9 * count + 9 * BITS)
    order = np.argsort(np.frombuffer(stream[: 8 * count], ">u8"), kind="stable")
    signs = (np.frombuffer(stream[8 * count : 9 * count], np.uint8) & 1) * 2.0 - 1.0
    spread = np.zeros((BITS, count), np.float32)
    spread[np.arange(count) % BITS, order] = signs
    spread /= np.linalg.norm(spread, axis=1, keepdims=True)
    rest = stream[9 * count :]
    dither = np.frombuffer(rest[: 8 * BITS], ">u8").astype(np.float64) / 2.0**64
    mask = (np.frombuffer(rest[8 * BITS :], np.uint8) & 1).astype(np.uint8)
    return _Code(spread, dither.astype(np.float32), mask)


def _coefficients(plane: Plane) -> Plane:
    blocks = plane.reshape(SIDE // 8, 8, SIDE // 8, 8)
    chosen: Plane = dctn(blocks, axes=(1, 3), norm="ortho")[:, _ROWS, :, _COLUMNS].ravel()
    return chosen


def _plane(coefficients: Plane) -> Plane:
    blocks = np.zeros((SIDE // 8, 8, SIDE // 8, 8), np.float32)
    blocks[:, _ROWS, :, _COLUMNS] = coefficients.reshape(len(_COEFFICIENTS), SIDE // 8, SIDE // 8)
    plane: Plane = idctn(blocks, axes=(1, 3), norm="ortho").reshape(SIDE, SIDE)
    return plane
