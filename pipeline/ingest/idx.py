"""IDX files (the MNIST family): one file of raw arrays, one of labels, raw or gzipped.

Each array becomes an asset by a lossless encoding that anyone can repeat: binary PGM, the header
`P5\\n{width} {height}\\n255\\n` and then the raw bytes; binary PPM (`P6`) for colour arrays (N, H, W, 3).
"""

import gzip
import os
import shutil
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from uuid import uuid4

from pipeline.core.digests import file_sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import machine_faults_named
from pipeline.core.workspace import Workspace

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


def open_idx(path: Path, workspace: Workspace) -> IdxFile:
    """Unpack (once, into the cache) and check an IDX file. Raises ImprimaturError for anything else."""
    digest = file_sha256(path)
    if path.suffix == ".gz":
        path = _unpacked(path, digest, workspace)
    with path.open("rb") as stream:
        magic = stream.read(4)
        if len(magic) < 4 or magic[:3] != bytes([0, 0, _UNSIGNED_BYTE]) or not 1 <= magic[3] <= 4:
            raise ImprimaturError(
                f"{path}: neither a folder nor an IDX file of unsigned bytes",
                "name a folder of images, or an IDX file",
            )
        sizes = stream.read(4 * magic[3])
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    file = IdxFile(path, digest, shape)
    if len(shape) != magic[3] or path.stat().st_size != file.start + prod(shape):
        raise ImprimaturError(f"{path}: its length does not fit its header {shape}", "fetch the file again")
    return file


def encode_array(shape: tuple[int, ...], raw: bytes) -> bytes:
    """One array (H, W) or (H, W, 3) of unsigned bytes as binary PGM or PPM."""
    return b"P%d\n%d %d\n255\n" % (5 if len(shape) == 2 else 6, shape[1], shape[0]) + raw


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


def _unpacked(path: Path, digest: str, workspace: Workspace) -> Path:
    target = workspace.cache / digest / path.name.removesuffix(".gz")
    if target.exists():
        return target
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}.tmp")
    with machine_faults_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with gzip.open(path) as packed, temporary.open("wb") as output:
                try:
                    shutil.copyfileobj(packed, output, 1 << 20)
                except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                    raise ImprimaturError(
                        f"{path}: not a whole gzip file ({error})", "fetch the file again"
                    ) from None
                output.flush()
                os.fsync(output.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    return target
