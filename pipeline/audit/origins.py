"""What a snapshot rests on, and which of its assets a moment's decisions would not allow."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import RowMapping

from pipeline.catalog.assets import inventory_path, read_inventory
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import ConsentEvent, read_events
from pipeline.catalog.references import key_of
from pipeline.catalog.tables import INVENTORY
from pipeline.core.digests import json_digest
from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from pipeline.rights.datasets import decide_among_all
from pipeline.rights.findings import Purpose, parse_purpose
from pipeline.rights.policy import Policy, policy_digest

_FOREVER = "9999"  # after every moment that can be written


@dataclass(frozen=True)
class Barred:
    """The decision that keeps an asset out."""

    file: str
    decision: str  # review | deny
    reasons: tuple[str, ...]
    evidence: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "file": self.file,
            "decision": self.decision,
            "reasons": list(self.reasons),
            "evidence": list(self.evidence),
        }


@dataclass(frozen=True)
class Origin:
    """A snapshot as it was made: `selection` (tables.SELECTION) says what it chose, and what it knew of the rest."""

    id: str
    size: int
    purpose: Purpose
    policy: Policy
    as_of: str
    known_at: str
    datasets: tuple[str, ...]  # decided on, whether or not an asset of theirs was chosen
    selection: pd.DataFrame = field(repr=False)

    @cached_property
    def selected(self) -> frozenset[str]:
        """The assets that it holds."""
        return frozenset(self.selection.asset[self.selection.selected])

    @cached_property
    def allowed(self) -> frozenset[str]:
        """The assets that were allowed when it was made, chosen or not."""
        return frozenset(self.selection.asset[self.selection.decision == "allow"])

    @cached_property
    def all_allowed(self) -> bool:
        """True when everything that it holds was allowed when it was made, as its own record says."""
        return self.selected <= self.allowed

    @cached_property
    def places(self) -> dict[str, str]:
        """Assets by the way in which evidence names a relative."""
        columns = (self.selection[name].tolist() for name in ("dataset", "file", "asset"))
        return {f"relative:{dataset}:{file}": asset for dataset, file, asset in zip(*columns, strict=True)}

    @cached_property
    def kin(self) -> dict[str, set[str]]:
        """For each asset, chosen or not, those that show the same picture (pixels, near-duplicate group)."""
        together: dict[Any, set[str]] = defaultdict(set)
        columns = (self.selection[name].tolist() for name in ("asset", "pixels", "group"))
        for asset, pixels, group in zip(*columns, strict=True):
            together[pixels].add(asset)
            if group >= 0:
                together[group].add(asset)
        kin: dict[str, set[str]] = defaultdict(set)
        for members in together.values():
            if len(members) > 1:
                for asset in members:
                    kin[asset] |= members - {asset}
        return dict(kin)


Touched = dict[str, tuple[str, ...]]


def touched(origin: Origin, barred: Mapping[str, Barred]) -> Touched:
    """Chosen assets that may not be used, or whose picture may not: with the relatives that are the reason.

    Only what was allowed when the snapshot was made counts among relatives: the others kept their kin out then.
    """
    hit: Touched = dict.fromkeys(sorted(origin.selected & barred.keys()), ())
    for asset in sorted((origin.allowed & barred.keys()) - origin.selected):
        for relative in sorted(origin.kin.get(asset, set()) & origin.selected):
            hit[relative] = (*hit.get(relative, ()), asset)
    for asset in sorted(origin.selected & barred.keys()):
        named = [origin.places[item] for item in barred[asset].evidence if item in origin.places]
        hit[asset] = tuple(dict.fromkeys([*hit[asset], *named]))
    return hit


class Questions:
    """Decisions for many snapshots at many moments; equal questions are answered once."""

    def __init__(self, workspace: Workspace, policy: Policy | None = None) -> None:
        self._workspace, self._policy = workspace, policy
        self._events: list[ConsentEvent] = read_events(open_catalog(workspace), _FOREVER)
        self._recorded = sorted({event.recorded_at for event in self._events})
        bounds = {moment for e in self._events for moment in (e.effective_from, e.effective_until) if moment}
        self._in_force = sorted(bounds)
        self._inventories: dict[tuple[str, ...], pd.DataFrame] = {}
        self._answers: dict[tuple[Any, ...], dict[str, Barred]] = {}
        self._touched: dict[tuple[str, str, str], Touched] = {}

    def origin(self, row: RowMapping) -> Origin:
        """A snapshot's row with its selection and the policy to judge it by. Raises ImprimaturError when gone."""
        folder = self._workspace.snapshot(row["id"])
        if not (folder / "selection.parquet").exists():
            raise ImprimaturError(
                f"{folder}: the files of snapshot {row['id']!r} are gone", "restore the folder from your backup"
            )
        columns = ["asset", "dataset", "file", "selected", "decision", "group", "pixels", "licence", "holders"]
        selection = read_table(folder / "selection.parquet", [*columns, "attribution"])
        policy = self._policy or stored_policy(folder / "policy.json", row["policy_sha256"])
        purpose = parse_purpose(row["purpose"])
        datasets = tuple(sorted(set(read_table(folder / "decisions.parquet", ["dataset"])["dataset"])))
        return Origin(row["id"], row["size"], purpose, policy, row["as_of"], row["known_at"], datasets, selection)

    def barred(self, origin: Origin, as_of: str, known_at: str) -> dict[str, Barred]:
        """Assets of a snapshot's datasets that were not allowed at a moment, as known at another."""
        held, known = _last(self._in_force, as_of), _last(self._recorded, known_at)
        datasets, inventory = origin.datasets, self._inventory(origin.datasets)
        gone = origin.selected - set(inventory.asset)
        key = (datasets, frozenset(gone), str(origin.purpose), policy_digest(origin.policy), held, known)
        if key not in self._answers:
            facts = pd.concat([inventory, _as_recorded(origin, gone)]) if gone else inventory
            table = decide_among_all(self._workspace, facts, self._events, origin.purpose, origin.policy, held, known)
            self._answers[key] = _not_allowed(table)
        return self._answers[key]

    def touched(self, origin: Origin, as_of: str, known_at: str) -> Touched:
        """What `touched` says of a snapshot at a moment, as known at another."""
        key = origin.id, _last(self._in_force, as_of), _last(self._recorded, known_at)
        if key not in self._touched:
            self._touched[key] = touched(origin, self.barred(origin, as_of, known_at))
        return self._touched[key]

    def _inventory(self, datasets: tuple[str, ...]) -> pd.DataFrame:
        if datasets not in self._inventories:
            there = [name for name in datasets if inventory_path(self._workspace, name).exists()]
            read = [read_inventory(self._workspace, name).assign(dataset=name) for name in there]
            empty = pd.DataFrame(columns=[*INVENTORY.names, "dataset"])
            self._inventories[datasets] = pd.concat(read) if read else empty
        return self._inventories[datasets]


