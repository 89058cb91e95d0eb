"""Prefect, quiet and inside the workspace: no telemetry, no files elsewhere, nothing left running after a crash.

Import this before Prefect itself: Prefect reads its settings once.
"""

import os
import signal
from pathlib import Path

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
