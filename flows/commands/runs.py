"""Reports of runs, and the web server."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.commands.given import given_credentials
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace

if TYPE_CHECKING:
    from fastapi import FastAPI


Row = dict[str, Any]


def find_report(workspace: Workspace, run: str | None) -> Row:
    """Path and summary of a run's report."""
    accounts = sorted(workspace.home.glob("batches/*/account.json"), key=lambda path: path.stat().st_mtime)
    found = [path for path in accounts if run is None or path.parent.name == run]
    if not found:
        raise ImprimaturError(
            f"no report of {run or 'any run'} in {workspace.home}", "imprimatur nightly --config configs/nightly.yaml"
        )
    folder = found[-1].parent
    summary = json.loads(found[-1].read_text())["summary"]
    return {"run": folder.name, "report": str(folder / "report" / "report.html"), "summary": summary}


def web_app(workspace: Workspace, config: Path | None, public: str | None, token_file: Path | None) -> "FastAPI":
    """The web server's application; with a `public` host name only what strangers may see."""
    from pipeline.credentials.identity import verification_keys
    from pipeline.credentials.signers import private_text
    from pipeline.web.app import LOCAL_HOSTS, create_app

    anchors, watermark_key = verification_keys(given_credentials(config), workspace)
    token = private_text(token_file) if token_file else ""
    hosts = (*LOCAL_HOSTS, public) if public else LOCAL_HOSTS
    return create_app(workspace, [anchors], watermark_key, hosts, lineage=not public, deposit_token=token)
