"""Stamping given images by hand: AI-generated files that no batch of ours made."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.core.digests import sha256
from pipeline.core.moments import now
from pipeline.core.settings import CredentialSettings
from pipeline.core.shards import write_bytes
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import Identity, ensure_identity
from pipeline.credentials.manifest import OutputFacts
from pipeline.credentials.repository import record_output
from pipeline.credentials.stamp import DECODE_ERRORS, SENTENCES, SUFFIXES, Format, Stamped, open_image, stamp

_FORMATS: dict[str, Format] = {"PNG": "png", "JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp"}


def stamp_files(
    paths: Iterable[Path], out: Path, settings: CredentialSettings, workspace: Workspace
) -> list[dict[str, Any]]:
    """Stamp given AI-generated images into `out`, one result a file: `imprimatur stamp`.

    Result: {"file", "out", "state": "stamped|failed", "reasons", "output", "watermark", "psnr",
    "validation_state", "manifest"}. A bad file never stops the others, and is not written. The format is kept for
    PNG, JPEG and WebP, else PNG. Stamping the same file again gives the same unique id.
    """
    identity = ensure_identity(settings, workspace)
    results, taken = [], set[Path]()
    for path in paths:
        facts, stamped = _stamp_file(path, identity, settings)
        suffix = Path(facts.title).suffix
        target = out / f"{path.stem}{suffix}"
        if target in taken:  # two files of one name from different folders
            target = out / f"{path.stem}-{stamped.output[:8]}{suffix}"
        if not stamped.reasons:
            taken.add(target)
            write_bytes(target, stamped.data)
            record_output(workspace, stamped, facts, str(target.resolve()), "published")
        results.append(_result(path, target, stamped))
    return results


def _stamp_file(path: Path, identity: Identity, settings: CredentialSettings) -> tuple[OutputFacts, Stamped]:
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    format = _format(data)
    facts = OutputFacts(path.stem + SUFFIXES[format], now(), f"sha256:{sha256(data)}", 0)
    return facts, stamp(data, facts, None, identity, settings, format)


def _format(data: bytes) -> Format:
    try:
        with open_image(data) as image:
            return _FORMATS.get(image.format or "", "png")
    except DECODE_ERRORS:
        return "png"


def _result(path: Path, target: Path, stamped: Stamped) -> dict[str, Any]:
    failed = bool(stamped.reasons)
    return {
        "file": str(path),
        "out": "" if failed else str(target),
        "state": "failed" if failed else "stamped",
        "reasons": [str(reason) for reason in stamped.reasons],
        "detail": " ".join(SENTENCES[reason] for reason in stamped.reasons),
        "output": stamped.output,
        "watermark": stamped.watermark,
        "psnr": round(stamped.psnr, 2),
        "validation_state": stamped.validation_state,
        "manifest": stamped.manifest,
    }
