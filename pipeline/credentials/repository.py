"""The manifest repository: every output's manifest store by its unique id, found again by file, watermark or looks.

Stores are files in the workspace's registry; rows, thumbnails and the hash index lie in the catalog. Every lookup
goes by an index.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Row, func, select

from pipeline.catalog.database import open_catalog
from pipeline.catalog.records import record_outputs
from pipeline.catalog.tables import output_hash_keys, output_thumbnails, outputs, recalls
from pipeline.core.digests import sha256
from pipeline.core.shards import write_bytes
from pipeline.core.workspace import Workspace
from pipeline.credentials.manifest import OutputFacts
from pipeline.credentials.stamp import Stamped

CANDIDATES = 64  # outputs that share the most words with a hash: those are looked at


@dataclass(frozen=True)
class Entry:
    """A row of the catalog's `outputs` table."""

    output: str
    batch: str
    index: int
    model: str
    snapshot: str
    file: str  # relative to the batch folder, or absolute when stamped by hand
    file_sha256: str
    pixels: str
    watermark: str
    phash: bytes
    manifest: str
    state: str
    stamped_at: str


def record_output(workspace: Workspace, stamped: Stamped, facts: OutputFacts, file: str, state: str) -> Entry:
    """Keep an output's manifest store and row; `state` is published or quarantined.

    Idempotent: an output that is stamped again (a resumed batch) replaces what was kept under its id. The store is
    written first, so that a row never names a store that is not there.
    """
    entry = Entry(
        output=stamped.output,
        batch=facts.batch,
        index=facts.index,
        model=facts.model,
        snapshot=facts.snapshot,
        file=file,
        file_sha256=sha256(stamped.data),
        pixels=stamped.pixels,
        watermark=stamped.watermark,
        phash=stamped.phash,
        manifest=stamped.manifest,
        state=state,
        stamped_at=facts.when,
    )
    keep(workspace, entry, stamped.thumbnail, stamped.manifest_store)
    return entry


def keep(workspace: Workspace, entry: Entry, thumbnail: bytes, store: bytes) -> None:
    """Write a manifest store and then its row, so that a row never names a store that is not there."""
    write_bytes(store_path(workspace, entry.output), store)
    record_outputs(open_catalog(workspace), [{**asdict(entry), "thumbnail": thumbnail}])


def store_path(workspace: Workspace, output: str) -> Path:
    """Where the manifest store of an output lies."""
    return workspace.registry / output[:2] / f"{output}.c2pa"


def read_store(workspace: Workspace, output: str) -> bytes | None:
    """The manifest store of an output, None when none is kept."""
    try:
        return store_path(workspace, output).read_bytes()
    except OSError:
        return None


def affected_state(workspace: Workspace, output: str) -> str:
    """What withdrawals have done to an output, as last settled: clear | affected | affected-strong."""
    query = select(recalls.c.state).where(recalls.c.output == output).order_by(recalls.c.seq.desc()).limit(1)
    with open_catalog(workspace).connect() as connection:
        return connection.execute(query).scalar() or "clear"


def find_by_output(workspace: Workspace, output: str) -> Entry | None:
    """The output of this id."""
    return _first(_find(workspace, "output", output))


def find_by_file_sha256(workspace: Workspace, digest: str) -> Entry | None:
    """The output whose file has exactly these bytes."""
    return _first(_find(workspace, "file_sha256", digest))


def find_by_manifest(workspace: Workspace, label: str) -> Entry | None:
    """The output whose active manifest has this label."""
    return _first(_find(workspace, "manifest", label)) if label else None


def find_by_watermark(workspace: Workspace, payload: str) -> list[Entry]:
    """Outputs that carry this payload (eight hex digits); more than one only by chance."""
    return _find(workspace, "watermark", payload) if payload else []


def find_by_hash_keys(workspace: Workspace, keys: Iterable[int]) -> list[Entry]:
    """Outputs whose perceptual hash is kept under most of these keys (see catalog.hash_index), at most 64."""
    shared = func.count()
    near = (
        select(output_hash_keys.c.output)
        .where(output_hash_keys.c.key.in_(sorted(keys)))
        .group_by(output_hash_keys.c.output)
        .order_by(shared.desc(), output_hash_keys.c.output)
        .limit(CANDIDATES)
    )
    with open_catalog(workspace).connect() as connection:
        found = list(connection.execute(near).scalars())
        rows = {row.output: row for row in connection.execute(select(outputs).where(outputs.c.output.in_(found)))}
    return [_entry(rows[output]) for output in found if output in rows]


def thumbnail_of(workspace: Workspace, output: str) -> bytes | None:
    """The kept thumbnail of an output (tables.THUMBNAIL_BYTES), None when there is none."""
    query = select(output_thumbnails.c.thumbnail).where(output_thumbnails.c.output == output)
    with open_catalog(workspace).connect() as connection:
        return connection.execute(query).scalar()


def hash_distance(first: bytes, second: bytes) -> int:
    """Bits in which two perceptual hashes differ; 256 when one is missing."""
    if len(first) != len(second):
        return 256
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_count()


def _find(workspace: Workspace, column: str, value: str) -> list[Entry]:
    query = select(outputs).where(outputs.c[column] == value).order_by(outputs.c.output)
    with open_catalog(workspace).connect() as connection:
        return [_entry(row) for row in connection.execute(query)]


def _first(entries: list[Entry]) -> Entry | None:
    return entries[0] if entries else None


def _entry(row: Row[tuple[object, ...]]) -> Entry:
    return Entry(**row._mapping)
