"""Planted copies of training images: how many the copy guard finds and blocks, at which rate of false alarms.

Beside it the ratio of Carlini et al. 2023 (Extracting Training Data from Diffusion Models, section 5.1): pixel
distance to the nearest training image over its mean to the 50 nearest, with the same rate of false alarms asked for.

IMPRIMATUR_MIRROR=<folder with the datasets> python benchmarks/copy_guard.py
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
CROP = 128  # pixels of a photograph that make one picture of 64

CARLINI_NEIGHBOURS = 50


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


def cells(folder: Path) -> list[Pixels]:
    """Blood cells under a microscope in colour: each photograph in squares that do not overlap, at 64x64."""
    pictures = []
    for path in sorted(folder.rglob("*.jpg")):
        photograph = Image.open(path).convert("RGB")
        for top in range(0, photograph.height - CROP + 1, CROP):
            for left in range(0, photograph.width - CROP + 1, CROP):
                square = photograph.crop((left, top, left + CROP, top + CROP))
                pictures.append(np.asarray(square.resize((64, 64), Image.Resampling.BOX)))
    return pictures


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


class CarliniRatio:
    """Distance to the nearest known picture over its mean to the 50 nearest; flagged when small."""

    def __init__(self, known: Pixels, rate: float) -> None:
        self.known = known.reshape(len(known), -1).astype(np.float32) / 255
        self.squares = (self.known**2).sum(axis=1)
        sample = np.random.default_rng(0).permutation(len(known))[:HELD_OUT]
        distances, _ = self.nearest(known[sample], CARLINI_NEIGHBOURS + 1)
        others = distances[:, 1:]  # without the picture itself
        others = others[others[:, 0] > 0]  # nor pictures that are there twice
        self.threshold = float(np.quantile(others[:, 0] / others.mean(axis=1), rate))

    def nearest(self, pictures: Pixels, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        queries = pictures.reshape(len(pictures), -1).astype(np.float32) / 255
        squared = (queries**2).sum(axis=1)[:, None] + self.squares - 2 * queries @ self.known.T
        rows = np.argpartition(squared, count - 1, axis=1)[:, :count]
        distances = np.linalg.norm(self.known[rows] - queries[:, None], axis=2)
        order = np.argsort(distances, axis=1)
        return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def query(self, pictures: Pixels) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which are copies, and the nearest known picture of each."""
        distances, rows = self.nearest(pictures, CARLINI_NEIGHBOURS)
        return distances[:, 0] / np.maximum(distances.mean(axis=1), 1e-6) < self.threshold, rows[:, 0]


def measure(name: str, pictures: list[Pixels], rate: float) -> None:
    order = np.random.default_rng(0).permutation(len(pictures))
    known_pictures = [pictures[row] for row in order[HELD_OUT:]]
    known, held_out = small(known_pictures), small([pictures[row] for row in order[:HELD_OUT]])
    started = time.process_time()
    guard = CopyGuard.fit(known, rate, seed=0)
    fitted = time.process_time()
    alarms = guard.query(held_out).copies
    asked = time.process_time()
    carlini = CarliniRatio(known, rate)
    rate_of_queries = HELD_OUT / (asked - fitted)
    print(f"\n{name}: {len(known):,} known; fit {fitted - started:.1f} CPU-s; {rate_of_queries:.0f} queries/CPU-s")
    print(f"  thresholds: distance {guard.distance_threshold:.3f}, ratio {guard.ratio_threshold:.3f};", end=" ")
    print(f"Carlini's ratio {carlini.threshold:.3f}")
    print("                       guard: source   blocked   Carlini: source   blocked")
    flagged, _ = carlini.query(held_out)
    print(f"  real, held out     {'':14s}   {alarms.mean():6.2%}   {'':15s}   {flagged.mean():6.2%}")
    for plant, change in PLANTS.items():
        planted = small([change(rgb) for rgb in known_pictures[:PLANTED]])
        nearest = guard.query(planted)
        blocked, rows = carlini.query(planted)
        ours, theirs = _found(known, nearest.indices[:, 0]), _found(known, rows)
        print(f"  {plant:18s} {ours.mean():14.1%}   {nearest.copies.mean():7.1%}", end="   ")
        print(f"{theirs.mean():15.1%}   {blocked.mean():7.1%}")


def _found(known: Pixels, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the row found for each planted copy is its source, or its pixel twin."""
    found: NDArray[np.bool_] = (known[rows] == known[: len(rows)]).all(axis=(1, 2, 3))
    return found


SETS: dict[str, Callable[[Path], list[Pixels]]] = {
    "bccd-blood-cells": cells,
    "crawl-tiles": tiles,
    "game-icons": tiles,
    "fashion-mnist": fashion,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=0.01, help="false-alarm rate that is asked for")
    parser.add_argument("--datasets", nargs="*", default=list(SETS), choices=SETS)
    arguments = parser.parse_args()
    mirror_folder = os.environ.get("IMPRIMATUR_MIRROR")
    if not mirror_folder:
        parser.error("set IMPRIMATUR_MIRROR to the folder that holds the datasets")
    for name in arguments.datasets:
        measure(name, SETS[name](Path(mirror_folder) / name), arguments.rate)


if __name__ == "__main__":
    main()
