"""The schedule: a deployed job is registered with a real Prefect server, which plans its nights."""

import os
import signal
import socket
import subprocess
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from flows.prefect_home import SERVER_URL
from tests.e2e.conftest import Studio


def planned_runs(limit: float) -> list[str]:
    """Start times of the scheduled flow runs, as soon as the server has planned any."""
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "limit": 5}
    until = time.monotonic() + limit
    while time.monotonic() < until:
        try:
            found = httpx.post(f"{SERVER_URL}/api/flow_runs/filter", json=wanted, timeout=10).json()
        except httpx.HTTPError:
            found = []
        if found:
            return [run["expected_start_time"] for run in found]
        time.sleep(1)
    return []


def port_is_taken() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 4200)) == 0


def test_a_deployed_job_is_planned_at_its_hour_in_its_time_zone(studio: Studio, tmp_path: Path) -> None:
    if port_is_taken():
        pytest.skip("port 4200 is taken by another Prefect server")
    config = studio.variant("scheduled", schedule={"cron": "30 2 * * *", "timezone": "Asia/Kolkata"})
    command = studio.command("deploy", "--config", str(config), "--home", str(tmp_path / "home"))
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        command, cwd=studio.folder, env=studio.environment(), start_new_session=True, stdout=log, stderr=log
    )
    try:
        starts = planned_runs(limit=240)
        assert starts, (tmp_path / "log").read_text()
        for start in starts:
            local = datetime.fromisoformat(start.replace("Z", "+00:00")).astimezone(ZoneInfo("Asia/Kolkata"))
            assert (local.hour, local.minute) == (2, 30)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        log.close()
