"""Live facts as rows: datasets, models, outputs."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Engine, Row, bindparam, delete, insert, select

from pipeline.catalog.hash_index import index_keys
from pipeline.catalog.tables import (
    HASH_BYTES,
    datasets,
    models,
    output_hash_keys,
    output_thumbnails,
    outputs,
    snapshots,
)
from pipeline.core.errors import ImprimaturError


def dataset_licence(catalog: Engine, name: str) -> str:
    """The licence of a whole dataset as it was ingested, else an empty string."""
    with catalog.connect() as connection:
        return connection.execute(select(datasets.c.licence).where(datasets.c.name == name)).scalar() or ""


def dataset_names(catalog: Engine) -> list[str]:
    """Every dataset that was ingested, in order of its name."""
    with catalog.connect() as connection:
        return sorted(connection.execute(select(datasets.c.name)).scalars())


def dataset_licences(catalog: Engine) -> dict[str, str]:
    """Every ingested dataset with its licence, an empty string when it has none, in the order of their names."""
    with catalog.connect() as connection:
        query = select(datasets.c.name, datasets.c.licence).order_by(datasets.c.name)
        return {row.name: row.licence for row in connection.execute(query)}


def record_model(catalog: Engine, **columns: Any) -> None:
    """Add a model row, once."""
    with catalog.begin() as connection:
        known = connection.execute(select(models.c.id).where(models.c.id == columns["id"])).first()
        if not known:
            connection.execute(insert(models).values(**columns))


def model_row(catalog: Engine, identifier: str) -> Row[Any]:
    """The row of a model. Raises ImprimaturError when there is none."""
    with catalog.connect() as connection:
        row = connection.execute(select(models).where(models.c.id == identifier)).first()
    if row is None:
        raise ImprimaturError(f"model {identifier!r} is not in this workspace", "imprimatur train --dataset NAME")
    return row


def snapshot_row(catalog: Engine, identifier: str) -> Row[Any]:
    """The row of a snapshot. Raises ImprimaturError when there is none."""
    with catalog.connect() as connection:
        row = connection.execute(select(snapshots).where(snapshots.c.id == identifier)).first()
    if row is None:
        raise ImprimaturError(
            f"snapshot {identifier!r} is not in this workspace", "imprimatur snapshot --dataset NAME"
        )
    return row


def record_outputs(catalog: Engine, rows: Iterable[dict[str, Any]]) -> None:
    """Add or replace the rows of stamped outputs, all in one transaction.

    A row has the columns of `outputs` and `thumbnail`; by its hash and thumbnail the output is found again.
    """
    rows = list(rows)
    if not rows:
        return
    tables = (outputs, output_thumbnails, output_hash_keys)
    hashed = [row for row in rows if len(row["phash"]) == HASH_BYTES]
    looks = [{"output": row["output"], "thumbnail": row["thumbnail"]} for row in hashed]
    keys = [{"output": row["output"], "key": key} for row in hashed for key in index_keys(row["phash"])]
    with catalog.begin() as connection:
        for table in tables:
            named = delete(table).where(table.c.output == bindparam("known"))
            connection.execute(named, [{"known": row["output"]} for row in rows])
        known = [{name: value for name, value in row.items() if name != "thumbnail"} for row in rows]
        for table, new in zip(tables, (known, looks, keys), strict=True):
            if new:
                connection.execute(insert(table), new)


def earlier_batches(catalog: Engine, before: str) -> list[str]:
    """Identifiers of the batches with published outputs (recalled or not), other than `before`, in order."""
    shown = outputs.c.state.in_(["published", "recalled"])
    query = select(outputs.c.batch).where(shown, outputs.c.batch != before).distinct()
    with catalog.connect() as connection:
        return sorted(connection.execute(query).scalars())
