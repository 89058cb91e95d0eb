"""Train: a snapshot becomes a signed model, or the model that it already became is taken again."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from prefect import flow

from flows.audit import audit_stage
from flows.job import Job, only_run, open_job
from flows.progress import bar, timed_stage
from pipeline.catalog.records import record_model
from pipeline.catalog.runs import note_run
from pipeline.core.moments import now
from pipeline.core.settings import ModelSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import Identity
from pipeline.credentials.sidecars import sign_model
from pipeline.generators.training import is_trained, model_key, train as train_model
from pipeline.generators.training_set import prepare_training_set


@dataclass(frozen=True)
class Model:
    """A trained and signed model."""

    id: str
    kind: str
    folder: Path
    snapshot: str
    root: str
    weights_sha256: str
    reused: bool


def train_stage(job: Job, snapshot: str, root: str, selection: pd.DataFrame) -> Model:
    """Train on a snapshot, unless a model with the same key exists."""
    with timed_stage("train", job.account) as stage:
        chosen = selection[selection.selected]
        backgrounds = {dataset.name: dataset.background for dataset in job.settings.datasets}
        model = make_model(job.workspace, job.settings.model, job.identity, snapshot, root, chosen, backgrounds)
        note_run(job.catalog, job.run, model=model.id)
        stage.taken = stage.given = len(chosen)
        stage.note = f"{model.kind} model {model.id}" + (
            ", reused: nothing it depends on changed" if model.reused else ""
        )
    return model
