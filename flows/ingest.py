"""Ingest: licensed files become validated assets with facts as found."""

from pathlib import Path

from prefect import flow

from flows.job import Job, only_run, open_job
from flows.progress import timed_stage
from pipeline.core.settings import DatasetSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest import IngestTotals, ingest_dataset


def ingest_stage(job: Job, dataset: DatasetSettings) -> IngestTotals:
    """Ingest one dataset of a job."""
    with timed_stage("ingest", job.account) as stage:
        lists = job.settings.screening.hash_lists
        totals = ingest_dataset(dataset, job.workspace, job.settings.work, lists)
        stage.taken, stage.given = totals.seen, totals.accepted
        stage.note = f"{totals.dataset}: {totals.rejected:,} rejected, {totals.duplicates:,} exact duplicates"
    return totals


@flow(name="ingest")
def ingest(config: Path, home: Path | None = None) -> list[IngestTotals]:
    """Ingest every dataset of a job."""
    with only_run(Workspace.at(home)):
        job = open_job(config, home)
        return [ingest_stage(job, dataset) for dataset in job.settings.datasets]
