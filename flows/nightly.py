"""Nightly: the whole chain, from licensed files to published images that can answer for themselves.

Outputs on disk and the catalog are the truth; Prefect schedules and shows. Started again after a crash, the run goes
on where it stopped and ends as if nothing had happened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import Task, flow, task
from prefect.cache_policies import NO_CACHE

from flows.audit import audit_stage
from flows.generate import generate_stage, screen_stage, stamp_stage
from flows.ingest import ingest_stage
from flows.job import only_run, provenance
from flows.prefect_home import close_stale_runs, stop_orphaned_servers
from flows.progress import console
from flows.report import report_stage
from flows.train import train_stage
from flows.withdraw import impact_stage, note_retrained, open_current_job
from pipeline.catalog.runs import finish_run
from pipeline.core.shards import write_json
from pipeline.core.workspace import Workspace

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Outcome:
    """What a nightly run came to."""

    run: str
    snapshot: str
    model: str
    reused: bool
    generated: int
    published: int
    quarantined: int
    report: Path
    summary: str

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        return {**self.__dict__, "report": str(self.report)}


def _task(stage: Callable[Parameters, Returned]) -> Task[Parameters, Returned]:
    """A stage as a Prefect task. No cache and no retries: our own completion records know better."""
    name = stage.__name__.removesuffix("_stage")
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(stage)


@flow(name="nightly")
def nightly(config: Path, home: Path | None = None) -> Outcome:
    """Run a job, whole. Returns what came of it; raises ImprimaturError for what a person must mend."""
    workspace = Workspace.at(home)
    with only_run(workspace):
        stop_orphaned_servers(workspace)
        close_stale_runs(workspace)
        job = open_current_job(config, home)
        if job.run.resumed:
            console.print(f"resuming {job.run.id}, begun {job.run.as_of}")
        write_json(job.folder / "run.json", provenance(job))
        totals = [_task(ingest_stage)(job, dataset) for dataset in job.settings.datasets]
        audited = _task(audit_stage)(job)
        _task(impact_stage)(job)
        model = _task(train_stage)(job, audited.snapshot, audited.selection)
        note_retrained(job, model.id)
        generated = _task(generate_stage)(job, model)
        verdicts = _task(screen_stage)(job, audited, generated)
        stamped = _task(stamp_stage)(job, model, generated, verdicts)
        reported = _task(report_stage)(job, totals, audited, model, generated, verdicts, stamped)
        finish_run(job.catalog, job.run)
        published = int((stamped.state == "published").sum())
        return Outcome(
            job.run.id, audited.snapshot.id, model.id, model.reused, len(stamped), published,
            len(stamped) - published, reported.path, reported.summary,
        )  # fmt: skip
