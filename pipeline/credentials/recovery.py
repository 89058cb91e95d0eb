"""Finding an output again: by its bytes, its manifest, its watermark, and last by how it looks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.hash_index import near_keys, probe_keys
from pipeline.catalog.tables import THUMBNAIL_SIDE
from pipeline.core.workspace import Workspace
from pipeline.credentials import watermark
from pipeline.credentials.likeness import Plane, Thumbnail, likeness, placed_likeness, relative_errors
from pipeline.credentials.repository import (
    Entry,
    find_by_file_sha256,
    find_by_hash_keys,
    find_by_manifest,
    find_by_watermark,
    hash_distance,
    thumbnail_of,
)
from pipeline.similarity.fingerprints import fingerprint, hash_margins, thumbnails

HASH_ALGORITHM = "dev.imprimatur.phash256.v1"  # ours, not on the C2PA list of soft binding algorithms
HASH_BITS = 256
WATERMARK_LIKENESS = 0.75  # what a picture that carries an output's watermark must have of that output's looks
PLACED_LIKENESS = 0.6  # the same, where the watermark says how it lies: other pictures reach 0.41
FINGERPRINT_DISTANCE = 48  # bits of 256; looks alone must be close, and confirmed by the thumbnail
MEAN_ERROR = 0.12  # accepted of two thumbnails, see docs/benchmarks/recovery.md
WORST_ERROR = 0.45  # at any place of them; 0.5 and more between look-alikes of one series
SMALL = 128  # px a side, below which a copy has too few pixels to be held to that
WORST_SMALL_ERROR = 1.0
EDGES = (0.0, 1 / 48, 1 / 18, 1 / 9)  # parts of a file that are added at each edge, where a copy may have lost them

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Match:
    """An output of ours that a file is, or comes from."""

    entry: Entry
    found_by: Literal["file", "manifest", "watermark", "fingerprint"]
    similarity: float  # correlation of the thumbnails at their best fit; 1 for the very same bytes
    evidence: dict[str, Any]  # what was compared, and how well it fitted

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
            "evidence": self.evidence,
        }


def find_output(
    workspace: Workspace, digest: str, manifest: str, rgb: Pixels | None, key: bytes | None
) -> tuple[Match | None, list[str]]:
    """The output that a file is or comes from, and codes that tell of evidence which did not fit.

    `digest` is the file's SHA-256, `manifest` the label of its active manifest or "", `rgb` its pixels (H, W, 3) if
    they could be decoded. Code watermark.transplanted: it carries an output's watermark and is another picture.
    """
    if entry := find_by_file_sha256(workspace, digest):
        return Match(entry, "file", 1.0, {"sha256": digest}), []
    if entry := find_by_manifest(workspace, manifest):
        alike = _likeness(workspace, entry, _thumbnail(rgb)) if rgb is not None else 0.0
        return Match(entry, "manifest", alike, {"manifest": manifest}), []
    if rgb is None:
        return None, []
    marked, codes = watermark_matches(workspace, rgb, key) if key else ([], [])
    matches = marked or fingerprint_matches(workspace, rgb)
    return (matches[0] if matches else None), codes


def watermark_matches(workspace: Workspace, rgb: Pixels, key: bytes) -> tuple[list[Match], list[str]]:
    """Outputs whose watermark the pixels (H, W, 3) carry and whose looks they have, best first; and codes."""
    found = watermark.find(rgb, key)
    payload = watermark.payload_hex(found.payload if found else None)
    carriers = find_by_watermark(workspace, payload)
    if not found or not carriers:
        return [], []
    seen, uprights = _thumbnail(rgb), found.uprights(THUMBNAIL_SIDE)
    matches = []
    for entry in carriers:
        score = _placed_likeness(workspace, entry, uprights)
        if score < PLACED_LIKENESS and (score := _likeness(workspace, entry, seen)) < WATERMARK_LIKENESS:
            continue
        matches.append(Match(entry, "watermark", score, {"alg": watermark.ALGORITHM, "value": payload}))
    codes = [] if matches else ["watermark.transplanted"]
    return sorted(matches, key=lambda match: -match.similarity), codes


def fingerprint_matches(workspace: Workspace, rgb: Pixels) -> list[Match]:
    """Outputs that look like the pixels (H, W, 3), up to some lost at the edges, best first."""
    views = [_with_edges(rgb, part) for part in EDGES]
    margins = [hash_margins(view) for view in views]
    hashes = [np.packbits(view > 0).tobytes() for view in margins]
    keys = set[int]().union(*(probe_keys(view) for view in margins))
    worst_accepted = WORST_ERROR if min(rgb.shape[:2]) >= SMALL else WORST_SMALL_ERROR
    matches = []
    for entry in find_by_hash_keys(workspace, keys):
        distances = [hash_distance(phash, entry.phash) for phash in hashes]
        best = distances.index(min(distances))
        kept = _kept_thumbnail(workspace, entry) if distances[best] <= FINGERPRINT_DISTANCE else None
        if kept is None:
            continue
        apart, worst = relative_errors(_thumbnail(views[best]), kept, _border(EDGES[best]))
        if apart <= MEAN_ERROR and worst <= worst_accepted:
            evidence = {
                "alg": HASH_ALGORITHM,
                "differing_bits": distances[best],
                "relative_error": round(apart, 3),
                "worst_error": round(worst, 3),
                "edges_lost": round(EDGES[best] / (1 + 2 * EDGES[best]), 3),
            }
            matches.append((apart, Match(entry, "fingerprint", 1 - distances[best] / HASH_BITS, evidence)))
    return [match for _, match in sorted(matches, key=lambda pair: pair[0])]


def payload_matches(workspace: Workspace, payload: str) -> list[Match]:
    """Outputs that carry this watermark payload (eight hex digits), whatever they look like."""
    evidence = {"alg": watermark.ALGORITHM, "value": payload}
    return [Match(entry, "watermark", 1.0, evidence) for entry in find_by_watermark(workspace, payload)]


def hash_matches(workspace: Workspace, phash: bytes) -> list[Match]:
    """Outputs whose perceptual hash (32 bytes) is near this one, nearest first; there is no picture to confirm it."""
    distances = [
        (hash_distance(phash, entry.phash), entry) for entry in find_by_hash_keys(workspace, near_keys(phash))
    ]
    return [
        Match(entry, "fingerprint", 1 - bits / HASH_BITS, {"alg": HASH_ALGORITHM, "differing_bits": bits})
        for bits, entry in sorted(distances, key=lambda pair: pair[0])
        if bits <= FINGERPRINT_DISTANCE
    ]


def _with_edges(rgb: Pixels, part: float) -> Pixels:
    """The picture with its outermost pixels repeated outwards over `part` of its height and width at each edge."""
    down, across = round(rgb.shape[0] * part), round(rgb.shape[1] * part)
    return np.pad(rgb, ((down, down), (across, across), (0, 0)), mode="edge") if part else rgb


def _border(part: float) -> int:
    """Pixels of a thumbnail at each edge that were made up by _with_edges."""
    return math.ceil(32 * part / (1 + 2 * part))


def _placed_likeness(workspace: Workspace, entry: Entry, uprights: Sequence[Plane]) -> float:
    kept = _kept_thumbnail(workspace, entry)
    return 0.0 if kept is None else max((placed_likeness(upright, kept) for upright in uprights), default=0.0)


def _likeness(workspace: Workspace, entry: Entry, seen: Thumbnail) -> float:
    kept = _kept_thumbnail(workspace, entry)
    return 0.0 if kept is None else likeness(seen, kept)


def _kept_thumbnail(workspace: Workspace, entry: Entry) -> Thumbnail | None:
    packed = thumbnail_of(workspace, entry.output)
    return None if packed is None else _unpacked(packed)


def _thumbnail(rgb: Pixels) -> Thumbnail:
    return _unpacked(fingerprint(rgb).thumbnail)


def _unpacked(packed: bytes) -> Thumbnail:
    unpacked: Thumbnail = thumbnails([packed])[0]
    return unpacked
