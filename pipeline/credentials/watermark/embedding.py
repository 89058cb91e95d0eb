"""Embedding the chips, informed by what the picture itself already says, as weakly as will do.

M. Miller, G. Doerr, I. Cox, "Applying informed coding and embedding to design a robust high-capacity watermark", IEEE
Trans. Image Processing 13(6), 2004: a bit that the picture speaks for gets less, one it speaks against gets more.
"""

import numpy as np

from pipeline.credentials.watermark.chips import LARGE, RANK, SMALL, Chips, Grid, chips, grid_for, read, soft_bits
from pipeline.credentials.watermark.grid import Pixels, Plane, added, blurred, luma, resized, sampled, whitened
from pipeline.credentials.watermark.jpeg import recompressed
from pipeline.credentials.watermark.payload import CODED_BITS, encoded

SYNC_SHARE = 0.2  # of the mark's energy
TEXTURED_SHARE = 0.35
TEXTURE = 9.0  # grey levels of local strength that three quarters of a textured picture have: grass, gravel
MASK = -0.3  # exponent of the local strength: a little more where the picture is quiet, and the mark heard better
TRIAL = 43.0  # dB at which a picture's answer is measured
GENTLEST = 44.0  # dB
STRONGEST = {LARGE: 41.1, SMALL: 38.02}  # dB
STRONGEST_TEXTURED = 39.1  # dB, on the large grid: texture drowns the mark, and hides it
# What a copy at JPEG 60 must still show, so that cut and scaled ones are found too.
HARSH = 60
SCORE = 14.3
SYNC = 16.0  # standard deviations of the synchronisation pattern
WEIGHTS = (0.05, 4.0)  # least and most that a coded bit gets


def embed_chips(rgb: Pixels, payload: int, key: bytes) -> tuple[Pixels, bool]:
    """The image (H, W, 3) uint8 with a payload of 32 bits, at STRONGEST to GENTLEST dB; and if it surely holds.

    It does when the trial, recompressed harshly, was read.
    """
    height, width, _ = rgb.shape
    grid = grid_for(width, height)
    code = chips(key, grid)
    signs = encoded(payload)
    cells = sampled(luma(rgb), grid.side)
    local = _local_strength(cells)
    textured = grid is LARGE and float(np.percentile(local, 25)) >= TEXTURE
    share = np.float32(TEXTURED_SHARE if textured else SYNC_SHARE)
    data_part, sync_part = np.sqrt(1 - share), np.sqrt(share)
    mask, sync = _mask(local), _sync(code, grid)

    def marked_at(decibel: float, weights: Plane) -> Pixels:
        data = code.signs * (weights * signs * code.scramble)[code.bit]
        data = _normal(data - blurred(data, 0.8))
        pattern = mask * (data_part * data + sync_part * sync)
        change = _normal(resized(pattern, width, height))
        wanted = 255.0 * 10 ** (-decibel / 20)
        _, done = added(rgb, change, wanted)
        return added(rgb, change, wanted * wanted / max(done, 1e-3))[0]  # makes good what clipping took

    even = np.ones(CODED_BITS, np.float32)
    own = soft_bits(whitened(cells), code) * signs
    heard = soft_bits(whitened(sampled(luma(marked_at(TRIAL, even)), grid.side)), code) * signs
    gain = max(float(heard.mean() - own.mean()), 1e-3)
    lack = (heard.mean() - heard) / gain

    def weights(strength: float) -> Plane:
        clipped: Plane = np.clip(even + lack / strength, *WEIGHTS)
        return clipped

    copy = luma(recompressed(marked_at(TRIAL, weights(1.0)), HARSH))
    found, score = read(copy, key, grid)
    strength = _needed(score, sync_strength(copy, code, grid))
    strongest = STRONGEST_TEXTURED if textured else STRONGEST[grid]
    decibel = float(np.clip(TRIAL - 20 * np.log10(strength), strongest, GENTLEST))
    return marked_at(decibel, weights(10 ** ((TRIAL - decibel) / 20))), found == payload


def sync_strength(plane: Plane, code: Chips, grid: Grid) -> float:
    """The synchronisation pattern in an uncut picture's luma, in standard deviations."""
    frame = whitened(sampled(plane, grid.sync))
    agreement = float(((code.rows @ frame) * code.columns).sum())
    return agreement / (float(np.sqrt(RANK * np.mean(frame * frame))) * grid.sync + 1e-9)


def _needed(score: float, sync: float) -> float:
    """How many times stronger a mark must be than one with this score and synchronisation, which grow with it."""
    wanted, heard = (_amplitude(value**2 / CODED_BITS) for value in (SCORE, score))
    return max(wanted / max(heard, 0.1), SYNC / max(sync, 1.0))


def _amplitude(share: float) -> float:
    """Amplitude over noise of coded bits whose energy is in `share` the mark's."""
    return float(np.sqrt(share / max(1 - share, 0.005)))


def _local_strength(cells: Plane) -> Plane:
    fine = cells - blurred(cells, 0.8)
    strength: Plane = np.sqrt(blurred(fine * fine, 2.0))
    return strength


def _mask(local: Plane) -> Plane:
    mask = (local + 1.0) ** MASK
    clipped: Plane = np.clip(mask / mask.mean(), 0.4, 3.0)
    return clipped


def _sync(code: Chips, grid: Grid) -> Plane:
    pattern = resized(code.rows.T @ code.columns, grid.side, grid.side)
    return _normal(pattern - blurred(pattern, 0.8 * grid.side / grid.sync))


def _normal(plane: Plane) -> Plane:
    scaled: Plane = plane / np.float32(np.sqrt(np.mean(plane * plane)) + 1e-9)
    return scaled
