"""Prefect, quiet and inside the workspace: no telemetry, no files elsewhere, nothing left running after a crash.

Import this before Prefect itself: Prefect reads its settings once.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from pipeline.core.errors import EnvironmentFault
from pipeline.core.shards import machine_faults_named
from pipeline.core.workspace import Workspace


def use_workspace(workspace: Workspace) -> None:
    """Point Prefect at the workspace; whatever the user has set in the environment stays."""
    defaults = {
        "PREFECT_HOME": str(workspace.prefect),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",  # we report errors ourselves, once and without a traceback
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_CLI_PROMPT": "false",
    }
    with machine_faults_named(workspace.prefect):
        workspace.prefect.mkdir(parents=True, exist_ok=True)
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def stop_orphaned_servers(workspace: Workspace) -> int:
    """Stop temporary Prefect servers of this workspace whose flow process was killed; returns how many.

    Prefect's temporary server outlives a killed parent (seen with 3.8.8). Only processes that belong to us, have
    lost their parent and carry this workspace's PREFECT_HOME are touched. Linux only; elsewhere it does nothing.
    """
    mark = f"PREFECT_HOME={workspace.prefect}".encode()
    stopped = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            environment = (folder / "environ").read_bytes().split(b"\0")
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if mark in environment and b"PREFECT__SERVER_EPHEMERAL=1" in environment and parent == "1":
                os.kill(int(folder.name), signal.SIGTERM)
                stopped += 1
        except OSError:
            continue  # it ended while we looked, or is not ours to read
    return stopped


SERVER_START_LIMIT = 180.0  # seconds; the first start on a slow machine runs the database migrations
SERVER_URL = "http://127.0.0.1:4200"  # Prefect's pages expect their API on this port


@contextmanager
def lasting_server(workspace: Workspace) -> Iterator[str]:
    """The Prefect server that PREFECT_API_URL names, else one of our own for as long as the context lasts.

    A schedule needs a server that stays up: Prefect's temporary one does not schedule. Yields its API URL.
    Raises EnvironmentFault when ours does not start.
    """
    if named := os.environ.get("PREFECT_API_URL"):
        yield named
        return
    workspace.prefect.mkdir(parents=True, exist_ok=True)
    log = workspace.prefect / "server.log"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", "4200"]
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as server:
        try:
            _wait_until_healthy(server, log)
            os.environ["PREFECT_API_URL"] = f"{SERVER_URL}/api"
            yield SERVER_URL
        finally:
            server.terminate()


def _wait_until_healthy(server: "subprocess.Popen[bytes]", log: Path) -> None:
    limit = time.monotonic() + SERVER_START_LIMIT
    while server.poll() is None and time.monotonic() < limit:
        try:
            if httpx.get(f"{SERVER_URL}/api/health", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise EnvironmentFault("the Prefect server did not start on port 4200", f"see {log}, or set PREFECT_API_URL")


def close_stale_runs(workspace: Workspace) -> None:
    """Mark flow runs of a temporary server that a crash left as running: we hold the workspace, so none is.

    Only where Prefect lives in the workspace; on a shared server other workspaces' runs are not ours to judge.
    """
    if os.environ.get("PREFECT_API_URL") or os.environ.get("PREFECT_HOME") != str(workspace.prefect):
        return
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.context import FlowRunContext
    from prefect.states import Crashed

    context = FlowRunContext.get()
    own = context.flow_run.id if context and context.flow_run else None
    with get_client(sync_client=True) as client:
        running = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING"]}}})
        for flow_run in client.read_flow_runs(flow_run_filter=running):
            if flow_run.id != own:
                client.set_flow_run_state(flow_run.id, Crashed(message="its process ended"), force=True)
