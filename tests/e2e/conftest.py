"""A studio in miniature: the sample set with every rights case in it, and the command line as a user runs it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.sample.sample_set import draw_sample_set

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Studio:
    """A folder with a sample set, a job's config and any number of workspaces."""

    folder: Path
    config: Path
    sample: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "flows.cli", *arguments]

    def environment(self) -> dict[str, str]:
        # one Prefect home for all workspaces: its database is migrated once
        return {**os.environ, "PREFECT_HOME": str(self.folder / "prefect"), "PYTHONPATH": str(ROOT)}

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of imprimatur to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )

    def nightly(self, home: Path, config: Path | None = None) -> dict[str, Any]:
        """A whole nightly run; its JSON line."""
        done = self.run("nightly", "--config", str(config or self.config), "--home", str(home), "--json")
        assert done.returncode == 0, done.stderr
        outcome: dict[str, Any] = json.loads(done.stdout)
        return outcome

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """The JSON Lines of a command, whatever its exit code."""
        done = self.run(*arguments, "--json")
        assert done.returncode in (0, 1), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def variant(self, name: str, **changes: Any) -> Path:
        """The job's config with some top-level keys changed."""
        value = yaml.safe_load(self.config.read_text()) | changes
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(value))
        return path


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    sample = folder / "sample"
    draw_sample_set(ROOT / "data" / "sample.yaml", sample, count=240)
    job = yaml.safe_load((ROOT / "configs" / "nightly.yaml").read_text())
    job["datasets"][0]["source"] = str(sample)
    # steps, not seconds: the weights must be the same in every workspace
    job["model"] = {"kind": "vae", "size": 32, "steps": 300, "width": 16}
    job["batch"] = {"count": 40, "shard_size": 16, "scale": 2}
    job["work"] = {"workers": 2, "shard_size": 64}
    config = folder / "nightly.yaml"
    config.write_text(yaml.safe_dump(job))
    return Studio(folder, config, sample)


@dataclass(frozen=True)
class Finished:
    """An undisturbed run and its workspace."""

    home: Path
    outcome: dict[str, Any]
    seconds: float


@pytest.fixture(scope="session")
def finished(studio: Studio) -> Finished:
    import time

    home = studio.folder / "undisturbed"
    started = time.monotonic()
    outcome = studio.nightly(home)
    return Finished(home, outcome, time.monotonic() - started)
