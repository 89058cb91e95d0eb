"""Downloads that go on where they stopped: any fsspec URL into a file, checked by its SHA-256."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import machine_faults_named

ATTEMPTS = 5  # in a row that bring nothing
_CHUNK = 8 << 20  # a break loses at most one; after breaks it is made smaller


def download(where: str, url: str, target: Path, matches: Callable[[Path], bool], fix: str) -> None:
    """Bring `url` to `target`, whole or not at all; a part that is left from before is taken up where it ends.

    The part lies beside the target, whose folder is named by the digest: it is never another file's. Should the
    whole not match, the download is repeated once from the start, since the file may have changed in between.
    Raises ImprimaturError that begins with `where`, and EnvironmentFault when the disk is full.
    """
    part = target.with_name(f".{target.name}.part")
    with machine_faults_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.exists()
        _fill(where, url, part, fix)
        if resumed and not matches(part):
            part.unlink()
            _fill(where, url, part, fix)
        if not matches(part):
            part.unlink()
            raise ImprimaturError(f"{where}: what was downloaded does not have the SHA-256 that it must have", fix)
        part.replace(target)


def _fill(where: str, url: str, part: Path, fix: str) -> None:
    """Append to the part until the source has no more; go on after breaks as long as something arrives."""
    failures, error, whole = 0, "", False
    while failures < ATTEMPTS:
        before = _size(part)
        try:
            _append(url, part, _CHUNK >> 2 * failures, whole)
            return
        except _WritingFailedError as fault:
            raise fault.error from None
        except Exception as fault:  # each of fsspec's protocols has errors of its own
            error = f"{type(fault).__name__}: {fault}"
            failures = 0 if _size(part) > before else failures + 1
            if "range requests" in str(fault) and not whole:  # fsspec's words; such a server is read in one go
                whole = True
            elif isinstance(fault, FileNotFoundError | ImportError | ValueError | PermissionError):
                break
    kept = _size(part)
    again = f"run the same command again to go on from byte {kept:,}; or {fix}" if kept else fix
    raise ImprimaturError(f"{where}: cannot be read ({error})", again)


def _append(url: str, part: Path, block: int, whole: bool) -> None:
    """Read on where the part ends. `block`: bytes in one HTTP request; `whole`: all of it in one, from the start."""
    import fsspec

    options: dict[str, Any] = {}
    if url.startswith(("http://", "https://")):
        options = {"block_size": 0} if whole else {"block_size": block, "cache_type": "none"}
    with part.open("ab") as output, fsspec.open(url, "rb", **options) as stream:
        if whole:
            output.truncate(0)
        elif output.tell():
            stream.seek(output.tell())
        while chunk := stream.read(block):
            _write(output, chunk)
        os.fsync(output.fileno())
        size = getattr(stream, "size", None)
        if size is not None and output.tell() < size:
            raise ConnectionError(f"{output.tell():,} of {size:,} bytes arrived")


def _write(output: BinaryIO, chunk: bytes) -> None:
    try:
        output.write(chunk)
        output.flush()
    except OSError as error:
        raise _WritingFailedError(error) from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class _WritingFailedError(Exception):
    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error
