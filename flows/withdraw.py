"""Withdraw: somebody takes consent back; history stays, the next snapshot leaves their assets out."""

from pathlib import Path

from prefect import flow

from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import ConsentEvent, append_events
from pipeline.core.digests import json_digest
from pipeline.core.errors import ImprimaturError
from pipeline.core.moments import now, parse_moment
from pipeline.core.workspace import Workspace
from pipeline.rights.consent import SUBJECTS


def record_withdrawal(
    workspace: Workspace, subject_type: str, subject_id: str, effective_from: str | None, evidence: str, actor: str
) -> dict[str, str]:
    """Append a withdrawal of every use to the ledger; returns its event id and when it takes effect."""
    if subject_type not in SUBJECTS:
        known = ", ".join(sorted(SUBJECTS))
        raise ImprimaturError(f"subject type {subject_type!r} is unknown", f"write one of {known}")
    moment = now()
    start = parse_moment(effective_from, "--from") if effective_from else moment
    said = {
        "effective_from": start,
        "effective_until": "",
        "actor": actor or subject_id,
        "subject_type": subject_type,
        "subject_id": subject_id,
        "action": "withdraw",
        "uses": "*" if subject_type != "person" else "*|likeness",
        "commercial": "any",
        "territory": "*",
        "overrides_signals": "no",
        "evidence": evidence,
        "note": "",
    }
    identifier = "W-" + json_digest({"recorded_at": moment, **said})[:16]
    append_events(open_catalog(workspace), [ConsentEvent(event_id=identifier, recorded_at=moment, **said)])
    return {"event_id": identifier, "effective_from": start}


@flow(name="withdraw")
def withdraw(subject_type: str, subject_id: str, evidence: str = "", home: Path | None = None) -> dict[str, str]:
    """Record a withdrawal from now on."""
    return record_withdrawal(Workspace.at(home), subject_type, subject_id, None, evidence, "")
