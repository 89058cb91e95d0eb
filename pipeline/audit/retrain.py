"""The retrain plan: what a model would be trained on now, and how that differs from what it was trained on."""

from typing import Any

import pandas as pd

from pipeline.catalog.assets import read_fingerprints, read_inventory
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import read_event_table
from pipeline.catalog.records import model_row, snapshot_row
from pipeline.core.merkle import merkle_root
from pipeline.core.settings import DuplicateSettings
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from pipeline.generators.record import read_record
from pipeline.rights.datasets import decide_among_all
from pipeline.rights.findings import parse_purpose
from pipeline.rights.policy import Policy
from pipeline.rights.selection import select


def retrain_plan(
    workspace: Workspace, model: str, moment: str, policy: Policy, duplicates: DuplicateSettings
) -> dict[str, Any]:
    """The data difference between a model's training set and the one that its datasets give at a moment.

    Plain JSON values. `removed` assets have the reason that keeps them out now, `added` ones come in: allowed since,
    ingested since, or representing a group in place of one that left. Raises ImprimaturError.
    """
    row = model_row(open_catalog(workspace), model)
    origin = snapshot_row(open_catalog(workspace), row.snapshot)
    folder = workspace.snapshot(row.snapshot)
    before = read_table(folder / "selection.parquet")
    names = sorted(set(read_table(folder / "decisions.parquet", ["dataset"])["dataset"]))
    after = _selection(workspace, names, origin.purpose, moment, policy, duplicates)
    was, will = set(before.asset[before.selected]), set(after.asset[after.selected])
    record = read_record(workspace.model(model))
    settings = record["settings"]
    budget = f"--seconds {settings['seconds']:g}"
    return {
        "model": model,
        "kind": row.kind,
        "snapshot": row.snapshot,
        "datasets": names,
        "purpose": origin.purpose,
        "assets_before": len(was),
        "assets_after": len(will),
        "removed": _listed(was - will, before, after),
        "added": _listed(will - was, after, after),
        "root_after": merkle_root(will),
        "cost": {
            "seconds": settings["seconds"],
            "steps": sum(stage["steps"] for stage in record["plan"]["stages"]),
            "images_seen": record["metrics"].get("images_seen"),
        },
        "command": " ".join(
            ["imprimatur train", *(f"--dataset {name}" for name in names), f"--kind {row.kind}",
             f"--size {settings['size']}", budget]
        ),
    }  # fmt: skip


def _selection(
    workspace: Workspace, names: list[str], purpose: str, moment: str, policy: Policy, duplicates: DuplicateSettings
) -> pd.DataFrame:
    catalog = open_catalog(workspace)
    inventory = pd.concat([read_inventory(workspace, name).assign(dataset=name) for name in names])
    fingerprints = pd.concat([read_fingerprints(workspace, name) for name in names])
    events = read_event_table(catalog, moment)
    decisions = decide_among_all(workspace, inventory, events, parse_purpose(purpose), policy, moment, moment)
    return select(inventory, decisions, fingerprints, duplicates)


def _listed(assets: set[str], found_in: pd.DataFrame, after: pd.DataFrame) -> list[dict[str, str]]:
    """Assets with their files, and why they are not selected any more ("" when they are)."""
    why = dict(zip(after.asset, after.reason, strict=True))
    rows = found_in[found_in.asset.isin(assets)]
    columns = (rows[name].tolist() for name in ("asset", "dataset", "file"))
    return [
        {"asset": asset, "dataset": dataset, "file": file, "reason": why.get(asset, "no longer in the dataset")}
        for asset, dataset, file in zip(*columns, strict=True)
    ]
