"""kill -9 at any moment, then the same command again: nothing lost, nothing doubled, the same result."""

import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import text

from pipeline.catalog.database import open_catalog
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from tests.e2e.conftest import Finished, Studio

# what must not depend on crashes; signatures, labels and times of stamping may
SAME = ["index", "label", "state", "reasons", "verdict", "pixels", "generated_pixels", "watermark", "output", "file"]


def killed_after(studio: Studio, home: Path, seconds: float) -> bool:
    """Start a nightly run and kill its whole process group; False when its work was done before."""
    command = studio.command("nightly", "--config", str(studio.config), "--home", str(home))
    process = subprocess.Popen(
        command, cwd=studio.folder, env=studio.environment(), start_new_session=True, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return not is_done(home)
    assert process.returncode == 0
    return False


def is_done(home: Path) -> bool:
    """Whether the run was finished: what came after is the process's own end, and the next run is another night."""
    workspace = Workspace(home)
    if not workspace.catalog.exists():
        return False
    with open_catalog(workspace).connect() as connection:
        return bool(connection.execute(text("select count(*) from runs where state = 'done'")).scalar())


def plain(table: pd.DataFrame) -> list[list[object]]:
    return [[list(value) if hasattr(value, "tolist") else value for value in row] for row in table[SAME].to_numpy()]


def check_equals_undisturbed(studio: Studio, finished: Finished, home: Path) -> None:
    workspace, undisturbed = Workspace(home), Workspace(finished.home)
    outcome = finished.outcome
    batch, before = workspace.batch(outcome["run"]), undisturbed.batch(outcome["run"])
    assert plain(read_table(batch / "batch.parquet")) == plain(read_table(before / "batch.parquet"))
    for folder in ("images", "quarantine"):
        names = [
            sorted(path.name for path in (at / folder).iterdir()) if (at / folder).exists() else []
            for at in (batch, before)
        ]
        assert names[0] == names[1]
    decisions = [
        read_table(next(place.home.glob("snapshots/*")) / "decisions.parquet")[["file", "decision", "reasons"]].map(
            str
        )
        for place in (workspace, undisturbed)
    ]
    pd.testing.assert_frame_equal(*decisions)
    assert len(list(home.glob("snapshots/*"))) == len(list(home.glob("models/*"))) == 1
    assert not list(home.rglob("*.tmp")) and not (batch / "staging").exists()
    with open_catalog(workspace).connect() as connection:
        rows = connection.execute(text("select count(*), count(distinct watermark) from outputs")).one()
        assert connection.execute(text("select count(*) from runs where state = 'done'")).scalar() == 1
    stamped = int((read_table(batch / "batch.parquet").output != "").sum())
    assert tuple(rows) == (stamped, stamped)
    verified = studio.lines("verify", str(batch / "images"), "--home", str(home))
    assert {row["state"] for row in verified} == {"Trusted"}


def crash_and_compare(studio: Studio, finished: Finished, home: Path, kills: int) -> None:
    home.mkdir()
    shutil.copytree(finished.home / "keys", home / "keys")  # the watermark's key is the identity's
    moments = [random.uniform(0.15, 0.95) * finished.seconds for _ in range(kills)]
    print("killed after", moments)
    if all(killed_after(studio, home, seconds) for seconds in moments):
        studio.nightly(home)
    check_equals_undisturbed(studio, finished, home)


def test_killed_twice_at_random_moments(studio: Studio, finished: Finished, tmp_path: Path) -> None:
    crash_and_compare(studio, finished, tmp_path / "home", kills=2)


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(6))
def test_killed_at_many_random_moments(studio: Studio, finished: Finished, tmp_path: Path, attempt: int) -> None:
    crash_and_compare(studio, finished, tmp_path / "home", kills=1 + attempt % 3)
