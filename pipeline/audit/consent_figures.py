"""The figures of a consent audit: who consented, who said no, what is missing, what ends, what a person decides."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.audit.advice import advice
from pipeline.audit.attribution import attribution_list
from pipeline.audit.subject import Subject, cited
from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.reasons import Reason

SHOWN = {"conflicts": 200, "files": 5, "grants": 300, "credits": 300, "examples": 3, "ending": 200}


@dataclass(frozen=True)
class Ground:
    """What allows: an event of the ledger or a licence, and how many assets rest on it."""

    name: str
    assets: int
    event: ConsentEvent | None = None
    holders: str = ""
    obligations: str = ""


@dataclass(frozen=True)
class Missing:
    """One reason against, how often, and what would settle it."""

    code: str
    explanation: str
    advice: str
    decision: str
    assets: int
    examples: list[str]
    holders: str


@dataclass(frozen=True)
class Conflict:
    """One question for a person: the files that it is about, why it is asked, on what evidence."""

    files: list[str]
    holders: str
    reasons: list[tuple[str, str, str]]  # code, what it says, what would settle it
    evidence: list[str]


@dataclass(frozen=True)
class Figures:
    """Everything that the page says, counted."""

    assets: int
    decisions: dict[str, int]
    by_dataset: list[dict[str, Any]]
    used: int
    grants: list[Ground]
    licences: list[Ground]
    closings: list[Ground]
    missing: list[Missing]
    conflicts: list[Conflict]
    ending: list[Ground]
    lost_soon: list[dict[str, Any]]
    credits: list[dict[str, Any]]


def explanation(code: str) -> str:
    """The sentence of a reason code."""
    return Reason[code].explanation if code in Reason.__members__ else ""


def figures(subject: Subject) -> Figures:
    """Count what the page says. An asset that is listed several times has the worst of its decisions."""
    table = subject.table
    worst = _worst(table)
    return Figures(
        assets=len(worst),
        decisions={name: sum(one == name for one in worst.values()) for name in ("allow", "review", "deny")},
        by_dataset=_by_dataset(subject),
        used=int(table["asset"][table["used"]].nunique()),
        grants=_by_event(subject, table[table["decision"] == "allow"], {"grant"}),
        licences=_by_licence(table),
        closings=_by_event(subject, table[table["decision"] != "allow"], {"withdraw", "restrict", "unreadable"}),
        missing=_missing(table[table["decision"] == "deny"]),
        conflicts=_conflicts(subject, table[table["decision"] == "review"]),
        ending=_ending(subject),
        lost_soon=_lost_soon(subject),
        credits=attribution_list(subject),
    )


def _worst(table: pd.DataFrame) -> dict[str, str]:
    rank = {"allow": 0, "review": 1, "deny": 2}
    worst: dict[str, str] = {}
    for asset, decision in zip(table["asset"].tolist(), table["decision"].tolist(), strict=True):
        worst[asset] = max(worst.get(asset, "allow"), decision, key=lambda one: rank[one])
    return worst


def _by_dataset(subject: Subject) -> list[dict[str, Any]]:
    rows = []
    for source in subject.sources:
        counts = Counter(subject.table["decision"][subject.table["dataset"] == source.name])
        rows.append({"source": source, **{name: counts[name] for name in ("allow", "review", "deny")}})
    return rows


def _by_event(subject: Subject, rows: pd.DataFrame, actions: set[str]) -> list[Ground]:
    """Events that the decisions of these rows rest on, with how many assets do."""
    resting: dict[str, set[str]] = defaultdict(set)
    holders: dict[str, set[str]] = defaultdict(set)
    for row in rows[["asset", "evidence", "holders"]].to_dict("records"):
        for event in cited(row["evidence"], subject.events):
            if event.action in actions:
                resting[event.event_id].add(row["asset"])
                holders[event.event_id].update(row["holders"])
    grounds = [
        Ground(name, len(assets), subject.events[name], holders=_some(holders[name]))
        for name, assets in resting.items()
    ]
    return sorted(grounds, key=lambda ground: (-ground.assets, ground.name))


def _by_licence(table: pd.DataFrame) -> list[Ground]:
    """Licences that allow by themselves, with how many assets rest on them."""
    allowed = table[
        [d == "allow" and "GRANT" not in r for d, r in zip(table["decision"], table["reasons"], strict=True)]
    ]
    grounds = []
    for licence, rows in allowed.groupby("licence", sort=True):
        holders = {holder for each in rows["holders"] for holder in each}
        duties = sorted({duty for each in rows["obligations"] for duty in each})
        grounds.append(
            Ground(str(licence), int(rows["asset"].nunique()), holders=_some(holders), obligations=", ".join(duties))
        )
    return sorted(grounds, key=lambda ground: (-ground.assets, ground.name))


def _missing(refused: pd.DataFrame) -> list[Missing]:
    each = refused.explode("reasons").dropna(subset=["reasons"])
    found = []
    for code, rows in each.groupby("reasons", sort=True):
        examples = [f"{dataset}: {file}" for dataset, file in zip(rows["dataset"], rows["file"], strict=True)]
        found.append(
            Missing(
                str(code), explanation(str(code)), advice(str(code)), "deny", int(rows["asset"].nunique()),
                examples[: SHOWN["examples"]], _some({h for holders in rows["holders"] for h in holders}),
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one.assets, one.code))


def _conflicts(subject: Subject, rows: pd.DataFrame) -> list[Conflict]:
    """Files to review; those of the same holders with the same reasons and evidence are one question."""
    questions: dict[tuple[tuple[str, ...], ...], list[str]] = defaultdict(list)
    for row in rows.to_dict("records"):
        evidence = tuple(in_words(item, subject) for item in row["evidence"])
        key = (tuple(row["reasons"]), evidence, tuple(row["holders"]))
        questions[key].append(f"{row['dataset']}: {row['file']}")
    found = [
        Conflict(
            files, ", ".join(holders), [(code, explanation(code), advice(code)) for code in reasons], list(evidence)
        )
        for (reasons, evidence, holders), files in questions.items()
    ]
    return sorted(found, key=lambda one: (one.reasons[0][0], -len(one.files)))


def in_words(item: str, subject: Subject) -> str:
    """A piece of evidence as a person would name it."""
    kind, _, rest = item.partition(":")
    event = subject.events.get(rest) if kind == "event" else None
    if event is not None:
        who = event.actor or event.subject_id
        document = f", {event.evidence}" if event.evidence else ", without a document"
        return f"{event.action} by {who}, recorded {event.recorded_at[:10]} (event {event.event_id}{document})"
    return {
        "licence": f"stated licence: {rest}",
        "depicts": f"shows {rest}",
        "relative": f"the same picture, or its origin: {rest}",
        "derived_from": f"derives from {rest}",
    }.get(kind, item)


def _ending(subject: Subject) -> list[Ground]:
    """Grants behind what is used that end between the moment asked about and the end of the coming 90 days."""
    used = subject.table[subject.table["used"]]
    return [
        ground
        for ground in _by_event(subject, used, {"grant"})
        if ground.event is not None and ground.event.effective_until and ground.event.effective_until <= subject.soon
    ]


def _lost_soon(subject: Subject) -> list[dict[str, Any]]:
    """Assets that are used now and would not be allowed in 90 days, on what is known today."""
    rows = zip(subject.table.to_dict("records"), subject.later, strict=True)
    return [
        {
            "file": f"{row['dataset']}: {row['file']}",
            "holders": ", ".join(row["holders"]),
            "later": later,
            "ends": min(filter(None, ends_of(subject, row)), default=""),
        }
        for row, later in rows
        if row["used"] and later != "allow"
    ]


def ends_of(subject: Subject, row: dict[Any, Any]) -> Iterable[str]:
    """When the grants behind a decision end; "" for never."""
    return (e.effective_until for e in cited(row["evidence"], subject.events) if e.action == "grant")


def _some(names: Iterable[str], most: int = 4) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - most:,} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
