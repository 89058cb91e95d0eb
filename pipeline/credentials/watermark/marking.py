"""Marking an image, and the mark that an image holds."""

from pipeline.core.errors import ImprimaturError
from pipeline.credentials.watermark.embedding import embed_chips
from pipeline.credentials.watermark.grid import Pixels, psnr
from pipeline.credentials.watermark.jpeg import recompressed
from pipeline.credentials.watermark.lattice import embed_lattice
from pipeline.credentials.watermark.reading import MOST_ASPECT, extract_direct

MINIMUM_SIDE = 48  # px
CHIPS_FROM = 100  # px of the shorter side; below, too few cells are left for chips
COMMON_QUALITY = 75  # of the JPEG that a mark must outlive


def embed(rgb: Pixels, payload: int, key: bytes) -> tuple[Pixels, float]:
    """Mark an image (H, W, 3) uint8 with a 32-bit payload: (marked image, PSNR in dB against the original).

    Strength is chosen by reading back. An image whose chips do not outlive JPEG 75 gets the mark of small images.
    Grey stays grey; the same input gives the same output. Raises ImprimaturError for a side below 48 px.
    """
    height, width, _ = rgb.shape
    short, long = sorted((height, width))
    if short < MINIMUM_SIDE:
        raise ImprimaturError(
            f"an image of {width}x{height} px is too small for the watermark",
            f"enlarge it to at least {MINIMUM_SIDE} px a side (batch.scale)",
        )
    if short >= CHIPS_FROM and long <= MOST_ASPECT * short:
        marked, sure = embed_chips(rgb, payload, key)
        if sure or held(marked, key) == payload:
            return marked, psnr(rgb, marked)
    marked = embed_lattice(rgb, payload, key)
    return marked, psnr(rgb, marked)


def held(rgb: Pixels, key: bytes) -> int | None:
    """The payload that is read from an image and from a copy of it at JPEG 75 alike; None when there is none such."""
    first, second = (extract_direct(copy, key) for copy in (rgb, recompressed(rgb, COMMON_QUALITY)))
    return first if first == second else None


def payload_hex(payload: int | None) -> str:
    """A payload as eight hex digits, "" for none: how manifests and tables write it."""
    return "" if payload is None else f"{payload:08x}"
