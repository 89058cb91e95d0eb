"""Commands on consequences: withdraw, and what an audit asks about snapshots, models and outputs."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.options import AsOf, Config, Home, Json, KnownAt, PolicyFile, PurposeOption, emit, errors
from flows.cli.rights import audit_app
from pipeline.core.workspace import Workspace

app = typer.Typer()


@app.command()
def withdraw(
    subject_type: Annotated[str, typer.Argument(help="asset, holder, person or dataset")],
    subject_id: Annotated[str, typer.Argument(help="Whose, or which.")],
    effective_from: Annotated[str | None, typer.Option("--from", help="From this moment [default: now].")] = None,
    evidence: Annotated[str, typer.Option("--evidence", help="The request: a file, or where it is kept.")] = "",
    actor: Annotated[str, typer.Option("--actor", help="Who asks [default: the subject].")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Record a withdrawal: the next snapshot leaves its assets out, what rests on them is affected and recalled."""
    from flows.commands.withdrawals import withdraw_subject

    value = withdraw_subject(Workspace.at(home), subject_type, subject_id, effective_from, evidence, actor)
    emit(value, as_json, _withdrawn(value, f"{subject_type} {subject_id!r}"))


def _withdrawn(value: dict[str, Any], subject: str) -> str:
    lines = [f"recorded as event {value['event_id']}, in effect from {value['effective_from']}"]
    if not value["assets"]:
        meant = f"; did you mean {' or '.join(map(repr, value['did_you_mean']))}?" if value["did_you_mean"] else ""
        errors.print(f"warning: no asset here is {subject}'s{meant}", markup=False)
    lines.append(f"it closes {value['assets']:,} assets; the next snapshot leaves them out")
    lines.append(
        f"affected now: {value['snapshots']:,} snapshots, {value['models']:,} models, {value['outputs']:,} outputs "
        f"({value['strongly']:,} strongly); {value['recalled']:,} published outputs recalled"
    )
    if value["models"]:
        lines.append("next: `imprimatur audit impact`, `imprimatur audit recalls`, `imprimatur audit plan`")
    return "\n".join(lines)


@audit_app.command("impact")
def audit_impact(
    as_of: AsOf = None,
    known_at: KnownAt = None,
    policy: PolicyFile = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say which snapshots, models and outputs rest on assets that may not be used any more, and because of which."""
    from flows.commands.withdrawals import impact_rows

    clear = 0
    for row in impact_rows(Workspace.at(home), as_of, known_at, policy):
        if as_json:
            emit(row, as_json, "")
        elif row["state"] == "clear":
            clear += 1
        else:
            emit(row, as_json, _affected(row))
    if not as_json:
        typer.echo(f"clear: {clear:,}")


def _affected(row: dict[str, Any]) -> str:
    made = "lawful when made" if row["lawful_when_made"] else "NOT lawful when made"
    known = "" if row["lawful_as_known"] == row["lawful_when_made"] else ", as then known; as known now, not"
    reasons = sorted({code for why in row.get("why", []) for code in why["reasons"]})
    because = ", ".join(asset[:12] for asset in row["because"][:3]) + (", …" if len(row["because"]) > 3 else "")
    told = f"  [{', '.join(reasons)}]" if reasons else ""
    return f"{row['state']:<15} {row['kind']:<8} {row['id']}  because of {because}{told}; {made}{known}"


@audit_app.command("plan")
def audit_plan(
    model: Annotated[str | None, typer.Option("--model", help="[default: every affected model]")] = None,
    config: Config = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what an affected model would be trained on now: the data difference, the cost, the command."""
    from flows.commands.withdrawals import retrain_plans

    for plan in retrain_plans(Workspace.at(home), model, config):
        text = (
            f"model {plan['model']}: {plan['assets_before']:,} assets then, {plan['assets_after']:,} now "
            f"({len(plan['removed']):,} out, {len(plan['added']):,} in)\n"
            + "".join(f"  out  {row['dataset']}: {row['file']}  {row['reason']}\n" for row in plan["removed"])
            + "".join(f"  in   {row['dataset']}: {row['file']}\n" for row in plan["added"])
            + f"  cost: {json.dumps(plan['cost'])}\n  {plan['command']}"
        )
        emit(plan, as_json, text)


@audit_app.command("recalls")
def audit_recalls(home: Home = None, as_json: Json = False) -> None:
    """List the published outputs that are recalled. Their files stay where they are."""
    from pipeline.audit.recall import recall_list

    for row in recall_list(Workspace.at(home)):
        emit(
            row,
            as_json,
            f"{row['state']:<15} {row['output']}  {row['batch']}/{row['file']}  since {row['recalled_at']}",
        )


@audit_app.command("remedy")
def audit_remedy(
    model: Annotated[str, typer.Argument(help="The affected model's id.")],
    remedy: Annotated[str, typer.Argument(help="none, filtered, retrained, deleted or unsupported")],
    actor: Annotated[str, typer.Option("--actor", help="Who did it.")] = "",
    evidence: Annotated[str, typer.Option("--evidence", help="Where that is on record.")] = "",
    note: Annotated[str, typer.Option("--note", help="In words.")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Record what was done about an affected model. It stays affected: nothing here claims to be unlearned."""
    from pipeline.audit.recall import record_remedy

    record_remedy(Workspace.at(home), model, remedy, actor, evidence, note)
    emit({"model": model, "remedy": remedy}, as_json, f"model {model}: remedy {remedy}")


@audit_app.command("report")
def audit_report(
    out: Annotated[Path, typer.Option("--out", help="Folder for the page and the tables.")],
    dataset: Annotated[list[str] | None, typer.Option("--dataset", help="May be given several times.")] = None,
    snapshot: Annotated[str | None, typer.Option("--snapshot", help="A snapshot as it was signed, instead.")] = None,
    purpose: PurposeOption = "train_generative:commercial",
    policy: PolicyFile = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the consent audit: one page for a lawyer, and the same as Parquet and CSV."""
    from flows.commands.reports import consent_report

    value = consent_report(Workspace.at(home), dataset or [], snapshot, purpose, policy, as_of, known_at, out)
    text = (
        f"{value['report']}\n{value['allow']:,} allowed, {value['review']:,} for a person, {value['deny']:,} denied; "
        f"{value['lost_soon']:,} end within 90 days"
    )
    emit(value, as_json, text)


@audit_app.command("attribution")
def audit_attribution(
    snapshot: Annotated[str | None, typer.Option("--snapshot", help="Of this snapshot.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="Of this run's batch, instead.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write a CSV here.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List who must be credited: title, author, licence and source of each work."""
    from flows.commands.reports import attribution_rows

    for row in attribution_rows(Workspace.at(home), snapshot, batch, out):
        emit(row, as_json, f"{row['title']}  {row['credit']}  {row['licence']}  {row['source']}")


@audit_app.command("export")
def audit_export(
    snapshot: Annotated[str, typer.Option("--snapshot", help="The snapshot's id.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the documents.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write Croissant 1.1, drafts of the EU and California training-data summaries, and the list of credits."""
    from flows.commands.reports import export_snapshot

    value = export_snapshot(Workspace.at(home), snapshot, out)
    emit(value, as_json, "\n".join(value.values()))
