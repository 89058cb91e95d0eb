"""The watermark against `invisible-watermark` and `blind-watermark`: bits recovered, PSNR and CPU time, in one run.

pip install scikit-image opencv-python-headless
pip install --no-deps invisible-watermark blind-watermark  # both need opencv and PyWavelets
IMPRIMATUR_MIRROR=<folder with bccd-blood-cells, game-icons, crawl-tiles> OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \\
    python benchmarks/watermark.py [--sizes 256 128] [--without-peers] [--without-ours]

Cells: share of images of which every bit came back. 32 bits each. Times: CPU milliseconds an image.
"""

import argparse
import contextlib
import io
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from watermark_images import SETS, images

from pipeline.credentials import watermark

Pixels = NDArray[np.uint8]
KEY = b"benchmark key of 32 bytes length"
BICUBIC = Image.Resampling.BICUBIC


def jpeg(rgb: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def scaled(rgb: Pixels, factor: float) -> Pixels:
    height, width, _ = rgb.shape
    return np.asarray(Image.fromarray(rgb).resize((round(width * factor), round(height * factor)), BICUBIC))


def cut(rgb: Pixels, left: float, top: float, right: float, bottom: float) -> Pixels:
    """Without these parts of the sides."""
    height, width, _ = rgb.shape
    return rgb[
        round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)
    ]


def centre(rgb: Pixels) -> Pixels:
    return cut(rgb, 0.05, 0.05, 0.05, 0.05)


def corner(rgb: Pixels) -> Pixels:
    return cut(rgb, 0.1, 0.1, 0.0, 0.0)


def at_random(rgb: Pixels) -> Pixels:
    """Up to 10 % of each axis, from where the pixels' own bytes say."""
    random = np.random.default_rng(int(rgb.sum()))
    lost = random.uniform(0, 0.1, 2)
    first = random.uniform(0, 1, 2) * lost
    return cut(rgb, first[0], first[1], lost[0] - first[0], lost[1] - first[1])


def fifth(rgb: Pixels) -> Pixels:
    return cut(rgb, 0.1, 0.1, 0.1, 0.1)


def rotated(rgb: Pixels, degrees: float) -> Pixels:
    return np.asarray(Image.fromarray(rgb).rotate(degrees, BICUBIC))


