"""The pictures that a batch varies: only those that may be a generator's input, laid out for workers and stamp."""

from pathlib import Path

import pandas as pd

from pipeline.catalog.assets import read_asset, read_inventory
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import read_event_table
from pipeline.core.errors import NeedsPerson
from pipeline.core.shards import rows_of, write_bytes
from pipeline.core.workspace import Workspace
from pipeline.generators.batch import VariedSource, source_path
from pipeline.rights.datasets import decide_among_all
from pipeline.rights.findings import Purpose
from pipeline.rights.policy import Policy


def decided_inputs(workspace: Workspace, dataset: str, commercial: bool, policy: Policy, moment: str) -> pd.DataFrame:
    """Every accepted asset of a dataset with the worst decision on it for the purpose generate_input, and why."""
    inventory = read_inventory(workspace, dataset).assign(dataset=dataset)
    purpose = Purpose("generate_input", commercial)
    events = read_event_table(open_catalog(workspace), moment)
    decisions = decide_among_all(workspace, inventory, events, purpose, policy, moment, moment)
    worst = {"allow": 0, "review": 1, "deny": 2}
    ordered = decisions.assign(rank=decisions.decision.map(worst)).sort_values("rank", kind="stable")
    strictest = ordered.drop_duplicates("asset", keep="last")[["asset", "decision", "reasons"]]
    files = inventory[inventory.status == "accepted"].drop_duplicates("asset")
    return files.merge(strictest, on="asset").sort_values("asset").reset_index(drop=True)


def lay_out(
    workspace: Workspace, inputs: pd.DataFrame, background: tuple[int, int, int], folder: Path
) -> list[VariedSource]:
    """Write the bytes of allowed inputs below `folder`. Raises NeedsPerson when one is not allowed, or none given."""
    if inputs.empty:
        raise NeedsPerson("no picture may be varied: none is licensed as generator input", "see `audit decisions`")
    rows = list(rows_of(inputs))
    for row in rows:
        if row["decision"] != "allow":
            raise NeedsPerson(
                f"{row['file']}: {row['decision']} as generator input ({', '.join(row['reasons'])})",
                "choose a picture that is licensed for generate_input, or record a grant with `consent import`",
            )
    for row in rows:
        where = (row["dataset"], row["asset"], row["store"], row["offset"], row["length"])
        write_bytes(source_path(folder, row["asset"]), read_asset(workspace, *where))
    return [VariedSource(row["asset"], row["label"], background) for row in rows]


def chosen(inputs: pd.DataFrame, labels: list[str], count: int, seed: int) -> pd.DataFrame:
    """At most `count` of those that are allowed, and of these labels when any are given, in an order by seed."""
    allowed = inputs[inputs.decision == "allow"]
    wanted = allowed[allowed.label.isin(labels)] if labels else allowed
    return wanted.sample(n=min(count, len(wanted)), random_state=seed % 2**32)
