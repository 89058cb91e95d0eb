"""Planted copies of training images: how many the copy guard finds and blocks, at which rate of false alarms.

Beside it the ratio of Carlini et al. 2023 (Extracting Training Data from Diffusion Models, section 5.1): pixel
distance to the nearest training image over its mean to the 50 nearest, and the plain form of the guard's own idea:
distances in a principal subspace alone. Both are asked for the same rate of false alarms.

IMPRIMATUR_MIRROR=<folder with the datasets> python benchmarks/copy_guard.py
"""

import argparse
import gzip
import io
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.ndimage import uniform_filter

from pipeline.catalog.tables import THUMBNAIL_SIDE
from pipeline.similarity.copies import CopyGuard
from pipeline.similarity.fingerprints import fingerprint, thumbnails
from pipeline.similarity.groups import MINIMUM_FLATNESS

Pixels = NDArray[np.uint8]
SPLIT = 777  # of the pictures: those held out and those planted were kept aside when the guard was tuned
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


def noise(rgb: Pixels, channels: int = 3) -> Pixels:
    """Gaussian noise of standard deviation 20, the same in all channels when `channels` is 1."""
    change = np.random.default_rng(rgb.sum()).normal(0, 20, (*rgb.shape[:2], channels))
    return np.clip(rgb + change, 0, 255).astype(np.uint8)


def coarser(rgb: Pixels) -> Pixels:
    """Reduced to 5/7 of the size and enlarged again: 28-20-28."""
    image = Image.fromarray(rgb)
    reduced = image.resize((image.width * 5 // 7, image.height * 5 // 7), Image.Resampling.BICUBIC)
    return np.asarray(reduced.resize(image.size, Image.Resampling.BICUBIC))


def shift(rgb: Pixels) -> Pixels:
    """One pixel of the picture itself, edges repeated."""
    return np.pad(rgb, ((1, 0), (1, 0), (0, 0)), mode="edge")[:-1, :-1]


def mirror(rgb: Pixels) -> Pixels:
    return np.ascontiguousarray(rgb[:, ::-1])


PLANTS: dict[str, Callable[[Pixels], Pixels]] = {
    "exact": lambda rgb: rgb,
    "noise, sd 20": noise,
    "noise, grey, sd 20": lambda rgb: noise(rgb, channels=1),
    "JPEG, quality 50": jpeg,
    "5/7 of the size": coarser,
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


class PlainSubspace:
    """Pictures (3x3 means, zero mean, unit length) in their first 64 principal components, queries in 18 views.

    Flagged when the nearest distance, or its ratio to the mean of the next four, is small.
    """

    def __init__(self, known: Pixels, rate: float) -> None:
        vectors = self._vectors(known)
        sample = vectors[np.random.default_rng(0).permutation(len(vectors))[:10_000]]
        self.mean = sample.mean(axis=0)
        centred = sample - self.mean
        self.basis = np.linalg.eigh(centred.T @ centred)[1][:, :-65:-1]
        self.index = (vectors - self.mean) @ self.basis
        self.squares = (self.index**2).sum(axis=1)
        rows = np.random.default_rng(0).permutation(len(known))[:HELD_OUT]
        distances = self.nearest(known[rows], 6)[0][:, 1:]  # without the picture itself
        distances = distances[distances[:, 0] > 1e-3]
        self.thresholds = [float(np.quantile(of, rate / 2)) for of in self._evidence(distances)]

    @staticmethod
    def _vectors(pictures: Pixels) -> NDArray[np.float32]:
        smooth = uniform_filter(pictures.astype(np.float32), size=(0, 3, 3, 0), mode="nearest")
        flat = smooth.reshape(len(pictures), -1)
        flat -= flat.mean(axis=1, keepdims=True)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)

    @staticmethod
    def _evidence(distances: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return [distances[:, 0], distances[:, 0] / np.maximum(distances[:, 1:5].mean(axis=1), 1e-6)]

    def nearest(self, pictures: Pixels, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        squared = np.full((len(pictures), len(self.index)), np.inf, dtype=np.float32)
        for side in (pictures, pictures[:, :, ::-1]):
            for shift_by in itertools.product((-1, 0, 1), repeat=2):
                seen = (self._vectors(np.roll(side, shift_by, axis=(1, 2))) - self.mean) @ self.basis
                apart = (seen**2).sum(axis=1)[:, None] + self.squares - 2 * seen @ self.index.T
                np.minimum(squared, apart, out=squared)
        rows = np.argpartition(squared, count - 1, axis=1)[:, :count]
        distances = np.sqrt(np.take_along_axis(squared, rows, axis=1).clip(0))
        order = np.argsort(distances, axis=1)
        return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def query(self, pictures: Pixels) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which are copies, and the nearest known picture of each."""
        distances, rows = self.nearest(pictures, 5)
        evidence = zip(self._evidence(distances), self.thresholds, strict=True)
        return np.any([of < threshold for of, threshold in evidence], axis=0), rows[:, 0]


def measure(name: str, pictures: list[Pixels], rate: float) -> None:
    order = np.random.default_rng(SPLIT).permutation(len(pictures))
    known_pictures, left_out = (
        [pictures[row] for row in order[HELD_OUT:]],
        [pictures[row] for row in order[:HELD_OUT]],
    )
    known, held_out = small(known_pictures), small(left_out)
    own_size = len({rgb.shape for rgb in pictures}) == 1 and pictures[0].shape[0] < THUMBNAIL_SIDE
    plain_form = np.stack if own_size else small  # the plain method was published for pictures of 28 pixels
    started = time.process_time()
    guard = CopyGuard.fit(known, rate, seed=0)
    fitted = time.process_time()
    alarms = guard.query(held_out).copies
    asked = time.process_time()
    plain, carlini = PlainSubspace(plain_form(known_pictures), rate), CarliniRatio(known, rate)
    rate_of_queries = HELD_OUT / (asked - fitted)
    print(f"\n{name}: {len(known):,} known; fit {fitted - started:.1f} CPU-s; {rate_of_queries:.0f} queries/CPU-s")
    print(f"  thresholds: {guard.thresholds.round(3)}; honest {guard.honest.rate:.2%}")
    print("  blocked (source found)         guard             plain           Carlini")
    flagged, plainly = carlini.query(held_out)[0], plain.query(plain_form(left_out))[0]
    print(
        f"  real, held out     {alarms.mean():7.1%}           {plainly.mean():7.1%}           {flagged.mean():7.1%}"
    )
    sources = np.flatnonzero(known[: 2 * PLANTED].mean(axis=3).std(axis=(1, 2)) >= MINIMUM_FLATNESS)[:PLANTED]
    for plant, change in PLANTS.items():
        changed = [change(known_pictures[row]) for row in sources]
        planted = small(changed)
        nearest = guard.query(planted)
        answers = [(nearest.copies, nearest.indices[:, 0]), plain.query(plain_form(changed)), carlini.query(planted)]
        cells_of_table = [f"{blocked.mean():7.1%} ({_found(known, rows, sources):6.1%})" for blocked, rows in answers]
        print(f"  {plant:18s} {'  '.join(cells_of_table)}", flush=True)


def _found(known: Pixels, rows: NDArray[np.int64], sources: NDArray[np.int64]) -> float:
    """How often the row found for a planted copy is its source, or its pixel twin."""
    return float((known[rows] == known[sources]).all(axis=(1, 2, 3)).mean())


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
