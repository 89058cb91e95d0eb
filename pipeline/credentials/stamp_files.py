"""Stamping given images by hand: AI-generated files that no batch of ours made."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Row

from pipeline.catalog.database import open_catalog
from pipeline.catalog.records import model_row
from pipeline.core.digests import sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.moments import now
from pipeline.core.settings import CredentialSettings
from pipeline.core.shards import write_bytes
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import Identity, ensure_identity
from pipeline.credentials.images import DECODE_ERRORS, FORMATS, SUFFIXES, Format, mime_of, open_image
from pipeline.credentials.manifest import Link, OutputFacts, Source, output_id
from pipeline.credentials.repository import record_output
from pipeline.credentials.sidecars import read_sidecar, sidecar_path
from pipeline.credentials.stamp import SENTENCES, Stamped, StampReason, as_parent, stamp

WEIGHTS = "weights.safetensors"  # as the generators name them


@dataclass(frozen=True)
class Stamping:
    """How given files are stamped."""

    signed: Literal["refuse", "parent"] = "refuse"  # what becomes of a file that already carries a credential
    model: str = ""  # id of the model of this workspace that made them
    source: Path | None = None  # the picture that they are variations of
    format: Format | None = None  # else each keeps its own


def stamp_files(
    paths: Iterable[Path],
    out: Path,
    settings: CredentialSettings,
    workspace: Workspace,
    how: Stamping = Stamping(),
) -> list[dict[str, Any]]:
    """Stamp given AI-generated images into `out`, one result a file: `imprimatur stamp`.

    Result: {"file", "out", "sidecar", "state": "stamped|failed", "reasons", "output", "watermark", "psnr",
    "validation_state", "manifest"}. A bad file never stops the others, and is not written. Stamping the same file
    again gives the same unique id. Raises ImprimaturError for an unknown model or an unreadable source.
    """
    identity = ensure_identity(settings, workspace)
    made_by = _model(how.model, workspace, identity) if how.model else None
    source = _source(how.source) if how.source else None
    results, taken = [], set[Path]()
    for path in paths:
        facts, stamped = _stamp_file(path, identity, settings, how, made_by, source)
        suffix = Path(facts.title).suffix
        target = out / f"{path.stem}{suffix}"
        if target in taken:  # two files of one name from different folders
            target = out / f"{path.stem}-{stamped.output[:8]}{suffix}"
        if not stamped.reasons:
            taken.add(target)
            if settings.placement == "sidecar":
                write_bytes(sidecar_path(target), stamped.manifest_store)
            write_bytes(target, stamped.data)
            record_output(workspace, stamped, facts, str(target.resolve()), "published")
        results.append(_result(path, target, stamped, settings))
    return results


def _model(identifier: str, workspace: Workspace, identity: Identity) -> tuple[Row[Any], Link]:
    row = model_row(open_catalog(workspace), identifier)
    return row, read_sidecar(workspace.model(identifier) / WEIGHTS, identity.anchors_pem)


def _source(path: Path) -> Source:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImprimaturError(f"{path}: cannot be read ({error.strerror})", "name a picture with --source") from None
    if not mime_of(data):
        raise ImprimaturError(f"{path}: not an image that is read here", "name a picture with --source")
    return Source(data, mime_of(data))


def _stamp_file(
    path: Path,
    identity: Identity,
    settings: CredentialSettings,
    how: Stamping,
    made_by: tuple[Row[Any], Link] | None,
    source: Source | None,
) -> tuple[OutputFacts, Stamped]:
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    format, batch = how.format or _format(data), f"sha256:{sha256(data)}"
    row, link = made_by or (None, None)
    facts = OutputFacts(
        # not the file's own name, which may be a person's
        title=output_id(batch, 0, identity.watermark_key) + SUFFIXES[format],
        when=now(),
        batch=batch,
        index=0,
        model=row.id if row else "",
        model_sha256=row.weights_sha256 if row else "",
        snapshot=row.snapshot if row else "",
        snapshot_root=row.root if row else "",
    )
    stamped = stamp(data, facts, link, identity, settings, format, source)
    if stamped.reasons == (StampReason.ALREADY_SIGNED,) and how.signed == "parent" and source is None:
        stamped = stamp(data, facts, link, identity, settings, format, as_parent(data))
    return facts, stamped


def _format(data: bytes) -> Format:
    try:
        with open_image(data) as image:
            return FORMATS.get(image.format or "", "png")
    except DECODE_ERRORS:
        return "png"


def _result(path: Path, target: Path, stamped: Stamped, settings: CredentialSettings) -> dict[str, Any]:
    failed = bool(stamped.reasons)
    sidecar = settings.placement == "sidecar" and not failed
    return {
        "file": str(path),
        "out": "" if failed else str(target),
        "sidecar": str(sidecar_path(target)) if sidecar else "",
        "state": "failed" if failed else "stamped",
        "reasons": [str(reason) for reason in stamped.reasons],
        "detail": " ".join([*(SENTENCES[reason] for reason in stamped.reasons), stamped.detail]).strip(),
        "output": stamped.output,
        "watermark": stamped.watermark,
        "psnr": round(stamped.psnr, 2),
        "validation_state": stamped.validation_state,
        "manifest": stamped.manifest,
    }
