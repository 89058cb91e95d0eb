"""A workspace with real decisions, a real snapshot, and rows for the models and outputs that came of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import insert

from pipeline.audit.batch_table import BATCH, batch_path
from pipeline.catalog import tables
from pipeline.catalog.assets import fingerprints_path, inventory_path
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import ConsentEvent, append_events, ledger_head, read_events
from pipeline.catalog.records import record_model, record_outputs
from pipeline.core.digests import sha256
from pipeline.core.settings import DuplicateSettings
from pipeline.core.shards import write_table
from pipeline.core.workspace import Workspace
from pipeline.rights.blocks import decide
from pipeline.rights.findings import parse_purpose
from pipeline.rights.policy import Policy
from pipeline.rights.selection import select
from pipeline.rights.snapshot import Snapshot, make_snapshot

DAY = "2026-{month:02d}-01T00:00:00.000000Z"
JANUARY, FEBRUARY, MARCH, APRIL, MAY, JUNE, JULY = (DAY.format(month=month) for month in range(1, 8))
PURPOSE = parse_purpose("train_generative:commercial")


def digest(name: str) -> str:
    return sha256(name.encode())


def asset(key: str, dataset: str = "d", **columns: Any) -> dict[str, Any]:
    """One accepted CC BY picture of Ada's."""
    empty: dict[str, Any] = dict.fromkeys(tables.INVENTORY.names, "")
    empty |= {"width": 1, "height": 1, "bytes": 1, "offset": 0, "length": 1, "signals": "{}"}
    given = {
        "dataset": dataset, "file": f"{key}.png", "key": key, "asset": digest(key), "pixels": digest(f"pixels {key}"),
        "status": "accepted", "licence": "CC-BY-4.0", "holders": ["Ada"], "depicts": [], "derived_from": [],
    }  # fmt: skip
    full = empty | given | columns
    return full | {"sha256": full["asset"]}


def event(identifier: str, action: str, subject_id: str, subject_type: str = "asset", **columns: str) -> ConsentEvent:
    values = {
        "recorded_at": MAY, "effective_until": "", "actor": "", "uses": "*", "commercial": "any", "territory": "*",
        "overrides_signals": "no", "evidence": "letter.pdf", "note": "",
    } | columns  # fmt: skip
    values = {"effective_from": values["recorded_at"], **values}
    return ConsentEvent(identifier, subject_type=subject_type, subject_id=subject_id, action=action, **values)


class Studio:
    """A workspace under construction."""

    def __init__(self, home: Path, rows: Sequence[dict[str, Any]], looks: dict[str, int] | None = None) -> None:
        self.workspace, self.looks = Workspace(home), looks or {}
        self.catalog = open_catalog(self.workspace)
        self.ingest(rows)

    def ingest(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write inventories and fingerprints; rows with the same number in `looks` look the same."""
        self.rows = list(rows)
        for name in {row["dataset"] for row in rows}:
            mine = pd.DataFrame([row for row in rows if row["dataset"] == name])
            write_table(inventory_path(self.workspace, name), mine[tables.INVENTORY.names], tables.INVENTORY)
            prints = [self._print(row) for row in mine.to_dict("records")]
            write_table(fingerprints_path(self.workspace, name), pd.DataFrame(prints), tables.FINGERPRINTS)
            with self.catalog.begin() as connection:
                connection.execute(tables.datasets.delete().where(tables.datasets.c.name == name))
                connection.execute(
                    insert(tables.datasets).values(
                        name=name, source=f"{name}.zip", licence="", seen=len(mine), accepted=len(mine), rejected=0,
                        duplicates=0, inventory_sha256="0" * 64, ingested_at=JANUARY,
                    )
                )  # fmt: skip

    def _print(self, row: dict[str, Any]) -> dict[str, Any]:
        number = self.looks.get(row["key"], 1000 + int(row["asset"][:6], 16))
        random = np.random.default_rng(number)
        thumbnail = np.kron(random.integers(0, 256, (8, 8, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        return {
            "method": "imagehash", "asset": row["asset"], "phash": random.bytes(32), "flatness": 60.0,
            "thumbnail": thumbnail.tobytes(),
        }  # fmt: skip

    def say(self, *events: ConsentEvent) -> None:
        append_events(self.catalog, events)

    def snapshot(self, moment: str = JANUARY, policy: Policy | None = None) -> Snapshot:
        inventory = pd.DataFrame(self.rows)
        prints = pd.DataFrame([self._print(row) for row in self.rows])
        rules = policy or Policy()
        decisions = decide(inventory, {}, read_events(self.catalog, moment), PURPOSE, rules, moment, moment)
        selection = select(inventory, decisions, prints, DuplicateSettings())
        head = ledger_head(self.catalog, moment)
        return make_snapshot(self.workspace, selection, decisions, PURPOSE, rules, moment, moment, head)

    def model(self, identifier: str, snapshot: Snapshot, trained_at: str = FEBRUARY, base: str = "") -> str:
        record_model(
            self.catalog, id=identifier, key=digest(identifier), kind="vae", snapshot=snapshot.id,
            root=snapshot.root, weights_sha256="0" * 64, trained_at=trained_at, base=base,
        )  # fmt: skip
        return identifier

    def batch(
        self,
        run: str,
        model: str,
        snapshot: Snapshot,
        nearest: Sequence[Sequence[str]],
        made_at: str = MARCH,
        source: str = "",
    ) -> list[str]:
        """Published outputs, each with the assets nearest to it, best first; `source` is what they all vary."""
        rows = []
        for index, near in enumerate(nearest):
            file = f"images/{run}-{index:06d}.png"
            path = self.workspace.batch(run) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{run} {index}".encode())
            rows.append({
                "batch": run, "index": index, "label": "", "source": source, "state": "published",
                "reasons": [], "verdict": "pass",
                "output": f"{run}-{index}", "file": file, "file_sha256": sha256(path.read_bytes()), "pixels": "",
                "generated_pixels": "", "watermark": f"{index:08x}", "psnr": 40.0, "validation_state": "Trusted",
                "manifest": f"urn:{run}-{index}", "stamped_at": made_at, "model": model, "snapshot": snapshot.id,
                "nearest": [{"asset": digest(key), "distance": float(i)} for i, key in enumerate(near)], "seed": 1,
            })  # fmt: skip
        table = pd.DataFrame(rows)
        write_table(batch_path(self.workspace, run), table[BATCH.names], BATCH)
        kept = [column.name for column in tables.outputs.columns if column.name != "phash"]
        record_outputs(self.catalog, [{**row, "phash": b""} for row in table[kept].to_dict("records")])
        return [row["output"] for row in rows]
