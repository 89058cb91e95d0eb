"""The copy guard: is a generated picture a near copy of a known one, perhaps mirrored, shifted, blurred or noisy?

Each query is looked at in 18 views (mirror times nine one-pixel shifts) and compared with every known picture in a
64-dimensional principal subspace; the nearest are then compared in full. It counts as a copy when its nearest known
picture is nearer, or stands out more from the next ones, than real pictures that were left out come to each other.
Nearness is similarity, never a proof of causal influence.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from pipeline.catalog.tables import THUMBNAIL_SIDE
from pipeline.core.settings import DuplicateSettings
from pipeline.similarity.groups import MINIMUM_FLATNESS
from pipeline.similarity.looks import look, upright

NEIGHBOURS = 5
_COMPONENTS = 64
_BASIS_SAMPLE = 10_000  # pictures that the principal components are computed from
_HELD_OUT = 1_000  # pictures that the thresholds are calibrated on
_CHUNK = 16  # queries at a time: 18 views of each against every known picture
_WINDOW = 3  # mean filter before the full comparison
_MOST = np.array([[0.7], [0.7], [2.0]], np.float32)  # pixels down and right, between whole views; filters of blur
_SAME = 1e-3  # distance up to which a picture counts as the same in any case: rounding
_STRANGER = 1.05  # how much farther than the farthest known picture counts as strange
_SHIFTS = [(down, right) for down in (0, -1, 1) for right in (0, -1, 1)]
_VIEWS = 2 * len(_SHIFTS)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Nearest:
    """The known pictures nearest to M queries, best first."""

    indices: NDArray[np.int64]  # (M, k) rows of the known pictures; k = 5, or their number when there are fewer
    distances: Floats  # (M, k) of unit vectors: 0 the same up to exposure, 1.41 unrelated, 2 the negative
    copies: NDArray[np.bool_]  # (M,)
    strange: NDArray[np.bool_]  # (M,) farther from every known picture than any known one was from the others


@dataclass(frozen=True)
class Honest:
    """How often honest pictures count as copies: real ones that were left out, judged by the others' thresholds."""

    pictures: int  # that were left out in turn
    rate: float  # 0 to 1; each half judged by the thresholds that the other half gives


