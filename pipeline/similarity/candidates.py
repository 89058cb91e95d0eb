"""Which pairs of thumbnails are worth an aligned look when one may be turned, or a part of the other.

Codes are those of a perceptual hash (the low corner of the DCT-II against its median), taken from the thumbnail: of
its eight positions by changing signs and places of coefficients, and of the whole and 32 windows that leave out
a twentieth or a tenth of the sides. A picture that was cropped by up to a tenth is like one of the windows.

The hash of a figure that is its own mirror image, on plain ground, is half noise: as many coefficients lie at the
median. Such pictures are looked up by which parts are brighter than the mean, too.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.tables import THUMBNAIL_SIDE as SIDE
from pipeline.similarity.bands import Codes
from pipeline.similarity.join import near_blocks_between, near_pairs_between
from pipeline.similarity.looks import WHOLE, Candidates, Pixels, back, turned, turned_windows

Rows = NDArray[np.int64]
TURNS = 8
_CODE_SIDE = 16  # 256 bits
_COARSE_SIDE = 8  # 64 bits: bears that the window is not the very part
COARSE_DISTANCE, WINDOW_DISTANCE = 6, 54  # bits of the two codes between a part and a window
_STEADY = 0.2 * SIDE**2  # a coefficient nearer to the median (a wave of 0.2 levels) has a bit of noise
_UNSTEADY = 104  # of 256 bits: with more of noise the hash of a copy may be too far away
_BRIGHT_DISTANCE = 8  # bits of 256
_SCATTERED = np.random.default_rng(0).permutation(
    _CODE_SIDE**2
)  # a band of neighbouring parts would tell little apart
_CHUNK = 1024
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_TWENTIETH = [(top, left, 0.95, 0.95) for top in (0, 0.025, 0.05) for left in (0, 0.025, 0.05)]
_TENTH = [(top / 30, left / 30, 0.9, 0.9) for top in range(4) for left in range(4)] + [(0.05, 0.05, 0.9, 0.9)]
_ONE_SIDE = [(at, 0.0, 0.9, 1.0) for at in (0, 0.05, 0.1)] + [(0.0, at, 1.0, 0.9) for at in (0, 0.05, 0.1)]
WINDOWS = np.array([WHOLE, *_TWENTIETH, *_TENTH, *_ONE_SIDE])


def turned_candidates(pictures: Pixels, wholes: Rows, parts: Rows, distance: int) -> Candidates:
    """Pairs (row of `wholes`, row of `parts`) with hashes within `distance` once the first is turned or mirrored."""
    low, stored = _coefficients(pictures[wholes]), _packed(_coefficients(pictures[parts]))
    found = [np.empty((0, 3), np.int64)]
    for turn in range(1, TURNS):
        pairs, _ = near_pairs_between(_packed(_position(low, turn)), stored, distance)
        found.append(np.column_stack([wholes[pairs[:, 0]], parts[pairs[:, 1]], np.full(len(pairs), turn)]))
    rows = np.concatenate(found)
    rows = rows[rows[:, 0] != rows[:, 1]]
    return Candidates(rows[:, 0], rows[:, 1], rows[:, 2], np.tile(WHOLE, (len(rows), 1)))


def unsteady_candidates(pictures: Pixels, some: Rows, others: Rows) -> Candidates:
    """Pairs (row of `some` with a hash of noise, row of `others`), alike in what is bright, however turned."""
    low = _coefficients(pictures[some]).reshape(len(some), _CODE_SIDE**2)
    apart = np.abs(low - np.median(low, axis=1, keepdims=True)) if len(low) else low
    some = some[(apart < _STEADY).sum(axis=1) > _UNSTEADY]
    stored = _bright(pictures[others])
    found = [np.empty((0, 3), np.int64)]
    for turn in range(TURNS):
        codes = _bright(turned(pictures[some], turn))
        for pairs in near_blocks_between(codes, stored, _BRIGHT_DISTANCE):
            found.append(np.column_stack([some[pairs[:, 0]], others[pairs[:, 1]], np.full(len(pairs), turn)]))
    rows = np.concatenate(found)
    rows = rows[rows[:, 0] != rows[:, 1]]
    return Candidates(rows[:, 0], rows[:, 1], rows[:, 2], np.tile(WHOLE, (len(rows), 1)))


def cropped_candidates(pictures: Pixels, wholes: Rows, parts: Rows) -> Candidates:
    """Pairs (row of `wholes`, row of `parts`) of which the second is like a window of the first, however turned."""
    coarse, fine = (codes.reshape(-1, codes.shape[-1]) for codes in window_codes(pictures[wholes]))
    low = _coefficients(pictures[parts])
    found = [np.empty((0, 3), np.int64)]
    for turn in range(TURNS):
        position = _position(low, turn)
        own = _packed(position)
        for pairs in near_blocks_between(_packed(position[:, :_COARSE_SIDE, :_COARSE_SIDE]), coarse, COARSE_DISTANCE):
            part, place = pairs[:, 0], pairs[:, 1]
            apart = np.bitwise_count(own[part] ^ fine[place]).sum(axis=1, dtype=np.int64)
            near = (apart <= WINDOW_DISTANCE) & (parts[part] != wholes[place // len(WINDOWS)])
            found.append(np.stack([part[near], place[near], np.full(int(near.sum()), turn)], axis=1))
    part, place, turns = (rows := np.concatenate(found))[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))].T
    undone = back(turns)
    windows = turned_windows(WINDOWS[place % len(WINDOWS)], undone)
    return Candidates(wholes[place // len(WINDOWS)], parts[part], undone, windows)


def _coefficients(pictures: NDArray[np.generic]) -> NDArray[np.float32]:
    """Low DCT-II coefficients (N, 16, 16) of thumbnails."""
    across = _transform(0.0, 1.0)
    parts = [across @ grey @ across.T for grey in _luminance(pictures)]
    return np.concatenate(parts) if parts else np.empty((0, _CODE_SIDE, _CODE_SIDE), np.float32)


def window_codes(pictures: NDArray[np.generic]) -> tuple[Codes, Codes]:
    """Codes of every window of thumbnails: coarse (N, 33, 1) and fine (N, 33, 4); the first is the whole."""
    rows = {(top, height): _transform(top, height) for top, _, height, _ in WINDOWS.tolist()}
    columns = {(left, width): _transform(left, width).T for _, left, _, width in WINDOWS.tolist()}
    coarse = np.empty((len(pictures), len(WINDOWS), 1), np.uint64)
    fine = np.empty((len(pictures), len(WINDOWS), 4), np.uint64)
    start = 0
    for grey in _luminance(pictures):
        part = slice(start, start + len(grey))
        half = {key: np.matmul(transform, grey) for key, transform in rows.items()}
        for number, (top, left, height, width) in enumerate(WINDOWS.tolist()):
            low: NDArray[np.float32] = np.matmul(half[top, height], columns[left, width])
            coarse[part, number] = _packed(low[:, :_COARSE_SIDE, :_COARSE_SIDE])
            fine[part, number] = _packed(low)
        start = part.stop
    return coarse, fine


def _luminance(pictures: NDArray[np.generic]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(pictures), _CHUNK):
        yield pictures[start : start + _CHUNK].astype(np.float32) @ _LUMINANCE


def _transform(start: float, length: float) -> NDArray[np.float32]:
    """Shape (16, 32): the first rows of the DCT-II of a stretch of a line, sampled at 32 places."""
    cosines = 2 * np.cos(np.pi * np.outer(np.arange(_CODE_SIDE), 2 * np.arange(SIDE) + 1) / (2 * SIDE))
    places = np.clip((start + length * (np.arange(SIDE) + 0.5) / SIDE) * SIDE - 0.5, 0, SIDE - 1)
    before = np.minimum(places.astype(np.int64), SIDE - 2)
    samples = np.zeros((SIDE, SIDE))
    samples[np.arange(SIDE), before] = 1 - (places - before)
    samples[np.arange(SIDE), before + 1] = places - before
    low: NDArray[np.float32] = (cosines @ samples).astype(np.float32)
    return low


def _bright(pictures: NDArray[np.generic]) -> Codes:
    """Which of 16 x 16 parts are brighter than the mean, as words (N, 4)."""
    bits = []
    for grey in _luminance(pictures):
        parts = grey.reshape(len(grey), _CODE_SIDE, SIDE // _CODE_SIDE, _CODE_SIDE, SIDE // _CODE_SIDE).mean(
            axis=(2, 4)
        )
        flat = parts.reshape(len(grey), _CODE_SIDE**2)[:, _SCATTERED]
        bits.append(flat > flat.mean(axis=1, keepdims=True))
    packed = np.packbits(np.concatenate(bits), axis=1) if bits else np.empty((0, _CODE_SIDE**2 // 8), np.uint8)
    words: Codes = np.ascontiguousarray(packed).view(">u8").astype(np.uint64)
    return words


def _position(low: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """The coefficients of pictures in a turned position, see looks.turned."""
    odd = np.where(np.arange(_CODE_SIDE) % 2, -1, 1).astype(np.float32)
    if turn >= 4:
        low = low * odd  # mirrored left and right
    for _ in range(turn % 4):  # a quarter turn to the left: rows become columns, then upside down
        low = low.transpose(0, 2, 1) * odd[:, None]
    return low


def _packed(low: NDArray[np.float32]) -> Codes:
    """Bits of coefficients (N, k, k) above their median, as words (N, k * k / 64)."""
    flat = low.reshape(len(low), low.shape[1] * low.shape[2])
    bits = flat > np.median(flat, axis=1, keepdims=True) if len(flat) else flat > 0
    words: Codes = np.packbits(bits, axis=1).view(">u8").astype(np.uint64)
    return words
