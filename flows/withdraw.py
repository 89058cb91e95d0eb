"""Withdraw: somebody takes consent back. History stays; snapshots, models and outputs answer for themselves anew."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow

from flows.commands.withdrawals import consequences, counts, withdraw_subject
from flows.job import Job, open_job
from flows.progress import console, timed_stage
from pipeline.audit.impact import model_line
from pipeline.audit.recall import quarantine_unpublished, record_remedy
from pipeline.catalog.ledger import changed_between
from pipeline.catalog.runs import abandon_run, model_before
from pipeline.core.errors import NeedsPerson
from pipeline.core.moments import now
from pipeline.core.workspace import Workspace


def open_current_job(config: Path, home: Path | None) -> Job:
    """Open a job; an unfinished run that began before consent last changed is given up for a new one."""
    job = open_job(config, home)
    if job.run.resumed and changed_between(job.catalog, job.run.as_of, now()):
        console.print(f"consent has changed since {job.run.id} began; it is given up for a new run")
        give_up(job, ())
        return open_job(config, home)
    return job


def impact_stage(job: Job) -> None:
    """Recall what events, imported or come into force, have affected since the last run; restore what is clear."""
    with timed_stage("impact", job.account) as stage:
        lines, settled = consequences(job.workspace)
        found = counts(lines, settled)
        stage.taken, stage.given = len(lines), sum(line.state == "clear" for line in lines)
        stage.note = (
            f"{found['models']:,} models and {found['outputs']:,} outputs affected; "
            f"{found['recalled']:,} recalled, {found['restored']:,} restored"
        )


def require_current(job: Job, model: str) -> None:
    """Stop a run that consent has overtaken: what it has not published goes to quarantine, the next run starts anew.

    Called before anything is sampled, and before anything is published. Raises NeedsPerson.
    """
    if job.policy.on_affected == "warn" or not changed_between(job.catalog, job.run.as_of, now()):
        return
    line = model_line(job.workspace, model, now(), job.policy)
    if line.state != "clear":
        held = give_up(job, line.because)
        raise NeedsPerson(
            f"consent has changed while {job.run.id} was at work: {len(line.because):,} assets behind model {model} "
            f"may not be used any more; {held:,} images went to quarantine, none was published",
            "run the same command again: it starts anew without them",
        )


def note_retrained(job: Job, model: str) -> None:
    """Record the remedy of the job's last model, where it is affected and another one has taken its place."""
    before = model_before(job.catalog, job.run)
    if before in ("", model):
        return
    line = model_line(job.workspace, before, now(), job.policy)
    if line.state != "clear" and line.facts["remedy"] == "none":
        record_remedy(job.workspace, before, "retrained", note=f"model {model}, run {job.run.id}")


def give_up(job: Job, because: Sequence[str]) -> int:
    """Close a run that must not publish; returns how many images went to quarantine."""
    held = quarantine_unpublished(job.workspace, job.run.id, because)
    abandon_run(job.catalog, job.run)
    return held


@flow(name="withdraw")
def withdraw(subject_type: str, subject_id: str, evidence: str = "", home: Path | None = None) -> dict[str, Any]:
    """Record a withdrawal from now on, and recall what it affects."""
    return withdraw_subject(Workspace.at(home), subject_type, subject_id, None, evidence, "")
