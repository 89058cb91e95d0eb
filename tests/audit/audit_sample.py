"""A small workspace as the other rooms leave it: real pictures, tables and catalog rows, made without their code."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.audit.batch_table import batch_table, write_batch_table
from pipeline.audit.report import HonestFacts, ModelFacts, NightlyReport, SignerFacts, SnapshotFacts, StageRow
from pipeline.catalog import tables
from pipeline.catalog.assets import fingerprints_path, inventory_path
from pipeline.catalog.database import open_catalog
from pipeline.core.digests import pixel_digest, sha256
from pipeline.core.merkle import merkle_root
from pipeline.core.shards import write_table
from pipeline.core.workspace import Workspace

RUN, SNAPSHOT, MODEL = "nightly-7", "snap-3f9c21d0a4b7", "vae-81d2c07be5aa"
MOMENT = "2026-11-24T02:00:00.000000Z"
EXPLANATIONS = {
    "NO_LICENCE": "No licence and no grant is on record, and the default answer is no.",
    "CONSENT_WITHDRAWN": "A rights holder has withdrawn consent for this use.",
    "LICENCE_CONFLICT": "Two licences are stated for this file and they contradict each other.",
    "NEAR_DUPLICATE": "Another file of the same near-duplicate group represents it.",
    "UNREADABLE": "The file cannot be decoded as an image.",
    "NEAR_COPY": "It is closer to a training image than real images are to each other.",
    "BLANK": "The picture is nearly a single colour.",
}


def picture(seed: int, side: int = 64) -> np.ndarray:
    """A woven pattern, (side, side, 3) uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    a, b, phase = random.uniform(2, 9, 3)
    waves = 0.5 + 0.25 * (np.sin(2 * np.pi * a * x + phase) + np.sin(2 * np.pi * b * y + phase * 2))
    one, two = random.uniform(20, 235, (2, 3))
    noise = random.normal(0, 3, (side, side, 3))
    return np.clip(waves[..., None] * one + (1 - waves[..., None]) * two + noise, 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def asset_rows(count: int) -> list[dict]:
    """Rows with everything that inventory, decisions and selection need; of ten, seven are trained on."""
    rows = []
    for number in range(count):
        pixels = picture(1000 + number)
        data = png(pixels)
        kind = number % 10
        decision, reasons, licence = "allow", ["LICENCE_CC_BY"], "CC-BY-4.0"
        if kind == 7:
            decision, reasons, licence = "deny", ["NO_LICENCE"], ""
        elif kind == 8:
            decision, reasons, licence = "deny", ["CONSENT_WITHDRAWN"], "CC-BY-4.0"
        elif kind == 6:
            decision, reasons, licence = "review", ["LICENCE_CONFLICT"], "CC-BY-4.0"
        duplicate = kind == 5
        rows.append({
            "dataset": "weave", "file": f"patterns/{number:04d}.png", "status": "accepted", "reason": "",
            "detail": "", "asset": sha256(data), "sha256": sha256(data), "pixels": pixel_digest(pixels),
            "duplicate_of": "", "key": f"{number:04d}", "label": ("herringbone", "twill", "satin")[number % 3],
            "width": 64, "height": 64, "format": "PNG", "mode": "RGB", "bytes": len(data), "licence": licence,
            "holders": [f"holder-{number % 4}"],
            "source_url": "", "attribution": f"Atelier {number % 4}", "depicts": [], "derived_from": [],
            "collected_at": "", "signals": "{}", "store": "part-00000.bin", "offset": 0, "length": len(data),
            "decision": decision, "reasons": reasons,
            "evidence": [f"licence: {licence or 'none'}", f"event {number}"],
            "obligations": ["attribution"] if licence else [],
            "selected": decision == "allow" and not duplicate,
            "why": "" if decision == "allow" and not duplicate else "NEAR_DUPLICATE" if duplicate else reasons[0],
            "group": number // 10 if kind in (4, 5) else -1, "png": data,
            "thumbnail": np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX)).tobytes(),
        })  # fmt: skip
    return rows


