"""What a picture is compared by: a 256-bit perceptual hash, its flatness, and a small colour thumbnail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import imagehash
import numpy as np
import pdqhash
from numpy.typing import NDArray
from PIL import Image
from scipy.fftpack import dct

from pipeline.catalog.tables import HASH_BYTES, THUMBNAIL_BYTES, THUMBNAIL_SIDE
from pipeline.similarity.resample import MOST, area_means, block_means, lanczos, luma

Pixels = NDArray[np.uint8]
HASH_SIDE = 16  # the hash has 16x16 bits
_BITS = HASH_SIDE**2
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


def fingerprint(rgb: Pixels) -> Fingerprint:
    """Fingerprint of decoded pixels, shape (H, W, 3) uint8, H and W at least 1."""
    small = _reduced(rgb)
    thumbnail = _thumbnail(small)
    flatness = float(luma(thumbnail).astype(np.float64).std())
    return Fingerprint(_bits(_margins(_hash_image(rgb, small))), flatness, thumbnail.tobytes())


def hash_margins(rgb: Pixels) -> NDArray[np.float64]:
    """By how much each of the 256 bits of a fingerprint's hash is set (> 0) or not, of pixels (H, W, 3) uint8.

    Bits near 0 are those that a copy is likely to have otherwise.
    """
    return _margins(_hash_image(rgb, _reduced(rgb))).ravel()


def glance_hash(grey: Pixels) -> bytes:
    """The 256-bit hash of grey pixels (H, W) that a scaled decoder gave: GLANCE_METHOD."""
    height, width = grey.shape
    return _bits(_margins(lanczos(grey, _HASH_IMAGE_SIDE, (width, height))))


def exchange_hash(rgb: Pixels, kind: Literal["phash", "dhash", "whash", "pdq"]) -> bytes:
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


def thumbnails(packed: Sequence[bytes]) -> Pixels:
    """Stored thumbnails, N x 3072 bytes, as one array of shape (N, 32, 32, 3) uint8."""
    flat = np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(-1, THUMBNAIL_BYTES)
    return flat.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)


def _factor(side: int) -> int:
    """The whole factor that a side is reduced by, so that at least 128 are left where they were."""
    return min(max(1, side // _FINEST), MOST)


def _reduced(rgb: Pixels) -> Pixels:
    """The picture reduced by whole factors: blocks are averaged. They may be cut at the right and lower edge."""
    height, width, _ = rgb.shape
    return block_means(rgb, _factor(height), _factor(width))


def _hash_image(rgb: Pixels, small: Pixels) -> Pixels:
    """64x64 grey of a picture, from its reduced version; imagehash's, bit for bit, where nothing was reduced."""
    height, width, _ = rgb.shape
    down, across = _factor(height), _factor(width)
    extent = (width / across, height / down)  # in new pixels: not always whole
    grey = luma(small)
    if min(down, across) == 1:
        size = (_HASH_IMAGE_SIDE, _HASH_IMAGE_SIDE)
        return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS, box=(0, 0, *extent)))
    return lanczos(grey, _HASH_IMAGE_SIDE, extent)


def _margins(grey: Pixels) -> NDArray[np.float64]:
    """What imagehash.phash(image, hash_size=16) compares with zero, shape (16, 16), of its image of 64x64 pixels.

    The same transform as imagehash, on the rows that are kept only. A matrix product would be as fast, but rounds
    otherwise: in a symmetric picture half of the coefficients are zero but for rounding, and their bits would flip.
    """
    low = dct(dct(grey.astype(np.float64), axis=0)[:HASH_SIDE], axis=1)[:, :HASH_SIDE]
    middle = np.sort(low, axis=None)[_BITS // 2 - 1 : _BITS // 2 + 1]
    margins: NDArray[np.float64] = low - middle.sum() / 2  # their median
    return margins


def _bits(margins: NDArray[np.float64]) -> bytes:
    return np.packbits(margins > 0).tobytes()


def _thumbnail(small: Pixels) -> Pixels:
    """Area averages over a 32x32 grid, shape (32, 32, 3), in whole numbers throughout: the same on every machine.

    Pillow's BOX takes whole pixels only, so that a copy at 3/4 of the size aliases: its largest local difference
    from the original was twice as large (game icons: median 29 levels, here 14).
    """
    return area_means(small, THUMBNAIL_SIDE)
