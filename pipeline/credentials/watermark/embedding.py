"""Embedding the chips, informed by what the picture itself already says, as weakly as will do.

M. Miller, G. Doerr, I. Cox, "Applying informed coding and embedding to design a robust high-capacity watermark", IEEE
Trans. Image Processing 13(6), 2004: a bit that the picture speaks for gets less, one it speaks against gets more.
"""

from functools import lru_cache

import numpy as np

from pipeline.credentials.watermark.chips import (
    LARGE,
    SMALL,
    Chips,
    Grid,
    chips,
    grid_for,
    read,
    soft_bits,
    synchronisation,
)
from pipeline.credentials.watermark.grid import Pixels, Plane, added, blurred, luma, resized, sampled, whitened
from pipeline.credentials.watermark.jpeg import recompressed
from pipeline.credentials.watermark.payload import CODED_BITS, encoded
from pipeline.credentials.watermark.search import lines

SYNC_SHARE = (0.15, 0.45)  # least and most of the mark's energy that the synchronisation pattern gets
MASK = -0.3  # exponent of the local strength: a little more where the picture is quiet, and the mark heard better
TRIAL = 43.0  # dB at which a picture's answer is measured
GENTLEST = 44.0  # dB
STRONGEST = {LARGE: 41.1, SMALL: 38.02}  # dB
# What a copy at JPEG 60 must still show, so that cut and scaled ones are found too.
HARSH = 60
SCORE = 14.3
SYNC = 16.0  # standard deviations of the synchronisation pattern
# What a cut copy needs, of the data's amplitude and the pattern's strength: both shall stand alike above these.
LEAST_AMPLITUDE = 0.95
LEAST_SYNC = {LARGE: 4.6, SMALL: 5.5}
TRIAL_SHARE = 0.2
WEIGHTS = (0.05, 4.0)  # least and most that a coded bit gets
CANCELLED = 0.8  # of what the picture says against the mean of the bits
RIM, RIM_WEIGHT = 0.1, 0.2  # part of a side at each edge that a crop may take, and how much the outermost cells count
_WHOLE = np.array([[0.0, 1.0]])  # the span of an uncut picture


def embed_chips(rgb: Pixels, payload: int, key: bytes) -> tuple[Pixels, bool]:
    """The image (H, W, 3) uint8 with a payload of 32 bits, at STRONGEST to GENTLEST dB; and if it surely holds.

    It does when the trial, recompressed harshly, was read.
    """
    height, width, _ = rgb.shape
    grid = grid_for(width, height)
    code, kept = chips(key, grid), _kept(grid)
    signs = encoded(payload)
    cells = sampled(luma(rgb), grid.side)
    mask, sync = _mask(cells), _sync(code, grid)

    def marked_at(decibel: float, weights: Plane, share: float = TRIAL_SHARE) -> Pixels:
        data = code.signs * (weights * signs * code.scramble)[code.bit]
        data = _normal(data - blurred(data, 0.8))
        pattern = mask * (np.float32(np.sqrt(1 - share)) * data + np.float32(np.sqrt(share)) * sync)
        change = _normal(resized(pattern, width, height))
        wanted = 255.0 * 10 ** (-decibel / 20)
        _, done = added(rgb, change, wanted)
        return added(rgb, change, wanted * wanted / max(done, 1e-3))[0]  # makes good what clipping took

    even = np.ones(CODED_BITS, np.float32)
    own = soft_bits(whitened(cells) * kept, code) * signs
    heard = soft_bits(whitened(sampled(luma(marked_at(TRIAL, even)), grid.side)) * kept, code) * signs
    gain = max(float(heard.mean() - own.mean()), 1e-3)
    lack = CANCELLED * (heard.mean() - heard) / gain

    def weights(strength: float) -> Plane:
        clipped: Plane = np.clip(even + lack / strength, *WEIGHTS)
        return clipped

    copy = luma(recompressed(marked_at(TRIAL, weights(1.0)), HARSH))
    found, score = read(copy, key, grid)
    heard_sync = sync_strength(copy, code, grid)
    wanted = _needed(score, heard_sync)
    decibel = float(np.clip(TRIAL - 20 * np.log10(wanted), STRONGEST[grid], GENTLEST))
    strength = 10 ** ((TRIAL - decibel) / 20)
    share = _balanced(score, heard_sync / LEAST_SYNC[grid])
    strength_of_data = strength * float(np.sqrt((1 - share) / (1 - TRIAL_SHARE)))
    return marked_at(decibel, weights(strength_of_data), share), found == payload


def sync_strength(plane: Plane, code: Chips, grid: Grid) -> float:
    """The synchronisation pattern in an uncut picture's luma, in standard deviations."""
    frame = synchronisation(plane, grid)
    rows, columns = (lines(pattern, _WHOLE, grid.samples)[0] for pattern in (code.rows, code.columns))
    return float(((rows @ frame) * columns).sum())


def _needed(score: float, sync: float) -> float:
    """How many times stronger a mark must be than one with this score and synchronisation, which grow with it."""
    wanted, heard = (_amplitude(value**2 / CODED_BITS) for value in (SCORE, score))
    return max(wanted / max(heard, 0.1), SYNC / max(sync, 1.0))


def _balanced(score: float, sync: float) -> float:
    """The share of the synchronisation pattern with which both parts stand alike above what they need."""
    excess = _amplitude(score**2 / CODED_BITS) / LEAST_AMPLITUDE / max(sync, 0.2)
    odds = TRIAL_SHARE / (1 - TRIAL_SHARE) * excess**2
    return min(max(odds / (1 + odds), SYNC_SHARE[0]), SYNC_SHARE[1])


def _amplitude(share: float) -> float:
    """Amplitude over noise of coded bits whose energy is in `share` the mark's."""
    return float(np.sqrt(share / max(1 - share, 0.005)))


def _mask(cells: Plane) -> Plane:
    fine = cells - blurred(cells, 0.8)
    local = np.sqrt(blurred(fine * fine, 2.0))
    mask = (local + 1.0) ** MASK
    clipped: Plane = np.clip(mask / mask.mean(), 0.4, 3.0)
    return clipped


@lru_cache(maxsize=2)
def _kept(grid: Grid) -> Plane:
    """How much each cell counts when the picture is cancelled: those at the rim may be cut off."""
    centres = (np.arange(grid.side) + 0.5) / grid.side
    line = RIM_WEIGHT + (1 - RIM_WEIGHT) * np.clip(np.minimum(centres, 1 - centres) / RIM, 0, 1)
    kept = np.outer(line, line).astype(np.float32)
    weights: Plane = kept / kept.mean()
    return weights


def _sync(code: Chips, grid: Grid) -> Plane:
    pattern = resized(code.rows.T @ code.columns, grid.side, grid.side)
    return _normal(pattern - blurred(pattern, 0.8 * grid.side / grid.sync))


def _normal(plane: Plane) -> Plane:
    scaled: Plane = plane / np.float32(np.sqrt(np.mean(plane * plane)) + 1e-9)
    return scaled
