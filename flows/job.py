"""What a stage needs to know: the job's settings, the workspace, the policy and the run."""

import importlib.metadata
import platform
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
from pipeline.core.errors import EnvironmentFault, NeedsPerson
from pipeline.core.settings import JobSettings, load_job
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import Identity, ensure_identity
from pipeline.rights.findings import Purpose
from pipeline.rights.policy import Policy, load_policy

PACKAGES = ("prefect", "torch", "pillow", "pandas", "c2pa-python", "imagehash", "numpy", "pyarrow", "safetensors")


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


def open_job(config: Path, home: Path | None) -> Job:
    """Read the settings and check everything that can fail early: policy, certificate, disk. Then begin the run."""
    settings = load_job(config)
    policy = load_policy(settings.policy)
    workspace = Workspace.at(home)
    catalog = open_catalog(workspace)
    identity = ensure_identity(settings.credentials, workspace)
    run = begin_run(catalog, settings.name, json_digest(settings.model_dump(mode="json")))
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
