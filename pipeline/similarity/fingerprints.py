"""What a picture is compared by: a 256-bit perceptual hash, its flatness, and a small colour thumbnail."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import imagehash
import numpy as np
import pdqhash
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct

from pipeline.catalog.tables import HASH_BYTES, THUMBNAIL_BYTES, THUMBNAIL_SIDE

HASH_SIDE = 16  # the hash has 16x16 bits
_HASH_IMAGE_SIDE = 4 * HASH_SIDE  # imagehash's highfreq_factor is 4
_HASH_WORDS = HASH_BYTES // 8
_FINEST = 4 * THUMBNAIL_SIDE  # larger pictures are reduced by a whole factor first
HASH_METHOD = "phash256/box128"  # imagehash.phash(hash_size=16) of the picture box-reduced to sides of 128 or more
GLANCE_METHOD = "phash256/dct64"  # the same of a JPEG decoded to sides of 64 or more (scaled inverse DCT)
GLANCE_SIDE = _HASH_IMAGE_SIDE


@dataclass(frozen=True)
class Fingerprint:
    """The fields of tables.FINGERPRINTS for one picture."""

    phash: bytes  # 32: the bits of imagehash.phash(image, hash_size=16) in reading order, first bit highest
    flatness: float  # standard deviation of the grey thumbnail, in levels 0..255
    thumbnail: bytes  # 3072: 32x32 RGB uint8, area averages
    method: str = HASH_METHOD


def fingerprint(rgb: NDArray[np.uint8]) -> Fingerprint:
    """Fingerprint of decoded pixels, shape (H, W, 3) uint8, H and W at least 1."""
    small, extent = _reduced(rgb)
    thumbnail = _thumbnail(small)
    flatness = float(np.asarray(Image.fromarray(thumbnail).convert("L"), dtype=np.float64).std())
    return Fingerprint(_phash(small.convert("L"), extent), flatness, thumbnail.tobytes())


def hash_margins(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """By how much each of the 256 bits of a fingerprint's hash is set (> 0) or not, of pixels (H, W, 3) uint8.

    Bits near 0 are those that a copy is likely to have otherwise.
    """
    small, extent = _reduced(rgb)
    return _margins(small.convert("L"), extent).ravel()


def glance_hash(grey: NDArray[np.uint8]) -> bytes:
    """The 256-bit hash of grey pixels (H, W) that a scaled decoder gave: GLANCE_METHOD."""
    return _phash(Image.fromarray(grey), (float(grey.shape[1]), float(grey.shape[0])))


def exchange_hash(rgb: NDArray[np.uint8], kind: Literal["phash", "dhash", "whash", "pdq"]) -> bytes:
    """A hash for exchange with other tools, of pixels (H, W, 3) uint8, bits in reading order, first bit highest.

    phash, dhash, whash: `imagehash` with hash_size=8, 8 bytes. pdq: `pdqhash`, 32 bytes (all of the picture is read,
    nothing is reduced first: PDQ answers badly to that).
    """
    if kind == "pdq":
        bits, _ = pdqhash.compute(rgb)
    else:
        bits = getattr(imagehash, kind)(Image.fromarray(rgb)).hash
    return np.packbits(np.asarray(bits, dtype=bool)).tobytes()


def hash_words(hashes: Sequence[bytes]) -> NDArray[np.uint64]:
    """Packed 256-bit hashes as machine words: N x 32 bytes to shape (N, 4) uint64."""
    packed = np.frombuffer(b"".join(hashes), dtype=">u8").reshape(-1, _HASH_WORDS)
    return packed.astype(np.uint64)


def thumbnails(packed: Sequence[bytes]) -> NDArray[np.uint8]:
    """Stored thumbnails, N x 3072 bytes, as one array of shape (N, 32, 32, 3) uint8."""
    flat = np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(-1, THUMBNAIL_BYTES)
    return flat.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)


def _reduced(rgb: NDArray[np.uint8]) -> tuple[Image.Image, tuple[float, float]]:
    """The picture reduced by whole factors, each side still at least 128 where it was; and its extent in new pixels.

    Blocks are averaged. At the right and lower edge they may be cut: so the extent is not always whole.
    """
    height, width, _ = rgb.shape
    down, across = max(1, height // _FINEST), max(1, width // _FINEST)
    if down > 1:  # by rows in numpy, by columns in Pillow: each is the quicker one at it
        whole = height // down * down
        rows = _row_means(rgb[:whole].reshape(-1, down, width * 3))
        if whole < height:
            rows = np.concatenate([rows, _row_means(rgb[whole:].reshape(1, -1, width * 3))])
        rgb = rows.reshape(-1, width, 3)
    image = Image.fromarray(rgb)
    return image.reduce((across, 1)) if across > 1 else image, (width / across, height / down)


def _row_means(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean over axis 1 of (N, rows, M) uint8, rounded half up."""
    rows = blocks.shape[1]
    sums = np.add.reduce(blocks, axis=1, dtype=np.uint16 if rows < 256 else np.uint32)
    sums += rows // 2
    means: NDArray[np.uint8] = (sums // rows).astype(np.uint8)
    return means


def _phash(grey: Image.Image, extent: tuple[float, float]) -> bytes:
    return np.packbits(_margins(grey, extent) > 0).tobytes()


def _margins(grey: Image.Image, extent: tuple[float, float]) -> NDArray[np.float64]:
    """What imagehash.phash(image, hash_size=16) compares with zero, shape (16, 16); exact where nothing was reduced.

    The same transform as imagehash, on the rows that are kept only. A matrix product would be as fast, but rounds
    otherwise: in a symmetric picture half of the coefficients are zero but for rounding, and their bits would flip.
    """
    size = (_HASH_IMAGE_SIDE, _HASH_IMAGE_SIDE)
    pixels = np.asarray(grey.resize(size, Image.Resampling.LANCZOS, box=(0, 0, *extent)), dtype=np.float64)
    low = dct(dct(pixels, axis=0)[:HASH_SIDE], axis=1)[:, :HASH_SIDE]
    margins: NDArray[np.float64] = low - np.median(low)
    return margins


def _thumbnail(reduced: Image.Image) -> NDArray[np.uint8]:
    """Area averages over a 32x32 grid, shape (32, 32, 3), in whole numbers throughout: the same on every machine.

    Pillow's BOX takes whole pixels only, so that a copy at 3/4 of the size aliases: its largest local difference
    from the original was twice as large (game icons: median 29 levels, here 14).
    """
    pixels = np.asarray(reduced, dtype=np.float32)  # exact: no sum exceeds 255 * 255 * 255, which is below 2^24
    height, width, _ = pixels.shape
    rows = (_overlaps(height) @ pixels.reshape(height, width * 3)).reshape(THUMBNAIL_SIDE, width, 3)
    sums = _overlaps(width) @ rows
    rounded: NDArray[np.uint8] = ((2 * sums.astype(np.int64) + height * width) // (2 * height * width)).astype(
        np.uint8
    )
    return rounded


@lru_cache(maxsize=256)
def _overlaps(length: int) -> NDArray[np.float32]:
    """Shape (32, length): 32 times the length that each thumbnail cell shares with each pixel; rows sum to length."""
    cells = np.arange(THUMBNAIL_SIDE)[:, None] * length
    pixels = np.arange(length)[None, :] * THUMBNAIL_SIDE
    shared = np.minimum(cells + length, pixels + THUMBNAIL_SIDE) - np.maximum(cells, pixels)
    overlaps: NDArray[np.float32] = np.maximum(shared, 0).astype(np.float32)
    return overlaps
