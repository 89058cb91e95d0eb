"""Finding an output again: by its bytes, its manifest, its watermark, and last by how it looks."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.workspace import Workspace
from pipeline.credentials import watermark
from pipeline.credentials.images import DECODE_ERRORS, decode
from pipeline.credentials.repository import (
    Entry,
    find_by_file_sha256,
    find_by_fingerprint,
    find_by_manifest,
    find_by_watermark,
    hash_distance,
    published_file,
)
from pipeline.similarity.fingerprints import fingerprint

HASH_BITS = 256
# A watermark only has to look like its picture; looks alone must be close, and confirmed by the pixels.
WATERMARK_DISTANCE = 90  # bits of 256; unrelated pictures lie around 128, flat drawings somewhat nearer
FINGERPRINT_DISTANCE = 64
THUMBNAIL_SIDE = 16  # px; filtered bilinearly, scaling and recompression move it by 2 grey levels at most
PIXEL_DIFFERENCE = 5.0  # accepted mean absolute difference of two thumbnails, in grey levels
CANDIDATES = 20  # the nearest by hash whose pixels are compared
CROPS = (0.0, 1 / 64, 1 / 32, 1 / 20, 1 / 10)  # parts of each edge that a copy may have lost, tried in turn


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
    near = find_by_fingerprint(workspace, looks, FINGERPRINT_DISTANCE)[:CANDIDATES]
    differences = [_pixel_difference(workspace, entry, rgb) for entry, _ in near]
    if differences and min(differences) <= PIXEL_DIFFERENCE:
        entry, distance = near[differences.index(min(differences))]
        return Match(entry, "fingerprint", _similarity(distance)), codes
    return None, codes


def _similarity(distance: int) -> float:
    return 1.0 - distance / HASH_BITS


def _pixel_difference(workspace: Workspace, entry: Entry, rgb: NDArray[np.uint8]) -> float:
    """Least difference of thumbnails from the file as published, cropped a little; infinite when it is gone.

    Flat drawings of one layout share their perceptual hash, and only colours tell them apart.
    """
    try:
        ours = Image.fromarray(decode(published_file(workspace, entry).read_bytes()))
    except DECODE_ERRORS:
        return float("inf")
    theirs = _thumbnail(Image.fromarray(rgb))
    crops = ((c * ours.width, c * ours.height, (1 - c) * ours.width, (1 - c) * ours.height) for c in CROPS)
    return min(float(np.abs(_thumbnail(ours, box) - theirs).mean()) for box in crops)


def _thumbnail(image: Image.Image, box: tuple[float, float, float, float] | None = None) -> NDArray[np.float32]:
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, box), np.float32)
