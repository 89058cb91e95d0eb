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

from pipeline.core.digests import file_sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest.download import download

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
    packed = file_name.endswith(".gz")
    download(where, url, cached, lambda part: _matches(part, digest, packed), _MIRROR_FIX)
    return cached


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
