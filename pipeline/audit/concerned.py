"""Which assets one consent event closes, and whom it may have meant where it closes none."""

import difflib

import pandas as pd

from pipeline.audit.lineage import resolve_asset
from pipeline.catalog.assets import read_inventory
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import read_events
from pipeline.catalog.records import dataset_licence, dataset_names
from pipeline.core.errors import ImprimaturError
from pipeline.core.moments import now
from pipeline.core.workspace import Workspace
from pipeline.rights.blocks import decide
from pipeline.rights.findings import Purpose
from pipeline.rights.policy import Policy


def asset_named(workspace: Workspace, reference: str) -> str:
    """The SHA-256 of the one asset that a reference fits in any dataset, else the reference as it stands.

    By its digest an asset is meant wherever its bytes turn up, also in datasets where it has another key.
    """
    try:
        return resolve_asset(workspace, reference)[0]["sha256"] or reference
    except ImprimaturError:
        return reference


def assets_concerned(workspace: Workspace, event_id: str, subject_id: str) -> tuple[int, list[str]]:
    """How many assets of the workspace a closing event bears on (relatives too), once it is in force.

    Where there are none: listed holders, persons, keys and datasets whose names are close to the subject's.
    """
    catalog = open_catalog(workspace)
    names = dataset_names(catalog)
    if not names:
        return 0, []
    inventory = pd.concat([read_inventory(workspace, name).assign(dataset=name) for name in names])
    licences = {name: dataset_licence(catalog, name) for name in names}
    events = read_events(catalog, now())
    in_force = max([now(), *(event.effective_from for event in events if event.event_id == event_id)])
    purpose = Purpose("train_generative", commercial=True)
    decisions = decide(inventory, licences, events, purpose, Policy(), in_force, in_force)
    cited = [f"event:{event_id}" in evidence for evidence in decisions["evidence"]]
    if any(cited):
        return int(decisions["asset"][cited].nunique()), []
    listed = {name for column in ("holders", "depicts") for each in inventory[column] for name in each}
    return 0, difflib.get_close_matches(subject_id, sorted({*listed, *inventory["key"], *names}), n=3)
