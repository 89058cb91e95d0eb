"""What an audit is about: datasets at a moment, or a snapshot as it was signed; and everything on record about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePath

import pandas as pd
from sqlalchemy import select

from pipeline.audit.impact import snapshot_line
from pipeline.audit.lines import Line
from pipeline.audit.origins import stored_policy
from pipeline.catalog.assets import inventory_path, read_inventory
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import ConsentEvent, ledger_head, read_events
from pipeline.catalog.records import snapshot_row
from pipeline.catalog.tables import datasets
from pipeline.core.moments import format_moment
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from pipeline.rights.datasets import decide_among_all
from pipeline.rights.findings import Purpose, parse_purpose
from pipeline.rights.policy import Policy, policy_digest

_TEXTS = ["key", "label", "source_url", "collected_at", "format", "signals"]
_FACTS = ["file", "depicts", "bytes", *_TEXTS]
SOON = timedelta(days=90)


@dataclass(frozen=True)
class Source:
    """A dataset as it was ingested."""

    name: str
    source: str
    licence: str
    seen: int
    accepted: int
    rejected: int
    ingested_at: str

    @property
    def shown(self) -> str:
        """The source as it may be published: an address whole, of a path on this machine only the last part."""
        return self.source if "://" in self.source else PurePath(self.source).name


@dataclass(frozen=True)
class Subject:
    """`table`: one row for each accepted file: tables.DECISIONS, the facts of its inventory row, and `used` (allowed,
    or of a snapshot: chosen). `later` is the decision of each row at `soon`, on what is known now.
    """

    title: str
    purpose: Purpose
    policy: Policy
    policy_sha256: str
    as_of: str
    known_at: str
    soon: str  # the end of the coming 90 days
    ledger_head: str
    sources: tuple[Source, ...]
    events: Mapping[str, ConsentEvent]
    table: pd.DataFrame = field(repr=False)
    later: Sequence[str] = field(repr=False)
    snapshot: str = ""
    root: str = ""
    since: Line | None = None  # of a snapshot: how it stands today


def dataset_subject(
    workspace: Workspace, names: Sequence[str], purpose: Purpose, policy: Policy, as_of: str, known_at: str
) -> Subject:
    """Datasets as decided at a moment. Raises ImprimaturError for one that was never ingested."""
    catalog = open_catalog(workspace)
    inventory = pd.concat([read_inventory(workspace, name).assign(dataset=name) for name in names])
    events = read_events(catalog, known_at)
    soon = moment_after(as_of, SOON)
    decisions = decide_among_all(workspace, inventory, events, purpose, policy, as_of, known_at)
    later = decide_among_all(workspace, inventory, events, purpose, policy, soon, known_at)
    return Subject(
        title=", ".join(names),
        purpose=purpose,
        policy=policy,
        policy_sha256=policy_digest(policy),
        as_of=as_of,
        known_at=known_at,
        soon=soon,
        ledger_head=ledger_head(catalog, known_at),
        sources=_sources(workspace, names),
        events={event.event_id: event for event in events},
        table=_with_facts(decisions, inventory).assign(used=decisions["decision"].to_numpy() == "allow"),
        later=later["decision"].tolist(),
    )


def snapshot_subject(workspace: Workspace, identifier: str, today: str) -> Subject:
    """A snapshot as it was signed, with what is due in the 90 days from today, and how it stands today."""
    catalog = open_catalog(workspace)
    row = snapshot_row(catalog, identifier)
    folder = workspace.snapshot(identifier)
    since = snapshot_line(workspace, identifier, today)
    decisions = read_table(folder / "decisions.parquet")
    names = sorted(set(decisions["dataset"]))
    there = [name for name in names if inventory_path(workspace, name).exists()]
    inventory = pd.concat([read_inventory(workspace, name).assign(dataset=name) for name in there])
    purpose, policy = parse_purpose(row.purpose), stored_policy(folder / "policy.json", row.policy_sha256)
    soon = moment_after(today, SOON)
    events = read_events(catalog, today)
    later = decide_among_all(workspace, inventory, events, purpose, policy, soon, today)
    verdicts = dict(zip(zip(later["dataset"], later["file"], strict=True), later["decision"], strict=True))
    chosen = read_table(folder / "selection.parquet", ["asset", "selected"])
    used = set(chosen["asset"][chosen["selected"]])
    places = list(zip(decisions["dataset"], decisions["file"], strict=True))
    return Subject(
        title=f"snapshot {identifier}",
        purpose=purpose,
        policy=policy,
        policy_sha256=row.policy_sha256,
        as_of=row.as_of,
        known_at=row.known_at,
        soon=soon,
        ledger_head=row.ledger_head,
        sources=_sources(workspace, names),
        events={event.event_id: event for event in events},
        table=_with_facts(decisions, inventory).assign(used=decisions["asset"].isin(used).to_numpy()),
        later=[verdicts.get(place, "deny") for place in places],
        snapshot=identifier,
        root=row.root,
        since=since,
    )


def moment_after(moment: str, span: timedelta) -> str:
    """A moment that is a span later."""
    return format_moment(datetime.fromisoformat(moment) + span)


def cited(evidence: Sequence[str], events: Mapping[str, ConsentEvent]) -> list[ConsentEvent]:
    """The consent events that a decision's evidence names."""
    names = (item.removeprefix("event:") for item in evidence if item.startswith("event:"))
    return [events[name] for name in names if name in events]


def says_synthetic(signals: str) -> bool:
    """True when a file's own metadata calls it the output of a generative model (IPTC digital source type)."""
    return "trainedalgorithmicmedia" in signals.lower()


def _with_facts(decisions: pd.DataFrame, inventory: pd.DataFrame) -> pd.DataFrame:
    facts = inventory[inventory["status"] == "accepted"][["dataset", *_FACTS]].drop_duplicates(["dataset", "file"])
    table = decisions.merge(facts, on=["dataset", "file"], how="left")
    people = table["depicts"].map(lambda one: [] if isinstance(one, float) or one is None else list(one))
    return table.assign(**{name: table[name].fillna("") for name in _TEXTS}, depicts=people)


def _sources(workspace: Workspace, names: Sequence[str]) -> tuple[Source, ...]:
    with open_catalog(workspace).connect() as connection:
        rows = connection.execute(select(datasets).where(datasets.c.name.in_(list(names)))).mappings().all()
    columns = ("name", "source", "licence", "seen", "accepted", "rejected", "ingested_at")
    return tuple(
        Source(**{column: row[column] for column in columns}) for row in sorted(rows, key=lambda r: str(r["name"]))
    )
