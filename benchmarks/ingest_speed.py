"""How fast files are looked at and taken in, beside plain Pillow and imagehash, and how far from the decoder's limit.

    python benchmarks/ingest_speed.py [0.34-megapixel files] [12-megapixel files] [0.34-megapixel files to scale with]

Peer: `imagehash.phash(Image.open(file), hash_size=16)`, the same 256-bit hash and nothing else; and its default of
64 bits.
Ours: `survey_item` (SHA-256, size limits, EXIF, XMP, credentials, 256-bit hash of a JPEG decoded at reduced size) and
`examine_item` (all of that from the full decode, with pixel digest, thumbnail, catalog row and packed bytes). The
decoder's limit is libjpeg-turbo alone: entropy decoding and a 1/8 inverse DCT, and the full decode. All in one
process, by its CPU time, in turns; the best of five for each file. Then both passes as users run them, processes,
shards and guards included, with one worker and with two: by the clock, so the machine must have nothing else to do.

The pictures are drawn: detail at every scale, JPEG at 1.48 bits a pixel (0.34 megapixels) and 1.0 (12 megapixels),
of the small ones a quarter 4:4:4 and a seventh progressive.
"""

import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import simplejpeg
from PIL import Image

from pipeline.catalog.decode import glance
from pipeline.core.settings import DatasetSettings, WorkSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest import ingest_dataset
from pipeline.ingest.entries import Item
from pipeline.ingest.places import File
from pipeline.ingest.shard import Shard, examine_item
from pipeline.ingest.survey import survey, survey_item
from pipeline.ingest.table import Mapping
from pipeline.similarity.fingerprints import GLANCE_SIDE, fingerprint, glance_hash


