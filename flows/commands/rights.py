"""Import events, decide, snapshot, trace."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from flows.commands.given import validated
from pipeline.catalog.assets import read_fingerprints, read_inventories, read_inventory
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import (
    ConsentEvent,
    append_events,
    event_with_id,
    ledger_head,
    read_event_table,
    read_events_about,
)
from pipeline.catalog.records import dataset_licences
from pipeline.core.digests import json_digest
from pipeline.core.errors import ImprimaturError
from pipeline.core.moments import now, parse_moment
from pipeline.core.settings import ConsentFile, DuplicateSettings, Use, WorkSettings, load_mapping
from pipeline.core.shards import rows_of
from pipeline.core.workspace import Workspace
from pipeline.rights.findings import Purpose
from pipeline.rights.policy import load_policy

if TYPE_CHECKING:
    from pipeline.rights.explain import Explanation
    from pipeline.rights.snapshot import Snapshot


Row = dict[str, Any]


def import_events(workspace: Workspace, path: Path, mapping: Path | None, dataset: str) -> Row:
    """Append the consent events of a file to the ledger; tells what could not be read of it."""
    from pipeline.rights.events import read_event_file, unreadable

    file = validated(ConsentFile, {"file": str(path), **(load_mapping(mapping) if mapping else {})}, mapping)
    events = read_event_file(path, file, dataset, recorded_at=now())
    appended = append_events(open_catalog(workspace), events)
    lost = unreadable([*events, *appended.contradicting])
    return {
        "imported": appended.imported,
        "already_known": appended.already_known,
        "unreadable": len(lost),
        "unreadable_events": lost,
    }


def resolve_event(workspace: Workspace, identifier: str, note: str, evidence: str) -> Row:
    """Record that a person has read an unreadable event; from now on it holds up nothing.

    Raises ImprimaturError when the ledger has no such event, or it is one that can be read.
    """
    from pipeline.rights.consent import EVENT

    catalog, moment = open_catalog(workspace), now()
    event = event_with_id(catalog, identifier)
    if event is None or event.action != "unreadable":
        raise ImprimaturError(
            f"the ledger has {'no' if event is None else 'a readable'} event {identifier!r}",
            "name an unreadable one, as consent import or audit explain does; a readable one is answered by another",
        )
    about = read_events_about(catalog, [identifier], moment)
    if any((said.subject_type, said.subject_id, said.actor) == (EVENT, identifier, "") for said in about):
        return {"event_id": identifier, "resolved": False}
    resolving = ConsentEvent(
        event_id="R-" + json_digest({"event_id": identifier, "recorded_at": moment})[:16],
        recorded_at=moment,
        effective_from=moment,
        effective_until="",
        actor="",
        subject_type=EVENT,
        subject_id=identifier,
        action="expire",
        uses="*",
        commercial="any",
        territory="*",
        overrides_signals="no",
        evidence=evidence,
        note=note,
    )
    append_events(catalog, [resolving])
    return {"event_id": identifier, "resolved": True}


def parse_purpose(text: str) -> Purpose:
    """`train_generative:commercial` or `train_generative`."""
    use, _, commercial = text.partition(":")
    if use not in get_args(Use) or commercial not in ("", "commercial"):
        raise ImprimaturError(
            f"--purpose: {text!r} is not a purpose", f"write {', '.join(get_args(Use))}, with :commercial or without"
        )
    return Purpose(use, bool(commercial))  # type: ignore[arg-type]


def decide_dataset(
    workspace: Workspace, dataset: str, purpose: str, policy: Path | None, as_of: str | None, known_at: str | None
) -> Iterator[Row]:
    """The decision on every accepted file of a dataset."""
    decisions = _decisions(workspace, [dataset], parse_purpose(purpose), policy, *_moments(as_of, known_at))
    for row in rows_of(decisions):
        yield {
            "file": row["file"],
            "asset": row["asset"],
            "decision": row["decision"],
            "reasons": list(row["reasons"]),
            "evidence": list(row["evidence"]),
            "licence": row["licence"],
            "obligations": list(row["obligations"]),
        }


def explain_asset(
    workspace: Workspace,
    subject: str,
    datasets: list[str],
    purpose: str,
    policy: Path | None,
    as_of: str | None,
    known_at: str | None,
) -> "list[Explanation]":
    """Why an asset is allowed, denied or to be reviewed: one explanation for each of its files."""
    from pipeline.core.digests import file_sha256
    from pipeline.rights.assets import COLUMNS
    from pipeline.rights.explain import explain
    from pipeline.rights.inquiry import Inquiry
    from pipeline.rights.ruling import Question

    catalog, (held, known) = open_catalog(workspace), _moments(as_of, known_at)
    licences = dataset_licences(catalog)
    if not licences:
        raise ImprimaturError("no dataset has been ingested in this workspace", "imprimatur ingest SOURCE")
    inventory = read_inventories(workspace, datasets or list(licences), COLUMNS)
    reference = file_sha256(Path(subject)) if Path(subject).is_file() else subject
    question = Question(parse_purpose(purpose), load_policy(policy), held)
    decisions, rows = Inquiry(catalog, inventory, licences).ask(reference, question, known)
    return explain(decisions, rows, known)


def snapshot_datasets(
    workspace: Workspace,
    datasets: list[str],
    purpose: str,
    policy: Path | None,
    as_of: str | None,
    known_at: str | None,
    salted: bool = False,
) -> "Snapshot":
    """Decide, select and sign."""
    from pipeline.rights.selection import select
    from pipeline.rights.snapshot import make_snapshot
    from pipeline.similarity.shard_join import join_with

    wanted, (held, known) = parse_purpose(purpose), _moments(as_of, known_at)
    decisions = _decisions(workspace, datasets, wanted, policy, held, known)
    fingerprints = pd.concat([read_fingerprints(workspace, name) for name in datasets])
    join = join_with(WorkSettings(), workspace.home)
    selection = select(_inventories(workspace, datasets), decisions, fingerprints, DuplicateSettings(), join)
    head = ledger_head(open_catalog(workspace), known)
    return make_snapshot(workspace, selection, decisions, wanted, load_policy(policy), held, known, head, salted)


def trace(workspace: Workspace, subject: str) -> Row:
    """Walk the chain from an output's file or id, or from an asset."""
    from pipeline.audit.lineage import trace_asset, trace_output
    from pipeline.core.digests import file_sha256

    path = Path(subject)
    reference = file_sha256(path) if path.is_file() else subject
    try:
        return trace_output(workspace, reference)
    except ImprimaturError:
        return trace_asset(workspace, reference)


def _moments(as_of: str | None, known_at: str | None) -> tuple[str, str]:
    moment = now()
    return (
        parse_moment(as_of, "--as-of") if as_of else moment,
        parse_moment(known_at, "--known-at") if known_at else moment,
    )


def _inventories(workspace: Workspace, datasets: list[str]) -> pd.DataFrame:
    return pd.concat([read_inventory(workspace, name).assign(dataset=name) for name in datasets])


def _decisions(
    workspace: Workspace, datasets: list[str], purpose: Purpose, policy: Path | None, as_of: str, known_at: str
) -> pd.DataFrame:
    from pipeline.rights.datasets import decide_among_all

    events = read_event_table(open_catalog(workspace), known_at)
    inventories = _inventories(workspace, datasets)
    return decide_among_all(workspace, inventories, events, purpose, load_policy(policy), as_of, known_at)
