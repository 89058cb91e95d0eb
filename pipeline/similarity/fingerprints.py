"""What a picture is compared by: a 256-bit perceptual hash, its flatness, and a small colour thumbnail."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct

from pipeline.catalog.tables import HASH_BYTES, THUMBNAIL_BYTES, THUMBNAIL_SIDE

HASH_SIDE = 16  # the hash has 16x16 bits
_HASH_IMAGE_SIDE = 4 * HASH_SIDE  # imagehash's highfreq_factor is 4
_HASH_WORDS = HASH_BYTES // 8
_FINEST = 4 * THUMBNAIL_SIDE  # larger pictures are reduced by a whole factor first


@dataclass(frozen=True)
class Fingerprint:
    """The fields of tables.FINGERPRINTS for one picture."""

    phash: bytes  # 32: the bits of imagehash.phash(image, hash_size=16) in reading order, first bit highest
    flatness: float  # standard deviation of the grey thumbnail, in levels 0..255
    thumbnail: bytes  # 3072: 32x32 RGB uint8, area averages


def fingerprint(rgb: NDArray[np.uint8]) -> Fingerprint:
    """Fingerprint of decoded pixels, shape (H, W, 3) uint8, H and W at least 1."""
    image = Image.fromarray(rgb)
    small = _thumbnail(image)
    flatness = float(np.asarray(Image.fromarray(small).convert("L"), dtype=np.float64).std())
    return Fingerprint(_phash(image), flatness, small.tobytes())


def hash_words(hashes: Sequence[bytes]) -> NDArray[np.uint64]:
    """Packed 256-bit hashes as machine words: N x 32 bytes to shape (N, 4) uint64."""
    packed = np.frombuffer(b"".join(hashes), dtype=">u8").reshape(-1, _HASH_WORDS)
    return packed.astype(np.uint64)


def thumbnails(packed: Sequence[bytes]) -> NDArray[np.uint8]:
    """Stored thumbnails, N x 3072 bytes, as one array of shape (N, 32, 32, 3) uint8."""
    flat = np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(-1, THUMBNAIL_BYTES)
    return flat.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)


def _phash(image: Image.Image) -> bytes:
    """imagehash.phash(image, hash_size=16), bit for bit.

    The same transform as imagehash, on the rows that are kept only. A matrix product would be as fast, but rounds
    otherwise: in a symmetric picture half of the coefficients are zero but for rounding, and their bits would flip.
    """
    grey = image.convert("L").resize((_HASH_IMAGE_SIDE, _HASH_IMAGE_SIDE), Image.Resampling.LANCZOS)
    pixels = np.asarray(grey, dtype=np.float64)
    low = dct(dct(pixels, axis=0)[:HASH_SIDE], axis=1)[:, :HASH_SIDE]
    return np.packbits(low > np.median(low)).tobytes()


def _thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """Area averages over a 32x32 grid, shape (32, 32, 3), in whole numbers throughout: the same on every machine.

    Pillow's BOX takes whole pixels only, so that a copy at 3/4 of the size aliases: its largest local difference
    from the original was twice as large (game icons: median 29 levels, here 14).
    """
    reduced = image.reduce((max(1, image.width // _FINEST), max(1, image.height // _FINEST)))
    pixels = np.asarray(reduced, dtype=np.float64)
    height, width, _ = pixels.shape
    sums = np.einsum("ih,hwc->iwc", _overlaps(height), pixels, optimize=True)
    sums = np.einsum("jw,iwc->ijc", _overlaps(width), sums, optimize=True)
    rounded: NDArray[np.uint8] = ((2 * sums.astype(np.int64) + height * width) // (2 * height * width)).astype(
        np.uint8
    )
    return rounded


@lru_cache(maxsize=256)
def _overlaps(length: int) -> NDArray[np.float64]:
    """Shape (32, length): 32 times the length that each thumbnail cell shares with each pixel; rows sum to length."""
    cells = np.arange(THUMBNAIL_SIDE)[:, None] * length
    pixels = np.arange(length)[None, :] * THUMBNAIL_SIDE
    shared = np.minimum(cells + length, pixels + THUMBNAIL_SIDE) - np.maximum(cells, pixels)
    overlaps: NDArray[np.float64] = np.maximum(shared, 0).astype(np.float64)
    return overlaps