def _last(moments: Sequence[str], moment: str) -> str:
    """The last of the moments at which anything changed, up to this one: nothing differs in between."""
    place = bisect_right(moments, moment)
    return moments[place - 1] if place else ""


def _not_allowed(decisions: pd.DataFrame) -> dict[str, Barred]:
    """The worst decision of each asset that has one other than allow."""
    barred: dict[str, Barred] = {}
    refused = decisions[decisions.decision != "allow"]
    columns = (refused[name].tolist() for name in ("asset", "file", "decision", "reasons", "evidence"))
    for asset, file, decision, reasons, evidence in zip(*columns, strict=True):
        if asset not in barred or (decision == "deny" and barred[asset].decision == "review"):
            barred[asset] = Barred(file, decision, tuple(reasons), tuple(evidence))
    return barred


def _as_recorded(origin: Origin, gone: frozenset[str]) -> pd.DataFrame:
    """Inventory rows for assets that a dataset has lost since, from what the snapshot recorded of them."""
    lost = origin.selection[origin.selection.asset.isin(gone)]
    rows = [
        {
            **dict.fromkeys(INVENTORY.names, ""),
            **{name: row[name] for name in ("dataset", "file", "asset", "pixels", "licence", "attribution")},
            "holders": list(row["holders"]),
            "sha256": row["asset"],
            "key": key_of(row["file"]),
            "status": "accepted",
            "signals": "{}",
            "depicts": [],
            "derived_from": [],
        }
        for row in lost.to_dict("records")
    ]
    return pd.DataFrame(rows)


def stored_policy(path: Path, digest: str) -> Policy:
    """The policy beside a snapshot, else the default one. Raises ImprimaturError when it is not the one signed."""
    if not path.exists():
        return Policy()
    stored = json.loads(path.read_text(encoding="utf-8"))
    if json_digest(stored) != digest:
        raise ImprimaturError(f"{path}: is not the policy that the snapshot was signed with", "restore the file")
    return Policy.model_validate(stored)