@dataclass(frozen=True)
class CopyGuard:
    """Known pictures and the calibrated thresholds below which a query counts as a copy."""

    known: NDArray[np.uint8]  # (N, 32, 32, 3)
    mean: Floats  # (675,)
    basis: Floats  # (675, components)
    index: Floats  # (N, components)
    distance_threshold: float
    ratio_threshold: float  # nearest distance over the mean of the next ones
    strange_threshold: float
    honest: Honest

    @classmethod
    def fit(cls, thumbnails: NDArray[np.uint8], false_alarm_rate: float, seed: int) -> "CopyGuard":
        """Index known pictures, shape (N, 32, 32, 3) uint8, and calibrate on up to 1,000 of them.

        Each of these is left out in turn and searched among the others; the two thresholds are set so that each
        would flag half of `false_alarm_rate` of them. Duplicates are no evidence of how near different pictures
        come: a neighbour that is the same picture by the aligned look does not count.
        """
        rng = np.random.default_rng(seed)
        vectors = _coarse(_inner(thumbnails))
        sample = np.sort(rng.permutation(len(vectors))[:_BASIS_SAMPLE])
        mean, basis = _principal(vectors[sample])
        index: Floats = ((vectors - mean) @ basis).astype(np.float32)
        guard = cls(thumbnails, mean, basis, index, _SAME, 0.0, np.inf, Honest(0, 0.0))
        held_out = np.sort(rng.permutation(len(vectors))[:_HELD_OUT])
        nearest, ratios = guard._left_out(held_out)
        return cls(
            thumbnails, mean, basis, index,
            *_thresholds(nearest, ratios, false_alarm_rate),
            float(nearest.max(initial=0.0)) * _STRANGER or np.inf,
            _honest(nearest, ratios, false_alarm_rate),
        )  # fmt: skip

    def among(self, rows: NDArray[np.int64]) -> "CopyGuard":
        """The same guard with the same thresholds over some of the known pictures; indices count within `rows`."""
        return replace(self, known=self.known[rows], index=self.index[rows])

    def query(self, thumbnails: NDArray[np.uint8]) -> Nearest:
        """The nearest known pictures of M queries, shape (M, 32, 32, 3) uint8, and which queries are copies."""
        indices, distances, _ = self._search(thumbnails, None)
        if not indices.shape[1]:
            nothing = np.zeros(len(thumbnails), dtype=bool)
            return Nearest(indices, distances, nothing, nothing)
        copies = (distances[:, 0] <= self.distance_threshold) | (_ratios(distances) < self.ratio_threshold)
        return Nearest(indices, distances, copies, distances[:, 0] > self.strange_threshold)

    def _left_out(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Distance of known pictures to their nearest different one, and its ratio to the next ones, (n,) each."""
        rows = rows[_grey_deviation(self.known[rows]) >= MINIMUM_FLATNESS]
        indices, distances, views = self._search(self.known[rows], rows)
        found = _inner(self.known[indices])
        same = _same(
            views.reshape(indices.size, *views.shape[2:]), found.reshape(indices.size, *found.shape[2:])
        ).reshape(indices.shape)
        rest = [row[~twin] for row, twin in zip(distances, same, strict=True)]
        rest = [row for row in rest if len(row)]
        ratios = [_ratios(row[None])[0] for row in rest]
        return np.array([row[0] for row in rest], np.float32), np.array(ratios, np.float32)

    def _search(
        self, queries: NDArray[np.uint8], left_out: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], Floats, NDArray[np.uint8]]:
        """Indices and distances (M, k), best first, and the view (M, k, 30, 30, 3) that comes nearest to each.

        `left_out` names one known picture for each query that is not to be found.
        """
        available = len(self.known) - (left_out is not None)
        found = max(0, min(NEIGHBOURS, available))
        indices = np.zeros((len(queries), found), dtype=np.int64)
        distances = np.zeros((len(queries), found), dtype=np.float32)
        inner = THUMBNAIL_SIDE - 2
        nearest_views = np.zeros((len(queries), found, inner, inner, 3), dtype=np.uint8)
        for start in range(0, len(queries) if found else 0, _CHUNK):
            part = slice(start, start + _CHUNK)
            views = _views(queries[part])
            alike = self._alike(views)
            best = alike.max(axis=1)
            if left_out is not None:
                best[np.arange(len(views)), left_out[part]] = -np.inf
            wanted = min(2 * found, available)
            candidates = np.argpartition(-best, wanted - 1, axis=1)[:, :wanted]
            candidates.sort(axis=1)  # ties go to the lower row
            rows = np.arange(len(views))[:, None]
            chosen = views[rows, np.take_along_axis(alike, candidates[:, None], axis=2).argmax(axis=1)]
            full = _tangent_distances(chosen, _inner(self.known[candidates]))
            order = np.argsort(full, axis=1, kind="stable")[:, :found]
            indices[part], distances[part] = candidates[rows, order], full[rows, order]
            nearest_views[part] = chosen[rows, order]
        return indices, distances, nearest_views

    def _alike(self, views: NDArray[np.uint8]) -> Floats:
        """Shape (M, 18, N): minus half the squared distance in the subspace, for views (M, 18, 30, 30, 3)."""
        seen: Floats = np.matmul(
            _coarse(views.reshape(math.prod(views.shape[:2]), *views.shape[2:])) - self.mean, self.basis
        )
        left = np.concatenate([seen, _half_square(seen), np.ones((len(seen), 1))], axis=1, dtype=np.float32)
        ones = np.ones((len(self.index), 1))
        right = np.concatenate([self.index, ones, _half_square(self.index)], axis=1, dtype=np.float32)
        alike: Floats = np.matmul(left, right.T)  # one product does the sums too
        return alike.reshape(*views.shape[:2], len(self.index))


def _views(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shape (M, 18, 30, 30, 3): each picture without its border, and its mirror image, in nine one-pixel shifts."""
    inner = THUMBNAIL_SIDE - 2
    shifted = [pictures[:, 1 + down : 1 + down + inner, 1 + right : 1 + right + inner] for down, right in _SHIFTS]
    return np.stack(shifted + [view[:, :, ::-1] for view in shifted], axis=1)


def _inner(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (..., 32, 32, 3) without their border of one pixel."""
    return pictures[..., 1:-1, 1:-1, :]


def _tangent_distances(views: NDArray[np.uint8], others: NDArray[np.uint8]) -> Floats:
    """Distances (...) of unit vectors of pictures (..., 30, 30, 3), each view shifted and blurred a little to fit.

    Shift and blur are found to first order, along the picture's own slopes and along what one more filter takes away
    (P. Simard, Y. LeCun, J. Denker, "Efficient Pattern Recognition Using a New Transformation Distance", 1993).
    """
    smooth = _smooth(views)
    unit, lengths = _unit(smooth), np.maximum(np.linalg.norm(_flat(smooth), axis=-1, keepdims=True), 1e-6)
    changes = [np.gradient(smooth, axis=-3), np.gradient(smooth, axis=-2), _smooth(smooth) - smooth]
    tangents = np.stack([_flat(change) / lengths for change in changes], axis=-2)
    apart = _unit(_smooth(others)) - unit
    gram = tangents @ tangents.swapaxes(-1, -2) + 1e-9 * np.eye(len(changes), dtype=np.float32)
    amounts = np.linalg.solve(gram, tangents @ apart[..., None]).clip(-_MOST, _MOST)
    distances: Floats = np.linalg.norm(apart - (amounts * tangents).sum(axis=-2), axis=-1)
    return distances


def _smooth(pictures: NDArray[np.uint8] | Floats) -> Floats:
    window = (0,) * (pictures.ndim - 3) + (_WINDOW, _WINDOW, 0)
    filtered: Floats = uniform_filter(pictures.astype(np.float32), size=window, mode="nearest")
    return filtered


def _coarse(pictures: NDArray[np.uint8]) -> Floats:
    """Unit vectors (M, 675) of pictures (M, 30, 30, 3): 2x2 averages, zero mean."""
    half = pictures.shape[1] // 2
    blocks = pictures.reshape(-1, half, 2, half, 2, 3)
    return _unit(blocks.sum(axis=(2, 4), dtype=np.uint16).astype(np.float32))


def _unit(pictures: Floats) -> Floats:
    flat = _flat(pictures)
    unit: Floats = flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-6)
    return unit


def _flat(pictures: Floats) -> Floats:
    """Vectors of zero mean."""
    flat = pictures.reshape(*pictures.shape[:-3], math.prod(pictures.shape[-3:]))
    centred: Floats = flat - flat.mean(axis=-1, keepdims=True)
    return centred


def _half_square(vectors: Floats) -> Floats:
    halves: Floats = np.float32(-0.5) * (vectors**2).sum(axis=1, keepdims=True)
    return halves


def _principal(vectors: Floats) -> tuple[Floats, Floats]:
    """Mean (D,) and the first principal components (D, c) of vectors (n, D)."""
    mean = vectors.mean(axis=0) if len(vectors) else np.zeros(vectors.shape[1], dtype=np.float32)
    centred = vectors - mean
    if len(vectors) < vectors.shape[1]:  # few pictures: their own span is enough, and found faster
        axes = np.linalg.svd(centred, full_matrices=False)[2].T  # descending
    else:
        axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    basis = np.ascontiguousarray(axes[:, :_COMPONENTS])
    return mean.astype(np.float32), basis.astype(np.float32)


def _ratios(distances: Floats) -> Floats:
    """Nearest distance over the mean of the next ones, shape (M,); 1 when there is no next one."""
    if distances.shape[1] < 2:
        return np.ones(len(distances), dtype=np.float32)
    ratios: Floats = distances[:, 0] / np.maximum(distances[:, 1:].mean(axis=1), 1e-6)
    return ratios


def _low_quantile(values: Floats, rate: float) -> float:
    """The value below which a further one falls with probability `rate`; 0 is taken as the least possible one."""
    ordered = np.concatenate([[0.0], np.sort(values)])
    return float(np.interp(rate * len(ordered), np.arange(len(ordered)), ordered))


def _thresholds(nearest: Floats, ratios: Floats, rate: float) -> tuple[float, float]:
    """Distance and ratio below which a real picture falls with half of the probability `rate` each."""
    return max(_SAME, _low_quantile(nearest, rate / 2)), _low_quantile(ratios, rate / 2)


def _honest(nearest: Floats, ratios: Floats, rate: float) -> Honest:
    """Judge each half of left-out pictures, shapes (n,), by the thresholds of the other half."""
    flagged = 0
    for judged, other in ((0, 1), (1, 0)):
        distance, ratio = _thresholds(nearest[other::2], ratios[other::2], rate)
        flagged += int(((nearest[judged::2] <= distance) | (ratios[judged::2] < ratio)).sum())
    return Honest(len(nearest), flagged / len(nearest) if len(nearest) else 0.0)


def _grey_deviation(pictures: NDArray[np.uint8]) -> Floats:
    grey = pictures.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    deviation: Floats = grey.std(axis=(1, 2))
    return deviation


def _same(views: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pairs of pictures (M, 30, 30, 3) are the same one by the aligned look, shape (M,)."""
    border = ((0, 0), (1, 1), (1, 1), (0, 0))
    pictures = np.pad(np.concatenate([views, others]), border, mode="edge")
    rows = np.arange(len(views))
    pairs = upright(rows, rows + len(views))
    return look(pictures, _grey_deviation(pictures), pairs, DuplicateSettings().pixel_difference).same
