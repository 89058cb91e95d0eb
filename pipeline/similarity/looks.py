"""The aligned look: do two thumbnails show the same picture, up to compression, size, exposure, turning and cropping?

A mean difference cannot tell: two playing cards of 64x64 pixels that differ in their suit alone are 1.4 grey levels
apart, a JPEG copy of either 2 to 4. A copy spreads its difference; another detail concentrates it. So the *largest
local* difference decides: of luminance averaged over 3x3 thumbnail pixels, of chroma over 6x6 and 12x12, since JPEG
halves its resolution (ITU-T T.871 YCbCr). Exposure and blur are taken out first, one for the whole picture and
never by channel: a recoloured picture is another picture. Where one of the two is grey, luminance alone decides, more
strictly. The arithmetic is in aligned.py.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.similarity.aligned import look_all

WHOLE = (0.0, 0.0, 1.0, 1.0)  # a window: top, left, height, width as shares of the picture
_RELATIVE = 0.21  # of the flatter picture's deviation: dark and low-contrast pictures must agree more closely
_FLOOR = 10.0  # levels: what compression and gamma may do to a picture of little contrast
_OF_LITTLE = 1 / 3  # of the deviation, where that is less
_LEAST = 4.0  # levels

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Candidates:
    """M pairs to look at: `whole` turned by `turn` and cut to `window` may show what `part` does."""

    whole: NDArray[np.int64]  # (M,) rows of the pictures
    part: NDArray[np.int64]  # (M,)
    turn: NDArray[np.int64]  # (M,) 0..7, see turned()
    window: Floats  # (M, 4) first guess; WHOLE is taken as it is

    def __len__(self) -> int:
        return len(self.whole)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Candidates":
        """Some of the pairs."""
        return Candidates(self.whole[chosen], self.part[chosen], self.turn[chosen], self.window[chosen])


def upright(whole: NDArray[np.int64], part: NDArray[np.int64]) -> Candidates:
    """Pairs of whole pictures in the same position."""
    return Candidates(whole, part, np.zeros(len(whole), np.int64), np.tile(WHOLE, (len(whole), 1)))


@dataclass(frozen=True)
class Looked:
    """What the look found, pair by pair."""

    pairs: Candidates  # windows as aligned
    difference: NDArray[np.float32]  # (M,) largest local difference in levels
    limit: NDArray[np.float32]  # (M,) up to which they count as the same picture

    @property
    def same(self) -> NDArray[np.bool_]:
        """Which pairs show the same picture, shape (M,)."""
        same: NDArray[np.bool_] = self.difference <= self.limit
        return same


def look(pictures: Pixels, flatness: NDArray[np.floating], pairs: Candidates, pixel_difference: float) -> Looked:
    """Compare pairs of thumbnails, shape (N, 32, 32, 3), whose grey deviations are `flatness`, shape (N,)."""
    lower = np.minimum(flatness[pairs.whole], flatness[pairs.part])
    floor = np.clip(_OF_LITTLE * lower, _LEAST, _FLOOR)
    limit = np.minimum(pixel_difference, np.maximum(floor, _RELATIVE * lower)).astype(np.float32)
    difference = np.empty(len(pairs), dtype=np.float32)
    window = pairs.window.copy()
    look_all(pictures, pairs.whole, pairs.part, pairs.turn, window, difference, limit)
    return Looked(Candidates(pairs.whole, pairs.part, pairs.turn, window), difference, limit)


def turned(pictures: NDArray[np.generic], turn: int) -> NDArray[np.generic]:
    """Pictures (N, S, S, ...) in one of the eight positions of a square: turn % 4 quarter turns to the left, after
    mirroring left and right when turn >= 4."""
    seen = pictures[:, :, ::-1] if turn >= 4 else pictures
    return np.rot90(seen, turn % 4, axes=(1, 2))


def then(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """The position of a picture that is turned twice."""
    quarters: NDArray[np.int64] = np.where(second >= 4, second - first, second + first) % 4
    mirrored: NDArray[np.bool_] = (first >= 4) ^ (second >= 4)
    return quarters + 4 * mirrored


def back(turn: NDArray[np.int64]) -> NDArray[np.int64]:
    """The turn that takes a turned picture back."""
    taken: NDArray[np.int64] = np.where(turn >= 4, turn, -turn % 4)
    return taken


def turned_windows(windows: Floats, turn: NDArray[np.int64]) -> Floats:
    """Where windows (M, 4) of pictures lie once those are turned."""
    top, left, height, width = windows.T
    left = np.where(turn >= 4, 1 - left - width, left)
    for quarter in range(1, 4):
        again = turn % 4 >= quarter
        top, left = np.where(again, 1 - left - width, top), np.where(again, top, left)
        height, width = np.where(again, width, height), np.where(again, height, width)
    return np.stack([top, left, height, width], axis=1)
