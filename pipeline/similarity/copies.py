"""The copy guard: is a generated picture a near copy of a known one, perhaps mirrored, shifted, blurred or noisy?

Each query is looked at in 18 views (mirror times nine one-pixel shifts) and compared with every known picture in a
64-dimensional principal subspace, where little of noise is left. The nearest known pictures are blurred in steps,
and the view is shifted by less than a pixel, to where both come nearest. The query counts as a copy when its nearest
known picture is nearer, or stands out more from the next ones, than real pictures that were left out come to each
other. Nearness is similarity, never a proof of causal influence.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.core.settings import DuplicateSettings
from pipeline.similarity.groups import MINIMUM_FLATNESS
from pipeline.similarity.looks import look, upright
from pipeline.similarity.views import (
    MARGIN,
    Floats,
    coarse,
    half_squares,
    inner,
    lengths,
    principal,
    smooth,
    unit,
    unit_vectors,
    views_of,
)

NEIGHBOURS = 5
_BASIS_SAMPLE = 10_000  # pictures that the principal components are computed from
_HELD_OUT = 1_000  # pictures that the thresholds are calibrated on
_CHUNK = 16  # queries at a time: 18 views of each against every known picture
_BLURS = 2  # further mean filters that a known picture may have been blurred by
_MOST = np.float32(0.7)  # pixels that a whole view may still be shifted by, down and right
_FLAT = 1.0  # levels of deviation up to which nothing is in a view to be compared
_UNRELATED = math.sqrt(2)  # distance of unit vectors that have nothing in common
_SAME = 1e-3  # distance up to which a picture counts as the same in any case: rounding
_STRANGER = 1.05  # how much farther than the farthest known picture counts as strange


@dataclass(frozen=True)
class Nearest:
    """The known pictures nearest to M queries, best first."""

    indices: NDArray[np.int64]  # (M, k) rows of the known pictures; k = 5, or their number when there are fewer
    distances: Floats  # (M, k) of unit vectors: 0 the same up to exposure, 1.41 unrelated or flat
    copies: NDArray[np.bool_]  # (M,)
    strange: NDArray[np.bool_]  # (M,) farther from every known picture than any known one was from the others


@dataclass(frozen=True)
class Honest:
    """How often honest pictures count as copies: real ones that were left out, judged by the others' thresholds."""

    pictures: int  # that were left out in turn
    rate: float  # 0 to 1; each half judged by the thresholds that the other half gives


@dataclass(frozen=True)
class Compared:
    """What M queries were compared with: for each its w likeliest known pictures, in the order of their rows."""

    candidates: NDArray[np.int64]  # (M, w)
    views: NDArray[np.int64]  # (M, w) number of the view of the query that comes nearest to each
    fitted: Floats  # (M, w) distances after shift by less than a pixel
    unfitted: Floats  # (M, w) distances before it: shifting brings different pictures nearer too
    whole: Floats  # (M, w) distances before it, outside the subspace too


