"""Sidecar credentials of a snapshot's statement and a model's weights: the first two links of the chain.

C2PA's guidance for AI/ML: datasets and models carry credentials of their own and are ingredients of what they made.
"""

from pathlib import Path
from typing import Any

import c2pa

from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import write_bytes
from pipeline.credentials import sdk
from pipeline.credentials.identity import Identity
from pipeline.credentials.manifest import (
    OPAQUE,
    Link,
    Manifest,
    model_manifest,
    resources,
    snapshot_manifest,
)


def sidecar_path(path: Path) -> Path:
    """Where the credential of a file lies: beside it, with .c2pa for its extension (C2PA 2.x, section A.5)."""
    return path.with_suffix(".c2pa")


def sign_snapshot(statement: Path, identity: Identity, *, snapshot: str, root: str, size: int, when: str) -> Path:
    """Sign a snapshot's statement (any file) as a C2PA dataset; returns the sidecar's path.

    A sidecar that still fits the file and reads Trusted is kept. `when` is RFC 3339. Raises ImprimaturError when
    the file cannot be read or the new sidecar does not read Trusted.
    """
    facts = {"snapshot": snapshot, "root": root, "size": size}
    return _sign(statement, identity, snapshot_manifest(f"snapshot {snapshot}", when, facts), {})


def sign_model(
    weights: Path, statement: Path, identity: Identity, *, model: str, facts: dict[str, Any], when: str,
    base: Path | None = None,
) -> Path:  # fmt: skip
    """Sign a model's weights as a C2PA model with the snapshot's sidecar as ingredient; returns the sidecar's path.

    `base` are the signed weights that a fine-tuned model started from: their sidecar becomes an ingredient too.
    `facts` are small and public (kind, snapshot, root, weights_sha256, ...). Kept, and raises, as sign_snapshot.
    """
    snapshot = read_sidecar(statement, identity.anchors_pem)
    origin = read_sidecar(base, identity.anchors_pem) if base else None
    manifest = model_manifest(f"model {model}", when, {"model": model, **facts}, snapshot, origin)
    return _sign(weights, identity, manifest, resources(snapshot=snapshot, base=origin))


def read_sidecar(path: Path, anchors_pem: str) -> Link:
    """The checked credential of a signed file, ready to be an ingredient of the next one.

    Raises ImprimaturError when there is none, the file is not the one that was signed, or the signer is unknown.
    """
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        raise ImprimaturError(f"{sidecar}: no such file; {path.name} carries no credential", "sign it first")
    data, store = _read_file(path), _read_file(sidecar)
    try:
        report = sdk.read(data, OPAQUE, anchors_pem, store)
    except c2pa.C2paError as error:
        raise ImprimaturError(
            f"{sidecar}: not a readable manifest store ({error})", "remove it and sign again"
        ) from None
    state = (report or {}).get("validation_state", "None")
    if report is None or state != "Trusted":
        codes = ", ".join(sdk.failure_codes(report or {})) or "no codes"
        raise ImprimaturError(
            f"{path}: its credential {sidecar.name} reads {state} ({codes})",
            "the file was changed after it was signed, or the signer is not among the anchors; restore or remake it",
        )
    manifest = sdk.active_manifest(report)
    kinds = [entry["type"] for data in sdk.assertions(manifest, "c2pa.asset-type") for entry in data["types"]]
    return Link(
        title=manifest.get("title", path.name),
        kind=kinds[0] if kinds else "c2pa.types.dataset",
        store=store,
        active_manifest=report["active_manifest"],
        validation_results=report["validation_results"],
        identifier=_identifier(manifest),
    )


def _identifier(manifest: Manifest) -> str:
    facts = sdk.assertions(manifest, sdk.MODEL_ASSERTION) + sdk.assertions(manifest, sdk.SNAPSHOT_ASSERTION)
    return str(facts[0].get("model") or facts[0].get("snapshot") or "") if facts else ""


def _sign(path: Path, identity: Identity, manifest: Manifest, parts: dict[str, bytes]) -> Path:
    sidecar = sidecar_path(path)
    if sidecar.exists() and _still_fits(path, identity, manifest):
        return sidecar
    try:
        _, store = sdk.sign(_read_file(path), OPAQUE, manifest, identity, parts, embed=False)
    except sdk.SigningError as error:
        raise ImprimaturError(f"{path}: cannot be signed: {error}", "check credentials in the config") from None
    write_bytes(sidecar, store)
    read_sidecar(path, identity.anchors_pem)
    return sidecar


def _still_fits(path: Path, identity: Identity, manifest: Manifest) -> bool:
    """True when the sidecar reads Trusted for the file and says what this manifest would say, but for the time."""
    try:
        link = read_sidecar(path, identity.anchors_pem)
        report = sdk.read(_read_file(path), OPAQUE, identity.anchors_pem, link.store)
    except (ImprimaturError, c2pa.C2paError):
        return False
    active = sdk.active_manifest(report or {})
    wanted = manifest["assertions"][-1]  # the one that names the snapshot or model, and its facts
    ingredients = [entry["active_manifest"] for entry in manifest.get("ingredients", [])]
    return (
        sdk.assertions(active, wanted["label"]) == [wanted["data"]]
        and [entry.get("active_manifest") for entry in active.get("ingredients", [])] == ingredients
    )


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImprimaturError(f"{path}: cannot be read ({error.strerror})", "name an existing file") from None
