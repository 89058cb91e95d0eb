"""How near generated images come to real ones: numbers over features, each with a bootstrap interval. No torch.

Frechet distance (Heusel et al. 2017, here in the features of our own CNN: not comparable with Inception FID),
precision and recall by k nearest neighbours (Kynkäänniemi et al. 2019), and the share of near copies.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

NEIGHBOUR = 3  # whose distance is the radius of an image's neighbourhood
NEAR = 0.01  # a near copy is nearer to a training image than this share of real images to their nearest other one
MANY = 5  # times what real images have, at the interval's lower end: near copies that were learnt by heart
_RESAMPLES = 100
_CHUNK = 512


@dataclass(frozen=True)
class Figure:
    """A measured value, its 95 % bootstrap interval, and what real images score in the same place."""

    value: float
    low: float
    high: float
    real: float


def frechet_distance(a: Floats, b: Floats) -> float:
    """Between Gaussians fitted to features (N, D) and (M, D)."""
    return _between(_gaussian(a), _gaussian(b))


def frechet_figure(made: Floats, real: Floats, other_real: Floats, seed: int) -> Figure:
    """The distance of made features from real ones, beside that of other real ones.

    Resampling repeats images, which lengthens the distance; the basic bootstrap takes that off again.
    """
    rng = np.random.default_rng(seed)
    fixed = _gaussian(real)
    value = _between(_gaussian(made), fixed)
    again = [_between(_gaussian(made[rng.integers(len(made), size=len(made))]), fixed) for _ in range(_RESAMPLES)]
    low, high = np.quantile(again, [0.025, 0.975])
    return Figure(
        value,
        max(0.0, 2 * value - float(high)),
        max(0.0, 2 * value - float(low)),
        _between(_gaussian(other_real), fixed),
    )


def share_figure(holds: NDArray[np.bool_], real: float, seed: int) -> Figure:
    """The share of images of which something holds, each image drawn independently."""
    rng = np.random.default_rng(seed)
    shares = rng.binomial(len(holds), holds.mean(), _RESAMPLES * 10) / len(holds)
    low, high = np.quantile(shares, [0.025, 0.975])
    return Figure(float(holds.mean()), float(low), float(high), real)


def learnt_by_heart(copies: Figure) -> bool:
    """Whether a share of near copies can only mean that training images are repeated."""
    return copies.low > MANY * max(copies.real, NEAR)


def inside(queries: Floats, known: Floats) -> NDArray[np.bool_]:
    """Which queries (N, D) lie in the neighbourhood of some known point (M, D): radius to its third neighbour."""
    radii = np.concatenate([np.partition(part, NEIGHBOUR, axis=1)[:, NEIGHBOUR] for part in _distances(known, known)])
    return np.concatenate([(part <= radii).any(axis=1) for part in _distances(queries, known)])


def nearest(
    queries: Floats, known: Floats, leave_out: NDArray[np.int64] | None = None
) -> tuple[Floats, NDArray[np.int64]]:
    """Distance to the nearest known point, and its row; `leave_out` names a row for each query not to be found."""
    distances, rows, start = [], [], 0
    for part in _distances(queries, known):
        if leave_out is not None:
            part[np.arange(len(part)), leave_out[start : start + len(part)]] = np.inf
        start += len(part)
        rows.append(part.argmin(axis=1))
        distances.append(part.min(axis=1))
    return np.concatenate(distances), np.concatenate(rows)


@dataclass(frozen=True)
class NearCopies:
    """Training images as vectors, and how near different real ones come to each other."""

    known: Floats  # (N, pixels)
    threshold: float
    expected: float  # rate of real images below the threshold that did not help to set it

    @classmethod
    def fit(cls, pixels: NDArray[np.uint8], seed: int, sample: int = 1_000) -> "NearCopies":
        """From training images (N, ...) uint8; half of a sample sets the threshold, the other half checks it."""
        known = _vectors(pixels)
        rows = np.random.default_rng(seed).permutation(len(known))[:sample]
        distances, _ = nearest(known[rows], known, rows)
        setting, checking = distances[::2], distances[1::2]
        threshold = float(np.quantile(setting, NEAR)) if len(known) > 1 else 0.0
        return cls(known, threshold, float((checking < threshold).mean()) if len(checking) else 0.0)

    def among(self, pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which images (M, ...) uint8 are near copies."""
        distances, _ = nearest(_vectors(pixels), self.known)
        return distances < self.threshold


def _vectors(pixels: NDArray[np.uint8]) -> Floats:
    """Images (N, H, W, C) as vectors in [0, 1], averaged down to sides of some 32 pixels, or 16 in colour."""
    side = 16 if pixels.shape[3] > 1 else 32
    factor = max(1, pixels.shape[1] // side)
    side = pixels.shape[1] // factor
    cut = pixels[:, : side * factor, : side * factor]
    blocks = cut.reshape(len(cut), side, factor, side, factor, -1).mean(axis=(2, 4), dtype=np.float32)
    vectors: Floats = blocks.reshape(len(cut), -1) / np.float32(255)
    return vectors


def _distances(queries: Floats, known: Floats) -> Iterator[Floats]:
    """Euclidean distances (n, M), n queries at a time."""
    squares = (known**2).sum(axis=1)
    for start in range(0, len(queries), _CHUNK):
        part = queries[start : start + _CHUNK]
        squared = (part**2).sum(axis=1)[:, None] + squares - 2 * part @ known.T
        yield np.sqrt(np.maximum(squared, 0, out=squared), out=squared)


def _gaussian(features: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,) and a root (r, D) of the covariance, which is root.T @ root; few features are their own root."""
    wide = features.astype(np.float64)
    mean = wide.mean(axis=0)
    if len(wide) <= wide.shape[1]:
        return mean, (wide - mean) / np.sqrt(max(len(wide) - 1, 1))
    values, axes = np.linalg.eigh(np.cov(wide, rowvar=False))
    return mean, (axes * np.sqrt(np.maximum(values, 0))).T


def _between(
    a: tuple[NDArray[np.float64], NDArray[np.float64]], b: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2), its last part by the singular values of the roots' product."""
    cross = float(np.linalg.svd(a[1] @ b[1].T, compute_uv=False).sum())
    return max(0.0, float(((a[0] - b[0]) ** 2).sum() + (a[1] ** 2).sum() + (b[1] ** 2).sum()) - 2 * cross)
