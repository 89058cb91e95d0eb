"""Lineage, walked both ways: from an output back to the evidence, and from an asset forward to the outputs.

Answers are plain dicts, ready for JSON: rows of the catalog, widened by what the Parquet files beside them hold.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import ColumnElement, Engine, RowMapping, Table, select

from pipeline.audit.batch_table import batch_path
from pipeline.catalog.assets import inventory_path
from pipeline.catalog.database import open_catalog
from pipeline.catalog.tables import datasets, models, outputs, runs, snapshots
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace

Answer = dict[str, Any]

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_FOUND_IN_INVENTORY = ["file", "status", "reason", "asset", "sha256", "pixels", "key", "label"]
_DECIDED = ["dataset", "file", "decision", "reasons", "evidence", "licence", "obligations", "holders", "attribution"]


def trace_output(workspace: Workspace, reference: str) -> Answer:
    """Output -> run -> model -> snapshot -> nearest known assets, with decisions and evidence.

    `reference` is an output's id, or the SHA-256 of its file; a file that was put in quarantine before it was stamped
    is known by its digest only. `nearest` holds what screening kept, best first: similarity, not influence. Facts of
    the batch table are None while it is not written. Raises ImprimaturError when the workspace knows no such output.
    """
    catalog = open_catalog(workspace)
    row, made = _find_output(workspace, catalog, reference.lower())
    batch = made or {}
    return {
        "kind": "output",
        **row,
        **{name: batch.get(name) for name in ("label", "reasons", "verdict", "validation_state", "psnr", "seed")},
        "run": _first(catalog, runs, row["batch"]),
        "model": _first(catalog, models, row["model"]) or {"id": row["model"]},
        "snapshot": _first(catalog, snapshots, row["snapshot"]) or {"id": row["snapshot"]},
        "nearest": _nearest(workspace, row["snapshot"], batch.get("nearest") or []),
    }


def trace_asset(workspace: Workspace, reference: str) -> Answer:
    """Asset -> its decision in each snapshot -> models trained on it -> their outputs.

    `reference` is a SHA-256, `dataset:key` or `key`. `trained_on` says whether a snapshot holds the asset "itself", a
    "twin" (same pixels, or the same near-duplicate group) or neither (""). Of a model's outputs those are `strong`
    whose nearest known asset it is, or a twin. Raises ImprimaturError when the reference fits no asset, or several.
    """
    files = resolve_asset(workspace, reference)
    asset = files[0]["asset"]
    catalog = open_catalog(workspace)
    known = _rows(catalog, snapshots) if asset else []
    traced = [_in_snapshot(workspace, catalog, asset, dict(snapshot)) for snapshot in known]
    return {
        "kind": "asset",
        "asset": asset,
        "files": files,
        "snapshots": sorted((one for one in traced if one), key=lambda one: str(one["created_at"])),
    }


def _find_output(workspace: Workspace, catalog: Engine, reference: str) -> tuple[Answer, Answer | None]:
    """An output's row as in the catalog, without its hash, and its row of the batch table if there is one."""
    digest = bool(_SHA256.fullmatch(reference))
    names = [column.name for column in outputs.columns if column.name != "phash"]
    for row in _rows(catalog, outputs, (outputs.c.file_sha256 if digest else outputs.c.output) == reference):
        table = batch_path(workspace, row["batch"])
        made = _read(table, pc.field("output") == row["output"]) if table.exists() else []
        return {name: row[name] for name in names}, next(iter(made), None)
    tables = [batch_path(workspace, run["id"]) for run in _rows(catalog, runs)] if digest else []
    for table in tables:
        for made_row in _read(table, pc.field("file_sha256") == reference) if table.exists() else []:
            return {name: made_row[name] for name in names}, made_row
    raise ImprimaturError(
        f"output {reference!r} is not in this workspace", "name an output's id, or the sha256 of its file"
    )


def resolve_asset(workspace: Workspace, reference: str) -> list[Answer]:
    """Inventory rows of the one asset that `reference` names: several where its bytes came under several names."""
    names = [row["name"] for row in _rows(open_catalog(workspace), datasets)]
    dataset, colon, key = reference.partition(":")
    found: list[Answer] = []
    for name in sorted(names):
        if _SHA256.fullmatch(reference):
            wanted = pc.field("sha256") == reference.lower()
        elif colon and dataset in names:
            if name != dataset:
                continue
            wanted = pc.field("key") == key
        else:
            wanted = pc.field("key") == reference
        found += [
            {"dataset": name, **row} for row in _read(inventory_path(workspace, name), wanted, _FOUND_IN_INVENTORY)
        ]
    distinct = {row["sha256"] or row["file"] for row in found}
    if not found:
        raise ImprimaturError(
            f"asset {reference!r} is in no dataset of this workspace", "name a sha256, dataset:key, or key"
        )
    if len(distinct) > 1:
        places = ", ".join(f"{row['dataset']}:{row['file']} ({row['sha256'][:12]}…)" for row in found[:5])
        raise ImprimaturError(
            f"{reference!r} names {len(distinct)} different files: {places}", "name one by its sha256"
        )
    return sorted(found, key=lambda row: (not row["asset"], row["dataset"], row["file"]))


