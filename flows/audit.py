"""Audit: consent events enter the ledger, every asset is decided, and what may be used becomes a signed snapshot."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from prefect import flow

from flows.job import Job, only_run, open_job
from flows.progress import timed_stage
from pipeline.catalog.assets import read_fingerprints, read_inventory
from pipeline.catalog.ledger import append_events, ledger_head, read_event_table
from pipeline.catalog.runs import note_run
from pipeline.core.settings import DatasetSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest.locate import locate_source
from pipeline.rights.datasets import decide_among_all
from pipeline.rights.events import read_event_file, unreadable
from pipeline.rights.selection import select
from pipeline.rights.snapshot import Snapshot, make_snapshot
from pipeline.similarity.shard_join import join_with


@dataclass(frozen=True)
class Audited:
    """Decisions over every accepted file (tables.DECISIONS), the selection (tables.SELECTION) and its snapshot."""

    decisions: pd.DataFrame
    selection: pd.DataFrame
    snapshot: Snapshot


def import_consent(job: Job, dataset: DatasetSettings) -> tuple[int, int]:
    """Append the consent events that a dataset brings: (how many are new, how many of its rows nobody could read)."""
    folder = locate_source(dataset, job.workspace)
    imported = lost = 0
    for file in dataset.consent:
        beside = (folder if folder.is_dir() else folder.parent) / file.file
        path = beside if beside.exists() else Path(file.file)
        events = read_event_file(path, file, dataset.name, recorded_at=job.run.as_of)
        appended = append_events(job.catalog, events)
        imported += appended.imported
        lost += len(unreadable([*events, *appended.contradicting]))
    return imported, lost


def audit_stage(job: Job) -> Audited:
    """Decide every asset at the run's moment, select, and sign the snapshot."""
    with timed_stage("audit", job.account) as stage:
        names = [dataset.name for dataset in job.settings.datasets]
        appended = [import_consent(job, dataset) for dataset in job.settings.datasets]
        imported, lost = (sum(counts) for counts in zip(*appended, strict=True))
        inventories = pd.concat([read_inventory(job.workspace, name).assign(dataset=name) for name in names])
        fingerprints = pd.concat([read_fingerprints(job.workspace, name) for name in names])
        moment = job.run.as_of
        events = read_event_table(job.catalog, moment)
        decisions = decide_among_all(job.workspace, inventories, events, job.purpose, job.policy, moment, moment)
        join = join_with(job.settings.work, job.folder)
        selection = select(inventories, decisions, fingerprints, job.settings.duplicates, join)
        head = ledger_head(job.catalog, moment)
        snapshot = make_snapshot(
            job.workspace, selection, decisions, job.purpose, job.policy, moment, moment, head, job.settings.salted
        )
        note_run(job.catalog, job.run, snapshot=snapshot.id)
        counts = Counter(selection.decision)
        stage.taken, stage.given = len(selection), snapshot.size
        stage.note = (
            f"{counts['allow']:,} allowed, {counts['review']:,} to review, {counts['deny']:,} denied; "
            f"{imported:,} new consent events{f', {lost:,} unreadable' if lost else ''}; snapshot {snapshot.id}"
        )
    return Audited(decisions, selection, snapshot)


@flow(name="audit")
def audit(config: Path, home: Path | None = None) -> str:
    """Audit a job's datasets as ingested; returns the snapshot's id."""
    with only_run(Workspace.at(home)):
        return audit_stage(open_job(config, home)).snapshot.id
