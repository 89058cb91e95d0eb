"""Train: a snapshot becomes a signed model, or the model that it already became is taken again."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from prefect import flow

from flows.audit import audit_stage
from flows.job import Job, only_run, open_job
from flows.progress import bar, timed_stage
from pipeline.catalog.database import open_catalog
from pipeline.catalog.records import model_row, record_model, snapshot_row
from pipeline.catalog.runs import note_run
from pipeline.core.moments import now
from pipeline.core.settings import ModelSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import Identity
from pipeline.credentials.sidecars import sign_model, sign_snapshot
from pipeline.generators.record import WEIGHTS, is_trained, model_key, trained_model
from pipeline.generators.training_set import Backgrounds, prepare_training_set, training_set_key
from pipeline.rights.snapshot import Snapshot, load_snapshot


@dataclass(frozen=True)
class Model:
    """A trained and signed model. `snapshot` is the one that it was trained on; a later equal one shares its root."""

    id: str
    kind: str
    folder: Path
    snapshot: str
    root: str
    weights_sha256: str
    reused: bool

    @property
    def weights(self) -> Path:
        """The weights that its credential is bound to."""
        return self.folder / WEIGHTS


def make_model(
    workspace: Workspace, settings: ModelSettings, identity: Identity, snapshot: Snapshot, selection: pd.DataFrame,
    backgrounds: Backgrounds,
) -> Model:  # fmt: skip
    """The model of a snapshot: trained (or its training resumed), signed and recorded; reused while its key holds."""
    catalog = open_catalog(workspace)
    key = model_key(snapshot.root, settings, training_set_key(selection, backgrounds, settings))
    folder = workspace.model(key[:16])
    reused = is_trained(folder)
    if not reused:
        from pipeline.generators.torchrun import train_in_processes
        from pipeline.generators.training import train as train_model

        data = prepare_training_set(workspace, selection, backgrounds, settings, folder / "training-set")
        with bar("training") as advance:
            if settings.processes > 1:
                train_in_processes(settings, folder / "training-set", data, snapshot.root, folder, advance)
            else:
                train_model(settings, data, snapshot.root, folder, advance)
    trained = trained_model(folder)
    record_model(
        catalog, id=key[:16], key=key, kind=trained.kind, snapshot=snapshot.id, root=snapshot.root,
        weights_sha256=trained.weights_sha256, trained_at=now(),
    )  # fmt: skip
    return sign(workspace, key[:16], identity, reused)


def sign(workspace: Workspace, identifier: str, identity: Identity, reused: bool) -> Model:
    """A recorded model with its credential, whose ingredient is the snapshot it was trained on; signed once."""
    catalog = open_catalog(workspace)
    row = model_row(catalog, identifier)
    origin = snapshot_row(catalog, row.snapshot)
    statement = load_snapshot(workspace, row.snapshot).statement
    sign_snapshot(statement, identity, snapshot=origin.id, root=origin.root, size=origin.size, when=origin.created_at)
    folder = workspace.model(identifier)
    facts = {"kind": row.kind, "snapshot": origin.id, "root": row.root, "weights_sha256": row.weights_sha256}
    base = workspace.model(row.base) / WEIGHTS if row.base else None
    sign_model(folder / WEIGHTS, statement, identity, model=identifier, facts=facts, when=row.trained_at, base=base)
    return Model(identifier, row.kind, folder, row.snapshot, row.root, row.weights_sha256, reused)


def train_stage(job: Job, snapshot: Snapshot, selection: pd.DataFrame) -> Model:
    """Train on a job's snapshot, unless a model with the same key exists."""
    with timed_stage("train", job.account) as stage:
        backgrounds = {dataset.name: dataset.background for dataset in job.settings.datasets}
        model = make_model(job.workspace, job.settings.model, job.identity, snapshot, selection, backgrounds)
        note_run(job.catalog, job.run, model=model.id)
        stage.taken = stage.given = snapshot.size
        stage.note = f"{model.kind} model {model.id}" + (
            ", reused: nothing it depends on changed" if model.reused else ""
        )
    return model


@flow(name="train")
def train(config: Path, home: Path | None = None) -> str:
    """Audit a job's datasets as ingested and train on the snapshot; returns the model's id."""
    with only_run(Workspace.at(home)):
        job = open_job(config, home)
        audited = audit_stage(job)
        return train_stage(job, audited.snapshot, audited.selection).id