@dataclass(frozen=True)
class CopyGuard:
    """Known pictures and the calibrated thresholds below which a query counts as a copy."""

    known: NDArray[np.uint8]  # (N, 32, 32, 3)
    mean: Floats  # (588,)
    basis: Floats  # (588, components)
    index: Floats  # (N, components)
    thresholds: Floats  # (3,) of what _evidence gives
    strange_threshold: float
    honest: Honest

    @classmethod
    def fit(cls, thumbnails: NDArray[np.uint8], false_alarm_rate: float, seed: int) -> "CopyGuard":
        """Index known pictures, shape (N, 32, 32, 3) uint8, and calibrate on up to 1,000 of them.

        Each of these is left out in turn and searched among the others; the three thresholds are set so that
        together they would flag `false_alarm_rate` of them. Duplicates are no evidence of how near different pictures
        come: a neighbour that is the same picture by the aligned look does not count.
        """
        rng = np.random.default_rng(seed)
        vectors = unit_vectors(thumbnails)
        sample = np.sort(rng.permutation(len(vectors))[:_BASIS_SAMPLE])
        mean, basis = principal(vectors[sample])
        index: Floats = ((vectors - mean) @ basis).astype(np.float32)
        guard = cls(thumbnails, mean, basis, index, np.zeros(3, np.float32), np.inf, Honest(0, 0.0))
        evidence, far = guard._left_out(np.sort(rng.permutation(len(vectors))[:_HELD_OUT]))
        return replace(
            guard,
            thresholds=_thresholds(evidence, false_alarm_rate),
            strange_threshold=float(far.max(initial=0.0)) * _STRANGER or np.inf,
            honest=_honest(evidence, false_alarm_rate),
        )

    def among(self, rows: NDArray[np.int64]) -> "CopyGuard":
        """The same guard with the same thresholds over some of the known pictures; indices count within `rows`."""
        return replace(self, known=self.known[rows], index=self.index[rows])

    def query(self, thumbnails: NDArray[np.uint8]) -> Nearest:
        """The nearest known pictures of M queries, shape (M, 32, 32, 3) uint8, and which queries are copies."""
        seen = self._compare(thumbnails, None)
        rows, order = (
            np.arange(len(thumbnails))[:, None],
            np.argsort(seen.fitted, axis=1, kind="stable")[:, :NEIGHBOURS],
        )
        nothing = np.zeros(len(thumbnails), dtype=bool)
        nearest = Nearest(seen.candidates[rows, order], seen.fitted[rows, order], nothing, nothing)
        if not order.shape[1]:
            return nearest
        copies = _evidence(seen.fitted, seen.unfitted) <= self.thresholds
        strange = seen.whole.min(axis=1) > self.strange_threshold
        return replace(nearest, copies=np.any(copies, axis=1), strange=strange)

    def _left_out(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Evidence (n, 3) of known pictures among the different ones, and how far the nearest one is, (n,)."""
        rows = rows[_grey_deviation(self.known[rows]) >= MINIMUM_FLATNESS]
        seen = self._compare(self.known[rows], rows)
        views, twin = views_of(self.known[rows], 1), np.zeros_like(seen.views, dtype=bool)
        for place in range(seen.views.shape[1]):  # one at a time: all at once would take ten times the memory
            chosen = views[np.arange(len(rows)), seen.views[:, place]]
            twin[:, place] = _same(chosen, inner(self.known[seen.candidates[:, place]], 1))
        fitted, unfitted, whole = (
            np.where(twin, np.float32(np.inf), of) for of in (seen.fitted, seen.unfitted, seen.whole)
        )
        some = fitted.min(axis=1, initial=np.inf) < _UNRELATED
        return _evidence(fitted[some], unfitted[some]), whole[some].min(axis=1, initial=np.inf)

    def _compare(self, queries: NDArray[np.uint8], left_out: NDArray[np.int64] | None) -> Compared:
        """`left_out` names one known picture for each query that is not to be found."""
        available = len(self.known) - (left_out is not None)
        wanted = max(0, min(2 * NEIGHBOURS, available))
        candidates, views = (np.zeros((len(queries), wanted), dtype=np.int64) for _ in range(2))
        fitted, unfitted, whole = (np.zeros((len(queries), wanted), dtype=np.float32) for _ in range(3))
        for start in range(0, len(queries) if wanted else 0, _CHUNK):
            part = slice(start, start + _CHUNK)
            pictures = views_of(smooth(queries[part]), MARGIN)
            vectors = unit(coarse(pictures)) - self.mean
            seen: Floats = np.matmul(vectors, self.basis)
            alike = self._alike(seen)
            best = alike.max(axis=1)
            if left_out is not None:
                best[np.arange(len(best)), left_out[part]] = -np.inf
            likeliest = np.sort(np.argpartition(-best, wanted - 1, axis=1)[:, :wanted], axis=1)
            view = np.take_along_axis(alike, likeliest[:, None], axis=2).argmax(axis=1)
            rows = np.arange(len(best))[:, None]
            candidates[part], views[part] = likeliest, view
            chosen = (pictures[rows, view], vectors[rows, view], seen[rows, view])
            fitted[part], unfitted[part], whole[part] = self._distances(*chosen, likeliest)
        return Compared(candidates, views, fitted, unfitted, whole)

    def _alike(self, seen: Floats) -> Floats:
        """Shape (M, 18, N): minus half the squared distance in the subspace, of views (M, 18, components) in it."""
        views = seen.reshape(-1, seen.shape[-1])
        left = np.concatenate([views, half_squares(views), np.ones((len(views), 1))], axis=1, dtype=np.float32)
        ones = np.ones((len(self.index), 1))
        right = np.concatenate([self.index, ones, half_squares(self.index)], axis=1, dtype=np.float32)
        alike: Floats = np.matmul(left, right.T)  # one product does the sums too
        return alike.reshape(*seen.shape[:2], len(self.index))

    def _distances(
        self, pictures: Floats, vectors: Floats, seen: Floats, candidates: NDArray[np.int64]
    ) -> tuple[Floats, Floats, Floats]:
        """Distances (M, w) of smooth views (M, w, 28, 28, 3) from known ones: fitted, unfitted, whole.

        The known picture is blurred in steps, and the nearest step counts. The shift is found to first order, along
        the view's own slopes (P. Simard, Y. LeCun, J. Denker, "Efficient Pattern Recognition Using a New
        Transformation Distance", 1993), for each step.
        """
        length = lengths(coarse(pictures))
        slopes = [coarse(np.gradient(pictures, axis=axis)) / length for axis in (-3, -2)]
        tangents = np.stack(slopes, axis=-2) @ self.basis
        inverse = np.linalg.inv(tangents @ tangents.swapaxes(-1, -2) + 1e-7 * np.eye(2, dtype=np.float32))
        fitted = unfitted = np.full(candidates.shape, _UNRELATED, dtype=np.float32)
        whole = np.zeros(candidates.shape, dtype=np.float32)
        known = smooth(self.known[candidates])
        flat = _FLAT * 4 * math.sqrt(len(self.mean))  # the length of a vector of sums of four
        for blur in range(_BLURS + 1):
            known = smooth(known) if blur else known
            others = coarse(inner(known, MARGIN))
            related = (np.minimum(length, lengths(others)) >= flat)[..., 0]
            others = unit(others) - self.mean
            if not blur:
                whole = np.linalg.norm(others - vectors, axis=-1)
            apart: Floats = others @ self.basis - seen
            amounts = (inverse @ (tangents @ apart[..., None])).clip(-_MOST, _MOST)
            shifted = np.linalg.norm(apart - (amounts * tangents).sum(axis=-2), axis=-1)
            fitted = np.where(related, np.minimum(fitted, shifted), fitted)
            unfitted = np.where(related, np.minimum(unfitted, np.linalg.norm(apart, axis=-1)), unfitted)
        return fitted, unfitted, whole


def _evidence(fitted: Floats, unfitted: Floats) -> Floats:
    """What speaks for a copy where small, (M, 3): nearest distance, and how it stands out, fitted and unfitted."""
    if not fitted.size:
        return np.zeros((0, 3), dtype=np.float32)
    fitted, unfitted = np.sort(fitted, axis=1), np.sort(unfitted, axis=1)
    evidence: Floats = np.stack([fitted[:, 0], _ratios(fitted), _ratios(unfitted)], axis=1)
    return evidence


def _ratios(distances: Floats) -> Floats:
    """Nearest distance over the mean of the next ones that are finite, shape (M,); 1 when there is none."""
    following = distances[:, 1:NEIGHBOURS]
    some = np.isfinite(following)
    means = np.where(some, following, 0).sum(axis=1) / np.maximum(some.sum(axis=1), 1)
    ratios: Floats = np.where(some.any(axis=1), distances[:, 0] / np.maximum(means, 1e-6), 1).astype(np.float32)
    return ratios


def _low_quantile(values: Floats, rate: float) -> float:
    """The value below which a further one falls with probability `rate`; 0 is taken as the least possible one."""
    ordered = np.concatenate([[0.0], np.sort(values)])
    return float(np.interp(rate * len(ordered), np.arange(len(ordered)), ordered))


def _thresholds(evidence: Floats, rate: float) -> Floats:
    """Values (3,) that real pictures, evidence (n, 3), stay below with the probability `rate`, in any of the three.

    Each of the three is given the same share. It is more than a third, for the same pictures are low in all three.
    """
    ranks = 1 + np.argsort(np.argsort(evidence, axis=0, kind="stable"), axis=0)
    share = _low_quantile(ranks.min(axis=1) / (len(ranks) + 1), rate)
    low = [_low_quantile(values, share) for values in evidence.T]
    return np.maximum(low, [_SAME, 0, 0]).astype(np.float32)


def _honest(evidence: Floats, rate: float) -> Honest:
    """Judge each half of left-out pictures, evidence (n, 3), by the thresholds of the other half."""
    flagged = 0
    for judged, other in ((0, 1), (1, 0)):
        flagged += int((evidence[judged::2] <= _thresholds(evidence[other::2], rate)).any(axis=1).sum())
    return Honest(len(evidence), flagged / len(evidence) if len(evidence) else 0.0)


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
