"""Ingest a dataset: plan, work on the shards that are not finished, merge. The same inputs give the same bytes."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
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
)
from pipeline.core.work import Job, mapper, raise_failures
from pipeline.core.workspace import Workspace
from pipeline.ingest.entries import Item
from pipeline.ingest.places import to_json, without_path
from pipeline.ingest.shard import blob_path, fingerprint_parts, ingest_shard, inventory_parts
from pipeline.ingest.sources import Source, open_source
from pipeline.similarity import fingerprints, resample
from pipeline.similarity.hash_lists import read_hash_lists

SHARD_BYTES = 128_000_000  # of source files; a worker holds a shard's bytes until they are packed


@dataclass(frozen=True)
class IngestTotals:
    """What became of a dataset: seen = accepted + rejected files; duplicates are accepted copies of earlier ones."""

    dataset: str
    seen: int
    accepted: int
    rejected: int
    duplicates: int


def ingest_dataset(
    dataset: DatasetSettings, workspace: Workspace, work: WorkSettings, hash_lists: Sequence[Path] = ()
) -> IngestTotals:
    """Bring `datasets/<name>/` and the catalog's row in line with the source; finished shards are not redone.

    What is on a safety hash list is rejected before anything of it is kept.

    Writes inventory.parquet (tables.INVENTORY) and fingerprints.parquet (tables.FINGERPRINTS). Raises ImprimaturError
    for a source that is missing, unreadable or empty, and for a table or mapping that is at fault.
    """
    catalog = open_catalog(workspace)
    folder = workspace.dataset(dataset.name)
    keys: list[str] = []
    with open_source(dataset, workspace) as source:
        pending = _pending(_jobs(source, folder, work.shard_size, hash_lists), folder, keys)
        first = list(islice(pending, 2))
        if first:  # a single shard is not worth a process
            with mapper(work.backend, min(work.workers, len(first)), work.address) as pmap:
                raise_failures(pmap(ingest_shard, chain(first, pending)))
        place, dataset = source.path, source.dataset
    totals = _merge(dataset.name, workspace, keys)
    _remove_stale(folder, len(keys))
    _record(catalog, dataset, place, totals, file_sha256(inventory_path(workspace, dataset.name)))
    return totals


def _jobs(source: Source, folder: Path, shard_size: int, hash_lists: Sequence[Path]) -> Iterator[Job]:
    read_hash_lists(hash_lists)  # a faulty one is told before anything is done
    dataset = source.dataset
    copy = dataset.store == "copy"
    mapping = [dataset.columns, dataset.values, list(source.problems)]
    settings = json_digest(
        [_code_version(), copy, list(dataset.background), mapping, [*map(file_sha256, hash_lists)]]
    )
    for number, items in enumerate(_chunks(source.items(), shard_size)):
        yield {
            "folder": str(folder),
            "number": number,
            "key": _key(settings, items, with_paths=not copy),
            "items": items,
            "copy": copy,
            "background": dataset.background,
            "columns": dataset.columns,
            "values": dataset.values,
            "problems": source.problems,
            "hash_lists": [str(path.absolute()) for path in hash_lists],
        }


def _pending(jobs: Iterable[Job], folder: Path, keys: list[str]) -> Iterator[Job]:
    """The jobs that are not done; every job's key goes into `keys` as it passes."""
    for job in jobs:
        keys.append(job["key"])
        if not _is_done(folder, job):
            yield job


def _chunks(items: Iterable[Item], count: int) -> Iterator[list[Item]]:
    """Runs of at most `count` items and SHARD_BYTES bytes (one larger file is a run of its own)."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        length = item.place.size if item.place else 0
        if chunk and (len(chunk) == count or size + length > SHARD_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += length
    if chunk:
        yield chunk


def _key(settings: str, items: list[Item], with_paths: bool) -> str:
    """What a shard's outputs depend on. Where the files lie counts only when the outputs say it."""
    stated = to_json if with_paths else without_path
    facts = [
        (
            item.file,
            stated(item.place),
            item.fields,
            item.reason,
            item.detail,
            [(name, without_path(place)) for name, place in item.sidecars],
        )
        for item in items
    ]
    return sha256(json.dumps([settings, facts], sort_keys=True).encode())


@cache
def _code_version() -> str:
    modules = [Path(str(module.__file__)) for module in (colour, decode, jpeg, references, fingerprints, resample)]
    own = source_digest([Path(__file__).parent])
    return json_digest([own, PIL.__version__, *(file_sha256(path) for path in modules)])


def _is_done(folder: Path, job: Job) -> bool:
    output = part_path(inventory_parts(folder), job["number"])
    if not is_finished(output, job["key"]) or not part_path(fingerprint_parts(folder), job["number"]).exists():
        return False
    expected = completion(output)["blob_bytes"]
    blob = blob_path(folder, job["number"])
    return not expected or (blob.exists() and blob.stat().st_size == expected)


def _merge(name: str, workspace: Workspace, keys: list[str]) -> IngestTotals:
    """One inventory and one fingerprint table from all parts, unless they stand already."""
    folder = workspace.dataset(name)
    target, prints = inventory_path(workspace, name), fingerprints_path(workspace, name)
    key = json_digest(keys)
    if is_finished(target, key) and prints.exists():
        return IngestTotals(name, *(completion(target)[field] for field in _COUNTS))
    counts = dict.fromkeys(_COUNTS, 0)
    parts = [part_path(inventory_parts(folder), number) for number in range(len(keys))]
    _write_parts(target, INVENTORY, _with_duplicates(parts, counts))
    _write_parts(
        prints, FINGERPRINTS, _first_of_each(part_path(fingerprint_parts(folder), n) for n in range(len(keys)))
    )
    finish(target, key, **counts)
    return IngestTotals(name, **counts)


def _with_duplicates(parts: list[Path], counts: dict[str, int]) -> Iterator[pa.Table]:
    """The inventory part by part, each accepted copy with the first file of its bytes; counts what passes."""
    first: dict[bytes, str] = {}
    for part in parts:
        table = pq.read_table(part)
        originals = []
        for asset, file in zip(table["asset"].to_pylist(), table["file"].to_pylist(), strict=True):
            known = first.setdefault(bytes.fromhex(asset), file) if asset else file
            originals.append("" if known == file else known)
        accepted = sum(bool(asset) for asset in table["asset"].to_pylist())
        counts["seen"] += len(table)
        counts["accepted"] += accepted
        counts["rejected"] += len(table) - accepted
        counts["duplicates"] += sum(bool(original) for original in originals)
        column = table.schema.get_field_index("duplicate_of")
        yield table.set_column(column, INVENTORY.field("duplicate_of"), pa.array(originals, pa.string()))


_COUNTS = ("seen", "accepted", "rejected", "duplicates")


def _first_of_each(parts: Iterable[Path]) -> Iterator[pa.Table]:
    """The fingerprints part by part, each asset once."""
    seen: set[bytes] = set()
    for part in parts:
        table = pq.read_table(part)
        assets = [bytes.fromhex(asset) for asset in table["asset"].to_pylist()]  # unique within a part
        yield table.filter(pa.array([asset not in seen for asset in assets], pa.bool_()))
        seen.update(assets)


def _write_parts(target: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """A Parquet file, whole or not at all, from tables that need not fit into memory together."""
    temporary = target.with_name(f".{target.name}.tmp")
    with machine_faults_named(target):
        with temporary.open("wb") as stream:
            with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
                for table in tables:
                    writer.write_table(table.cast(schema))
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
