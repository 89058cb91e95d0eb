"""Generate: a signed model becomes images; the gate judges them; what passes is stamped and published."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import flow

from flows.audit import Audited, audit_stage
from flows.job import Job, only_run
from flows.progress import bar, timed_stage
from flows.sources import chosen, decided_inputs, lay_out
from flows.train import Model, train_stage
from flows.withdraw import open_current_job, require_current
from pipeline.catalog.assets import read_fingerprints
from pipeline.catalog.records import earlier_batches
from pipeline.catalog.tables import VERDICTS
from pipeline.core.digests import file_sha256, json_digest
from pipeline.core.shards import finish, is_finished, read_parts, read_table, write_json, write_table
from pipeline.core.work import Job as ShardJob
from pipeline.core.work import mapper, raise_failures
from pipeline.core.workspace import Workspace
from pipeline.credentials.batch import publish, stamp_shard, stamping_jobs
from pipeline.generators.batch import VariedSource, batch_jobs, generate_shard
from pipeline.screening.earlier import earlier_rows
from pipeline.screening.gate import screen
from pipeline.similarity.hash_lists import read_hash_lists


def batch_seed(job: Job) -> int:
    """The seed of this run's batch: another one for every run, the same one whenever this run is taken up again."""
    return int(json_digest([job.settings.batch.seed, job.run.number])[:13], 16)  # below 2**53, JSON's limit


def generate_stage(job: Job, model: Model) -> list[Path]:
    """Sample the batch; returns its shard files (tables.GENERATED) in order."""
    require_current(job, model.id)
    with timed_stage("generate", job.account) as stage:
        folder = job.folder / "generated"
        sources, strength = varied_sources(job, folder)
        batch, seed = job.settings.batch, batch_seed(job)
        jobs = batch_jobs(model.folder, model.weights_sha256, batch, seed, folder, sources, strength)
        _map(job, "generating", generate_shard, jobs)
        stage.taken = stage.given = job.settings.batch.count
        stage.note = f"batch {job.run.id}, seed {seed}"
        if sources:
            stage.note += f", variations of {len(sources):,} licensed pictures at strength {strength:g}"
    return [Path(shard["out"]) for shard in jobs]


def varied_sources(job: Job, folder: Path) -> tuple[list[VariedSource], float]:
    """The licensed pictures that the batch varies, laid out below `folder`, and how strongly; else none."""
    asked = job.settings.batch.variations
    if asked is None:
        return [], 0.0
    inputs = decided_inputs(job.workspace, asked.dataset, job.settings.commercial, job.policy, job.run.as_of)
    picked = chosen(inputs, asked.classes, job.settings.batch.count, batch_seed(job))
    background = next(dataset.background for dataset in job.settings.datasets if dataset.name == asked.dataset)
    return lay_out(job.workspace, picked, background, folder), asked.strength


def screen_stage(job: Job, audited: Audited, generated: list[Path]) -> Path:
    """Judge every image; returns the verdicts' file (tables.VERDICTS)."""
    with timed_stage("screen", job.account) as stage:
        out, beside = job.folder / "verdicts.parquet", job.folder / "screening.json"
        images = pd.concat([read_table(part) for part in generated], ignore_index=True)
        settings = job.settings.screening
        lists = read_hash_lists(settings.hash_lists)
        listed = [file_sha256(path) for path in settings.hash_lists]
        key = json_digest([list(images.pixels), audited.snapshot.id, settings.model_dump(mode="json"), listed])
        if not (is_finished(out, key) and beside.exists()):
            known, earlier = known_assets(job, audited), earlier_outputs(job, images)
            screened = screen(images, known, earlier, job.settings.duplicates, settings, lists)
            write_json(beside, {"honest": asdict(screened.honest)})
            write_table(out, screened.verdicts, VERDICTS)
            finish(out, key)
        verdicts = read_table(out, ["verdict"])
        stage.taken, stage.given = len(verdicts), int((verdicts.verdict == "pass").sum())
        stage.note = f"{stage.taken - stage.given:,} to quarantine"
    return out


def stamp_stage(job: Job, model: Model, generated: list[Path], verdicts: Path) -> pd.DataFrame:
    """Stamp what passed, read it back, publish; returns the table of all images (tables.STAMPED)."""
    with timed_stage("stamp", job.account) as stage:
        facts = {
            "batch": job.run.id,
            "seed": batch_seed(job),
            "model": model.id,
            "model_sha256": model.weights_sha256,
            "snapshot": model.snapshot,
            "snapshot_root": model.root,
        }
        settings = job.settings
        jobs = stamping_jobs(
            job.workspace, generated, verdicts, facts, settings.credentials, job.identity, model.weights,
            settings.batch.format, job.folder,
        )  # fmt: skip
        _map(job, "stamping", stamp_shard, jobs)
        stamped = read_parts(job.folder / "stamped")
        require_current(job, model.id)
        publish(job.catalog, job.run.id, model.id, model.snapshot, stamped, job.folder)
        stage.taken, stage.given = len(stamped), int((stamped.state == "published").sum())
        stage.note = f"signed by {job.identity.common_name}"
    return stamped


def known_assets(job: Job, audited: Audited) -> pd.DataFrame:
    """Every accepted asset of the job's datasets with its fingerprint, decision and whether it was trained on."""
    names = [dataset.name for dataset in job.settings.datasets]
    fingerprints = pd.concat([read_fingerprints(job.workspace, name) for name in names])
    facts = audited.selection[["asset", "decision", "selected"]].rename(columns={"selected": "trained"})
    return fingerprints.drop_duplicates("asset").merge(facts, on="asset").reset_index(drop=True)


def earlier_outputs(job: Job, images: pd.DataFrame) -> pd.DataFrame:
    """Fingerprints of what earlier batches published and one of the images may repeat."""
    columns = ["output", "phash", "flatness", "thumbnail", "pixels"]
    named = {batch: job.workspace.batch(batch) for batch in earlier_batches(job.catalog, before=job.run.id)}
    verdicts = {batch: folder / "verdicts.parquet" for batch, folder in named.items()}
    verdicts = {batch: path for batch, path in verdicts.items() if path.exists()}  # else it was stamped by hand
    tables = []
    found = earlier_rows(job.workspace.looks, verdicts, images.image, job.settings.duplicates.distance)
    for batch, rows in found.items():
        folder = named[batch]
        stamped = read_parts(folder / "stamped", ["index", "output", "state"])
        pixels = read_parts(folder / "generated", ["index", "pixels"])
        prints = read_table(verdicts[batch], ["index", "phash", "flatness", "thumbnail"]).iloc[rows]
        merged = stamped[stamped.state == "published"].merge(prints, on="index").merge(pixels, on="index")
        tables.append(merged[columns])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _map(job: Job, title: str, function: Any, jobs: list[ShardJob]) -> None:
    work = job.settings.work
    with mapper(work.backend, min(work.workers, len(jobs)), work.address) as pmap, bar(title) as advance:
        for done, result in enumerate(pmap(function, jobs), start=1):
            raise_failures([result])
            advance(done, len(jobs), "")


@flow(name="generate")
def generate(config: Path, home: Path | None = None) -> int:
    """Generate, screen and stamp a job's next batch from its datasets as ingested; returns how many are published."""
    with only_run(Workspace.at(home)):
        job = open_current_job(config, home)
        audited = audit_stage(job)
        model = train_stage(job, audited.snapshot, audited.selection)
        generated = generate_stage(job, model)
        stamped = stamp_stage(job, model, generated, screen_stage(job, audited, generated))
        return int((stamped.state == "published").sum())
