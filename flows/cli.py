"""The command line. Heavy imports are inside the commands, so that --help answers at once."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipeline.core.errors import EnvironmentFault, ImprimaturError
from pipeline.core.workspace import Workspace

app = typer.Typer(
    name="imprimatur",
    help="Schedule nightly generation batches, audit training-data consent, stamp outputs with content credentials.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 something needs a person, 2 usage or bad input, 3 the machine.",
)
consent_app = typer.Typer(help="The consent ledger: import events, check its chain.", no_args_is_help=True)
audit_app = typer.Typer(help="What may be used, and why.", no_args_is_help=True)
app.add_typer(consent_app, name="consent")
app.add_typer(audit_app, name="audit")

Home = Annotated[Path | None, typer.Option("--home", help="The workspace [default: IMPRIMATUR_HOME or data/studio].")]
Config = Annotated[Path | None, typer.Option("--config", help="A job's YAML file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines on standard output, and nothing else there.")]
Dataset = Annotated[str, typer.Option("--dataset", help="Name of an ingested dataset.")]
PurposeOption = Annotated[str, typer.Option("--purpose", help="USE or USE:commercial.")]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="A policy's YAML file [default: the built-in one].")
]
AsOf = Annotated[str | None, typer.Option("--as-of", help="What held at this moment [default: now].")]
KnownAt = Annotated[str | None, typer.Option("--known-at", help="As known at this moment [default: now].")]

# numpy's BLAS on one thread: its threads wait in busy loops on a shared machine, and sums depend on their number
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

errors = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> None:
    """Run a command; turn every fault into a message that names the thing and the fix, and an exit code."""
    try:
        app(standalone_mode=True)
    except ImprimaturError as error:
        _fail(error)
    except KeyboardInterrupt:
        errors.print("stopped; run the same command again to go on where it stopped")
        sys.exit(130)
    except Exception as error:
        _fail(_machine_fault(error))


def _fail(error: ImprimaturError) -> None:
    errors.print(f"error: {error.message}", markup=False)
    if error.fix:
        errors.print(f"  fix: {error.fix}", markup=False)
    sys.exit(error.exit_code)


def _machine_fault(error: Exception) -> ImprimaturError:
    """The fault behind an unexpected exception. Raises it again when it is not the machine's."""
    text = f"{error}".lower()
    full = getattr(error, "errno", None) == errno.ENOSPC or "disk is full" in text or "no space left" in text
    if full:
        return EnvironmentFault(
            "the disk is full", "free space and run the same command again; finished work is kept"
        )
    if isinstance(error, MemoryError):
        return EnvironmentFault("out of memory", "lower work.workers or work.shard_size in the configuration")
    if os.environ.get("IMPRIMATUR_DEBUG"):
        raise error
    return EnvironmentFault(
        f"unexpected {type(error).__name__}: {error}", "this is a defect: set IMPRIMATUR_DEBUG=1 for the traceback"
    )


def _print(value: Any, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False) if as_json else text)


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
    _print(outcome.as_dict(), as_json, outcome.summary)
    if outcome.published == 0:
        sys.exit(1)


