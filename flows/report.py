"""Report: what a person looks at in the morning, and the batch's table."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from flows.audit import Audited
from flows.generate import batch_seed
from flows.job import Job
from flows.progress import timed_stage
from flows.train import Model
from pipeline.audit.attribution import write_credits
from pipeline.audit.batch_table import batch_table, write_batch_table
from pipeline.audit.report import (
    HonestFacts,
    ModelFacts,
    NightlyReport,
    SignerFacts,
    SnapshotFacts,
    StageRow,
    report_path,
    summary_text,
    write_report,
)
from pipeline.audit.subject import snapshot_subject
from pipeline.catalog.assets import read_fingerprints, read_inventory
from pipeline.catalog.ledger import ledger_head
from pipeline.core.digests import sha256
from pipeline.core.moments import now
from pipeline.core.shards import read_table, write_json
from pipeline.credentials.stamp import SENTENCES
from pipeline.ingest import IngestTotals
from pipeline.ingest.reasons import EXPLANATIONS as INGEST_EXPLANATIONS
from pipeline.rights.policy import policy_digest
from pipeline.rights.reasons import Reason
from pipeline.screening.reasons import EXPLANATIONS as SCREENING_EXPLANATIONS


@dataclass(frozen=True)
class Reported:
    """Where the report lies, and what it says in eleven lines."""

    path: Path
    summary: str


def report_stage(
    job: Job, totals: list[IngestTotals], audited: Audited, model: Model, generated: list[Path], verdicts: Path,
    stamped: pd.DataFrame,
) -> Reported:  # fmt: skip
    """Write batch.parquet, report.html and the run's account."""
    with timed_stage("report", job.account) as stage:
        images = pd.concat([read_table(part) for part in generated], ignore_index=True)
        table = batch_table(
            images, read_table(verdicts), stamped, batch=job.run.id, model=model.id, snapshot=model.snapshot,
            seed=batch_seed(job),
        )  # fmt: skip
        write_batch_table(job.workspace, table)
        write_credits(snapshot_subject(job.workspace, model.snapshot, now()), job.folder / "attribution.csv")
        report = gather(job, totals, audited, model, images, table)
        path = write_report(report, report_path(job.workspace, job.run.id))
        summary = summary_text(report)
        stage.taken = stage.given = len(table)
        stage.note = str(path)
    write_json(job.folder / "account.json", {"stages": [row.__dict__ for row in job.account], "summary": summary})
    return Reported(path, summary)


def gather(
    job: Job, totals: list[IngestTotals], audited: Audited, model: Model, images: pd.DataFrame, table: pd.DataFrame
) -> NightlyReport:
    """Everything that the report shows, as plain values."""
    names = [dataset.name for dataset in job.settings.datasets]
    columns = ["file", "reason", "detail", "status"]
    seen = pd.concat([read_inventory(job.workspace, name, columns).assign(dataset=name) for name in names])
    prints = pd.concat([read_fingerprints(job.workspace, name) for name in names])
    near = {row["asset"] for nearest in table.nearest for row in nearest}
    shown = prints[prints.asset.isin(near)]
    return NightlyReport(
        job=job.settings.name,
        run=job.run.id,
        started=job.run.as_of,
        finished=now(),
        home=job.workspace.home.name,
        stages=tuple(StageRow(row.name, row.taken, row.given, row.seconds, row.note) for row in job.account),
        datasets=pd.DataFrame([total.__dict__ for total in totals]),
        rejected=seen[seen.status == "rejected"],
        decisions=audited.decisions,
        selection=audited.selection,
        snapshot=snapshot_facts(job, audited),
        model=model_facts(model),
        batch=table,
        honest=HonestFacts(**json.loads((job.folder / "screening.json").read_text())["honest"]),
        signer=SignerFacts(job.identity.common_name, job.identity.development),
        images=dict(zip(images["index"], images.image, strict=True)),
        thumbnails=dict(zip(shown.asset, shown.thumbnail, strict=True)),
        explanations=explanations(),
    )


def snapshot_facts(job: Job, audited: Audited) -> SnapshotFacts:
    """The snapshot as the report shows it."""
    snapshot = audited.snapshot
    return SnapshotFacts(
        id=snapshot.id,
        root=snapshot.root,
        statement=str(snapshot.statement.relative_to(job.workspace.home)),
        public_key=sha256(snapshot.public_key.read_bytes()),
        as_of=job.run.as_of,
        known_at=job.run.as_of,
        purpose=str(job.purpose),
        policy_sha256=policy_digest(job.policy),
        ledger_head=ledger_head(job.catalog, job.run.as_of),
    )


def model_facts(model: Model) -> ModelFacts:
    """The model as the report shows it, with its loss curves."""
    lines = (model.folder / "metrics.jsonl").read_text().splitlines()
    record = json.loads((model.folder / "model.json").read_text())
    return ModelFacts(
        id=model.id,
        kind=model.kind,
        root=model.root,
        weights_sha256=model.weights_sha256,
        reused=model.reused,
        classes=tuple(record["class_names"]),
        metrics=tuple(json.loads(line) for line in lines),
        samples=(model.folder / "samples.png").read_bytes(),
        evaluation=record["metrics"]["evaluation"],
    )


def explanations() -> dict[str, str]:
    """One sentence for every reason code that a report may show."""
    rights = {str(reason): reason.explanation for reason in Reason}
    others = (INGEST_EXPLANATIONS, SCREENING_EXPLANATIONS, SENTENCES)
    return rights | {str(code): text for group in others for code, text in group.items()}
