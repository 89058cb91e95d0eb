"""Deploy: register nightly schedules with Prefect and serve them."""

from pathlib import Path
from typing import cast

from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron

from flows.nightly import nightly
from flows.progress import console
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import load_job


def nightly_deployment(config: Path, home: Path | None) -> RunnerDeployment:
    """The deployment of one job, on its own schedule. Paths are made absolute: the server may start elsewhere."""
    job = load_job(config)
    try:
        schedule = Cron(job.schedule.cron, timezone=job.schedule.timezone)
        deployment = nightly.to_deployment(
            name=job.name,
            parameters={"config": str(config.resolve()), "home": str(home.resolve()) if home else None},
            schedule=schedule,
            tags=["imprimatur"],
            concurrency_limit=1,
        )
        return cast(RunnerDeployment, deployment)  # a coroutine only when called from one
    except ValueError as error:
        raise ImprimaturError(
            f"{config}: schedule: {error}", "write cron as five fields and an IANA time zone such as Europe/Paris"
        ) from None


def serve_schedules(configs: list[Path], home: Path | None) -> None:
    """Register every job's deployment and wait for its hour; ends when it is stopped."""
    deployments = [nightly_deployment(config, home) for config in configs]
    for deployment in deployments:
        console.print(f"serving nightly/{deployment.name}")
    serve(*deployments)
