"""Train and sample."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from flows.commands.given import given_credentials, validated
from flows.commands.rights import snapshot_datasets
from flows.commands.withdrawals import require_clear
from flows.progress import console
from pipeline.catalog.assets import read_inventory
from pipeline.catalog.database import open_catalog
from pipeline.catalog.records import dataset_names
from pipeline.core.digests import file_sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.moments import now
from pipeline.core.settings import BatchSettings, ModelSettings, load_job
from pipeline.core.shards import read_table, write_bytes, write_json, write_table
from pipeline.core.workspace import Workspace

if TYPE_CHECKING:
    from flows.train import Model
    from pipeline.generators.batch import VariedSource


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


@dataclass(frozen=True)
class Asked:
    """What `imprimatur generate` was asked for."""

    count: int
    seed: int
    classes: list[str]  # NAME, or NAME=SHARE
    guidance: float
    source: Path | None = None  # a picture to vary
    strength: float = 0.4
    purpose: str = "generate_input:commercial"  # for which the picture must be licensed
    policy: Path | None = None
    between: list[int] = field(default_factory=list)  # two image numbers to interpolate between
    steps: int = 50  # of a diffusers pipeline


def generate_images(workspace: Workspace, model: str, asked: Asked, out: Path) -> pd.DataFrame:
    """Sample images, variations or an interpolation into `out`, with outputs.parquet (tables.GENERATED) beside them.

    Raises NeedsPerson for a source that is not licensed as generator input, ImprimaturError for an unknown one.
    """
    from pipeline.catalog.records import model_row
    from pipeline.generators.batch import batch_jobs, generate_shard
    from pipeline.generators.external import is_external

    if is_external(model):
        return _generate_externally(Path(model), asked, out)
    row = model_row(open_catalog(workspace), model)
    _warn(require_clear(workspace, "model", model))
    batch = BatchSettings(count=asked.count, classes=class_mix(asked.classes), guidance=asked.guidance)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sources = [_licensed(workspace, asked, folder)] if asked.source else []
        jobs = batch_jobs(
            workspace.model(model),
            row.weights_sha256,
            batch,
            asked.seed,
            folder,
            sources,
            asked.strength,
            asked.between,
        )
        for job in jobs:
            generate_shard(job)
        table = pd.concat([read_table(Path(job["out"])) for job in jobs], ignore_index=True)
    return _write_images(table, f"{model}-{asked.seed}", out)


def _generate_externally(folder: Path, asked: Asked, out: Path) -> pd.DataFrame:
    """The images of a pipeline of one's own, with pipeline.json: the digests of its files."""
    from pipeline.catalog.tables import GENERATED
    from pipeline.generators.batch import generated_row
    from pipeline.generators.external import check_pipeline, draw_external

    if asked.source or asked.between:
        raise ImprimaturError(f"{folder}: a diffusers pipeline is only sampled", "leave out --from and --between")
    model = check_pipeline(folder)
    images = draw_external(model, asked.seed, range(asked.count), asked.classes, asked.steps)
    prompts = asked.classes or [""]
    rows = [generated_row(k, prompts[k % len(prompts)], "", "", image) for k, image in enumerate(images)]
    table = pd.DataFrame(rows, columns=GENERATED.names)
    write_json(out / "pipeline.json", {"digest": model.digest, "files": model.files})
    return _write_images(table, f"{model.digest[:16]}-{asked.seed}", out)


def _write_images(table: pd.DataFrame, name: str, out: Path) -> pd.DataFrame:
    from pipeline.catalog.tables import GENERATED

    for index, image in zip(table["index"], table.image, strict=True):
        write_bytes(out / f"{name}-{index:06d}.png", image)
    write_table(out / "outputs.parquet", table, GENERATED)
    return table


def class_mix(classes: list[str]) -> list[str] | dict[str, float]:
    """`NAME` options as they are; `NAME=SHARE` options as shares. Raises ImprimaturError when both are given."""
    parted = [name.rpartition("=") for name in classes]
    try:
        shares = {name: float(share) for name, mark, share in parted if mark}
    except ValueError:
        return classes  # an equals sign that belongs to the name
    if shares and len(shares) < len(classes):
        raise ImprimaturError("--class: some have a share and some have none", "write NAME=SHARE for each of them")
    return shares or classes


def _licensed(workspace: Workspace, asked: Asked, folder: Path) -> "VariedSource":
    """The asset that is to be varied, if the rights allow it, laid out below `folder`."""
    from flows.commands.rights import parse_purpose
    from flows.sources import decided_inputs, lay_out
    from pipeline.rights.policy import load_policy

    path = asked.source
    if path is None or not path.is_file():
        raise ImprimaturError(f"--from {path}: no such file", "name a picture")
    if not 0 < asked.strength <= 1:
        raise ImprimaturError(f"--strength: {asked.strength:g} is not in (0, 1]", "0.4 keeps most, 0.8 little")
    purpose, digest = parse_purpose(asked.purpose), file_sha256(path)
    found = []
    for dataset in dataset_names(open_catalog(workspace)):
        if (read_inventory(workspace, dataset, ["asset"]).asset == digest).any():
            inputs = decided_inputs(workspace, dataset, purpose.commercial, load_policy(asked.policy), now())
            found.append(inputs[inputs.asset == digest])
    if not found:
        raise ImprimaturError(
            f"--from {path}: no asset of this workspace, so nothing is known of its rights",
            "ingest it with its licence first: imprimatur ingest SOURCE --dataset NAME",
        )
    everywhere = pd.concat(found)
    worst = everywhere[everywhere.decision != "allow"]
    return lay_out(workspace, (worst if len(worst) else everywhere).head(1), (255, 255, 255), folder)[0]


def _warn(words: str) -> None:
    if words:
        console.print(f"warning: {words}", markup=False)
