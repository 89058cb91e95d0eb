"""Stamping a batch as shards: what passes is stamped and read back, the rest is kept in quarantine, retrievable.

Files are laid out in a staging folder, which becomes the batch's images and quarantine only when it is whole.
"""

import io
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from sqlalchemy import Engine

from pipeline.catalog.decode import decode
from pipeline.catalog.records import record_outputs
from pipeline.catalog.tables import STAMPED
from pipeline.core.digests import json_digest, sha256
from pipeline.core.moments import now
from pipeline.core.settings import CredentialSettings
from pipeline.core.shards import (
    completion,
    finish,
    is_finished,
    part_path,
    read_table,
    rows_of,
    write_bytes,
    write_table,
)
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import Identity, ensure_identity
from pipeline.credentials.images import SUFFIXES, Format, mime_of
from pipeline.credentials.manifest import Link, OutputFacts, Source
from pipeline.credentials.repository import store_path
from pipeline.credentials.sidecars import read_sidecar, sidecar_path
from pipeline.credentials.stamp import Stamped, stamp
from pipeline.generators.batch import source_path

STAGING = "staging"


def stamping_jobs(
    workspace: Workspace, generated: list[Path], verdicts: Path, facts: dict[str, Any], settings: CredentialSettings,
    identity: Identity, weights: Path, format: Format, folder: Path,
) -> list[dict[str, Any]]:  # fmt: skip
    """One job for each generated shard. `facts` are those of manifest.OutputFacts that all images share."""
    shared = {
        "home": str(workspace.home),
        "verdicts": str(verdicts),
        "facts": facts,
        "settings": settings.model_dump(mode="json"),
        "weights": str(weights),
        "format": format,
    }
    # another certificate or another verdict is another job; the same images under the same identity are not
    key = {**shared, "verdicts": sha256(verdicts.read_bytes()), "chain": sha256(identity.chain_pem.encode())}
    return [
        {
            **shared,
            "generated": str(part),
            "key": json_digest({**key, "generated": completion(part)}),
            "out": str(part_path(folder / "stamped", number)),
            "staging": str(folder / STAGING),
        }
        for number, part in enumerate(generated)
    ]


def stamp_shard(job: dict[str, Any]) -> dict[str, Any]:
    """Stamp one shard's images into the staging folder and its table (tables.STAMPED); returns its record."""
    out = Path(job["out"])
    if not is_finished(out, job["key"]):
        workspace = Workspace(Path(job["home"]))
        settings = CredentialSettings.model_validate(job["settings"])
        identity = ensure_identity(settings, workspace)
        model = read_sidecar(Path(job["weights"]), identity.anchors_pem)
        images = read_table(Path(job["generated"]))
        verdicts = read_table(Path(job["verdicts"]), ["index", "verdict"]).set_index("index").verdict
        rows = [
            _stamp_one(image, str(verdicts[image["index"]]), job, workspace, settings, identity, model)
            for image in rows_of(images)
            if verdicts[image["index"]] != "stopped"  # on a safety hash list
        ]
        write_table(out, pd.DataFrame(rows, columns=STAMPED.names), STAMPED)
        published = sum(row["state"] == "published" for row in rows)
        finish(out, job["key"], images=len(rows), published=published)
    return completion(out)


def publish(catalog: Engine, batch: str, model: str, snapshot: str, stamped: pd.DataFrame, folder: Path) -> None:
    """Make a stamped batch public: rows in the catalog first, then the folders under their lasting names.

    Idempotent. Images are seen in `images/` either all or not at all.
    """
    known = stamped[stamped.output != ""]
    columns = [
        "output",
        "index",
        "file",
        "file_sha256",
        "pixels",
        "watermark",
        "phash",
        "thumbnail",
        "manifest",
        "state",
        "stamped_at",
    ]
    record_outputs(catalog, rows_of(known[columns].assign(batch=batch, model=model, snapshot=snapshot)))
    for name in ("quarantine", "images"):
        staged = folder / STAGING / name
        for unfinished in staged.glob(".*.tmp"):  # of a process that was killed while writing
            unfinished.unlink()
        if staged.exists():
            staged.replace(folder / name)
    if (folder / STAGING).exists():
        (folder / STAGING).rmdir()


def _stamp_one(
    image: dict[str, Any], verdict: str, job: dict[str, Any], workspace: Workspace, settings: CredentialSettings,
    identity: Identity, model: Link,
) -> dict[str, Any]:  # fmt: skip
    index, format = int(image["index"]), job["format"]
    if verdict != "pass":
        file = f"quarantine/{job['facts']['batch']}-{index:06d}.png"
        write_bytes(Path(job["staging"]) / file, image["image"])
        return _row(index, file, image["image"])
    name = f"{job['facts']['batch']}-{index:06d}{SUFFIXES[format]}"
    facts = OutputFacts(title=name, when=now(), index=index, label=image["label"], verdict=verdict, **job["facts"])
    source = _source(source_path(Path(job["generated"]).parent, image["source"])) if image["source"] else None
    stamped = stamp(image["image"], facts, model, identity, settings, format, source)
    file = f"{'quarantine' if stamped.reasons else 'images'}/{name}"
    write_bytes(Path(job["staging"]) / file, stamped.data)
    if stamped.manifest_store and settings.placement == "sidecar":
        write_bytes(sidecar_path(Path(job["staging"]) / file), stamped.manifest_store)
    if stamped.manifest_store:
        write_bytes(store_path(workspace, stamped.output), stamped.manifest_store)
    return _row(index, file, stamped.data, stamped, facts.when)


def _source(path: Path) -> Source:
    """The picture that an output varies, as its parent; of a format that C2PA does not know (raw arrays), a PNG."""
    data = path.read_bytes()
    mime = mime_of(data)
    if mime:
        return Source(data, mime)
    stream = io.BytesIO()
    Image.fromarray(decode(data, arrays=True).rgb((255, 255, 255))).save(stream, "PNG")
    return Source(stream.getvalue(), "image/png")


def _row(index: int, file: str, data: bytes, stamped: Stamped | None = None, when: str = "") -> dict[str, Any]:
    row = {"index": index, "state": "quarantined", "reasons": [], "file": file, "file_sha256": sha256(data)}
    if stamped is None:
        return row | dict.fromkeys(
            ("output", "pixels", "validation_state", "watermark", "manifest", "stamped_at"), ""
        )
    return row | {
        "output": stamped.output,
        "state": "quarantined" if stamped.reasons else "published",
        "reasons": [str(reason) for reason in stamped.reasons],
        "pixels": stamped.pixels,
        "validation_state": stamped.validation_state,
        "watermark": stamped.watermark,
        "psnr": stamped.psnr,
        "phash": stamped.phash,
        "thumbnail": stamped.thumbnail,
        "manifest": stamped.manifest,
        "stamped_at": when,
    }