def picture(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Detail at every scale."""
    pixels = np.full((height, width, 3), 128, np.float32)
    for scale in (4, 8, 16, 32, 64, 128, 256):
        shape = (max(2, height * scale // 512), max(2, width * scale // 512))
        for channel in range(3):
            coarse = Image.fromarray(rng.normal(0, 64 / scale**0.55, shape).astype(np.float32))
            pixels[..., channel] += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    pixels += rng.normal(0, 4, (height, width, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, number: int, bits: float) -> bytes:
    """At the quality that gives so many bits a pixel. Some of the small ones are as the web has them."""
    web = image.width < 2000
    low, high = 5, 95
    while high - low > 1:
        quality = (low + high) // 2
        stream = io.BytesIO()
        subsampling = 0 if web and number % 4 == 0 else 2
        image.save(stream, "JPEG", quality=quality, subsampling=subsampling, progressive=web and number % 7 == 0)
        if len(stream.getvalue()) * 8 > bits * image.width * image.height:
            high = quality
        else:
            low = quality
    return stream.getvalue()


def draw(folder: Path, count: int, megapixels: float, bits: float) -> list[Path]:
    """The files of one size."""
    rng, paths = np.random.default_rng(0), []
    side = (megapixels * 1e6 * 4 / 3) ** 0.5
    for number in range(count):
        width, height = (int(side), int(side * 3 / 4))[:: 1 if number % 3 else -1]
        path = folder / f"{number:05d}.jpg"
        path.write_bytes(jpeg(picture(rng, width, height), number, bits))
        paths.append(path)
    return paths


def cpu(steps: dict[str, Callable[[Path], object]], paths: list[Path]) -> dict[str, float]:
    """CPU milliseconds a file of each step: the best of five for each file, the steps in turns."""
    best = {name: np.full(len(paths), np.inf) for name in steps}
    for _ in range(5):
        for name, action in steps.items():
            for number, path in enumerate(paths):
                began = time.process_time_ns()
                action(path)
                best[name][number] = min(best[name][number], time.process_time_ns() - began)
    return {name: float(times.mean()) / 1e6 for name, times in best.items()}


def measure(paths: list[Path], scratch: Path) -> tuple[float, float]:
    """Print milliseconds and ratios for one size of files. The decoder's milliseconds, at 1/8 and at full size."""
    shard = Shard("blobs/x", scratch / "blob", True, (255, 255, 255), Mapping({}, {}), ())
    (scratch / "blob").touch()

    def item(path: Path) -> Item:
        return Item(path.name, File(str(path), path.stat().st_size, ""), {})

    def full(path: Path) -> object:
        shard.offsets.clear()
        shard.size = 0
        return examine_item(shard, item(path))

    state = Mapping({}, {}), ()
    steps: dict[str, Callable[[Path], object]] = {
        "Pillow + imagehash.phash, 256 bits": lambda p: imagehash.phash(Image.open(p), hash_size=16),
        "Pillow + imagehash.phash, 64 bits": lambda p: imagehash.phash(Image.open(p)),
        "decoder alone, 1/8 size": lambda p: simplejpeg.decode_jpeg(
            p.read_bytes(), "GRAY", min_height=1, min_width=1
        ),
        "decoder alone, full size": lambda p: simplejpeg.decode_jpeg(p.read_bytes()),
        "Pillow's decoder alone, full size": lambda p: Image.open(p).load(),
        "fingerprint pass (survey_item)": lambda p: survey_item(state, item(p)),
        "full ingest (examine_item)": full,
    }
    found = cpu(steps, paths)
    peer, small = found["Pillow + imagehash.phash, 256 bits"], found["Pillow + imagehash.phash, 64 bits"]
    for name, value in found.items():
        print(f"| {name} | {value:.2f} | {peer / value:.2f}x | {small / value:.2f}x |")
    quick, whole = found["fingerprint pass (survey_item)"], found["full ingest (examine_item)"]
    limits = found["decoder alone, 1/8 size"], found["decoder alone, full size"]
    print(f"fingerprint pass: {limits[0] / quick:.0%} of the decoder's limit")
    print(f"full ingest: {limits[1] / whole:.0%} of the decoder's limit")
    distances(paths)
    return limits


def distances(paths: list[Path]) -> None:
    """How far our hashes are from imagehash's, in bits of 256."""
    rows = []
    for path in paths:
        image = Image.open(path)
        reference = imagehash.phash(image, hash_size=16).hash.ravel()
        ours = (
            fingerprint(np.asarray(image.convert("RGB"))).phash,
            glance_hash(glance(path.read_bytes(), GLANCE_SIDE)[1]),
        )
        rows.append([int((np.unpackbits(np.frombuffer(bits, np.uint8)) != reference).sum()) for bits in ours])
    for name, column in zip(("full decode", "reduced decode"), np.array(rows).T, strict=True):
        same = float((column == 0).mean())
        print(f"to imagehash, {name}: mean {column.mean():.1f}, max {column.max()} of 256 bits; {same:.0%} identical")


def many(folder: Path, paths: list[Path], count: int) -> Path:
    """So many files, each of other bytes: the given ones over and over with a number at the end."""
    folder.mkdir()
    for number in range(count):
        data = paths[number % len(paths)].read_bytes()
        (folder / f"{number:06d}.jpg").write_bytes(data + number.to_bytes(8, "big"))
    return folder


def scaling(source: Path, count: int, limits: tuple[float, float]) -> None:
    """The clock of whole passes over many files. `limits`: the decoder's milliseconds for each pass."""

    def take_in(workers: int, home: Path) -> int:
        settings = DatasetSettings(name="set", source=str(source))
        return ingest_dataset(settings, Workspace(home), WorkSettings(workers=workers)).accepted

    def look_at(workers: int, home: Path) -> int:
        settings = DatasetSettings(name="set", source=str(source))
        rows = survey(settings, Workspace(home), WorkSettings(workers=workers))
        return sum(row["status"] == "accepted" for row in rows)

    print(f"\n| {count:,} files | one worker, s | two, s | ratio | files a second | of two decoders' |")
    print("|---|---|---|---|---|---|")
    for name, action, limit in (("fingerprint pass", look_at, limits[0]), ("full ingest", take_in, limits[1])):
        walls = []
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as home:
                began = time.monotonic()
                assert action(workers, Path(home)) == count
                walls.append(time.monotonic() - began)
        one, two = walls
        rate = count / two
        share = rate * limit / 2000
        print(f"| {name} | {one:.1f} | {two:.1f} | {one / two:.2f}x | {rate:.0f} | {share:.0%} |", flush=True)


def main(small: int = 150, large: int = 6, scaled: int = 10_000) -> None:
    """Both sizes, and scaling."""
    for count, megapixels, bits in ((small, 0.34, 1.48), (large, 12.0, 1.0)):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "files"
            folder.mkdir()
            paths = draw(folder, count, megapixels, bits)
            size = sum(path.stat().st_size for path in paths) / count / 1024
            print(f"\n{count} files of {megapixels} megapixels, {size:.0f} KiB")
            print("| step | ms CPU a file | against 256-bit imagehash | against 64-bit |\n|---|---|---|---|")
            limits = measure(paths, Path(place))
            if count == small and scaled:
                scaling(many(Path(place) / "many", paths, scaled), scaled, limits)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
