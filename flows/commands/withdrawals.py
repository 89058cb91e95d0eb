"""Withdraw, and what follows: impact, recalls, the retrain plan, the remedy."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.audit.impact import impact, model_line, snapshot_line
from pipeline.audit.lines import Line
from pipeline.audit.recall import Settled, settle
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import ConsentEvent, append_events
from pipeline.core.digests import file_sha256, json_digest
from pipeline.core.errors import ImprimaturError, NeedsPerson
from pipeline.core.moments import now, parse_moment
from pipeline.core.settings import DuplicateSettings, load_job
from pipeline.core.workspace import Workspace
from pipeline.rights.consent import SUBJECTS
from pipeline.rights.policy import load_policy

Row = dict[str, Any]


def withdraw_subject(
    workspace: Workspace, subject_type: str, subject_id: str, effective_from: str | None, evidence: str, actor: str
) -> Row:
    """Record a withdrawal and make its consequences; says what it touches."""
    from pipeline.audit.concerned import asset_named, assets_concerned

    if subject_type == "asset":
        subject_id = asset_named(workspace, subject_id)
    event = record_withdrawal(workspace, subject_type, subject_id, effective_from, evidence, actor)
    assets, close = assets_concerned(workspace, event["event_id"], subject_id)
    lines, settled = consequences(workspace)
    return {**event, "assets": assets, "did_you_mean": close, **counts(lines, settled)}


def record_withdrawal(
    workspace: Workspace, subject_type: str, subject_id: str, effective_from: str | None, evidence: str, actor: str
) -> dict[str, str]:
    """Append a withdrawal of every use to the ledger; returns its event id and when it takes effect.

    Where `evidence` is a file, its SHA-256 is recorded beside its name.
    """
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
        "evidence": _cited(evidence),
        "note": "",
    }
    identifier = "W-" + json_digest({"recorded_at": moment, **said})[:16]
    append_events(open_catalog(workspace), [ConsentEvent(event_id=identifier, recorded_at=moment, **said)])
    return {"event_id": identifier, "effective_from": start}


def consequences(workspace: Workspace) -> tuple[list[Line], Settled]:
    """The impact of the ledger as it is now, with recalls and restorations made."""
    moment = now()
    lines = impact(workspace, moment, moment)
    return lines, settle(workspace, lines)


def counts(lines: Sequence[Line], settled: Settled) -> Row:
    """An impact in figures."""
    affected = Counter(line.kind for line in lines if line.state != "clear")
    return {
        "snapshots": affected["snapshot"],
        "models": affected["model"],
        "outputs": affected["output"],
        "strongly": sum(line.state == "affected-strong" for line in lines),
        "recalled": len(settled.recalled),
        "restored": len(settled.restored),
    }


def impact_rows(workspace: Workspace, as_of: str | None, known_at: str | None, policy: Path | None) -> Iterator[Row]:
    """A row for each snapshot, model and output."""
    moment = now()
    held = parse_moment(as_of, "--as-of") if as_of else moment
    known = parse_moment(known_at, "--known-at") if known_at else moment
    for line in impact(workspace, held, known, load_policy(policy) if policy else None):
        yield line.as_json()


def retrain_plans(workspace: Workspace, model: str | None, config: Path | None) -> Iterator[Row]:
    """The retrain plan of one model, or of every affected one."""
    from pipeline.audit.retrain import retrain_plan

    moment = now()
    job = load_job(config) if config else None
    policy = load_policy(job.policy if job else None)
    duplicates = job.duplicates if job else DuplicateSettings()
    affected = [
        line.id for line in impact(workspace, moment, moment) if line.kind == "model" and line.state != "clear"
    ]
    for identifier in [model] if model else affected:
        yield retrain_plan(workspace, identifier, moment, policy, duplicates)


def require_clear(workspace: Workspace, kind: str, identifier: str) -> str:
    """Refuse to sample from an affected model or to train on an affected snapshot, by the policy it was made under.

    Returns a warning where that policy only warns, else "". Raises NeedsPerson.
    """
    line = (model_line if kind == "model" else snapshot_line)(workspace, identifier, now())
    if line.state == "clear":
        return ""
    words = f"{kind} {identifier} rests on {len(line.because):,} assets that may not be used any more"
    if line.facts["on_affected"] == "warn":
        return f"{words} (policy: on_affected: warn)"
    raise NeedsPerson(words, "`imprimatur audit impact` says which and why, `imprimatur audit plan` what to train on")


def _cited(evidence: str) -> str:
    """Evidence as the ledger names it: with the digest of the file, where it is one."""
    path = Path(evidence)
    return f"{path.name} (sha256 {file_sha256(path)})" if evidence and path.is_file() else evidence