def screenshot(rgb: Pixels) -> Pixels:
    """On a light page with uneven margins."""
    side = rgb.shape[0]
    margins = [(side * 12 // 100, side * 8 // 100), (side * 7 // 100, side * 16 // 100), (0, 0)]
    return np.pad(rgb, margins, constant_values=238)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda rgb: rgb,
    "JPEG 75": lambda rgb: jpeg(rgb, 75),
    "JPEG 50": lambda rgb: jpeg(rgb, 50),
    "half size": lambda rgb: scaled(rgb, 0.5),
    "x 0.75": lambda rgb: scaled(rgb, 0.75),
    "x 1.5": lambda rgb: scaled(rgb, 1.5),
    "crop 10 %, centre": centre,
    "crop 10 %, corner": corner,
    "crop at random": at_random,
    "centre, JPEG 75": lambda rgb: jpeg(centre(rgb), 75),
    "corner, JPEG 75": lambda rgb: jpeg(corner(rgb), 75),
    "centre, x 0.8, JPEG 75": lambda rgb: jpeg(scaled(centre(rgb), 0.8), 75),
    "crop 20 %, JPEG 75": lambda rgb: jpeg(fifth(rgb), 75),
    "mirrored, JPEG 75": lambda rgb: jpeg(np.ascontiguousarray(rgb[:, ::-1]), 75),
    "mirrored, corner, JPEG 75": lambda rgb: jpeg(np.ascontiguousarray(corner(rgb)[:, ::-1]), 75),
    "turned 1 degree, JPEG 75": lambda rgb: jpeg(rotated(rgb, 1), 75),
    "turned 2 degrees, JPEG 75": lambda rgb: jpeg(rotated(rgb, -2), 75),
    "screenshot, JPEG 75": lambda rgb: jpeg(screenshot(rgb), 75),
}


class Ours:
    name = "imprimatur"

    def embed(self, rgb: Pixels, payload: int) -> Pixels:
        return watermark.embed(rgb, payload, KEY)[0]

    def extract(self, rgb: Pixels, shape: tuple[int, ...]) -> int | None:
        return watermark.extract(rgb, KEY)


class InvisibleWatermark:
    """dwtDct or dwtDctSvd; told the original's size, to which the copy is brought back."""

    def __init__(self, method: str) -> None:
        self.name = f"invisible-watermark {method}"
        self.method = method

    def embed(self, rgb: Pixels, payload: int) -> Pixels:
        from imwatermark import WatermarkEncoder

        encoder = WatermarkEncoder()
        encoder.set_watermark("bytes", payload.to_bytes(4, "big"))
        return np.asarray(encoder.encode(rgb[:, :, ::-1].copy(), self.method))[:, :, ::-1].copy()

    def extract(self, rgb: Pixels, shape: tuple[int, ...]) -> int | None:
        from imwatermark import WatermarkDecoder

        found = WatermarkDecoder("bytes", 32).decode(_back(rgb, shape)[:, :, ::-1].copy(), self.method)
        return int.from_bytes(found, "big")


class BlindWatermark:
    """Told the original's size, to which the copy is brought back."""

    name = "blind-watermark"

    def _codec(self):  # type: ignore[no-untyped-def]
        with contextlib.redirect_stdout(io.StringIO()):
            from blind_watermark import WaterMark

            return WaterMark(password_wm=1, password_img=1)

    def embed(self, rgb: Pixels, payload: int) -> Pixels:
        codec = self._codec()
        codec.read_img(img=rgb[:, :, ::-1].copy())
        codec.read_wm([bool(payload >> k & 1) for k in range(32)], mode="bit")
        return np.clip(np.rint(codec.embed()), 0, 255).astype(np.uint8)[:, :, ::-1].copy()

    def extract(self, rgb: Pixels, shape: tuple[int, ...]) -> int | None:
        bits = self._codec().extract(embed_img=_back(rgb, shape)[:, :, ::-1].copy(), wm_shape=32, mode="bit")
        return sum(int(bit > 0.5) << k for k, bit in enumerate(bits))


def _back(rgb: Pixels, shape: tuple[int, ...]) -> Pixels:
    return np.asarray(Image.fromarray(rgb).resize((shape[1], shape[0]), BICUBIC))


def measured(method: Ours | InvisibleWatermark | BlindWatermark, chosen: str, side: int, changes: list[str]) -> None:
    read: dict[str, list[bool]] = {name: [] for name in changes}
    decoding = dict.fromkeys(changes, 0.0)
    quality, failed, embedding = [], [], 0.0
    for number, (name, rgb) in enumerate(images(chosen, side)):
        payload = (number * 2_654_435_761 + side) % 2**32
        start = time.process_time()
        marked = method.embed(rgb, payload)
        embedding += time.process_time() - start
        quality.append(watermark.psnr(rgb, marked))
        for change in changes:
            copy = CHANGES[change](marked)
            start = time.process_time()
            read[change].append(method.extract(copy, rgb.shape) == payload)
            decoding[change] += time.process_time() - start
            if not read[change][-1]:
                failed.append(f"{name} ({change})")
    count = len(quality)
    print(f"\n{method.name}, {side} px, {chosen}, {count} images; embedding {embedding / count * 1e3:.1f} ms")
    print(f"PSNR least {min(quality):.1f}, median {np.median(quality):.1f}, mean {np.mean(quality):.1f} dB")
    for change in changes:
        print(f"  {np.mean(read[change]):.3f}  {decoding[change] / count * 1e3:7.1f} ms  {change}")
    if method.name == Ours.name:
        print("  not read:", "; ".join(failed) or "none", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 256, 128, 64])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--without-ours", action="store_true")
    args = parser.parse_args()
    for side in args.sizes:
        for chosen in args.sets if not args.without_ours else []:
            watermark.extract(watermark.embed(np.full((side, side, 3), 99, np.uint8), 1, KEY)[0][1:, 1:], KEY)  # warm
            measured(Ours(), chosen, side, list(CHANGES))
        if not args.without_peers:
            peers = [BlindWatermark()]
            if side >= 256:  # "image too small, should be larger than 256x256"
                peers += [InvisibleWatermark("dwtDct"), InvisibleWatermark("dwtDctSvd")]
            for peer in peers:
                measured(peer, "held out", side, list(CHANGES)[:9])


if __name__ == "__main__":
    main()
