"""Views of thumbnails as vectors: smoothed, without their edges, coarse, of zero mean."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from pipeline.catalog.tables import THUMBNAIL_SIDE

MARGIN = 2  # pixels at each edge that are left out: what a shift or the filter brings in there is no part of both
SHIFTS = [(down, right) for down in (0, -1, 1) for right in (0, -1, 1)]
_WINDOW = 3  # mean filter
_COMPONENTS = 64
_CHUNK = 500  # pictures

Floats = NDArray[np.float32]
T = TypeVar("T", np.uint8, np.float32)


def views_of(pictures: NDArray[T], margin: int) -> NDArray[T]:
    """Shape (M, 18, ...): each picture (32, 32, 3) without its margin, and its mirror image, in one-pixel shifts."""
    side = THUMBNAIL_SIDE - 2 * margin
    shifted = [
        pictures[:, margin + down : margin + down + side, margin + right : margin + right + side]
        for down, right in SHIFTS
    ]
    return np.stack(shifted + [view[:, :, ::-1] for view in shifted], axis=1)


def inner(pictures: NDArray[T], margin: int) -> NDArray[T]:
    """Pictures (..., 32, 32, 3) without a margin on each side."""
    return pictures[..., margin:-margin, margin:-margin, :]


def smooth(pictures: NDArray[np.uint8] | Floats) -> Floats:
    window = (0,) * (pictures.ndim - 3) + (_WINDOW, _WINDOW, 0)
    filtered: Floats = uniform_filter(pictures.astype(np.float32), size=window, mode="nearest")
    return filtered


def unit_vectors(pictures: NDArray[np.uint8]) -> Floats:
    """Unit vectors (N, 588) of thumbnails, a few at a time."""
    vectors = np.empty((len(pictures), 3 * (THUMBNAIL_SIDE // 2 - MARGIN) ** 2), dtype=np.float32)
    for start in range(0, len(pictures), _CHUNK):
        part = slice(start, start + _CHUNK)
        vectors[part] = unit(coarse(inner(smooth(pictures[part]), MARGIN)))
    return vectors


def coarse(pictures: Floats) -> Floats:
    """Vectors (..., 588) of zero mean of pictures (..., 28, 28, 3): sums of 2x2 pixels."""
    side = pictures.shape[-2]
    rows = pictures[..., ::2, :, :] + pictures[..., 1::2, :, :]
    sums = rows[..., ::2, :] + rows[..., 1::2, :]
    flat = sums.reshape(*sums.shape[:-3], 3 * (side // 2) ** 2)
    centred: Floats = flat - flat.mean(axis=-1, keepdims=True)
    return centred


def lengths(vectors: Floats) -> Floats:
    length: Floats = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32(1e-6))
    return length


def unit(vectors: Floats) -> Floats:
    return vectors / lengths(vectors)


def half_squares(vectors: Floats) -> Floats:
    halves: Floats = np.float32(-0.5) * (vectors**2).sum(axis=1, keepdims=True)
    return halves


def principal(vectors: Floats) -> tuple[Floats, Floats]:
    """Mean (D,) and the first principal components (D, c) of vectors (n, D).

    All directions when there are few: those of few pictures do not tell others apart.
    """
    mean = vectors.mean(axis=0) if len(vectors) else np.zeros(vectors.shape[1], dtype=np.float32)
    if len(vectors) < vectors.shape[1]:
        return mean, np.eye(vectors.shape[1], dtype=np.float32)
    centred = vectors - mean
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]  # descending
    return mean, np.ascontiguousarray(axes[:, :_COMPONENTS])
