"""The images of the watermark benchmark, in two halves: one that the design was tuned on, one that it never saw.

`pip install scikit-image` for its sample photographs; IMPRIMATUR_MIRROR names the folder with bccd-blood-cells,
game-icons and crawl-tiles. The halves share no source file, no drawing and no class-and-seed pair.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.sample.drawings import CLASSES, draw

Pixels = NDArray[np.uint8]
HALVES = ("tuned", "held out")
# scikit-image's photographs, textures and text, dealt by hand so that both halves have some of each.
PHOTOGRAPHS = {
    "tuned": ("astronaut", "coffee", "camera", "grass", "page", "retina", "moon", "brick", "motorcycle_left"),
    "held out": ("chelsea", "rocket", "coins", "gravel", "text", "ihc", "hubble_deep_field", "cell", "horse"),
}
CUTS = 3  # of each photograph


def images(half: str, side: int) -> Iterator[tuple[str, Pixels]]:
    """(name, pixels (side, side, 3)) of one half: 27 photographs, 12 drawings, 8 blood smears, 6 icons, 6 tiles."""
    yield from _photographs(half, side)
    yield from _drawings(half, side)
    mirror = Path(os.environ["IMPRIMATUR_MIRROR"])
    for kind, pattern, count, zoom in (
        ("blood", "bccd-blood-cells/images/*.jpg", 8, False),
        ("icon", "game-icons/**/*.png", 6, True),
        ("tile", "crawl-tiles/**/*.png", 6, True),
    ):
        files = sorted(mirror.glob(pattern))
        middle = len(files) // 2
        chosen = files[:middle] if half == "tuned" else files[middle:]
        for path in chosen[:: max(1, len(chosen) // count)][:count]:
            yield f"{kind} {path.stem}", _fitted(_on_white(path), side, zoom)


def _photographs(half: str, side: int) -> Iterator[tuple[str, Pixels]]:
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    for name in PHOTOGRAPHS[half]:
        path = next(path for path in sorted(folder.glob(f"{name}.*")))
        image = _on_white(path)
        random = np.random.default_rng([side, *name.encode()])
        for cut in range(CUTS):
            window = int(min(image.size) * (1.0, 0.7, 0.45)[cut])
            left, top = (int(random.integers(0, extent - window + 1)) for extent in image.size)
            square = image.crop((left, top, left + window, top + window))
            yield f"{name} {cut}", np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))


def _drawings(half: str, side: int) -> Iterator[tuple[str, Pixels]]:
    for label in CLASSES:
        for number in range(3):
            seed = 5 if half == "tuned" else 6
            yield f"{label} {number}", np.asarray(draw(label, number, seed, side).convert("RGB"))


def _on_white(path: Path) -> Image.Image:
    image = Image.open(path).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _fitted(image: Image.Image, side: int, zoom: bool) -> Pixels:
    extent = min(image.size)
    square = image.crop((0, 0, extent, extent))
    filter_ = Image.Resampling.BICUBIC if zoom else Image.Resampling.LANCZOS
    return np.asarray(square.resize((side, side), filter_))
