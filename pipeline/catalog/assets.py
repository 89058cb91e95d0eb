"""Asset storage: the inventory of a dataset, and its bytes, checked whenever they are read."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.digests import sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace


def inventory_path(workspace: Workspace, dataset: str) -> Path:
    """The inventory of an ingested dataset: one row per file seen (tables.INVENTORY)."""
    return workspace.dataset(dataset) / "inventory.parquet"


def fingerprints_path(workspace: Workspace, dataset: str) -> Path:
    """The fingerprints of a dataset's accepted assets (tables.FINGERPRINTS)."""
    return workspace.dataset(dataset) / "fingerprints.parquet"


def read_inventory(workspace: Workspace, dataset: str, columns: list[str] | None = None) -> pd.DataFrame:
    """The inventory, one row per file seen. Raises ImprimaturError when the dataset was never ingested."""
    return _read(inventory_path(workspace, dataset), dataset, columns)


def read_inventories(workspace: Workspace, datasets: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """Columns of several inventories as one Arrow table, with a `dataset` column: for millions of rows.

    Raises ImprimaturError when a dataset was never ingested.
    """
    tables = []
    for name in datasets:
        path = inventory_path(workspace, name)
        if not path.exists():
            raise _never_ingested(name)
        table = pq.read_table(path, columns=list(columns))
        tables.append(table.append_column("dataset", pa.repeat(name, table.num_rows)))
    return pa.concat_tables(tables)


def read_fingerprints(workspace: Workspace, dataset: str) -> pd.DataFrame:
    """Fingerprints, one row per accepted asset. Raises ImprimaturError when the dataset was never ingested."""
    return _read(fingerprints_path(workspace, dataset), dataset, None)


def read_asset(workspace: Workspace, dataset: str, asset: str, store: str, offset: int, length: int) -> bytes:
    """The bytes of one asset from where its inventory row says they lie.

    Raises ImprimaturError when the file is gone or its bytes are no longer those that were audited.
    """
    path = workspace.dataset(dataset) / store  # an absolute `store` stands for itself
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(length)
    except OSError as error:
        raise ImprimaturError(
            f"{path}: cannot be read ({error.strerror})", f"ingest dataset {dataset!r} again"
        ) from None
    if sha256(data) != asset:
        raise ImprimaturError(
            f"{path}: its bytes are not those of asset {asset[:16]}… any more", f"ingest dataset {dataset!r} again"
        )
    return data


def _read(path: Path, dataset: str, columns: list[str] | None) -> pd.DataFrame:
    try:
        return read_table(path, columns)
    except FileNotFoundError:
        raise _never_ingested(dataset) from None


def _never_ingested(dataset: str) -> ImprimaturError:
    return ImprimaturError(
        f"dataset {dataset!r} has not been ingested in this workspace",
        f"imprimatur ingest SOURCE --dataset {dataset}",
    )
