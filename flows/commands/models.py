"""Train and sample."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from flows.commands.given import given_credentials, validated
from flows.commands.rights import snapshot_datasets
from flows.commands.withdrawals import require_clear
from flows.progress import console
from pipeline.catalog.database import open_catalog
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import BatchSettings, ModelSettings, load_job
from pipeline.core.shards import read_table, write_bytes, write_table
from pipeline.core.workspace import Workspace

if TYPE_CHECKING:
    from flows.train import Model


def train_on(
    workspace: Workspace, datasets: list[str], snapshot: str | None, config: Path | None, given: dict[str, Any]
) -> tuple["Model", dict[str, Any]]:
    """Train on a snapshot, or on the one that the datasets give now; returns the model and its metrics."""
    from flows.train import make_model
    from pipeline.credentials.identity import ensure_identity
    from pipeline.generators.record import trained_model
    from pipeline.rights.snapshot import load_snapshot

    if bool(datasets) == bool(snapshot):
        raise ImprimaturError("train: what on?", "give either --dataset or --snapshot")
    job = load_job(config) if config else None
    base = job.model.model_dump() if job else {}
    settings = validated(ModelSettings, {**base, **{key: value for key, value in given.items() if value}}, config)
    if snapshot:
        chosen = load_snapshot(workspace, snapshot)
        _warn(require_clear(workspace, "snapshot", snapshot))
    else:
        chosen = snapshot_datasets(workspace, datasets, "train_generative:commercial", None, None, None)
    selection = read_table(chosen.folder / "selection.parquet")
    known = {dataset.name: dataset.background for dataset in job.datasets} if job else {}
    backgrounds = {name: known.get(name, (255, 255, 255)) for name in selection.dataset.unique()}
    identity = ensure_identity(given_credentials(config), workspace)
    model = make_model(workspace, settings, identity, chosen, selection, backgrounds)
    return model, trained_model(model.folder).metrics


def generate_images(
    workspace: Workspace, model: str, count: int, seed: int, classes: list[str], out: Path
) -> pd.DataFrame:
    """Sample images into `out` with outputs.parquet beside them."""
    from pipeline.catalog.records import model_row
    from pipeline.catalog.tables import GENERATED
    from pipeline.generators.batch import batch_jobs, generate_shard

    row = model_row(open_catalog(workspace), model)
    _warn(require_clear(workspace, "model", model))
    batch = BatchSettings(count=count, classes=classes)
    with tempfile.TemporaryDirectory() as scratch:
        jobs = batch_jobs(workspace.model(model), row.weights_sha256, batch, seed, Path(scratch))
        for job in jobs:
            generate_shard(job)
        table = pd.concat([read_table(Path(job["out"])) for job in jobs], ignore_index=True)
    for index, image in zip(table["index"], table.image, strict=True):
        write_bytes(out / f"{model}-{seed}-{index:06d}.png", image)
    write_table(out / "outputs.parquet", table, GENERATED)
    return table


def _warn(words: str) -> None:
    if words:
        console.print(f"warning: {words}", markup=False)
