"""Safety hash lists beside the `threatexchange` library: the same list, the same images, the same matches?

    pip install threatexchange
    python benchmarks/hash_lists.py [listed pictures] [folder of real JPEGs]

A list is written as the library writes its local files: PDQ of listed pictures, entries at exactly 30 to 33 bits from
pictures that are not listed, 500 random ones, and digests. The library reads it (LocalFileSignalExchangeAPI), builds
its index (PDQIndex, radius 31) and hashes each image (PdqSignal, quality 50); ours reads the same file. Printed for
each kind of image: how many each matches, by its index and by its comparison with one entry after the other
(PdqSignal.compare_hash), and how many verdicts are not ours.
"""

import hashlib
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ingest_speed import picture
from PIL import Image, ImageFilter
from threatexchange.exchanges.impl.file_api import FileCollaborationConfig, LocalFileSignalExchangeAPI
from threatexchange.signal_type.pdq.pdq_hasher import pdq_from_bytes
from threatexchange.signal_type.pdq.signal import PdqSignal
from threatexchange.signal_type.sha256 import VideoSHA256Signal

from pipeline.catalog.decode import decode
from pipeline.similarity.hash_lists import HashLists, read_hash_lists

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as listed": lambda image: image,
    "half the size": lambda image: image.reduce(2),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "grey": lambda image: image.convert("L"),
    "darker": lambda image: image.point([level * 3 // 4 for level in range(256)] * 3),
    "cropped by 3 %": lambda image: image.crop(
        (image.width * 3 // 100, image.height * 3 // 100, image.width, image.height)
    ),
    "cropped by 8 %": lambda image: image.crop(
        (image.width * 8 // 100, image.height * 8 // 100, image.width, image.height)
    ),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    """As a file."""
    stream = io.BytesIO()
    image.save(stream, kind, quality=80)
    return stream.getvalue()


def gradient(number: int) -> Image.Image:
    """A smooth picture, of too little detail for PDQ."""
    levels = [level // (1 + number % 30) for level in range(256)]
    return Image.linear_gradient("L").point(levels).convert("RGB").resize((300, 200))


def at_distance(code: str, bits: int, rng: np.random.Generator) -> str:
    """A code so many bits away."""
    for place in rng.choice(256, bits, replace=False):
        code = f"{int(code, 16) ^ (1 << int(place)):064x}"
    return code


class Theirs:
    """The library's own way from a local file to a verdict."""

    def __init__(self, path: Path) -> None:
        collaboration = FileCollaborationConfig(name="local", filename=str(path))
        api = LocalFileSignalExchangeAPI.for_collab(collaboration)
        updates = [entry for delta in api.fetch_iter([PdqSignal, VideoSHA256Signal], None) for entry in delta.updates]
        self.codes = [code for kind, code in updates if kind == PdqSignal.get_name()]
        self.index = PdqSignal.get_index_cls()([(code, code) for code in self.codes])
        digests = [code for kind, code in updates if kind == VideoSHA256Signal.get_name()]
        self.digests = VideoSHA256Signal.get_index_cls()()
        for code in digests:
            self.digests.add(code, code)

    def by_index(self, data: bytes) -> bool:
        """Whether its index has a match."""
        code = PdqSignal.hash_from_bytes(data)
        return bool(code and self.index.query(code))

    def one_by_one(self, data: bytes) -> bool:
        """Whether any entry matches."""
        code = PdqSignal.hash_from_bytes(data)
        return bool(code) and any(PdqSignal.compare_hash(code, entry).match for entry in self.codes)

    def bytes(self, data: bytes) -> bool:
        """Whether its digest is listed."""
        return bool(self.digests.query(VideoSHA256Signal.hash_from_bytes(data)))


def row(name: str, images: list[bytes], theirs: Theirs, ours: HashLists) -> None:
    """Print one kind of image."""
    verdicts = [
        (theirs.by_index(data), theirs.one_by_one(data), ours.knows_picture(decode(data).rgb())) for data in images
    ]
    index, linear, own = zip(*verdicts, strict=True)
    apart = [sum(a != b for a, b in zip(other, own, strict=True)) for other in (index, linear)]
    counts = f"{sum(index)} | {sum(linear)} | {sum(own)}"
    print(f"| {name} | {len(images)} | {counts} | {apart[0]} | {apart[1]} |", flush=True)


def main(count: int = 100, folder: str = "") -> None:
    """One list, all kinds."""
    rng = np.random.default_rng(0)
    drawn = [picture(rng, 320, 240) for _ in range(2 * count)]
    listed, others = drawn[:count], drawn[count:]
    near = [encoded(image, "PNG") for image in others]
    distances = [30, 31, 32, 33]
    lines = [f"pdq {PdqSignal.hash_from_bytes(encoded(image))}" for image in listed]
    for number, data in enumerate(near):
        lines.append(f"pdq {at_distance(PdqSignal.hash_from_bytes(data), distances[number % 4], rng)}")
    smooth = [encoded(gradient(number)) for number in range(count)]
    lines += [f"pdq {pdq_from_bytes(data)[0]}" for data in smooth]  # whatever their quality
    lines += [f"pdq {PdqSignal.get_random_signal()}" for _ in range(500)]
    lines += [f"video_sha256 {hashlib.sha256(encoded(image)).hexdigest()}" for image in listed]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "list.txt"
        path.write_text("\n".join(lines) + "\n")
        theirs, ours = Theirs(path), read_hash_lists([path])
        print(f"{len(theirs.codes):,} PDQ entries read by the library, {len(ours.pdq):,} by ours\n")
        print("| image | count | index | one by one | ours | apart from index | from one by one |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for name, change in CHANGES.items():
            row(name, [encoded(change(image)) for image in listed], theirs, ours)
        for part, bits in enumerate(distances):
            row(f"entry {bits} bits away", near[part::4], theirs, ours)
        row("listed, of low quality", smooth, theirs, ours)
        real = sorted(Path(folder).rglob("*.jp*g"))[:500] if folder else []
        if real:
            row("real, not listed", [file.read_bytes() for file in real], theirs, ours)
        both = [(theirs.bytes(data), ours.knows_bytes(data)) for data in map(encoded, drawn)]
        print(f"\nby digest: {sum(a for a, _ in both)} and {sum(b for _, b in both)} of {len(both)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, sys.argv[2] if len(sys.argv) > 2 else "")
