"""Planted copies of training images: how many the copy guard finds and blocks, at which rate of false alarms.

IMPRIMATUR_MIRROR=<folder with crawl-tiles, game-icons, fashion-mnist> python benchmarks/copy_guard.py
"""

import argparse
import gzip
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.similarity.copies import CopyGuard
from pipeline.similarity.fingerprints import fingerprint, thumbnails

Pixels = NDArray[np.uint8]
HELD_OUT = 1_000  # real images that the guard does not know
PLANTED = 300


def tiles(folder: Path) -> list[Pixels]:
    """Every PNG below a folder on white, in the order of names."""
    pictures = []
    for path in sorted(folder.rglob("*.png")):
        image = Image.open(path).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        pictures.append(np.asarray(Image.alpha_composite(white, image).convert("RGB")))
    return pictures


def fashion(folder: Path) -> list[Pixels]:
    data = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
    return [
        np.repeat(grey[:, :, None], 3, axis=2)
        for grey in np.frombuffer(data, np.uint8, offset=16).reshape(-1, 28, 28)
    ]


def jpeg(rgb: Pixels) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=50)
    return np.asarray(Image.open(stream).convert("RGB"))


def noise(rgb: Pixels) -> Pixels:
    return np.clip(rgb + np.random.default_rng(0).normal(0, 20, rgb.shape), 0, 255).astype(np.uint8)


def shift(rgb: Pixels) -> Pixels:
    """One pixel of the picture itself, edges repeated."""
    return np.pad(rgb, ((1, 0), (1, 0), (0, 0)), mode="edge")[:-1, :-1]


def mirror(rgb: Pixels) -> Pixels:
    return np.ascontiguousarray(rgb[:, ::-1])


PLANTS: dict[str, Callable[[Pixels], Pixels]] = {
    "exact": lambda rgb: rgb,
    "noise, sd 20": noise,
    "JPEG, quality 50": jpeg,
    "blur, radius 1": lambda rgb: np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(1))),
    "shift, 1 pixel": shift,
    "brightness x 0.85": lambda rgb: (0.85 * rgb).astype(np.uint8),
    "mirror": mirror,
    "mirror and shift": lambda rgb: shift(mirror(rgb)),
}


def small(pictures: list[Pixels]) -> Pixels:
    return thumbnails([fingerprint(rgb).thumbnail for rgb in pictures])


def measure(name: str, pictures: list[Pixels], rate: float) -> None:
    order = np.random.default_rng(0).permutation(len(pictures))
    known_pictures = [pictures[row] for row in order[HELD_OUT:]]
    known, held_out = small(known_pictures), small([pictures[row] for row in order[:HELD_OUT]])
    started = time.process_time()
    guard = CopyGuard.fit(known, rate, seed=0)
    fitted = time.process_time()
    alarms = guard.query(held_out).copies
    asked = time.process_time()
    rate_of_queries = HELD_OUT / (asked - fitted)
    print(f"\n{name}: {len(known):,} known; fit {fitted - started:.1f} CPU-s; {rate_of_queries:.0f} queries/CPU-s")
    print(f"  thresholds: distance {guard.distance_threshold:.3f}, ratio {guard.ratio_threshold:.3f}")
    print(f"  held-out real images flagged, true duplicates included: {alarms.mean():.2%} (stated rate {rate:.0%})")
    for plant, change in PLANTS.items():
        nearest = guard.query(small([change(rgb) for rgb in known_pictures[:PLANTED]]))
        top = known[nearest.indices[:, 0]].astype(int)
        found = np.abs(top - known[:PLANTED]).max(axis=(1, 2, 3)) == 0  # the source, or its pixel twin
        print(f"  {plant:18s} source found {found.mean():6.1%}   blocked {nearest.copies.mean():6.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=0.01, help="false-alarm rate that is asked for")
    parser.add_argument("--datasets", nargs="*", default=["crawl-tiles", "game-icons", "fashion-mnist"])
    arguments = parser.parse_args()
    mirror_folder = os.environ.get("IMPRIMATUR_MIRROR")
    if not mirror_folder:
        parser.error("set IMPRIMATUR_MIRROR to the folder that holds the datasets")
    for name in arguments.datasets:
        folder = Path(mirror_folder) / name
        measure(name, fashion(folder) if name == "fashion-mnist" else tiles(folder), arguments.rate)


if __name__ == "__main__":
    main()
