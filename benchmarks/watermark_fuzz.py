"""The watermark's decoder against mutated files and images: no crash, no hang, no reading of another payload.

OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/watermark_fuzz.py [--count 50000] [--seed 1]

Half are files of four formats with bytes changed, cut out, repeated or cut off; half are decoded images that were
cut, stretched, filled, transposed or swamped with noise. Every call is timed; the slowest is printed.
"""

import argparse
import io
import time

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.credentials import watermark
from pipeline.credentials.images import DECODE_ERRORS, decode
from pipeline.sample.drawings import draw

Pixels = NDArray[np.uint8]
KEY, PAYLOAD = b"fuzzing key of 32 bytes, or more", 0xC0FFEE
LARGEST = 10**6  # pixels; a changed header may promise up to 64 million, and decoding them is not what is tested


def mutated_bytes(data: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(data)
    place, length = int(random.integers(len(data))), int(random.integers(1, 64))
    match random.integers(5):
        case 0:
            return bytes(changed[:place])
        case 1:
            del changed[place : place + length]
        case 2:
            changed[place:place] = changed[place : place + length]
        case _:
            for _ in range(int(random.integers(1, 12))):
                changed[int(random.integers(len(data)))] = int(random.integers(256))
    return bytes(changed)


def mutated_pixels(rgb: Pixels, random: np.random.Generator) -> Pixels:
    height, width, _ = rgb.shape
    match random.integers(6):
        case 0:
            top, left = random.integers(0, height), random.integers(0, width)
            return rgb[top:, left:]
        case 1:
            size = tuple(int(side) for side in random.integers(1, 300, 2))
            return np.asarray(Image.fromarray(rgb).resize(size))
        case 2:
            filled = rgb.copy()
            filled[random.integers(height) :, random.integers(width) :] = random.integers(256)
            return filled
        case 3:
            return np.ascontiguousarray(rgb.transpose(1, 0, 2)[:: random.choice([-1, 1])])
        case 4:
            noise = random.normal(0, random.uniform(1, 120), rgb.shape)
            return np.clip(rgb + noise, 0, 255).astype(np.uint8)
        case _:
            return np.roll(rgb, random.integers(-99, 99, 2), axis=(0, 1))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    random = np.random.default_rng(args.seed)
    images = [
        watermark.embed(np.asarray(draw("emblems", 3, 1, side).convert("RGB")), PAYLOAD, KEY)[0]
        for side in (48, 64, 128)
    ]
    files = []
    for image in images:
        for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, kind)
            files.append(stream.getvalue())
    counts = {"undecodable": 0, "right": 0, "none": 0, "wrong": 0, "too large": 0}
    slowest = 0.0
    for number in range(args.count):
        if number % 2:
            rgb = mutated_pixels(images[number // 2 % len(images)], random)
        else:
            try:
                rgb = decode(mutated_bytes(files[number // 2 % len(files)], random))
            except DECODE_ERRORS:
                counts["undecodable"] += 1
                continue
            if rgb.shape[0] * rgb.shape[1] > LARGEST:
                counts["too large"] += 1
                continue
        if number % 2_000 == 1_999:
            print(f"{number + 1}: {counts}", flush=True)
        start = time.process_time()
        found = watermark.extract(rgb, KEY)
        slowest = max(slowest, time.process_time() - start)
        counts["right" if found == PAYLOAD else "none" if found is None else "wrong"] += 1
    print(f"{args.count} mutations, none crashed: {counts}; slowest reading {slowest * 1e3:.0f} ms CPU")


if __name__ == "__main__":
    main()
