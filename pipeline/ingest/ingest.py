"""Ingest a dataset: plan, work on the shards that are not finished, merge. The same inputs give the same bytes."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import PIL
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine, insert, select, update

from pipeline.catalog import colour, decode, jpeg, references
from pipeline.catalog.assets import fingerprints_path, inventory_path
from pipeline.catalog.database import open_catalog
from pipeline.catalog.tables import FINGERPRINTS, INVENTORY, datasets
from pipeline.core.digests import file_sha256, json_digest, sha256, source_digest
from pipeline.core.moments import now
from pipeline.core.settings import DatasetSettings, WorkSettings
from pipeline.core.shards import (
    completion,
    finish,
    is_finished,
    machine_faults_named,
    part_path,
    read_table,
    write_table,
)
from pipeline.core.work import Job, mapper, raise_failures
from pipeline.core.workspace import Workspace
from pipeline.ingest.shard import blob_path, fingerprint_parts, ingest_shard, inventory_parts
from pipeline.ingest.sources import Item, Plan, plan_source
from pipeline.similarity import fingerprints

SHARD_BYTES = 128_000_000  # of source files; a worker holds a shard's bytes until they are packed


@dataclass(frozen=True)
class IngestTotals:
    """What became of a dataset: seen = accepted + rejected files; duplicates are accepted copies of earlier ones."""

    dataset: str
    seen: int
    accepted: int
    rejected: int
    duplicates: int


def ingest_dataset(dataset: DatasetSettings, workspace: Workspace, work: WorkSettings) -> IngestTotals:
    """Bring `datasets/<name>/` and the catalog's row in line with the source; finished shards are not redone.

    Writes inventory.parquet (tables.INVENTORY) and fingerprints.parquet (tables.FINGERPRINTS). Raises ImprimaturError
    for a source that is missing, unreadable or empty, and for a table or mapping that is at fault.
    """
    catalog = open_catalog(workspace)
    plan = plan_source(dataset, workspace)
    folder = workspace.dataset(dataset.name)
    jobs = list(_jobs(dataset, plan, folder, work.shard_size))
    pending = [job for job in jobs if not _is_done(folder, job)]
    if pending:
        workers = min(work.workers, len(pending))  # a single shard is not worth a process
        with mapper(work.backend, workers, work.address) as pmap:
            raise_failures(pmap(ingest_shard, pending))
    totals = _merge(dataset.name, workspace, jobs)
    _remove_stale(folder, len(jobs))
    _record(catalog, dataset, plan.source, totals, file_sha256(inventory_path(workspace, dataset.name)))
    return totals


def _jobs(dataset: DatasetSettings, plan: Plan, folder: Path, shard_size: int) -> Iterator[Job]:
    copy = dataset.store == "copy"
    settings = json_digest([_code_version(), plan.version, copy, list(dataset.background)])
    for number, items in enumerate(_chunks(plan.items, shard_size)):
        yield {
            "folder": str(folder),
            "number": number,
            "key": _key(settings, items, with_paths=not copy),
            "items": items,
            "copy": copy,
            "background": dataset.background,
        }


def _chunks(items: list[Item], count: int) -> Iterator[list[Item]]:
    """Runs of at most `count` items and SHARD_BYTES bytes (one larger file is a run of its own)."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        if chunk and (len(chunk) == count or size + item.size > SHARD_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += item.size
    if chunk:
        yield chunk


def _key(settings: str, items: list[Item], with_paths: bool) -> str:
    """What a shard's outputs depend on. Where the files lie counts only when the outputs say it."""
    facts = [
        (
            item.file,
            item.path if with_paths else "",
            item.size,
            0 if item.array else item.mtime_ns,
            item.fields,
            item.reason,
            item.detail,
            item.sidecars,
            item.array,
            item.offset,
        )
        for item in items
    ]
    return sha256(json.dumps([settings, facts], sort_keys=True).encode())


@cache
def _code_version() -> str:
    modules = [Path(str(module.__file__)) for module in (colour, decode, jpeg, references, fingerprints)]
    own = source_digest([Path(__file__).parent])
    return json_digest([own, PIL.__version__, *(file_sha256(path) for path in modules)])


