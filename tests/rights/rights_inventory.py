"""Small inventories and events for the tests of rights."""

import hashlib
from typing import Any

import pandas as pd

from pipeline.catalog.ledger import ConsentEvent
from pipeline.catalog.tables import INVENTORY
from pipeline.rights.blocks import decide
from pipeline.rights.findings import parse_purpose
from pipeline.rights.policy import Policy

NOW = "2026-06-01T00:00:00.000000Z"
GC = "train_generative:commercial"


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def row(key: str, **columns: Any) -> dict[str, Any]:
    """One accepted file of dataset `d`; its bytes and pixels are named by its key unless told otherwise."""
    empty: dict[str, Any] = dict.fromkeys(INVENTORY.names, "")
    empty |= {"width": 1, "height": 1, "bytes": 1, "offset": 0, "length": 1}
    empty |= {"holders": [], "depicts": [], "derived_from": [], "status": "accepted"}
    given = {
        "dataset": "d",
        "file": f"{key}.png",
        "key": key,
        "asset": digest(key),
        "pixels": digest(f"pixels {key}"),
    }
    full = empty | given | columns
    return full | {"sha256": full["asset"]}


def event(event_id: str, action: str = "grant", **columns: str) -> ConsentEvent:
    values = {
        "recorded_at": "2026-01-01T00:00:00.000000Z",
        "effective_until": "",
        "actor": "",
        "subject_type": "holder",
        "subject_id": "ada",
        "uses": "*",
        "commercial": "any",
        "territory": "*",
        "overrides_signals": "no",
        "evidence": "",
        "note": "",
    } | columns
    return ConsentEvent(
        event_id=event_id, action=action, **{"effective_from": values["recorded_at"], **values}
    )  # fmt: skip


def decisions(
    rows: list[dict[str, Any]],
    events: list[ConsentEvent] | None = None,
    purpose: str = GC,
    policy: Policy | None = None,
    as_of: str = NOW,
    known_at: str = NOW,
    licences: dict[str, str] | None = None,
) -> pd.DataFrame:
    return decide(
        pd.DataFrame(rows), licences or {}, events or [], parse_purpose(purpose), policy or Policy(), as_of, known_at
    )


def answer(key_row: dict[str, Any], *events: ConsentEvent, **question: Any) -> tuple[str, list[str]]:
    """Decision and reasons on a single file."""
    table = decisions([key_row], list(events), **question)
    return table.loc[0, "decision"], table.loc[0, "reasons"]
