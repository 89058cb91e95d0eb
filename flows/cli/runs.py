"""Commands on whole runs: demo, nightly, report, deploy, serve."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import Config, Home, Json, emit, errors
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace

app = typer.Typer()


@app.command()
def demo(home: Home = None, as_json: Json = False) -> None:
    """Draw the sample set and run the nightly job on it."""
    from pipeline.sample.sample_set import draw_sample_set

    definition, config = Path("data/sample.yaml"), Path("configs/nightly.yaml")
    if not definition.exists():
        raise ImprimaturError(f"{definition}: no such file here", "run the demo in a clone of the repository")
    totals = draw_sample_set(definition, Path("data/sample"))
    errors.print(
        f"sample set: {totals.files:,} files in data/sample ({'drawn' if totals.drawn else 'already there'})"
    )
    _run_nightly(config, home, as_json)


@app.command()
def nightly(
    config: Annotated[Path, typer.Option("--config", help="The job's YAML file.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Run a whole job: ingest, audit, train, generate, screen, stamp, report. Resumes after any crash."""
    _run_nightly(config, home, as_json)


def _run_nightly(config: Path, home: Path | None, as_json: bool) -> None:
    from flows.job import check_job
    from flows.prefect_home import use_workspace

    check_job(config, home)  # before Prefect starts: most mistakes are answered at once
    use_workspace(Workspace.at(home))
    from flows.nightly import nightly as flow

    outcome = flow(config, home)
    emit(outcome.as_dict(), as_json, outcome.summary)
    if outcome.published == 0:
        sys.exit(1)


@app.command()
def report(
    run: Annotated[str | None, typer.Argument(help="A run's id [default: the newest].")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say where a run's report is, and what it says in short."""
    from flows.commands.runs import find_report

    value = find_report(Workspace.at(home), run)
    emit(value, as_json, f"{value['run']}: {value['report']}\n{value['summary']}")


@app.command()
def deploy(
    config: Annotated[list[Path], typer.Option("--config", help="A job's YAML file; may be given several times.")],
    home: Home = None,
) -> None:
    """Register each job's schedule (cron with time zone) with Prefect and serve it until stopped."""
    from flows.prefect_home import lasting_server, use_workspace

    workspace = Workspace.at(home)
    use_workspace(workspace)
    with lasting_server(workspace) as url:
        from flows.deploy import serve_schedules

        errors.print(f"Prefect server: {url}")
        serve_schedules(config, home)


@app.command("serve")
def serve_pages(
    port: Annotated[int, typer.Option("--port", help="Port on 127.0.0.1.")] = 8321,
    public: Annotated[
        str | None,
        typer.Option("--public", help="Host name behind a proxy: only the verify page and the C2PA API are served."),
    ] = None,
    deposit_token: Annotated[
        Path | None,
        typer.Option("--deposit-token", help="File (0600) with the bearer token of those who may deposit outputs."),
    ] = None,
    config: Config = None,
    home: Home = None,
) -> None:
    """Serve the verify, lineage and report pages and the Soft Binding Resolution API on this machine."""
    import uvicorn

    from flows.commands.runs import web_app

    errors.print(f"http://127.0.0.1:{port}")
    served = web_app(Workspace.at(home), config, public, deposit_token)
    uvicorn.run(served, host="127.0.0.1", port=port, log_level="warning")