def _is_done(folder: Path, job: Job) -> bool:
    output = part_path(inventory_parts(folder), job["number"])
    if not is_finished(output, job["key"]) or not part_path(fingerprint_parts(folder), job["number"]).exists():
        return False
    expected = completion(output)["blob_bytes"]
    blob = blob_path(folder, job["number"])
    return not expected or (blob.exists() and blob.stat().st_size == expected)


def _merge(name: str, workspace: Workspace, jobs: list[Job]) -> IngestTotals:
    """One inventory and one fingerprint table from all parts, unless they stand already."""
    folder = workspace.dataset(name)
    target, prints = inventory_path(workspace, name), fingerprints_path(workspace, name)
    key = json_digest([job["key"] for job in jobs])
    if is_finished(target, key) and prints.exists():
        return IngestTotals(name, *(completion(target)[field] for field in _COUNTS))
    numbers = [job["number"] for job in jobs]
    tables = [pq.read_table(part_path(inventory_parts(folder), number)) for number in numbers]
    inventory = pa.concat_tables(tables).to_pandas()
    accepted = inventory["status"] == "accepted"
    first = inventory[accepted].groupby("asset", sort=False)["file"].transform("first")
    inventory.loc[accepted, "duplicate_of"] = first.where(first != inventory.loc[accepted, "file"], "")
    _merge_fingerprints([part_path(fingerprint_parts(folder), number) for number in numbers], prints)
    write_table(target, inventory, INVENTORY)
    counts = {
        "seen": len(inventory),
        "accepted": int(accepted.sum()),
        "rejected": int((~accepted).sum()),
        "duplicates": int((inventory["duplicate_of"] != "").sum()),
    }
    finish(target, key, **counts)
    return IngestTotals(name, **counts)


_COUNTS = ("seen", "accepted", "rejected", "duplicates")


def _merge_fingerprints(parts: list[Path], target: Path) -> None:
    """Each asset once, part by part: the thumbnails of a large dataset do not fit into memory."""
    temporary = target.with_name(f".{target.name}.tmp")
    seen: set[str] = set()
    with machine_faults_named(target):
        with temporary.open("wb") as stream:
            with pq.ParquetWriter(stream, FINGERPRINTS, compression="zstd") as writer:
                for part in parts:
                    table = pq.read_table(part)
                    assets = table["asset"].to_pylist()  # unique within a part
                    writer.write_table(table.filter(pa.array([asset not in seen for asset in assets], pa.bool_())))
                    seen.update(assets)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)


def _remove_stale(folder: Path, shards: int) -> None:
    """Parts of an earlier, longer run; blobs that are packed no more; temporary files of a run that was killed."""
    keep = {part_path(parts(folder), n).name for parts in (inventory_parts, fingerprint_parts) for n in range(shards)}
    blobs = set(read_table(folder / "inventory.parquet", ["store"])["store"])
    for path in [*folder.glob("inventory/*"), *folder.glob("fingerprints/*"), *folder.glob("blobs/*")]:
        kept = path.name.removesuffix(".done.json") in keep or f"{path.parent.name}/{path.name}" in blobs
        if not kept:
            path.unlink()


def _record(catalog: Engine, dataset: DatasetSettings, source: Path, totals: IngestTotals, inventory: str) -> None:
    """Add or renew the dataset's row; an unchanged dataset keeps the moment of its ingest."""
    columns = {
        "source": str(source),
        "licence": dataset.licence or "",
        "inventory_sha256": inventory,
        **{name: getattr(totals, name) for name in _COUNTS},
    }
    with catalog.begin() as connection:
        row = connection.execute(select(datasets).where(datasets.c.name == dataset.name)).mappings().first()
        if row is None:
            connection.execute(insert(datasets).values(name=dataset.name, ingested_at=now(), **columns))
        elif any(row[name] != value for name, value in columns.items()):
            changed = update(datasets).where(datasets.c.name == dataset.name)
            connection.execute(changed.values(ingested_at=now(), **columns))
