"""How many copies each hash and the default finds, by change, and how many pictures that only look alike it merges.

The pictures are drawn by labelled_set.py; real ones come from IMPRIMATUR_MIRROR when it is set (photographs of blood
cells, icons, tiles). pip install pdqhash for the column PDQ.

    python benchmarks/similarity_quality.py [--originals 300] [--hard 150] [--sheet FOLDER]
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
from labelled_set import CHANGES, CORE, HARD, ORIGINALS, pictures
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.digests import pixel_digest
from pipeline.core.settings import DuplicateSettings
from pipeline.similarity.fingerprints import fingerprint, thumbnails
from pipeline.similarity.groups import Prints, find_copies

try:
    import pdqhash
except ImportError:
    pdqhash = None

Bits = NDArray[np.bool_]
HASHES: dict[str, tuple[Callable[[Image.Image], Bits], int]] = {
    "phash 64, 10": (lambda image: imagehash.phash(image).hash.ravel(), 10),
    "phash 64, 4": (lambda image: imagehash.phash(image).hash.ravel(), 4),
    "dhash 64, 4": (lambda image: imagehash.dhash(image).hash.ravel(), 4),
    "whash 64, 4": (lambda image: imagehash.whash(image).hash.ravel(), 4),
    "phash 256, 40": (lambda image: imagehash.phash(image, hash_size=16).hash.ravel(), 40),
}
if pdqhash is not None:
    HASHES["PDQ, 31"] = (lambda image: pdqhash.compute(np.asarray(image))[0].astype(bool), 31)


def prints_of(images: list[Image.Image]) -> Prints:
    pixels = [np.asarray(image) for image in images]
    prints = [fingerprint(rgb) for rgb in pixels]
    return Prints(
        [one.phash for one in prints], np.array([one.flatness for one in prints]),
        thumbnails([one.thumbnail for one in prints]), [pixel_digest(rgb) for rgb in pixels],
    )  # fmt: skip


def joined(*parts: Prints) -> Prints:
    return Prints(
        [one for part in parts for one in part.phash], np.concatenate([part.flatness for part in parts]),
        np.concatenate([part.thumbnails for part in parts]), [one for part in parts for one in part.pixels],
    )  # fmt: skip


def hash_table(originals: list[Image.Image], hard: list[list[Image.Image]], seed: int) -> None:
    """Recall by change and false pairs, hash by hash; distances of all pairs are computed outright."""
    changed = {name: [change(image, np.random.default_rng([seed, row])) for row, image in enumerate(originals)]
               for name, change in CHANGES.items()}  # fmt: skip
    print("| change | " + " | ".join(HASHES) + " |\n|---|" + "---:|" * len(HASHES))
    bits = {name: np.array([function(image) for image in originals]) for name, (function, _) in HASHES.items()}
    for change, images in changed.items():
        cells = []
        for name, (function, within) in HASHES.items():
            apart = (np.array([function(image) for image in images]) != bits[name]).sum(axis=1)
            cells.append(f"{(apart <= within).mean():.1%}")
        print(f"| {change} | " + " | ".join(cells) + " |", flush=True)
    for label, kind in zip(["originals", *HARD], [originals, *hard], strict=True):
        digests = [pixel_digest(np.asarray(image)) for image in kind]
        i, j = np.triu_indices(len(kind), 1)
        other = np.array([digests[a] != digests[b] for a, b in zip(i, j, strict=True)])
        cells = []
        for function, within in HASHES.values():
            codes = np.array([function(image) for image in kind])
            cells.append(f"{int(((codes[i] != codes[j]).sum(axis=1) <= within)[other].sum()):,}")
        print(f"| false pairs: {label} ({int(other.sum()):,}) | " + " | ".join(cells) + " |", flush=True)


def default_table(name: str, originals: list[Image.Image], negatives: Prints, seed: int) -> None:
    """Recall by change of the default, and false merges: each change is searched beside originals and negatives."""
    first = prints_of(originals)
    known = joined(first, negatives)
    started = time.process_time()
    alone = find_copies(known, DuplicateSettings())
    false_alone = int((alone.kept != np.arange(len(known.pixels))).sum()) - _twins(known)
    print(f"\n{name}: {len(originals):,} originals, {len(negatives.pixels):,} others\n")
    print(f"merged among originals and others: {false_alone}; {time.process_time() - started:.1f} CPU-s\n")
    print("| change | found | merged with another picture |\n|---|---:|---:|")
    right = wrong = 0
    for label, change in CHANGES.items():
        images = [change(image, np.random.default_rng([seed, row])) for row, image in enumerate(originals)]
        copies = find_copies(joined(known, prints_of(images)), DuplicateSettings())
        kept = copies.kept[len(known.pixels) :]
        own = np.arange(len(originals))
        found = (kept == own) | (kept == alone.kept[own])
        false = ~found & (kept < len(known.pixels))
        if label in CORE:
            right, wrong = right + int(found.sum()), wrong + int(false.sum())
        print(f"| {label} | {found.mean():.1%} | {int(false.sum())} |", flush=True)
    print(
        f"\ncore changes: recall {right / len(CORE) / len(originals):.2%}, "
        f"precision {right / max(1, right + wrong + false_alone):.2%} with the merges among originals and others"
    )


def small_table(name: str, images: list[Image.Image], seed: int) -> None:
    """Recall of compressed copies of small pictures: an encoder's blocks are then large parts of them."""
    lossy = [label for label in CHANGES if label.startswith(("JPEG", "WebP"))]
    print(f"\n{name}, {len(images)} pictures\n\n| side | " + " | ".join(lossy) + " |\n|---|" + "---:|" * len(lossy))
    for side in (32, 48, 64, 96, 128):
        originals = [image.resize((side, side), Image.Resampling.LANCZOS) for image in images]
        first = prints_of(originals)
        cells = []
        for label in lossy:
            copies = [
                CHANGES[label](image, np.random.default_rng([seed, row])) for row, image in enumerate(originals)
            ]
            kept = find_copies(joined(first, prints_of(copies)), DuplicateSettings()).kept
            cells.append(f"{(kept[len(images) :] == kept[: len(images)]).mean():.1%}")
        print(f"| {side} | " + " | ".join(cells) + " |", flush=True)


