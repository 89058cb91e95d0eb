"""Where a dataset's source lies: a path, a file in the mirror or the cache, or a download, pinned by its SHA-256."""

import gzip
import hashlib
import os
import posixpath
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname
from uuid import uuid4

from pipeline.core.digests import file_sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings
from pipeline.core.shards import machine_faults_named
from pipeline.core.workspace import Workspace

MIRROR = "IMPRIMATUR_MIRROR"
_CHUNK = 1 << 20
_MIRROR_FIX = f"correct it, or set {MIRROR} to a folder that holds the file as <dataset>/<file name>"


def locate_source(dataset: DatasetSettings, workspace: Workspace) -> Path:
    """The folder or file that `dataset.source` names, its digest checked. Raises ImprimaturError."""
    return _locate(dataset, "source", dataset.source, dataset.sha256, workspace)


def locate_labels(dataset: DatasetSettings, workspace: Workspace) -> Path | None:
    """The label file of an IDX dataset, its digest checked; None when there is none. Raises ImprimaturError."""
    if dataset.labels is None:
        return None
    return _locate(dataset, "labels", dataset.labels, dataset.labels_sha256, workspace)


def _locate(dataset: DatasetSettings, field: str, source: str, digest: str | None, workspace: Workspace) -> Path:
    where = f"dataset {dataset.name!r}, {field}: {source}"
    digest = digest.strip().lower() if digest else None
    if "://" in source and not source.startswith("file://"):
        if not digest:  # the settings see to it for the source, not for the labels
            raise ImprimaturError(f"{where}: a URL needs its digest", f"give {field}_sha256")
        return _fetched(where, dataset.name, source, digest, workspace)
    path = Path(url2pathname(urlsplit(source).path)) if source.startswith("file://") else Path(source).expanduser()
    if not path.exists() and (mirror := _mirror()):
        path = mirror / source
    if not path.exists():
        raise ImprimaturError(
            f"{where}: there is no such file or folder", f"correct it, or set {MIRROR} to the folder that it lies in"
        )
    path = path.resolve()
    if digest and path.is_file() and not _matches(path, digest):
        raise ImprimaturError(f"{where}: the file does not have the SHA-256 {digest}", _MIRROR_FIX)
    return path


def _fetched(where: str, name: str, url: str, digest: str, workspace: Workspace) -> Path:
    """The file behind a URL: from the cache or the mirror, else downloaded into the cache."""
    file_name = posixpath.basename(urlsplit(url).path) or "download"
    cached = workspace.cache / digest / file_name
    for candidate in (cached, *_mirrored(name, file_name)):
        if candidate.is_file() and _matches(candidate, digest):
            return candidate
    temporary = cached.with_name(f".{file_name}.{uuid4().hex[:8]}.tmp")
    with machine_faults_named(cached):
        cached.parent.mkdir(parents=True, exist_ok=True)
        try:
            _download(where, url, temporary)
            if not _matches(temporary, digest, packed=file_name.endswith(".gz")):
                raise ImprimaturError(f"{where}: what was downloaded does not have the SHA-256 {digest}", _MIRROR_FIX)
            temporary.replace(cached)
        finally:
            temporary.unlink(missing_ok=True)
    return cached


def _download(where: str, url: str, target: Path) -> None:
    import fsspec

    with target.open("wb") as output:
        try:
            with fsspec.open(url, "rb") as stream:
                while chunk := stream.read(_CHUNK):
                    output.write(chunk)
        except Exception as error:  # each of fsspec's protocols has errors of its own
            if isinstance(error, OSError) and error.filename is None and error.errno is not None:
                raise  # writing failed, not the source
            raise ImprimaturError(f"{where}: cannot be read ({type(error).__name__}: {error})", _MIRROR_FIX) from None
        output.flush()
        os.fsync(output.fileno())


def _mirror() -> Path | None:
    value = os.environ.get(MIRROR)
    return Path(value).expanduser() if value else None


def _mirrored(name: str, file_name: str) -> Iterator[Path]:
    if mirror := _mirror():
        yield mirror / name / file_name
        yield from sorted(folder / file_name for folder in mirror.glob("*") if folder.name != name)


def _matches(path: Path, digest: str, packed: bool | None = None) -> bool:
    """Does the file, or what it unpacks to where it is a .gz, have this SHA-256? Mirrors compress anew."""
    if file_sha256(path) == digest:
        return True
    if not (path.suffix == ".gz" if packed is None else packed):
        return False
    content = hashlib.sha256()
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(_CHUNK):
                content.update(chunk)
    except (OSError, EOFError, zlib.error):
        return False
    return content.hexdigest() == digest
