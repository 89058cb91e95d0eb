"""The selection: which allowed assets go into a snapshot, one representative for each group of near-duplicates."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.catalog.tables import SELECTION
from pipeline.core.settings import DuplicateSettings
from pipeline.rights.findings import Verdict
from pipeline.rights.reasons import Reason
from pipeline.similarity.fingerprints import thumbnails
from pipeline.similarity.groups import Prints, find_copies, like_any
from pipeline.similarity.join import Join, near_pairs


def select(
    inventory: pd.DataFrame,
    decisions: pd.DataFrame,
    fingerprints: pd.DataFrame,
    duplicates: DuplicateSettings,
    join: Join = near_pairs,
) -> pd.DataFrame:
    """One row for each accepted asset (tables.SELECTION), in the inventory's order.

    `inventory` (tables.INVENTORY with a `dataset` column) and `decisions` are those given to and by `decide`;
    `fingerprints` (tables.FINGERPRINTS) must hold every accepted asset. An asset is as free as its least free
    file, a near-duplicate group as its least free member; of a free group the first asset represents the rest.
    """
    accepted = inventory[inventory["status"] == "accepted"].reset_index(drop=True)
    ruled = decisions.reset_index(drop=True)
    if accepted["asset"].tolist() != ruled["asset"].tolist():
        raise ValueError("decisions must be those of this inventory, in its order")
    verdicts = np.array([Verdict[text.upper()] for text in ruled["decision"]], dtype=np.int64)
    assets = accepted.drop_duplicates("asset")
    first = assets.index.to_numpy()
    number = {asset: i for i, asset in enumerate(assets["asset"])}
    of_row = np.array([number[asset] for asset in accepted["asset"]], dtype=np.int64)
    worst = np.zeros(len(assets), dtype=np.int64)
    np.maximum.at(worst, of_row, verdicts)
    prints = fingerprints.drop_duplicates("asset").set_index("asset").loc[assets["asset"]]
    looks = _prints(assets, prints)
    groups = find_copies(looks, duplicates, join).groups()
    reasons = _reasons(worst, groups, _first_reasons(ruled, verdicts, of_row, worst))
    chosen = np.array([row for row, reason in enumerate(reasons) if not reason], dtype=np.int64)
    # a group's members were compared with its first picture only: none may look like a picture that is not free
    for row in like_any(looks, chosen, np.flatnonzero(worst > Verdict.ALLOW), duplicates).tolist():
        reasons[row] = str(Reason.GROUP_NOT_FREE)
    return pd.DataFrame(
        {
            **{name: assets[name].tolist() for name in ("asset", "dataset", "file", "label", "pixels")},
            **{name: assets[name].tolist() for name in ("store", "offset", "length")},
            "decision": [str(Verdict(verdict)) for verdict in worst.tolist()],
            "reason": reasons,
            "selected": [reason == "" for reason in reasons],
            "group": groups,
            "licence": ruled["licence"].to_numpy()[first].tolist(),
            "holders": [list(holders) for holders in ruled["holders"].to_numpy()[first]],
            "attribution": ruled["attribution"].to_numpy()[first].tolist(),
        },
        columns=SELECTION.names,
    )


def _first_reasons(
    ruled: pd.DataFrame, verdicts: NDArray[np.int64], of_row: NDArray[np.int64], worst: NDArray[np.int64]
) -> list[str]:
    """For each asset the leading reason of its least free file."""
    leading = [""] * len(worst)
    for row, reasons in enumerate(ruled["reasons"]):
        asset = of_row[row]
        if not leading[asset] and verdicts[row] == worst[asset]:
            leading[asset] = str(reasons[0])
    return leading


def _reasons(worst: NDArray[np.int64], groups: NDArray[np.int64], leading: list[str]) -> list[str]:
    """Why each asset is not selected; "" when it is."""
    least_free: dict[int, int] = {}
    for group, verdict in zip(groups.tolist(), worst.tolist(), strict=True):
        least_free[group] = max(verdict, least_free.get(group, 0))
    represented: set[int] = set()
    reasons = []
    for group, verdict, reason in zip(groups.tolist(), worst.tolist(), leading, strict=True):
        if verdict > Verdict.ALLOW:
            reasons.append(reason)
        elif group < 0:
            reasons.append("")
        elif least_free[group] > Verdict.ALLOW:
            reasons.append(str(Reason.GROUP_NOT_FREE))
        else:
            reasons.append(str(Reason.DUPLICATE) if group in represented else "")
            represented.add(group)
    return reasons


def _prints(assets: pd.DataFrame, prints: pd.DataFrame) -> Prints:
    return Prints(
        prints["phash"].tolist(),
        prints["flatness"].to_numpy(dtype=np.float32),
        thumbnails(prints["thumbnail"].tolist()),
        assets["pixels"].tolist(),
    )
