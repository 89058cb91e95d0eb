"""Reports and exports for a lawyer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.commands.rights import parse_purpose
from pipeline.audit.attribution import attribution_list, write_credits
from pipeline.audit.consent_audit import write_consent_audit
from pipeline.audit.consent_figures import figures
from pipeline.audit.subject import dataset_subject, snapshot_subject
from pipeline.catalog.database import open_catalog
from pipeline.catalog.records import model_row
from pipeline.catalog.runs import run_row
from pipeline.core.errors import ImprimaturError
from pipeline.core.moments import now, parse_moment
from pipeline.core.workspace import Workspace
from pipeline.rights.policy import load_policy

Row = dict[str, Any]


def consent_report(
    workspace: Workspace,
    datasets: Sequence[str],
    snapshot: str | None,
    purpose: str,
    policy: Path | None,
    as_of: str | None,
    known_at: str | None,
    out: Path,
) -> Row:
    """Write the consent audit of datasets at a moment, or of a snapshot as it was signed."""
    moment = now()
    if bool(datasets) == bool(snapshot):
        raise ImprimaturError("audit report: of what?", "give either --dataset or --snapshot")
    if snapshot:
        subject = snapshot_subject(workspace, snapshot, moment)
    else:
        held = parse_moment(as_of, "--as-of") if as_of else moment
        known = parse_moment(known_at, "--known-at") if known_at else moment
        subject = dataset_subject(workspace, datasets, parse_purpose(purpose), load_policy(policy), held, known)
    written = write_consent_audit(subject, out, moment)
    found = figures(subject)
    return {
        **{name: str(path) for name, path in written.items()},
        **found.decisions,
        "conflicts": len(found.conflicts),
        "ending": len(found.ending),
        "lost_soon": len(found.lost_soon),
        "credits": len(found.credits),
    }


def attribution_rows(
    workspace: Workspace, snapshot: str | None, batch: str | None, out: Path | None
) -> list[dict[str, Any]]:
    """Who must be credited for a snapshot, or for a batch: the works that its model was trained on."""
    if bool(batch) == bool(snapshot):
        raise ImprimaturError("audit attribution: of what?", "give either --snapshot or --batch")
    catalog = open_catalog(workspace)
    if batch:
        snapshot = model_row(catalog, run_row(catalog, batch).model).snapshot
    subject = snapshot_subject(workspace, str(snapshot), now())
    if out is not None:
        write_credits(subject, out)
    return attribution_list(subject)


def export_snapshot(workspace: Workspace, snapshot: str, out: Path) -> Row:
    """Write everything that goes out with a snapshot: Croissant, the two summaries, the list of credits."""
    from pipeline.audit.croissant import write_croissant
    from pipeline.audit.disclosure import write_disclosures

    subject = snapshot_subject(workspace, snapshot, now())
    written = {
        **write_croissant(workspace, subject, out),
        **write_disclosures(workspace, subject, out, now()),
        "attribution": write_credits(subject, out / "attribution.csv"),
    }
    return {name: str(path) for name, path in written.items()}
