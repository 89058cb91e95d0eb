"""Decisions on some datasets among all that were ingested: twins and origins count wherever they lie."""

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from pipeline.catalog.assets import inventory_path, read_inventory
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import ConsentEvent
from pipeline.catalog.records import dataset_licences
from pipeline.core.workspace import Workspace
from pipeline.rights.assets import COLUMNS
from pipeline.rights.blocks import decide
from pipeline.rights.findings import Purpose
from pipeline.rights.policy import Policy


def decide_among_all(
    workspace: Workspace,
    inventory: pd.DataFrame,
    events: Sequence[ConsentEvent] | pa.Table,
    purpose: Purpose,
    policy: Policy,
    as_of: str,
    known_at: str,
) -> pd.DataFrame:
    """As blocks.decide, on these files only, but with those of every other ingested dataset as possible relatives."""
    licences, own = dataset_licences(open_catalog(workspace)), set(inventory["dataset"])
    others = [name for name in licences if name not in own and inventory_path(workspace, name).exists()]
    facts = [read_inventory(workspace, name, list(COLUMNS)).assign(dataset=name) for name in others]
    every = pd.concat([inventory[["dataset", *COLUMNS]], *facts], ignore_index=True)
    decided = decide(every, licences, events, purpose, policy, as_of, known_at)
    return decided.head(int((inventory["status"] == "accepted").sum()))
