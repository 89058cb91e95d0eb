"""What a stage needs to know: the job's settings, the workspace, the policy and the run."""

import importlib.metadata
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Engine

from flows.progress import Stage
from pipeline.catalog.database import open_catalog
from pipeline.catalog.runs import Run, begin_run
from pipeline.core.digests import json_digest, source_digest
from pipeline.core.errors import EnvironmentFault, ImprimaturError, NeedsPerson
from pipeline.core.settings import JobSettings, load_job
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import Identity, ensure_identity
from pipeline.credentials.watermark import MINIMUM_SIDE
from pipeline.rights.findings import Purpose
from pipeline.rights.policy import Policy, load_policy

PACKAGES = ("prefect", "torch", "pillow", "pandas", "c2pa-python", "imagehash", "numpy", "pyarrow", "safetensors")
LEAST_FREE_BYTES = 50_000_000  # catalog, Prefect's database and one small batch


@dataclass(frozen=True)
class Job:
    """One run of one job. Holds no secrets: the identity names its key file only."""

    settings: JobSettings
    workspace: Workspace
    policy: Policy
    identity: Identity
    run: Run
    account: list[Stage] = field(default_factory=list)

    @property
    def catalog(self) -> Engine:
        """The workspace's catalog."""
        return open_catalog(self.workspace)

    @property
    def folder(self) -> Path:
        """Where this run's batch lies."""
        return self.workspace.batch(self.run.id)

    @property
    def purpose(self) -> Purpose:
        """What the assets are to be used for."""
        return Purpose(self.settings.purpose, self.settings.commercial)


def check_job(config: Path, home: Path | None) -> tuple[JobSettings, Workspace, Policy, Identity]:
    """Read the settings and check everything that can fail early: policy, disk, catalog, certificate."""
    settings = load_job(config)
    side = settings.model.size * settings.batch.scale
    if side < MINIMUM_SIDE:
        raise ImprimaturError(
            f"{config}: model.size x batch.scale gives images of {side} pixels; the watermark needs {MINIMUM_SIDE}",
            f"set batch.scale to {-(-MINIMUM_SIDE // settings.model.size)} or more",
        )
    policy = load_policy(settings.policy)
    workspace = Workspace.at(home)
    open_catalog(workspace)
    free = shutil.disk_usage(workspace.home).free
    if free < LEAST_FREE_BYTES:
        raise EnvironmentFault(
            f"only {free / 1e6:.0f} MB are free for {workspace.home}, {LEAST_FREE_BYTES / 1e6:.0f} are needed",
            "free space or choose another --home; finished work is kept",
        )
    return settings, workspace, policy, ensure_identity(settings.credentials, workspace)


def open_job(config: Path, home: Path | None) -> Job:
    """Check a job and begin its run, or take up the unfinished one."""
    settings, workspace, policy, identity = check_job(config, home)
    run = begin_run(open_catalog(workspace), settings.name, json_digest(settings.model_dump(mode="json")))
    return Job(settings, workspace, policy, identity, run)


@contextmanager
def only_run(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace for one run; the lock falls with the process, however it ends."""
    try:
        workspace.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot create the workspace {workspace.home}: {error.strerror}", "choose another --home"
        ) from None
    lock = FileLock(workspace.home / "run.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise NeedsPerson(
            f"another run is at work in {workspace.home}", "wait for it to end, or choose another --home"
        ) from None
    try:
        yield
    finally:
        lock.release()


def provenance(job: Job) -> dict[str, Any]:
    """What a run folder records about how it was made: settings and their digest, code, packages, machine."""
    root = Path(__file__).parent.parent
    return {
        "run": job.run.id,
        "as_of": job.run.as_of,
        "settings": job.settings.model_dump(mode="json"),
        "settings_sha256": json_digest(job.settings.model_dump(mode="json")),
        "code_sha256": source_digest([root / "flows", root / "pipeline"]),
        "packages": {name: importlib.metadata.version(name) for name in (*PACKAGES, "imprimatur")},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