def build(home: Path, assets: int = 20, images: int = 6) -> Workspace:
    """Write the whole workspace below `home` and return it."""
    workspace = Workspace.at(home)
    rows = asset_rows(assets)
    frame = pd.DataFrame(rows)
    broken = {
        **{name: rows[0][name] for name in tables.INVENTORY.names}, "file": "broken.png", "status": "rejected",
        "reason": "UNREADABLE", "detail": "truncated after 12 bytes", "asset": "", "sha256": sha256(b"broken"),
        "pixels": "", "key": "broken", "label": "", "licence": "", "holders": [], "attribution": "",
    }  # fmt: skip
    inventory = pd.concat([frame[tables.INVENTORY.names], pd.DataFrame([broken])], ignore_index=True)
    write_table(inventory_path(workspace, "weave"), inventory, tables.INVENTORY)
    prints = frame[["asset", "thumbnail"]].assign(phash=b"\0" * 32, flatness=20.0, method="")
    write_table(fingerprints_path(workspace, "weave"), prints[tables.FINGERPRINTS.names], tables.FINGERPRINTS)
    write_table(workspace.snapshot(SNAPSHOT) / "decisions.parquet", decisions(rows), tables.DECISIONS)
    write_table(workspace.snapshot(SNAPSHOT) / "selection.parquet", selection(rows), tables.SELECTION)
    batch = write_batch(workspace, rows, images)
    _write_catalog(workspace, rows, batch)
    return workspace