def _twins(prints: Prints) -> int:
    return len(prints.pixels) - len(set(prints.pixels))


def real(folder: Path, limit: int) -> list[Image.Image]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpg", ".jpeg"))
    step = max(1, len(paths) // limit)
    shown = []
    for path in paths[::step][:limit]:
        image = Image.open(path).convert("RGBA")
        shown.append(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))
    return shown


def middle(image: Image.Image) -> Image.Image:
    """The 128 x 128 pixels in the middle."""
    left, top = image.width // 2 - 64, image.height // 2 - 64
    return image.crop((left, top, left + 128, top + 128))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=int, default=300)
    parser.add_argument("--hard", type=int, default=150, help="hard negatives of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hashes", action="store_true", help="the table of single hashes too")
    arguments = parser.parse_args()
    count = arguments.originals // len(ORIGINALS)
    originals = [image for make in ORIGINALS.values() for image in pictures(make, count, arguments.seed)]
    hard = [list(pictures(make, arguments.hard, arguments.seed + 1)) for make in HARD.values()]
    if arguments.hashes:
        hash_table(originals, hard, arguments.seed)
    negatives = joined(*(prints_of(kind) for kind in hard))
    default_table("drawn pictures", originals, negatives, arguments.seed)
    small_table("scenes", list(pictures(ORIGINALS["scene"], count, arguments.seed)), arguments.seed)
    mirror = os.environ.get("IMPRIMATUR_MIRROR")
    for name in ["bccd-blood-cells", "game-icons", "crawl-tiles"] if mirror else []:
        images = real(Path(str(mirror)) / name, 2 * arguments.originals)
        default_table(name, images[::2], prints_of(images[1::2]), arguments.seed)
        if name == "bccd-blood-cells":
            small_table("128 x 128 pixels of blood cells", [middle(image) for image in images], arguments.seed)


if __name__ == "__main__":
    main()
