"""Commands on rights: consent, audit, snapshot, withdraw."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import AsOf, Dataset, Home, Json, KnownAt, PolicyFile, PurposeOption, emit
from pipeline.core.workspace import Workspace

app = typer.Typer()
consent_app = typer.Typer(help="The consent ledger: import events, check its chain.", no_args_is_help=True)
audit_app = typer.Typer(help="What may be used, and why.", no_args_is_help=True)
app.add_typer(consent_app, name="consent")
app.add_typer(audit_app, name="audit")


@consent_app.command("import")
def consent_import(
    events: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet of consent events.")],
    mapping: Annotated[Path | None, typer.Option("--mapping", help="YAML: columns, values, subject.")] = None,
    dataset: Annotated[str, typer.Option("--dataset", help="The dataset that file subjects belong to.")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Append consent events to the ledger; events already known are left alone."""
    from flows.commands.rights import import_events
    from flows.commands.withdrawals import consequences, counts

    workspace = Workspace.at(home)
    value = import_events(workspace, events, mapping, dataset)
    found = counts(*consequences(workspace))
    value |= {"recalled": found["recalled"], "restored": found["restored"]}
    numbers = {name: count for name, count in value.items() if name != "unreadable_events"}
    text = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in numbers.items())
    text += "".join(
        f"\nunreadable: {e['event_id']} ({e['subject'] or '?'}): {e['why']}" for e in value["unreadable_events"]
    )
    emit(value, as_json, text)
    if value["unreadable"]:
        sys.exit(1)


@consent_app.command("resolve")
def consent_resolve(
    event: Annotated[str, typer.Argument(help="Id of an unreadable event.")],
    note: Annotated[str, typer.Option("--note", help="What it says, and under which ids that is now recorded.")],
    evidence: Annotated[str, typer.Option("--evidence", help="A file or reference.")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say that a person has read an unreadable event: it no longer sends its subject to review.

    Record what it says first, as an event of its own.
    """
    from flows.commands.rights import resolve_event

    value = resolve_event(Workspace.at(home), event, note, evidence)
    emit(value, as_json, f"{event}: {'resolved' if value['resolved'] else 'was resolved before'}")


@consent_app.command("verify")
def consent_verify(home: Home = None, as_json: Json = False) -> None:
    """Check the ledger's hash chain from its first event to its last."""
    from pipeline.catalog.database import open_catalog
    from pipeline.catalog.ledger import verify_chain

    check = verify_chain(open_catalog(Workspace.at(home)))
    value = {"events": check.events, "intact": check.intact, "first_broken": check.first_broken}
    emit(value, as_json, f"{check.events:,} events, chain {'intact' if check.intact else 'BROKEN'}")
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
    from flows.commands.rights import decide_dataset

    for row in decide_dataset(Workspace.at(home), dataset, purpose, policy, as_of, known_at):
        emit(row, as_json, f"{row['decision']:<6} {row['file']}  {', '.join(row['reasons'])}")


@audit_app.command("explain")
def audit_explain(
    asset: Annotated[str, typer.Argument(help="A file, an asset's SHA-256, dataset:key or key.")],
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Look in this dataset; may be repeated [default: in all].")
    ] = None,
    purpose: PurposeOption = "train_generative:commercial",
    policy: PolicyFile = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say in words why an asset may be used or not, with everything that was said about it."""
    from flows.commands.rights import explain_asset
    from pipeline.rights.explain import in_words

    given = explain_asset(Workspace.at(home), asset, dataset or [], purpose, policy, as_of, known_at)
    for explanation in given:
        emit(explanation.as_row(), as_json, in_words(explanation))


@audit_app.command("trace")
def audit_trace(
    subject: Annotated[str, typer.Argument(help="A published file, an output's id, or an asset's digest or key.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Walk the chain: from an output back to consent, or from an asset forward to models and images."""
    from flows.commands.rights import trace

    value = trace(Workspace.at(home), subject)
    emit(value, as_json, json.dumps(value, indent=2, ensure_ascii=False))


@app.command()
def snapshot(
    dataset: Annotated[list[str], typer.Option("--dataset", help="An ingested dataset; may be given several times.")],
    purpose: PurposeOption = "train_generative:commercial",
    policy: PolicyFile = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    salted: Annotated[bool, typer.Option("--salted", help="Proofs that show no other asset's digest.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Sign a snapshot: the assets that are allowed for a purpose at a moment."""
    from flows.commands.rights import snapshot_datasets

    made = snapshot_datasets(Workspace.at(home), dataset, purpose, policy, as_of, known_at, salted)
    value = {"snapshot": made.id, "root": made.root, "size": made.size, "statement": str(made.statement)}
    emit(value, as_json, f"snapshot {made.id}: {made.size:,} assets, root {made.root}")
