"""Nightly runs: which one is under way, which number the next one gets.

An unfinished run with the same configuration is taken up again, with the moment at which it began, so that its
decisions and images are those of an undisturbed run. A finished one is followed by the next number: new images.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, func, insert, select, update

from pipeline.catalog.tables import runs
from pipeline.core.errors import ImprimaturError
from pipeline.core.moments import now


@dataclass(frozen=True)
class Run:
    """One nightly run. `as_of` is its moment: what counts as known and as in force."""

    id: str
    job: str
    number: int
    as_of: str
    resumed: bool


def begin_run(catalog: Engine, job: str, config_sha256: str) -> Run:
    """Take up the unfinished run of this job and configuration, else start the next one."""
    with catalog.begin() as connection:
        unfinished = connection.execute(
            select(runs).where(runs.c.job == job, runs.c.config_sha256 == config_sha256, runs.c.state == "running")
        ).first()
        if unfinished:
            return Run(unfinished.id, job, unfinished.number, unfinished.as_of, resumed=True)
        last = connection.execute(select(func.max(runs.c.number)).where(runs.c.job == job)).scalar()
        number = (last or 0) + 1
        run = Run(f"{job}-{number:04d}", job, number, now(), resumed=False)
        connection.execute(
            insert(runs).values(
                id=run.id, job=job, number=number, config_sha256=config_sha256, as_of=run.as_of, state="running",
                snapshot="", model="", finished_at="",
            )
        )  # fmt: skip
    return run


def note_run(catalog: Engine, run: Run, **columns: str) -> None:
    """Note what a run works with (snapshot, model)."""
    with catalog.begin() as connection:
        connection.execute(update(runs).where(runs.c.id == run.id).values(**columns))


def finish_run(catalog: Engine, run: Run) -> None:
    """Mark a run as done."""
    note_run(catalog, run, state="done", finished_at=now())


def abandon_run(catalog: Engine, run: Run) -> None:
    """Give a run up: what it began with does not hold any more. The next one starts anew."""
    note_run(catalog, run, state="abandoned", finished_at=now())


def run_row(catalog: Engine, identifier: str) -> Row[Any]:
    """The row of a run. Raises ImprimaturError when there is none."""
    with catalog.connect() as connection:
        row = connection.execute(select(runs).where(runs.c.id == identifier)).first()
    if row is None:
        raise ImprimaturError(f"batch {identifier!r} is not in this workspace", "name a run, like nightly-0001")
    return row


def model_before(catalog: Engine, run: Run) -> str:
    """The model of the job's last finished run, "" when there is none."""
    query = (
        select(runs.c.model)
        .where(runs.c.job == run.job, runs.c.state == "done", runs.c.number < run.number)
        .order_by(runs.c.number.desc())
        .limit(1)
    )
    with catalog.connect() as connection:
        return connection.execute(query).scalar() or ""
