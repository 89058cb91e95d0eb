"""The batch table: one row per generated image, whatever became of it. Parquet, for pandas and DuckDB."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from pipeline.catalog.tables import NEAREST, STRINGS
from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import write_table
from pipeline.core.workspace import Workspace

BATCH = pa.schema(
    [
        ("batch", pa.string()),  # id of the run
        ("index", pa.int64()),  # k: the image depends only on (model, seed, k)
        ("label", pa.string()),
        ("source", pa.string()),  # asset that the image is a variation of, "" when of none
        ("state", pa.string()),  # published | quarantined
        ("reasons", STRINGS),  # of screening first, then of stamping
        ("verdict", pa.string()),  # of screening: pass | quarantine | stopped
        ("output", pa.string()),  # unique id (UUID), "" when it was never stamped
        ("file", pa.string()),  # relative to the batch folder, "" when it was never stamped
        ("file_sha256", pa.string()),
        ("pixels", pa.string()),  # pixel digest of the file as it lies there
        ("generated_pixels", pa.string()),  # pixel digest as generated, before the watermark
        ("watermark", pa.string()),  # payload as hex
        ("psnr", pa.float32()),  # dB, watermarked against generated; null when there is no watermark
        ("validation_state", pa.string()),  # Trusted | Valid | Invalid | ""
        ("manifest", pa.string()),  # label of the active manifest
        ("stamped_at", pa.string()),
        ("nearest", NEAREST),  # nearest known assets, best first; similarity, not influence
        ("model", pa.string()),
        ("snapshot", pa.string()),
        ("seed", pa.int64()),  # of the batch
    ]
)


def batch_path(workspace: Workspace, run: str) -> Path:
    """Where the table of a batch lies: batches/<run>/batch.parquet."""
    return workspace.batch(run) / "batch.parquet"


def batch_table(
    generated: pd.DataFrame,
    verdicts: pd.DataFrame,
    stamped: pd.DataFrame,
    *,
    batch: str,
    model: str,
    snapshot: str,
    seed: int,
) -> pd.DataFrame:
    """Join GENERATED, VERDICTS and STAMPED (see catalog/tables.py) into BATCH, ordered by index.

    Of `generated` only index, label, source and pixels are read. An image without a row in `stamped` is quarantined.
    Raises ImprimaturError when an image has no verdict, or when one was published that did not pass screening.
    """
    verdict_of = {int(row["index"]): row for row in verdicts.to_dict("records")}
    stamp_of = {int(row["index"]): row for row in stamped.to_dict("records")}
    facts = {"batch": batch, "model": model, "snapshot": snapshot, "seed": seed}
    made = generated[["index", "label", "source", "pixels"]].sort_values("index").to_dict("records")
    rows = [_row(image, verdict_of.get(int(image["index"])), stamp_of.get(int(image["index"]), {})) for image in made]
    return pd.DataFrame([{**row, **facts} for row in rows], columns=BATCH.names)


def write_batch_table(workspace: Workspace, table: pd.DataFrame) -> Path:
    """Write the table to its batch's folder; equal tables give equal bytes. Raises ValueError on an empty one."""
    if table.empty:
        raise ValueError("a batch without images has no table")
    return write_table(batch_path(workspace, str(table["batch"].iloc[0])), table, BATCH)


def _row(image: Any, verdict: Any, stamp: Any) -> dict[str, Any]:
    index = int(image["index"])
    if verdict is None:
        raise ImprimaturError(f"image {index} was never screened", "run the screening stage of this batch again")
    state = str(stamp.get("state", "quarantined"))
    if state == "published" and verdict["verdict"] != "pass":
        raise ImprimaturError(
            f"image {index} is published although screening put it in quarantine", "do not release this batch"
        )
    psnr = stamp.get("psnr")
    return {
        "index": index,
        "label": image["label"],
        "source": image["source"],
        "state": state,
        "reasons": _distinct([*verdict["reasons"], *stamp.get("reasons", [])]),
        "verdict": verdict["verdict"],
        "generated_pixels": image["pixels"],
        "psnr": None if psnr is None or pd.isna(psnr) else float(psnr),
        "nearest": [{"asset": str(n["asset"]), "distance": float(n["distance"])} for n in verdict["nearest"]],
        **{name: str(stamp.get(name) or "") for name in _STAMP_TEXT},
    }


_STAMP_TEXT = ("output", "file", "file_sha256", "pixels", "watermark", "validation_state", "manifest", "stamped_at")


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
