"""The pixels of a generated image."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def pixels_of(data: bytes) -> NDArray[np.uint8] | None:
    """Pixels (H, W, 3) of a PNG; None when it cannot be decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB"))
    except Exception:  # whatever a damaged file makes the decoder raise: it is this one image that fails
        return None
