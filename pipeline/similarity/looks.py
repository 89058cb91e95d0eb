"""The aligned look: are two thumbnails the same picture, up to compression, resizing and exposure?

A mean difference cannot tell: two playing cards of 64x64 pixels that differ in their suit alone are 1.4 grey levels
apart, a JPEG copy of either 2 to 4. A copy spreads its difference; another detail concentrates it. So the *largest
local* difference decides: of luminance averaged over 3x3 thumbnail pixels, of chroma over 6x6, since JPEG halves
its resolution (ITU-T T.871 YCbCr). Exposure is taken out first by one gain and one offset for the whole picture,
within bounds, and never by channel: a recoloured picture is another picture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], dtype=np.float32)
_LUMINANCE_WINDOW, _CHROMA_WINDOW = 3, 6  # thumbnail pixels
_MAXIMUM_GAIN = 1.4
_MAXIMUM_OFFSET = 40.0  # levels
_RELATIVE = 0.6  # of the flatter picture's deviation: dark and low-contrast pictures must agree more closely
_FLOOR = 6.0  # levels: what compression alone may do
_CHUNK = 2048


@dataclass(frozen=True)
class Looks:
    """What is compared of N thumbnails."""

    planes: NDArray[np.uint8]  # (N, 3, 32, 32): locally averaged Y, Cb + 128, Cr + 128
    mean: NDArray[np.float32]  # (N,) over pixels and channels, in levels
    deviation: NDArray[np.float32]  # (N,)
    flatness: NDArray[np.float32]  # (N,) standard deviation of the grey thumbnail, in levels


def looks(thumbnails: NDArray[np.uint8], flatness: NDArray[np.floating]) -> Looks:
    """Prepare thumbnails, shape (N, 32, 32, 3) uint8, and their flatness, shape (N,), for comparison."""
    count = len(thumbnails)
    planes = np.empty((count, 3, *thumbnails.shape[1:3]), dtype=np.uint8)
    mean, deviation = np.empty(count, np.float32), np.empty(count, np.float32)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        rgb = thumbnails[part].astype(np.float32)
        mean[part], deviation[part] = rgb.mean(axis=(1, 2, 3)), rgb.std(axis=(1, 2, 3))
        ycbcr = np.moveaxis(rgb @ _YCBCR.T, -1, 1)
        ycbcr[:, 1:] += 128
        for plane, window in enumerate((_LUMINANCE_WINDOW, _CHROMA_WINDOW, _CHROMA_WINDOW)):
            local = uniform_filter(ycbcr[:, plane], size=(0, window, window), mode="nearest")
            planes[part, plane] = np.rint(np.clip(local, 0, 255))
    return Looks(planes, mean, deviation, flatness.astype(np.float32))


def differences(one: Looks, row: int, many: Looks, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Largest local difference, in levels, between picture `row` of `one` and each of `rows` of `many`."""
    gain = np.clip((many.deviation[rows] + 1) / (one.deviation[row] + 1), 1 / _MAXIMUM_GAIN, _MAXIMUM_GAIN)
    offset = np.clip(many.mean[rows] - gain * one.mean[row], -_MAXIMUM_OFFSET, _MAXIMUM_OFFSET)
    shift = np.stack([offset, 128 * (1 - gain), 128 * (1 - gain)], axis=1)
    mapped = gain[:, None, None, None] * one.planes[row].astype(np.float32) + shift[:, :, None, None]
    apart: NDArray[np.float32] = np.abs(mapped - many.planes[rows]).max(axis=(1, 2, 3)) / np.maximum(gain, 1)
    return apart


def allowed(
    one: Looks, row: int, many: Looks, rows: NDArray[np.int64], pixel_difference: float
) -> NDArray[np.float32]:
    """The largest local difference, in levels, up to which each pair counts as the same picture."""
    relative = _RELATIVE * np.minimum(one.flatness[row], many.flatness[rows])
    within: NDArray[np.float32] = np.minimum(np.float32(pixel_difference), np.maximum(np.float32(_FLOOR), relative))
    return within
