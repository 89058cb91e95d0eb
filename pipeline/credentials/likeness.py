"""How alike two thumbnails are when one picture may be a part of the other, or its mirror image.

Normalised cross-correlation (J. P. Lewis, "Fast Normalized Cross-Correlation", 1995), searched over the part that a
copy may have kept. It asks "can this be that picture?", and is what exposes a watermark planted on another one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

from pipeline.catalog.tables import THUMBNAIL_SIDE

SIZES = (24, 26, 28, 30, 32)  # px of a thumbnail's 32 that a copy has kept on each axis
CERTAIN = 0.9  # a correlation at which the search (20 ms) is not worth while
_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], np.float32)
_WINDOWS = (2, 5, 5)  # px of the mean filter before Y, Cb and Cr are compared

Thumbnail = NDArray[np.uint8]  # (32, 32, 3)
Plane = NDArray[np.float32]


def likeness(copy: Thumbnail, original: Thumbnail) -> float:
    """The best correlation of colours, -1..1, of either picture with a part of the other, mirrored or not."""
    seen, known = _Whole.of(copy), _Whole.of(original)
    direct = _correlation(copy.astype(np.float32), known)
    if direct > CERTAIN:
        return direct
    mirrored = copy[:, ::-1]
    pairs = [(copy, known), (mirrored, known), (original, seen), (original, _Whole.of(mirrored))]
    return max(_correlation(part, whole) for picture, whole in pairs for part in _sizes(picture))


def placed_likeness(upright: Plane, original: Thumbnail) -> float:
    """Correlation of luma, -1..1, of what is left of a picture, (32, 32) and NaN where it was cut, with the original.

    For a copy of which it is known where it lies; `likeness` must search. Contrast counts from a level up.
    """
    known = np.isfinite(upright)
    if not known.any():
        return 0.0
    seen, kept = upright[known], (original.astype(np.float32) @ _YCBCR[0])[known]
    seen, kept = seen - seen.mean(), kept - kept.mean()
    spread = float(np.sqrt(max(float(np.mean(seen * seen)), 1.0) * max(float(np.mean(kept * kept)), 1.0)))
    return float(np.mean(seen * kept)) / spread


def relative_errors(copy: Thumbnail, original: Thumbnail, border: int) -> tuple[float, float]:
    """Root mean square and largest difference over the original's deviation, without `border` px at each edge.

    Of luma and of smoothed colour, since JPEG smears colour at small sizes. The largest tells cards of a deck apart.
    Relative, because two small figures on one ground differ little in levels and yet are two pictures. A deviation
    below 4 levels counts as 4: what a flat picture has is the noise of compression.
    """
    inner = slice(border, THUMBNAIL_SIDE - border)
    seen, kept = _planes(copy)[inner, inner], _planes(original)[inner, inner]
    deviation = max(4.0, float(np.sqrt(((kept - kept.mean(axis=(0, 1))) ** 2).sum(axis=2).mean())))
    squares = ((seen - kept) ** 2).sum(axis=2)
    return float(np.sqrt(squares.mean())) / deviation, float(np.sqrt(squares.max())) / deviation


def _planes(picture: Thumbnail) -> Plane:
    """Y, Cb and Cr, mean-filtered: (32, 32, 3)."""
    planes = picture.astype(np.float32) @ _YCBCR.T
    filtered = [uniform_filter(planes[..., k], size=size) for k, size in enumerate(_WINDOWS)]
    return np.stack(filtered, axis=2)


@dataclass(frozen=True)
class _Whole:
    """A picture to look for parts in, with summed-area tables (F. Crow, 1984) of its levels and of their squares."""

    picture: Plane
    sums: NDArray[np.float64]  # (33, 33, 3)
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, thumbnail: Thumbnail) -> "_Whole":
        levels = thumbnail.astype(np.float64)
        tables = [np.pad(values, ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1) for values in (levels, levels**2)]
        return cls(thumbnail.astype(np.float32), *tables)


def _sizes(picture: Thumbnail) -> Iterator[Plane]:
    image = Image.fromarray(np.ascontiguousarray(picture))
    for height, width in product(SIZES, SIZES):
        yield np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)


def _correlation(part: Plane, whole: _Whole) -> float:
    """The best correlation of `part` (h, w, 3) with any place in `whole`; contrast counts from a level up."""
    height, width, _ = part.shape
    size = height * width
    mean = _window_sums(whole.sums, height, width) / size
    variance = (_window_sums(whole.squares, height, width) / size - mean**2).sum(axis=2)
    windows = sliding_window_view(whole.picture, part.shape)[:, :, 0]
    covariance = np.einsum("ijklc,klc->ij", windows, part) / size - mean @ part.mean(axis=(0, 1))
    spread = np.sqrt(np.maximum(variance, 3.0) * max(float(part.var(axis=(0, 1)).sum()), 3.0))
    return float((covariance / spread).max())


def _window_sums(table: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Sums over each window of this size, of a summed-area table."""
    rows = table[height:] - table[:-height]
    return rows[:, width:] - rows[:, :-width]
