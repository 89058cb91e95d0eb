"""SHA-256 digests and RFC 8785 canonical JSON: how everything here is named."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import rfc8785
from numpy.typing import NDArray


def sha256(data: bytes) -> str:
    """Hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, streamed."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """RFC 8785 canonical JSON: equal values give equal bytes on every machine."""
    return rfc8785.dumps(value)


def json_digest(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON of `value`."""
    return sha256(canonical_json(value))


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """Hex SHA-256 of decoded pixels, shape (H, W, C) uint8 with C = 3 or 4: the shape counts too."""
    height, width, channels = pixels.shape
    digest = hashlib.sha256(f"{height}x{width}x{channels}:".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def source_digest(folders: Iterable[Path]) -> str:
    """Digest of the Python source below `folders`: the code version that a result depends on."""
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return json_digest([[f"{path.parent.name}/{path.name}", file_sha256(path)] for path in files])
