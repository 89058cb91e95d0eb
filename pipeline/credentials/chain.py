"""Walking a chain below its manifests, in the workspace that made it: weights, signed statement, Merkle root, ledger.

The manifests bind digests; here the files behind the digests are looked at. Only what the catalog knows by its id is
opened: a manifest's own words never become a path.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import c2pa
from sqlalchemy import Engine, Row, select

from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import verify_chain
from pipeline.catalog.tables import consent_events, models, snapshots
from pipeline.core.digests import file_sha256, sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.merkle import merkle_root
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from pipeline.credentials import sdk
from pipeline.credentials.claims import ChainLink, read_claims
from pipeline.credentials.manifest import OPAQUE
from pipeline.credentials.sidecars import sidecar_path
from pipeline.rights.statement import public_key_path, read_statement

WEIGHTS = "weights.safetensors"  # as the generators name them


def broken_link(chain: tuple[ChainLink, ...]) -> str:
    """Name of the first link of a chain that does not hold, "" when none is broken."""
    return next((link.link for link in chain if link.state == "invalid"), "")


def walk(chain: tuple[ChainLink, ...], workspace: Workspace, anchors_pem: str) -> tuple[ChainLink, ...]:
    """A chain with the evidence behind each manifest that this workspace knows; the rest stays as it is.

    A linked model is looked up by its weights' digest, and its credential must have the digest that was named.
    """
    catalog = open_catalog(workspace)
    walked: list[ChainLink] = []
    for link in _resolved(chain, catalog, workspace, anchors_pem):
        walked.append(link)
        name, _, kind = link.link.rpartition(" ")
        if kind == "model":
            walked += _model_evidence(link, f"{name} ".lstrip(), catalog, workspace)
        elif kind == "snapshot":
            walked += _snapshot_evidence(link, f"{name} ".lstrip(), catalog, workspace)
    return tuple(walked)


def _resolved(
    chain: tuple[ChainLink, ...], catalog: Engine, workspace: Workspace, anchors_pem: str
) -> tuple[ChainLink, ...]:
    if not chain or chain[-1].state != "linked":
        return chain
    facts, linked = dict(chain[0].facts), chain[-1]
    row = _row(catalog, models, "weights_sha256", facts.get("modelSha256"))
    if row is None:
        return chain
    weights = workspace.model(row.id) / WEIGHTS
    try:
        store = sidecar_path(weights).read_bytes()
    except OSError:
        return (*chain[:-1], replace(linked, state="unchecked", detail="the model's credential is gone"))
    if sha256(store) != facts.get("modelCredentialSha256"):
        return (*chain[:-1], replace(linked, state="invalid", detail="the model's credential is not the one named"))
    try:
        report = sdk.read(weights.read_bytes(), OPAQUE, anchors_pem, store)
    except (OSError, c2pa.C2paError) as error:
        return (*chain[:-1], replace(linked, state="invalid", detail=f"the model cannot be read: {error}"))
    return (*chain[:-1], *(read_claims(report).chain if report else ()))


def _model_evidence(link: ChainLink, name: str, catalog: Engine, workspace: Workspace) -> list[ChainLink]:
    facts = dict(link.facts)
    row = _row(catalog, models, "id", facts.get("model"))
    if row is None or link.state == "absent":
        return []
    weights = ChainLink(f"{name}weights", WEIGHTS, "", "valid")
    path = workspace.model(row.id) / WEIGHTS
    if not path.is_file():
        return [replace(weights, state="unchecked", detail="the weights are not here")]
    digest = _digest(path, *_stamp(path))
    if digest != facts.get("weights_sha256", row.weights_sha256):
        return [replace(weights, state="invalid", detail="the weights are not those that were signed")]
    return [replace(weights, detail=f"sha256 {digest}")]


def _snapshot_evidence(link: ChainLink, name: str, catalog: Engine, workspace: Workspace) -> list[ChainLink]:
    facts = dict(link.facts)
    row = _row(catalog, snapshots, "id", facts.get("snapshot"))
    if row is None or link.state == "absent":
        return []
    folder = workspace.snapshot(row.id)
    statement = ChainLink(f"{name}statement", "statement.json", "", "valid")
    if not (folder / "statement.json").is_file():
        return [replace(statement, state="unchecked", detail="the statement is not here")]
    try:
        predicate = read_statement(folder / "statement.json", public_key_path(workspace))["predicate"]
        root, head = str(predicate["root"]), str(predicate["ledgerHead"])
    except ImprimaturError as error:
        return [replace(statement, state="invalid", detail=error.message)]
    except (KeyError, TypeError):
        return [replace(statement, state="invalid", detail="the statement commits to no root and ledger")]
    if root != facts.get("root"):
        return [replace(statement, state="invalid", detail="the statement commits to another root")]
    return [replace(statement, detail=f"root {root}"), _assets(name, folder, root), _ledger(name, workspace, head)]


def _assets(name: str, folder: Path, root: str) -> ChainLink:
    """Whether the list of the training set gives the signed Merkle root."""
    link, path = ChainLink(f"{name}assets", "selection.parquet", "", "valid"), folder / "selection.parquet"
    if not path.is_file():
        return replace(link, state="unchecked", detail="the list of assets is not here")
    try:
        count, found = _root(path, *_stamp(path))
    except Exception as error:  # an altered Parquet file raises nearly anything
        return replace(link, state="invalid", detail=f"the list of assets cannot be read ({type(error).__name__})")
    if found != root:
        return replace(link, state="invalid", detail="the list of assets does not give the signed root")
    return replace(link, detail=f"{count} assets give the signed root")


def _ledger(name: str, workspace: Workspace, head: str) -> ChainLink:
    """Whether the ledger still holds the event that the statement names as its last, in an unbroken chain."""
    link, catalog = ChainLink(f"{name}ledger", "consent ledger", "", "valid"), open_catalog(workspace)
    if head and _row(catalog, consent_events, "hash", head) is None:
        return replace(link, state="invalid", detail="the event that the statement names is not in the ledger")
    with catalog.connect() as connection:
        last = connection.execute(
            select(consent_events.c.hash).order_by(consent_events.c.seq.desc()).limit(1)
        ).scalar()
    broken = _first_broken(workspace, last or "")
    if broken:
        return replace(link, state="invalid", detail=f"its chain breaks at event {broken}")
    return replace(link, detail=f"head {head}" if head else "no event was known")


def _row(catalog: Engine, table: Any, column: str, value: object) -> Row[Any] | None:
    if not isinstance(value, str) or not value:
        return None
    with catalog.connect() as connection:
        return connection.execute(select(table).where(table.c[column] == value)).first()


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=32)
def _digest(path: Path, _modified: int, _size: int) -> str:
    """Kept while the file looks unchanged: the weights behind a thousand outputs are read once."""
    return file_sha256(path)


@lru_cache(maxsize=32)
def _root(path: Path, _modified: int, _size: int) -> tuple[int, str]:
    table = read_table(path, ["asset", "selected"])
    chosen = set(table.loc[table.selected, "asset"])
    return len(chosen), merkle_root(chosen)


@lru_cache(maxsize=8)
def _first_broken(workspace: Workspace, _last: str) -> str:
    """Recomputed once a process for each last event: a million events take seconds."""
    return verify_chain(open_catalog(workspace)).first_broken
