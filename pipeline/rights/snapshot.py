"""The snapshot: the assets allowed for one purpose at one moment, with a signed statement that commits to them."""

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
from sqlalchemy import insert, select

from pipeline.catalog.database import open_catalog
from pipeline.catalog.records import snapshot_row
from pipeline.catalog.tables import DECISIONS, SELECTION, snapshots
from pipeline.core.digests import canonical_json, file_sha256, sha256
from pipeline.core.errors import ImprimaturError, NeedsPerson
from pipeline.core.merkle import merkle_root
from pipeline.core.moments import now
from pipeline.core.shards import machine_faults_named, write_bytes, write_json, write_table
from pipeline.core.sheets import csv_bytes
from pipeline.core.workspace import Workspace
from pipeline.rights.findings import Purpose
from pipeline.rights.policy import Policy, policy_digest
from pipeline.rights.proof import salted_leaves
from pipeline.rights.reasons import Reason
from pipeline.rights.statement import STATEMENT_TYPE, public_pem, sign_statement, snapshot_salt, statement_signer

PREDICATE_TYPE = "https://imprimatur.dev/snapshot/v1"
TREE = "RFC 9162 section 2.1, SHA-256, over sorted unique asset SHA-256 digests"
SALTED_TREE = "RFC 9162 section 2.1, SHA-256, over sorted unique HMAC-SHA-256(salt, asset SHA-256 digest)"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on disk; `root` is the Merkle root over the SHA-256 digests of its `size` assets."""

    id: str
    root: str
    size: int
    folder: Path

    @property
    def statement(self) -> Path:
        """The signed statement (DSSE)."""
        return self.folder / "statement.json"

    @property
    def selection(self) -> Path:
        """One row for each accepted asset (tables.SELECTION)."""
        return self.folder / "selection.parquet"

    @property
    def decisions(self) -> Path:
        """One row for each accepted file (tables.DECISIONS)."""
        return self.folder / "decisions.parquet"

    @property
    def attribution(self) -> Path:
        """Who must be credited."""
        return self.folder / "attribution.csv"

    @property
    def public_key(self) -> Path:
        """The public key of the statement's signer."""
        return self.folder / "statement.pub.pem"

    @property
    def policy(self) -> Path:
        """The policy that it was decided by."""
        return self.folder / "policy.json"

    @property
    def salt(self) -> bytes:
        """The salt of its salted tree, for an auditor; empty when it has none."""
        path = self.folder / "salt"
        return path.read_bytes() if path.exists() else b""


