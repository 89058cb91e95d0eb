"""One shard of an ingest: read, check, decode, record, pack. Runs in a worker; one bad file never stops it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.catalog.colour import Colour
from pipeline.catalog.decode import MAX_FILE_BYTES, BadImage, ImageFault, examine
from pipeline.catalog.tables import FINGERPRINTS, INVENTORY
from pipeline.core.digests import pixel_digest, sha256
from pipeline.core.shards import finish, part_path, write_bytes, write_table
from pipeline.core.work import Job, Result
from pipeline.ingest.idx import encode_array
from pipeline.ingest.reasons import IngestReason
from pipeline.ingest.signals import MAX_SIDECAR_BYTES, read_signals
from pipeline.ingest.sources import Item
from pipeline.similarity.fingerprints import fingerprint

_LISTS = {"holders": ("holder_id", "|;"), "depicts": ("depicts", "|"), "derived_from": ("derived_from", "|")}
_TEXTS = ("key", "label", "licence", "source_url", "attribution", "collected_at")


def inventory_parts(folder: Path) -> Path:
    """Where the inventory parts of a dataset's folder lie."""
    return folder / "inventory"


def fingerprint_parts(folder: Path) -> Path:
    """Where its fingerprint parts lie."""
    return folder / "fingerprints"


def blob_path(folder: Path, number: int) -> Path:
    """Where the packed bytes of a shard lie."""
    return part_path(folder / "blobs", number, "bin")


@dataclass
class _Pack:
    """Bytes that are put one after the other into a shard's blob, each asset once."""

    store: str
    chunks: list[bytes] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)
    size: int = 0

    def add(self, asset: str, data: bytes) -> dict[str, Any]:
        """Where these bytes lie, in the inventory's words."""
        if asset not in self.offsets:
            self.offsets[asset] = self.size
            self.chunks.append(data)
            self.size += len(data)
        return {"store": self.store, "offset": self.offsets[asset], "length": len(data)}


def ingest_shard(job: Job) -> Result:
    """Write inventory part, fingerprint part and blob of one shard, then its completion record.

    `job`: folder, number, key, items, copy (else by reference) and background.
    """
    folder, number = Path(job["folder"]), job["number"]
    pack = _Pack(f"blobs/{blob_path(folder, number).name}")
    rows: list[dict[str, Any]] = []
    fingerprints: dict[str, dict[str, Any]] = {}
    for item in job["items"]:
        rows.append(_row(item, pack if job["copy"] or item.array else None, job["background"], fingerprints))
    if pack.chunks:
        write_bytes(blob_path(folder, number), b"".join(pack.chunks))
    prints = pd.DataFrame(fingerprints.values(), columns=FINGERPRINTS.names)
    write_table(part_path(fingerprint_parts(folder), number), prints, FINGERPRINTS)
    output = part_path(inventory_parts(folder), number)
    write_table(output, pd.DataFrame(rows, columns=INVENTORY.names), INVENTORY)
    accepted = sum(row["status"] == "accepted" for row in rows)
    finish(output, job["key"], files=len(rows), accepted=accepted, blob_bytes=pack.size)
    return {"number": number, "files": len(rows), "accepted": accepted}


def _row(
    item: Item, pack: _Pack | None, background: Colour, fingerprints: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The inventory row of one file; adds its fingerprint when the file is accepted."""
    row = _blank(item)
    try:
        data = _read(item)
        row |= {"sha256": sha256(data), "bytes": len(data)}
        wanted = item.fields.get("sha256", "").lower()
        if wanted and wanted != row["sha256"]:
            raise _Refused(IngestReason.DIGEST_MISMATCH, f"the table says {wanted[:80]}")
        image, picture = examine(data, arrays=bool(item.array))
    except (_Refused, BadImage) as fault:
        return row | {"status": "rejected", "reason": str(fault.reason), "detail": fault.detail}
    asset = row["sha256"]
    if asset not in fingerprints:
        found = fingerprint(picture.rgb(background))
        fingerprints[asset] = {"asset": asset, **vars(found)}
    place = pack.add(asset, data) if pack else {"store": item.path, "offset": 0, "length": len(data)}
    return (
        row
        | place
        | {
            "status": "accepted",
            "detail": "; ".join(picture.notes),
            "asset": asset,
            "pixels": pixel_digest(picture.pixels),
            "width": picture.width,
            "height": picture.height,
            "format": picture.format,
            "mode": picture.mode,
            "signals": read_signals(data, image, *_sidecars(item)),
        }
    )


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def _read(item: Item) -> bytes:
    """The bytes of an item. Raises _Refused."""
    if item.reason:
        raise _Refused(item.reason, item.detail)
    if item.size > MAX_FILE_BYTES:
        raise _Refused(ImageFault.FILE_TOO_LARGE, f"{item.size:,} bytes")
    try:
        with Path(item.path).open("rb") as stream:
            stream.seek(item.offset)
            # one byte more, so that a file that has grown since is refused for its size too
            data = stream.read(item.size if item.array else MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _Refused(IngestReason.UNREADABLE, error.strerror or str(error)) from None
    return encode_array(item.array, data) if item.array else data


def _sidecars(item: Item) -> tuple[list[tuple[str, bytes]], list[str]]:
    """(name, content) of the files of facts about an item, and what could not be read of them."""
    found, problems = [], []
    for path in (Path(path) for path, _ in item.sidecars):
        try:
            if path.is_symlink():
                raise ValueError("a link")
            with path.open("rb") as stream:
                found.append((path.name, stream.read(MAX_SIDECAR_BYTES + 1)))
        except (OSError, ValueError) as error:
            problems.append(f"{path.name}: {type(error).__name__}: {error}"[:300])
    return found, problems


def _blank(item: Item) -> dict[str, Any]:
    """A row with what is known before the file is read."""
    row: dict[str, Any] = dict.fromkeys(INVENTORY.names, "")
    row |= {"file": item.file, "bytes": item.size}
    row |= dict.fromkeys(("width", "height", "offset", "length"), 0)
    row |= {name: item.fields.get(name, "") for name in _TEXTS}
    row |= {name: _split(item.fields.get(column, ""), marks) for name, (column, marks) in _LISTS.items()}
    return row


def _split(cell: str, separators: str) -> list[str]:
    for mark in separators[1:]:
        cell = cell.replace(mark, separators[0])
    return [part.strip() for part in cell.split(separators[0]) if part.strip()]
