"""Copies as the world makes them."""

import io

import numpy as np
from PIL import Image

from pipeline.credentials.watermark.grid import Pixels


def recompressed(rgb: Pixels, quality: int) -> Pixels:
    """A copy (H, W, 3) that went through JPEG."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))
