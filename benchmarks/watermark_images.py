"""The images of the watermark benchmark: those that the design was tuned on, and those kept for the last run.

`pip install scikit-image` for its sample photographs; IMPRIMATUR_MIRROR names the folder with bccd-blood-cells,
game-icons and crawl-tiles. The two sets share no file of the datasets, no drawing, and no cut of a photograph; of the
photographs, which are few, the held-out set has other windows, turned on their side.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.sample.drawings import CLASSES, draw

Pixels = NDArray[np.uint8]
SETS = ("tuned", "held out")
# scikit-image's photographs, textures and text
PHOTOGRAPHS = (
    "astronaut", "coffee", "camera", "grass", "page", "retina", "moon", "brick", "motorcycle_left",
    "chelsea", "rocket", "coins", "gravel", "text", "ihc", "hubble_deep_field", "cell", "horse",
)  # fmt: skip
NEW_PHOTOGRAPHS = ("clock_motion", "color")
WINDOWS = {"tuned": (1.0, 0.7, 0.45), "held out": (0.8, 0.55)}  # of a photograph's shorter side
DRAWING_SEEDS = {"tuned": (5, 6), "held out": (7, 8)}


def images(chosen: str, side: int) -> Iterator[tuple[str, Pixels]]:
    """(name, pixels (side, side, 3)) of one set: 118 tuned, 105 held out."""
    for name in PHOTOGRAPHS + (NEW_PHOTOGRAPHS if chosen == "held out" else ()):
        yield from _cuts(name, chosen, side)
    for label in CLASSES:
        for seed in DRAWING_SEEDS[chosen]:
            for number in range(3):
                yield f"{label} {seed}/{number}", np.asarray(draw(label, number, seed, side).convert("RGB"))
    mirror = Path(os.environ["IMPRIMATUR_MIRROR"])
    for pattern, tuned, held_out, zoom in (
        ("bccd-blood-cells/images/*.jpg", 8, 15, False),
        ("game-icons/**/*.png", 6, 13, True),
        ("crawl-tiles/**/*.png", 6, 13, True),
    ):
        files = sorted(mirror.glob(pattern))
        halves = files[: len(files) // 2], files[len(files) // 2 :]
        used = [path for half in halves for path in half[:: len(half) // tuned][:tuned]]
        others = [path for path in files if path not in used]
        new = others[7 :: len(others) // held_out][:held_out]
        for path in used if chosen == "tuned" else new:
            yield path.stem, _fitted(_on_white(path), side, zoom)


def _cuts(name: str, chosen: str, side: int) -> Iterator[tuple[str, Pixels]]:
    import skimage

    image = _on_white(next(path for path in sorted((Path(skimage.__file__).parent / "data").glob(f"{name}.*"))))
    random = np.random.default_rng([side, *name.encode(), *([1] if chosen == "held out" else [])])
    for share in WINDOWS[chosen]:
        window = int(min(image.size) * share)
        left, top = (int(random.integers(0, extent - window + 1)) for extent in image.size)
        square = image.crop((left, top, left + window, top + window))
        if chosen == "held out":
            square = square.transpose(Image.Transpose.ROTATE_90)
        yield f"{name} {share}", np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))


def _on_white(path: Path) -> Image.Image:
    image = Image.open(path).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _fitted(image: Image.Image, side: int, zoom: bool) -> Pixels:
    extent = min(image.size)
    square = image.crop((0, 0, extent, extent))
    filter_ = Image.Resampling.BICUBIC if zoom else Image.Resampling.LANCZOS
    return np.asarray(square.resize((side, side), filter_))