def decisions(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(rows)[tables.DECISIONS.names]


def selection(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(rows).assign(reason=[row["why"] for row in rows])[tables.SELECTION.names]


def generated(images: int) -> pd.DataFrame:
    pixels = [picture(number) for number in range(images)]
    return pd.DataFrame({
        "index": range(images),
        "label": ["twill" if number % 2 else "herringbone" for number in range(images)],
        "source": [""] * images,
        "pixels": [pixel_digest(one) for one in pixels],
        "image": [png(one) for one in pixels],
    })  # fmt: skip


def verdicts(rows: list[dict], images: int) -> pd.DataFrame:
    """Every ninth image is a near copy; image k is nearest to the k-th trained asset."""
    trained = [row["asset"] for row in rows if row["selected"]]
    return pd.DataFrame([
        {
            "index": k, "verdict": "quarantine" if k % 9 == 4 else "pass",
            "reasons": ["NEAR_COPY"] if k % 9 == 4 else [],
            "phash": bytes([k % 256]) * 32, "flatness": 30.0, "thumbnail": b"\0" * tables.THUMBNAIL_BYTES,
            "nearest": [{"asset": trained[(k + i) % len(trained)], "distance": 0.125 * (i + 1)} for i in range(2)],
        }
        for k in range(images)
    ])  # fmt: skip


def stamped(images: int) -> pd.DataFrame:
    """What screening held back lies in quarantine as generated: without output id, watermark and credential."""
    return pd.DataFrame([
        {
            "index": k, "output": "", "state": "quarantined", "reasons": [], "file": f"quarantine/{RUN}-{k:06d}.png",
            "file_sha256": sha256(png(picture(k))), "pixels": "", "validation_state": "", "watermark": "",
            "psnr": None, "phash": None, "manifest": "", "stamped_at": "",
        }
        if k % 9 == 4
        else {
            "index": k, "output": f"6f1c0a52-0000-4000-8000-{k:012d}", "state": "published", "reasons": [],
            "file": f"images/{RUN}-{k:06d}.png", "file_sha256": sha256(f"file {k}".encode()),
            "pixels": sha256(f"pixels {k}".encode()), "validation_state": "Trusted", "watermark": f"{k:016x}",
            "psnr": 41.5 + k % 3, "phash": bytes([k % 256]) * 32,
            "manifest": f"urn:c2pa:6f1c0a52-0000-4000-9000-{k:012d}", "stamped_at": "2026-11-24T02:02:11.000000Z",
        }
        for k in range(images)
    ])  # fmt: skip


def write_batch(workspace: Workspace, rows: list[dict], images: int) -> pd.DataFrame:
    """Write the pictures and the batch table."""
    made = generated(images)
    table = batch_table(
        made, verdicts(rows, images), stamped(images), batch=RUN, model=MODEL, snapshot=SNAPSHOT, seed=11
    )
    for row, data in zip(table.to_dict("records"), made["image"], strict=True):
        if row["file"]:
            path = workspace.batch(RUN) / row["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    write_batch_table(workspace, table)
    return table


def _write_catalog(workspace: Workspace, rows: list[dict], batch: pd.DataFrame) -> None:
    root = merkle_root([row["asset"] for row in rows if row["selected"]])
    with open_catalog(workspace).begin() as connection:
        connection.execute(tables.datasets.insert().values(
            name="weave", source="weave.zip", licence="CC-BY-4.0", seen=len(rows) + 1, accepted=len(rows), rejected=1,
            duplicates=0, inventory_sha256="0" * 64, ingested_at=MOMENT,
        ))  # fmt: skip
        connection.execute(tables.snapshots.insert().values(
            id=SNAPSHOT, root=root, size=sum(row["selected"] for row in rows), purpose="train_generative:commercial",
            as_of=MOMENT, known_at=MOMENT, policy_sha256="a" * 64, ledger_head="b" * 64, created_at=MOMENT,
        ))  # fmt: skip
        connection.execute(tables.models.insert().values(
            id=MODEL, key="c" * 64, kind="vae", snapshot=SNAPSHOT, root=root, weights_sha256="d" * 64,
            trained_at=MOMENT,
        ))  # fmt: skip
        connection.execute(tables.runs.insert().values(
            id=RUN, job="nightly", number=7, config_sha256="e" * 64, as_of=MOMENT, state="done", snapshot=SNAPSHOT,
            model=MODEL, finished_at="2026-11-24T02:03:20.000000Z",
        ))  # fmt: skip
        for row in batch[batch["output"] != ""].to_dict("records"):
            connection.execute(tables.outputs.insert().values(
                batch=RUN, phash=b"\0" * 32,
                **{name: row[name] for name in ("output", "index", "model", "snapshot", "file", "file_sha256",
                                                "pixels", "watermark", "manifest", "state", "stamped_at")},
            ))  # fmt: skip


def report(assets: int = 20, images: int = 6, **changed: object) -> NightlyReport:
    """The report of such a run; `changed` replaces fields."""
    rows = asset_rows(assets)
    made = generated(images)
    table = batch_table(
        made, verdicts(rows, images), stamped(images), batch=RUN, model=MODEL, snapshot=SNAPSHOT, seed=11
    )
    root = merkle_root([row["asset"] for row in rows if row["selected"]])
    steps = range(0, 2000, 10)
    random = np.random.default_rng(3)
    losses = [float(0.09 + 0.5 * np.exp(-step / 300) + random.normal(0, 0.01)) for step in steps]
    fields = {
        "job": "nightly", "run": RUN, "started": MOMENT, "finished": "2026-11-24T02:03:20.000000Z",
        "home": "data/studio",
        "stages": (
            StageRow("ingest", assets + 1, assets, 6.1), StageRow("decide", assets, assets, 1.9),
            StageRow("train", assets * 7 // 10, 1, 100.4, "2,000 steps, EMA 0.999"),
            StageRow("generate", images, images, 8.8), StageRow("screen", images, images, 4.0),
            StageRow("stamp", images, images, 12.9),
        ),
        "datasets": pd.DataFrame(
            [{"dataset": "weave", "seen": assets + 1, "accepted": assets, "rejected": 1, "duplicates": 0}]
        ),
        "rejected": pd.DataFrame([
            {"dataset": "weave", "file": "broken.png", "reason": "UNREADABLE", "detail": "truncated after 12 bytes"}
        ]),
        "decisions": decisions(rows), "selection": selection(rows),
        "snapshot": SnapshotFacts(
            SNAPSHOT, root, f"snapshots/{SNAPSHOT}/statement.dsse.json", "f" * 64, MOMENT, MOMENT,
            "train_generative:commercial", "a" * 64, "b" * 64,
        ),
        "model": ModelFacts(
            MODEL, "vae", "d" * 64, False, ("herringbone", "satin", "twill"),
            tuple(
                {"stage": stage, "step": s, "steps": 2000, "loss": v * scale, "rate": 0.002}
                for stage, scale in (("autoencoder", 1.0), ("prior", 7.0)) for s, v in zip(steps, losses, strict=True)
            ),
            png(picture(5, 256)), root,
            {
                "images": 400,
                "figures": {"distance": {"value": 2.5, "low": 2.25, "high": 2.75, "real": 0.125}},
                "warnings": ["fewer than 20 images of <satin>: figures say nothing about them"],
            },
        ),
        "batch": table,
        "honest": HonestFacts(1000, 0.012),
        "signer": SignerFacts("Imprimatur development signer", True),
        "images": dict(zip(made["index"], made["image"], strict=True)),
        "thumbnails": {row["asset"]: row["thumbnail"] for row in rows},
        "explanations": EXPLANATIONS,
    }  # fmt: skip
    return NightlyReport(**{**fields, **changed})
