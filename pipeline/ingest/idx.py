"""IDX files (the MNIST family): one file of raw arrays, one of labels, raw or compressed.

Each array becomes an asset by a lossless encoding that anyone can repeat: binary PGM, the header
`P5\\n{width} {height}\\n255\\n` and then the raw bytes; binary PPM (`P6`) for colour arrays (N, H, W, 3).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from pipeline.core.digests import file_sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace
from pipeline.ingest.entries import Entry
from pipeline.ingest.places import Array
from pipeline.ingest.unpack import compression_of, unpacked

_UNSIGNED_BYTE = 0x08


@dataclass(frozen=True)
class IdxFile:
    """An unpacked IDX file of unsigned bytes."""

    path: Path
    sha256: str  # of the file as it came
    shape: tuple[int, ...]  # (N, ...)

    @property
    def start(self) -> int:
        """Bytes before the first array."""
        return 4 + 4 * len(self.shape)

    @property
    def length(self) -> int:
        """Bytes of one array."""
        return prod(self.shape[1:])


def is_idx(path: Path) -> bool:
    """Does it begin like an IDX file of unsigned bytes?"""
    with path.open("rb") as stream:
        magic = stream.read(4)
    return len(magic) == 4 and magic[:3] == bytes([0, 0, _UNSIGNED_BYTE]) and 1 <= magic[3] <= 4


def open_idx(path: Path, workspace: Workspace) -> IdxFile:
    """Unpack (once, into the cache) and check an IDX file. Raises ImprimaturError for anything else."""
    packed = path
    if compression_of(path):
        path, reason = unpacked(path, workspace)
        if reason:
            raise ImprimaturError(f"{packed}: cannot be unpacked whole ({reason})", "fetch the file again")
    if not is_idx(path):
        raise ImprimaturError(f"{packed}: not an IDX file of unsigned bytes", "name one")
    with path.open("rb") as stream:
        dimensions = stream.read(4)[3]
        sizes = stream.read(4 * dimensions)
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    file = IdxFile(path, file_sha256(packed), shape)
    if len(shape) != dimensions or path.stat().st_size != file.start + prod(shape):
        raise ImprimaturError(f"{packed}: its length does not fit its header {shape}", "fetch the file again")
    return file


def idx_entries(images: IdxFile, name: str, labels: list[str]) -> Iterator[Entry]:
    """One entry an array, `<name>#00042`, with its number as key and its label."""
    digits = max(5, len(str(len(labels) - 1)))
    for number, label in enumerate(labels):
        offset = images.start + number * images.length
        place = Array(str(images.path), images.length, images.sha256, offset, images.shape[1:])
        yield Entry(f"{name}#{number:0{digits}}", place, {"key": f"{number:0{digits}}", "label": label}, box=name)


def read_labels(file: IdxFile, class_names: list[str]) -> list[str]:
    """The label of each array: its class name, else its number. Raises ImprimaturError for a number without name."""
    numbers = file.path.read_bytes()[file.start :]
    if len(file.shape) != 1:
        raise ImprimaturError(f"{file.path}: labels must have one dimension, not {len(file.shape)}", "see labels")
    if class_names and numbers and max(numbers) >= len(class_names):
        raise ImprimaturError(
            f"{file.path}: label {max(numbers)} has no name", f"class_names has only {len(class_names)} names"
        )
    return [class_names[number] if class_names else str(number) for number in numbers]
