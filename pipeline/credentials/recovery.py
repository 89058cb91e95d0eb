"""Finding an output again: by its bytes, its manifest, its watermark, and last by how it looks."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.catalog.tables import THUMBNAIL_SIDE
from pipeline.core.workspace import Workspace
from pipeline.credentials import watermark
from pipeline.credentials.repository import (
    Entry,
    find_by_file_sha256,
    find_by_fingerprint,
    find_by_manifest,
    find_by_watermark,
    hash_distance,
    published_file,
)
from pipeline.credentials.stamp import DECODE_ERRORS, decode
from pipeline.similarity.fingerprints import fingerprint

HASH_BITS = 256
# A watermark only has to look like its picture; looks alone must be close, and confirmed by the pixels.
WATERMARK_DISTANCE = 90  # bits of 256; unrelated pictures lie around 128, flat drawings somewhat nearer
FINGERPRINT_DISTANCE = 40
PIXEL_DIFFERENCE = 10.0  # mean absolute difference of 32x32 thumbnails, in grey levels


@dataclass(frozen=True)
class Match:
    """An output of ours that a file is, or comes from."""

    entry: Entry
    found_by: Literal["file", "manifest", "watermark", "fingerprint"]
    similarity: float  # 1 - differing bits of the perceptual hash / 256; 1 for the very same bytes

    def as_json(self) -> dict[str, Any]:
        """The `registry` object of `imprimatur verify --json`."""
        entry = self.entry
        return {
            "output": entry.output,
            "batch": entry.batch,
            "index": entry.index,
            "model": entry.model,
            "snapshot": entry.snapshot,
            "state": entry.state,
            "similarity": round(self.similarity, 4),
            "found_by": self.found_by,
        }


def find_output(
    workspace: Workspace, digest: str, manifest: str, rgb: NDArray[np.uint8] | None, key: bytes | None
) -> tuple[Match | None, list[str]]:
    """The output that a file is or comes from, and codes that tell of evidence which did not fit.

    `digest` is the file's SHA-256, `manifest` the label of its active manifest or "", `rgb` its pixels (H, W, 3) if
    they could be decoded. Code watermark.transplanted: it carries an output's watermark and is another picture.
    """
    if entry := find_by_file_sha256(workspace, digest):
        return Match(entry, "file", 1.0), []
    looks = fingerprint(rgb).phash if rgb is not None else b""
    if entry := find_by_manifest(workspace, manifest):
        return Match(entry, "manifest", _similarity(hash_distance(looks, entry.phash))), []
    if rgb is None:
        return None, []
    codes = []
    carriers = find_by_watermark(workspace, watermark.payload_hex(watermark.extract(rgb, key))) if key else []
    if carriers:
        best = min(carriers, key=lambda entry: hash_distance(looks, entry.phash))
        distance = hash_distance(looks, best.phash)
        if distance <= WATERMARK_DISTANCE:
            return Match(best, "watermark", _similarity(distance)), []
        codes.append("watermark.transplanted")
    for entry, distance in find_by_fingerprint(workspace, looks, FINGERPRINT_DISTANCE):
        if _same_picture(workspace, entry, rgb):
            return Match(entry, "fingerprint", _similarity(distance)), codes
    return None, codes


def _similarity(distance: int) -> float:
    return 1.0 - distance / HASH_BITS


def _same_picture(workspace: Workspace, entry: Entry, rgb: NDArray[np.uint8]) -> bool:
    """Compare thumbnails with the file as published: flat drawings of the same layout share their perceptual hash."""
    try:
        ours = decode(published_file(workspace, entry).read_bytes())
    except DECODE_ERRORS:
        return False
    return float(np.abs(_thumbnail(ours) - _thumbnail(rgb)).mean()) <= PIXEL_DIFFERENCE


def _thumbnail(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX), np.float32)
