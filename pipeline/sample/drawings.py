"""The four classes of the sample set, and the drawing that stands behind each number."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from pipeline.sample.ceramics import draw_ceramic
from pipeline.sample.emblems import draw_emblem
from pipeline.sample.landscapes import draw_landscape
from pipeline.sample.textiles import draw_textile

CLASSES: dict[str, Callable[[np.random.Generator, int], Image.Image]] = {
    "ceramics": draw_ceramic,
    "emblems": draw_emblem,
    "landscapes": draw_landscape,
    "textiles": draw_textile,
}


def draw(label: str, number: int, seed: int, size: int = 64) -> Image.Image:
    """Drawing `number` of a class, size x size RGB: depends on its arguments alone."""
    stream = np.random.default_rng([seed, sorted(CLASSES).index(label), number])
    return CLASSES[label](stream, size)
