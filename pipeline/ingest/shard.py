"""One shard of an ingest: read, check, decode, record, pack. Runs in a worker; one bad file never stops it."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

from pipeline.catalog.colour import Colour
from pipeline.catalog.decode import BadImage, examine
from pipeline.catalog.tables import FINGERPRINTS, INVENTORY
from pipeline.core.digests import pixel_digest, sha256
from pipeline.core.guard import Guard, Limits, Lost
from pipeline.core.shards import finish, machine_faults_named, part_path, write_table
from pipeline.core.work import Job, Result
from pipeline.ingest.entries import Fields, Item
from pipeline.ingest.listing import agree
from pipeline.ingest.places import Array, Place, Refused, read, referable
from pipeline.ingest.reasons import IngestReason
from pipeline.ingest.signals import read_signals
from pipeline.ingest.table import Mapping, map_record
from pipeline.similarity.fingerprints import fingerprint
from pipeline.similarity.hash_lists import NO_LISTS, HashLists, read_hash_lists

_LISTS = {"holders": ("holder_id", "|;"), "depicts": ("depicts", "|"), "derived_from": ("derived_from", "|")}
_TEXTS = ("key", "label", "licence", "source_url", "attribution", "collected_at")
_COLUMNS = tuple(INVENTORY.names)
Row = dict[str, Any]


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
class Shard:
    """What examining an item needs: the settings, and the blob that bytes are packed into, each asset once."""

    store: str  # the blob in the inventory's words
    blob: Path  # where it is written
    copy: bool
    background: Colour
    mapping: Mapping
    problems: tuple[str, ...]  # terms of the whole dataset that a person must read
    lists: HashLists = NO_LISTS
    size: int = 0  # bytes packed
    offsets: dict[str, int] = field(default_factory=dict)  # by asset

    def note(self, row: Row) -> None:
        """Take note of an accepted row: in the child when it is made, in the parent when it arrives."""
        if row["store"] == self.store and row["asset"] not in self.offsets:
            self.offsets[row["asset"]] = row["offset"]
            self.size = row["offset"] + row["length"]


def ingest_shard(job: Job) -> Result:
    """Write inventory part, fingerprint part and blob of one shard, then its completion record.

    `job`: folder, number, key, items, copy (else by reference), background, columns, values, problems and hash_lists.
    """
    folder, number = Path(job["folder"]), job["number"]
    target = blob_path(folder, number)
    blob = target.with_name(f".{target.name}.{uuid4().hex[:8]}.tmp")
    mapping = Mapping(job["columns"], job["values"])
    lists = read_hash_lists([Path(path) for path in job["hash_lists"]])
    shard = Shard(f"blobs/{target.name}", blob, job["copy"], job["background"], mapping, job["problems"], lists)
    rows: list[Row] = []
    prints: dict[str, Row] = {}
    with machine_faults_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            blob.touch()
            with Guard(examine_item, shard, Limits()) as guard:
                for outcome in guard.examine_all(job["items"]):
                    if isinstance(outcome, Lost):
                        rows.append(_rejected(_blank(outcome.item), outcome.reason, outcome.detail))
                        continue
                    row, look = outcome
                    rows.append(row)
                    if row["status"] == "accepted":
                        shard.note(row)
                        prints.setdefault(row["asset"], look)
            _keep(blob, target, shard.size)
        finally:
            blob.unlink(missing_ok=True)
    write_table(
        part_path(fingerprint_parts(folder), number),
        pd.DataFrame(prints.values(), columns=FINGERPRINTS.names),
        FINGERPRINTS,
    )
    output = part_path(inventory_parts(folder), number)
    write_table(output, pd.DataFrame(rows, columns=INVENTORY.names), INVENTORY)
    accepted = sum(row["status"] == "accepted" for row in rows)
    finish(output, job["key"], files=len(rows), accepted=accepted, blob_bytes=shard.size)
    return {"number": number, "files": len(rows), "accepted": accepted}


def examine_item(shard: Shard, item: Item) -> tuple[Row, Row]:
    """(inventory row, fingerprint row) of one file; the second is empty when the file is rejected or was packed."""
    row = _blank(item)
    try:
        if item.reason or item.place is None:
            raise Refused(item.reason or IngestReason.UNREADABLE, item.detail)
        sidecars, cells, problems = beside(item, shard.mapping)
        if not agree(item.fields, cells):
            raise Refused(IngestReason.CONFLICTING_ROWS, "its JSON file and its table")
        fields = cells | {name: cell for name, cell in item.fields.items() if cell or name not in cells}
        row |= _columns(fields)
        place = item.place
        data = read(place)
        if shard.lists.knows_bytes(data):
            raise Refused(IngestReason.HASH_LIST_MATCH)
        digest = sha256(data)
        row |= {"sha256": digest, "bytes": len(data)}
        wanted = fields.get("sha256", "").lower()
        if wanted and wanted != row["sha256"]:
            raise Refused(IngestReason.DIGEST_MISMATCH, f"the table says {wanted[:80]}")
        image, picture = examine(data, arrays=isinstance(item.place, Array))
        if shard.lists.knows_picture(picture.rgb(shard.background)):
            row["sha256"] = ""  # no hash of it is kept
            raise Refused(IngestReason.HASH_LIST_MATCH)
    except (Refused, BadImage) as fault:
        return _rejected(row, str(fault.reason), fault.detail), {}
    asset = digest
    row |= _stored(shard, place, asset, data)
    row |= {
        "status": "accepted",
        "detail": "; ".join(picture.notes),
        "asset": asset,
        "pixels": pixel_digest(picture.pixels),
        "width": picture.width,
        "height": picture.height,
        "format": picture.format,
        "mode": picture.mode,
        "signals": read_signals(data, image, sidecars, [*shard.problems, *problems]),
    }
    look = {"asset": asset, **vars(fingerprint(picture.rgb(shard.background)))}
    shard.note(row)
    return row, look


def _stored(shard: Shard, place: Place, asset: str, data: bytes) -> Row:
    """Where the bytes lie: where they are, when they may stay there and others can read them; else in the blob."""
    if not shard.copy and (found := referable(place)):
        path, offset, _ = found
        return {"store": path, "offset": offset, "length": len(data)}
    if asset in shard.offsets:
        return {"store": shard.store, "offset": shard.offsets[asset], "length": len(data)}
    with machine_faults_named(shard.blob), shard.blob.open("r+b") as stream:
        stream.seek(shard.size)  # a child that died may have left half a file at the end
        stream.write(data)
    return {"store": shard.store, "offset": shard.size, "length": len(data)}


def _keep(blob: Path, target: Path, size: int) -> None:
    """Give the blob its name, durably; an empty one is none."""
    if not size:
        target.unlink(missing_ok=True)
        return
    with blob.open("r+b") as stream:
        stream.truncate(size)
        os.fsync(stream.fileno())
    blob.replace(target)


def beside(item: Item, mapping: Mapping) -> tuple[list[tuple[str, bytes]], Fields, list[str]]:
    """(files of facts by name, columns in a JSON or class file, what could not be read) beside an image."""
    facts: list[tuple[str, bytes]] = []
    columns: Fields = {}
    problems: list[str] = []
    for name, place in item.sidecars:
        try:
            content = read(place)
            if name.lower().endswith((".headers.json", ".xmp")):
                facts.append((name, content))
            elif name.lower().endswith(".cls"):
                columns.setdefault("label", content.decode().strip())
            else:
                record = json.loads(content)
                if isinstance(record, dict):
                    columns |= {**map_record(record, mapping), **columns}
        except (Refused, ValueError, RecursionError) as error:
            detail = f"{error.reason} {error.detail}" if isinstance(error, Refused) else str(error)
            problems.append(f"{name}: {type(error).__name__}: {detail}"[:300])
    columns.pop("file", None)
    columns.pop("key", None)  # the file's own name, in every writer of such files
    return facts, columns, problems


def _blank(item: Item) -> Row:
    """A row with what is known before the file is read."""
    row: Row = dict.fromkeys(_COLUMNS, "")
    row |= {"file": item.file, "bytes": item.place.size if item.place else 0}
    row |= dict.fromkeys(("width", "height", "offset", "length"), 0)
    return row | _columns(item.fields)


def _columns(fields: Fields) -> Row:
    row: Row = {name: fields.get(name, "") for name in _TEXTS}
    return row | {name: _split(fields.get(column, ""), marks) for name, (column, marks) in _LISTS.items()}


def _rejected(row: Row, reason: str, detail: str) -> Row:
    return row | {"status": "rejected", "reason": reason, "detail": detail}


def _split(cell: str, separators: str) -> list[str]:
    for mark in separators[1:]:
        cell = cell.replace(mark, separators[0])
    return [part.strip() for part in cell.split(separators[0]) if part.strip()]