def _in_snapshot(workspace: Workspace, catalog: Engine, asset: str, snapshot: Answer) -> Answer | None:
    """What a snapshot says about an asset, and what came of it; None when it was not among those asked about."""
    folder = workspace.snapshot(snapshot["id"])
    chosen = _read(folder / "selection.parquet", pc.field("asset") == asset)
    if not chosen:
        return None
    row = chosen[0]
    twins = _twins(folder, row)
    selected = {twin["asset"] for twin in twins if twin["selected"]}
    trained_on = "itself" if row["selected"] else "twin" if selected else ""
    # by root: a later snapshot of the very same assets reuses the model
    trained = _rows(catalog, models, models.c.root == snapshot["root"]) if trained_on else []
    relatives = {asset, *(twin["asset"] for twin in twins)}
    return {
        **snapshot,
        "selected": bool(row["selected"]),
        "reason": row["reason"],
        "trained_on": trained_on,
        "twins": [twin for twin in twins if twin["asset"] != asset],
        "decisions": _read(folder / "decisions.parquet", pc.field("asset") == asset, _DECIDED),
        "models": [{**model, **_outputs(workspace, catalog, str(model["id"]), relatives)} for model in trained],
    }


def _twins(folder: Path, row: Answer) -> list[Answer]:
    """Selection rows of the assets that show the same picture, the asset itself among them."""
    same = pc.field("pixels") == row["pixels"]
    if row["group"] >= 0:
        same = same | (pc.field("group") == row["group"])
    return _read(folder / "selection.parquet", same, ["asset", "dataset", "file", "selected"])


def _outputs(workspace: Workspace, catalog: Engine, model: str, relatives: set[str]) -> Answer:
    """Outputs of a model: how many there are, and those whose nearest known asset is one of `relatives`.

    `unscreened` lists batches whose table is not written, so that nobody knows what their outputs are nearest to.
    """
    made = _rows(catalog, outputs, outputs.c.model == model)
    strong: list[Answer] = []
    unscreened: list[str] = []
    for batch in sorted({str(row["batch"]) for row in made}):
        if not batch_path(workspace, batch).exists():
            unscreened.append(batch)
            continue
        states = {row["output"]: row["state"] for row in made if row["batch"] == batch}
        for row in _read(
            batch_path(workspace, batch), pc.field("output") != "", ["output", "index", "file", "nearest"]
        ):
            near = row["nearest"][0] if row["nearest"] else None
            if near and near["asset"] in relatives and row["output"] in states:
                facts = {"batch": batch, "state": states[row["output"]], "distance": near["distance"]}
                strong.append({name: row[name] for name in ("output", "index", "file")} | facts)
    return {"outputs": len(made), "strong": strong, "unscreened": unscreened}


def _nearest(workspace: Workspace, snapshot: str, nearest: Sequence[Answer]) -> list[Answer]:
    """Each nearest asset with its decisions in the snapshot; an asset outside of it has none."""
    folder = workspace.snapshot(snapshot)
    wanted = pc.field("asset").isin([near["asset"] for near in nearest])
    decided = _read(folder / "decisions.parquet", wanted, ["asset", *_DECIDED]) if nearest else []
    chosen = _read(folder / "selection.parquet", wanted, ["asset", "selected"]) if nearest else []
    selected = {row["asset"] for row in chosen if row["selected"]}
    return [
        {
            "asset": near["asset"],
            "distance": near["distance"],
            "selected": near["asset"] in selected,
            "decisions": [{k: row[k] for k in _DECIDED} for row in decided if row["asset"] == near["asset"]],
        }
        for near in nearest
    ]


def _read(path: Path, wanted: Any, columns: list[str] | None = None) -> list[Answer]:
    """Rows of a Parquet file that fit an expression, as plain dicts. Raises ImprimaturError when it is gone."""
    if not path.exists():
        raise ImprimaturError(f"{path}: the catalog knows of it, but it is not there", "restore it from a backup")
    table: pa.Table = pq.read_table(path, filters=wanted, columns=columns)
    rows: list[Answer] = table.to_pylist()
    return rows


def _rows(catalog: Engine, table: Table, wanted: ColumnElement[bool] | None = None) -> Sequence[RowMapping]:
    query = select(table) if wanted is None else select(table).where(wanted)
    with catalog.connect() as connection:
        return connection.execute(query).mappings().all()


def _first(catalog: Engine, table: Table, identifier: str) -> Answer | None:
    rows = _rows(catalog, table, table.c.id == identifier)
    return dict(rows[0]) if rows else None