def make_snapshot(
    workspace: Workspace,
    selection: pd.DataFrame,
    decisions: pd.DataFrame,
    purpose: Purpose,
    policy: Policy,
    as_of: str,
    known_at: str,
    ledger_head: str,
    salted: bool = False,
) -> Snapshot:
    """Write and sign the snapshot of the selected assets; the same inputs give the same snapshot.

    Its id is the first 16 hex digits of the SHA-256 of the statement's payload. `salted` commits to a second tree,
    whose proofs show no other asset's digest. Raises NeedsPerson when nothing is selected, saying which reasons
    denied everything.
    """
    chosen = selection.loc[selection["selected"], "asset"].tolist()
    if not chosen:
        raise _nothing_selected(selection, purpose)
    signer = statement_signer(workspace)
    building = workspace.home / "snapshots" / f".building-{uuid4().hex[:8]}"
    try:
        decided = write_table(building / "decisions.parquet", decisions, DECISIONS)
        write_table(building / "selection.parquet", selection, SELECTION)
        root = merkle_root(chosen)
        predicate: dict[str, Any] = {
            "root": root,
            "size": len(set(chosen)),
            "tree": TREE,
            "asOf": as_of,
            "knownAt": known_at,
            "purpose": str(purpose),
            "policySha256": policy_digest(policy),
            "ledgerHead": ledger_head,
            "decisions": {"sha256": file_sha256(decided), **_counts(decisions["decision"])},
            "reasons": _counts(str(code) for codes in decisions["reasons"] for code in codes),
            "notSelected": _counts(reason for reason in selection["reason"] if reason),
        }
        if salted:
            salt = snapshot_salt(signer, root)
            write_bytes(building / "salt", salt, mode=0o600)
            predicate["salted"] = {
                "root": merkle_root(leaf.hex() for leaf in salted_leaves(chosen, salt)),
                "saltSha256": sha256(salt),
                "tree": SALTED_TREE,
            }
        payload = canonical_json(_statement(root, predicate))
        write_bytes(building / "statement.json", sign_statement(payload, signer))
        write_bytes(building / "statement.pub.pem", public_pem(signer))
        write_json(building / "policy.json", policy.model_dump(mode="json"))
        write_bytes(building / "attribution.csv", _attribution(decisions, set(chosen)))
        made = Snapshot(sha256(payload)[:16], root, len(set(chosen)), workspace.snapshot(sha256(payload)[:16]))
        with machine_faults_named(made.folder):
            if not made.folder.exists():
                building.rename(made.folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    _record(workspace, made, predicate)
    return made


def load_snapshot(workspace: Workspace, identifier: str) -> Snapshot:
    """A snapshot of this workspace by its id. Raises ImprimaturError when it is not there."""
    row = snapshot_row(open_catalog(workspace), identifier)
    snapshot = Snapshot(identifier, row.root, row.size, workspace.snapshot(identifier))
    if not snapshot.statement.exists():
        raise ImprimaturError(
            f"{snapshot.folder}: the files of snapshot {identifier!r} are gone", "restore the folder from your backup"
        )
    return snapshot


def _statement(root: str, predicate: dict[str, Any]) -> dict[str, Any]:
    subject = {"name": "snapshot", "digest": {"sha256": root}}
    return {"_type": STATEMENT_TYPE, "subject": [subject], "predicateType": PREDICATE_TYPE, "predicate": predicate}


def _counts(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _attribution(decisions: pd.DataFrame, chosen: set[str]) -> bytes:
    """Who must be credited, and for how many works: one line for each dataset, licence and credit."""
    used = decisions[decisions["asset"].isin(chosen)]
    columns = ["dataset", "licence", "attribution", "holders", "obligations"]
    lines = Counter(
        (dataset, licence, credit or "; ".join(holders), "; ".join(obligations))
        for dataset, licence, credit, holders, obligations in used[columns].itertuples(index=False, name=None)
        if len(obligations)
    )
    rows = [[*line, works] for line, works in sorted(lines.items())]
    return csv_bytes(["dataset", "licence", "credit", "obligations", "works"], rows)


def _nothing_selected(selection: pd.DataFrame, purpose: Purpose) -> NeedsPerson:
    counts = Counter(reason for reason in selection["reason"] if reason).most_common(5)
    if not counts:
        return NeedsPerson(f"no asset to select for {purpose}", "ingest a dataset that has readable images")
    told = "; ".join(f"{count} × {code}: {Reason[code].explanation}" for code, count in counts)
    return NeedsPerson(
        f"none of {len(selection)} assets may be used for {purpose}: {told}",
        "add licences or consent events that allow this use, or review the policy; see audit decisions",
    )


def _record(workspace: Workspace, made: Snapshot, predicate: dict[str, Any]) -> None:
    with open_catalog(workspace).begin() as connection:
        if connection.execute(select(snapshots.c.id).where(snapshots.c.id == made.id)).first():
            return
        connection.execute(
            insert(snapshots).values(
                id=made.id,
                root=made.root,
                size=made.size,
                purpose=predicate["purpose"],
                as_of=predicate["asOf"],
                known_at=predicate["knownAt"],
                policy_sha256=predicate["policySha256"],
                ledger_head=predicate["ledgerHead"],
                created_at=now(),
            )
        )
