"""Ingest: licensed files become validated assets with facts as found."""

from pathlib import Path

from prefect import flow

from flows.job import Job, only_run, open_job
from flows.progress import timed_stage
from pipeline.catalog.assets import inventory_path, read_asset, read_inventory
from pipeline.core.digests import file_sha256, json_digest
from pipeline.core.settings import DatasetSettings
from pipeline.core.shards import finish, is_finished, write_json
from pipeline.core.workspace import Workspace
from pipeline.ingest import IngestTotals, ingest_dataset
from pipeline.screening.hash_lists import read_hash_lists, stop_at_matches


def ingest_stage(job: Job, dataset: DatasetSettings) -> IngestTotals:
    """Ingest one dataset of a job."""
    with timed_stage("ingest", job.account) as stage:
        totals = ingest_dataset(dataset, job.workspace, job.settings.work)
        look_up_assets(job, dataset)
        stage.taken, stage.given = totals.seen, totals.accepted
        stage.note = f"{totals.dataset}: {totals.rejected:,} rejected, {totals.duplicates:,} exact duplicates"
    return totals


def look_up_assets(job: Job, dataset: DatasetSettings) -> None:
    """Look every accepted asset up in the safety hash lists, if there are any. Raises NeedsPerson on a match."""
    lists = read_hash_lists(job.settings.screening.hash_lists)
    inventory, folder = inventory_path(job.workspace, dataset.name), job.workspace.dataset(dataset.name)
    looked_up = folder / "hash-lists.json"
    key = json_digest([file_sha256(inventory), *map(file_sha256, job.settings.screening.hash_lists)])
    if not job.settings.screening.hash_lists or is_finished(looked_up, key):
        return
    assets = read_inventory(job.workspace, dataset.name)
    assets = assets[assets.status == "accepted"].drop_duplicates("asset")
    places = zip(assets.file, assets.asset, assets.store, assets.offset, assets.length, strict=True)
    stop_at_matches(
        lists, ((file, read_asset(job.workspace, dataset.name, *place)) for file, *place in places), dataset.name
    )
    write_json(looked_up, {"assets": len(assets)})
    finish(looked_up, key)


@flow(name="ingest")
def ingest(config: Path, home: Path | None = None) -> list[IngestTotals]:
    """Ingest every dataset of a job."""
    with only_run(Workspace.at(home)):
        job = open_job(config, home)
        return [ingest_stage(job, dataset) for dataset in job.settings.datasets]
