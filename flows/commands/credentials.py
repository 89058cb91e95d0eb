"""Stamp and verify files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.commands.given import given_credentials
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace

IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".avif"}
Row = dict[str, Any]


def stamp_paths(
    workspace: Workspace, paths: list[Path], out: Path, config: Path | None, sidecar: bool, how: dict[str, Any]
) -> Iterator[Row]:
    """Stamp images into `out`; `how` holds the fields of credentials.stamp_files.Stamping."""
    from pipeline.credentials.images import SUFFIXES
    from pipeline.credentials.stamp_files import Stamping, stamp_files

    for option, given, known in (
        ("format", how["format"], SUFFIXES),
        ("signed", how["signed"], ("refuse", "parent")),
    ):
        if given is not None and given not in known:
            raise ImprimaturError(f"stamp --{option}: {given!r} is not known", f"one of: {', '.join(known)}")
    settings = given_credentials(config)
    if sidecar:
        settings = settings.model_copy(update={"placement": "sidecar"})
    yield from stamp_files(image_files(paths), out, settings, workspace, Stamping(**how))


def verify_paths(workspace: Workspace, paths: list[Path], anchors: list[Path], config: Path | None) -> Iterator[Row]:
    """What each file's credential shows, against the given anchors and those of the workspace's identity."""
    from pipeline.credentials.guard import guarded
    from pipeline.credentials.identity import verification_keys
    from pipeline.credentials.verify import read_anchors

    pems = read_anchors(anchors)
    known, watermark_key = workspace.catalog.exists(), None
    if known:  # verifying alone must not make a workspace or keys
        ours, watermark_key = verification_keys(given_credentials(config), workspace)
        pems = [*pems, ours]
    with guarded(pems, workspace if known else None, watermark_key) as verify:
        for path in image_files(paths):
            yield verify(path).as_json()


def image_files(paths: list[Path]) -> Iterator[Path]:
    """The files given, and the images below the folders given. Raises ImprimaturError for a missing path."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGES and file.is_file())
        elif path.exists():
            yield path
        else:
            raise ImprimaturError(f"{path}: no such file or folder", "name an existing one")