@app.command()
def ingest(
    source: Annotated[str, typer.Argument(help="A folder, file or URL; or `list`: what was seen of --dataset.")],
    dataset: Dataset,
    mapping: Annotated[
        Path | None, typer.Option("--mapping", help="YAML: columns, values, licence, table, ...")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="The dataset's own licence.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Ingest a licensed dataset; or list every file that was seen of one."""
    from flows.commands import dataset_settings, listed_files
    from pipeline.core.settings import WorkSettings
    from pipeline.ingest import ingest_dataset

    workspace = Workspace.at(home)
    if source == "list":
        for row in listed_files(workspace, dataset):
            _print(row, as_json, f"{row['status']:<9} {row['reason'] or '-':<22} {row['file']}")
        return
    totals = ingest_dataset(dataset_settings(dataset, source, mapping, licence), workspace, WorkSettings())
    value = {name: getattr(totals, name) for name in ("dataset", "seen", "accepted", "rejected", "duplicates")}
    text = ", ".join(f"{count:,} {name}" for name, count in list(value.items())[1:])
    _print(value, as_json, f"{dataset}: {text}")


@consent_app.command("import")
def consent_import(
    events: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet of consent events.")],
    mapping: Annotated[Path | None, typer.Option("--mapping", help="YAML: columns, values, subject.")] = None,
    dataset: Annotated[str, typer.Option("--dataset", help="The dataset that file subjects belong to.")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Append consent events to the ledger; events already known are left alone."""
    from flows.commands import import_events

    value = import_events(Workspace.at(home), events, mapping, dataset)
    text = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in value.items())
    _print(value, as_json, text)
    if value["unreadable"]:
        sys.exit(1)


@consent_app.command("verify")
def consent_verify(home: Home = None, as_json: Json = False) -> None:
    """Check the ledger's hash chain from its first event to its last."""
    from pipeline.catalog.database import open_catalog
    from pipeline.catalog.ledger import verify_chain

    check = verify_chain(open_catalog(Workspace.at(home)))
    value = {"events": check.events, "intact": check.intact, "first_broken": check.first_broken}
    _print(value, as_json, f"{check.events:,} events, chain {'intact' if check.intact else 'BROKEN'}")
    if not check.intact:
        sys.exit(1)


@audit_app.command("decisions")
def audit_decisions(
    dataset: Dataset,
    purpose: PurposeOption = "train_generative:commercial",
    policy: PolicyFile = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Decide every accepted file of a dataset: allow, review or deny, why, and on what evidence."""
    from flows.commands import decide_dataset

    for row in decide_dataset(Workspace.at(home), dataset, purpose, policy, as_of, known_at):
        _print(row, as_json, f"{row['decision']:<6} {row['file']}  {', '.join(row['reasons'])}")


@audit_app.command("trace")
def audit_trace(
    subject: Annotated[str, typer.Argument(help="A published file, an output's id, or an asset's digest or key.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Walk the chain: from an output back to consent, or from an asset forward to models and images."""
    from flows.commands import trace

    value = trace(Workspace.at(home), subject)
    _print(value, as_json, json.dumps(value, indent=2, ensure_ascii=False))


@app.command()
def snapshot(
    dataset: Annotated[list[str], typer.Option("--dataset", help="An ingested dataset; may be given several times.")],
    purpose: PurposeOption = "train_generative:commercial",
    policy: PolicyFile = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Sign a snapshot: the assets that are allowed for a purpose at a moment."""
    from flows.commands import snapshot_datasets

    made = snapshot_datasets(Workspace.at(home), dataset, purpose, policy, as_of, known_at)
    value = {"snapshot": made.id, "root": made.root, "size": made.size, "statement": str(made.statement)}
    _print(value, as_json, f"snapshot {made.id}: {made.size:,} assets, root {made.root}")


@app.command()
def train(
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Make a snapshot of this dataset first.")
    ] = None,
    snapshot_id: Annotated[str | None, typer.Option("--snapshot", help="Train on this snapshot.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="flow_matching, vae or gan.")] = None,
    size: Annotated[int | None, typer.Option("--size", help="Side of the images in pixels.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Training budget.")] = None,
    config: Config = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Train and sign a model on a snapshot, or take the one that was already trained on it."""
    from flows.commands import train_on

    given = {"kind": kind, "size": size, "seconds": seconds}
    model, metrics = train_on(Workspace.at(home), dataset or [], snapshot_id, config, given)
    value = {"model": model.id, "kind": model.kind, "snapshot": model.snapshot, "metrics": metrics}
    _print(value, as_json, f"model {model.id} ({model.kind}) on snapshot {model.snapshot}")


@app.command()
def generate(
    model: Annotated[str, typer.Option("--model", help="A model's id.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many images.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the images and outputs.parquet.")],
    seed: Annotated[int, typer.Option("--seed", help="The batch's seed.")] = 0,
    classes: Annotated[list[str] | None, typer.Option("--class", help="Only these classes.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Sample images, unscreened and unstamped: image k depends only on the model, the seed and k."""
    from flows.commands import generate_images

    table = generate_images(Workspace.at(home), model, count, seed, classes or [], out)
    _print({"model": model, "count": len(table), "out": str(out)}, as_json, f"{len(table):,} images in {out}")


@app.command()
def dedup(source: Annotated[str, typer.Argument(help="A folder of images.")], as_json: Json = False) -> None:
    """Find near-duplicate groups in a folder; nothing is changed."""
    from flows.commands import duplicate_files

    for group in duplicate_files(source):
        _print(group, as_json, f"group {group['group']}: kept {group['kept']}; " + ", ".join(group["files"]))


@app.command()
def stamp(
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the stamped files.")],
    config: Config = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Watermark and sign images as generated by AI; each is read back before it is released."""
    from flows.commands import stamp_paths

    refused = 0
    for row in stamp_paths(Workspace.at(home), paths, out, config):
        refused += row["state"] != "stamped"
        _print(row, as_json, f"{row['state']:<8} {row['file']} {row['out']} {row['detail']}")
    if refused:
        sys.exit(1)


@app.command()
def verify(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of files.")],
    anchors: Annotated[list[Path] | None, typer.Option("--anchors", help="PEM file of trust anchors.")] = None,
    config: Config = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what each file's credential shows: intact, trusted, AI-generated, known to the registry, permissions."""
    from flows.commands import verify_paths

    doubtful = 0
    for row in verify_paths(Workspace.at(home), paths, anchors or [], config):
        doubtful += row["state"] != "Trusted"
        registry = row["registry"]
        known = f"output {registry['output']}" if registry else "not in this registry"
        ai_generated = {True: "AI-generated", False: "not AI-generated", None: "origin unstated"}[row["ai_generated"]]
        _print(row, as_json, f"{row['state']:<10} {row['file']}  {ai_generated}; signer {row['signer']}; {known}")
    if doubtful:
        sys.exit(1)


@app.command()
def withdraw(
    subject_type: Annotated[str, typer.Argument(help="asset, holder, person or dataset")],
    subject_id: Annotated[str, typer.Argument(help="Whose, or which.")],
    effective_from: Annotated[str | None, typer.Option("--from", help="From this moment [default: now].")] = None,
    evidence: Annotated[str, typer.Option("--evidence", help="Where the request is kept.")] = "",
    actor: Annotated[str, typer.Option("--actor", help="Who asks [default: the subject].")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Record a withdrawal in the ledger; the next snapshot leaves its assets out."""
    from flows.withdraw import record_withdrawal

    value = record_withdrawal(Workspace.at(home), subject_type, subject_id, effective_from, evidence, actor)
    _print(value, as_json, f"recorded as event {value['event_id']}; the next snapshot leaves its assets out")


@app.command()
def report(
    run: Annotated[str | None, typer.Argument(help="A run's id [default: the newest].")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say where a run's report is, and what it says in short."""
    from flows.commands import find_report

    value = find_report(Workspace.at(home), run)
    _print(value, as_json, f"{value['run']}: {value['report']}\n{value['summary']}")


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
    config: Config = None,
    home: Home = None,
) -> None:
    """Serve the verify, lineage and report pages on this machine."""
    import uvicorn

    from flows.commands import web_app

    errors.print(f"http://127.0.0.1:{port}")
    uvicorn.run(web_app(Workspace.at(home), config), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
