"""Taking an output that was stamped elsewhere into this manifest repository."""

import c2pa

from pipeline.core.digests import pixel_digest, sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace
from pipeline.credentials import sdk
from pipeline.credentials.images import DECODE_ERRORS, decode, mime_of
from pipeline.credentials.repository import Entry, find_by_output, keep
from pipeline.similarity.fingerprints import fingerprint


def deposit(workspace: Workspace, data: bytes, store: bytes, anchors_pem: str) -> Entry:
    """Keep a signed file's manifest store; what is known of the output is read from its own credential.

    Idempotent. Raises ImprimaturError when the store does not read Trusted for the file against the anchors, is not
    of an output of this software, or the output is known here with another manifest.
    """
    report = _trusted(data, store, anchors_pem)
    manifest = sdk.active_manifest(report)
    made = next(iter(sdk.assertions(manifest, sdk.GENERATION_ASSERTION)), None)
    if not isinstance(made, dict) or not isinstance(made.get("uniqueId"), str):
        raise ImprimaturError("the credential does not say which output this is", "deposit outputs of imprimatur")
    try:
        rgb = decode(data)
    except DECODE_ERRORS:
        raise ImprimaturError("the image cannot be decoded", "deposit the file as it was stamped") from None
    looks, label = fingerprint(rgb), str(report["active_manifest"])
    known = find_by_output(workspace, made["uniqueId"])
    if known and known.manifest != label:
        raise ImprimaturError(f"output {known.output} is known here with another manifest", "deposit it once")
    entry = Entry(
        output=made["uniqueId"],
        batch=str(made.get("batch", "")),
        index=int(made.get("index", 0)),
        model=str(made.get("model", "")),
        snapshot=str(made.get("snapshot", "")),
        file="",  # it does not lie here
        file_sha256=sha256(data),
        pixels=pixel_digest(rgb),
        watermark=_watermark(manifest),
        phash=looks.phash,
        manifest=label,
        state="published",
        stamped_at=str(made.get("createdAt", "")),
    )
    keep(workspace, known or entry, looks.thumbnail, store)
    return known or entry


def _trusted(data: bytes, store: bytes, anchors_pem: str) -> sdk.ManifestStore:
    try:
        report = sdk.read(data, mime_of(data), anchors_pem, store)
    except c2pa.C2paError as error:
        raise ImprimaturError(
            f"the manifest store cannot be read ({error})", "send the store that signing gave"
        ) from None
    state = (report or {}).get("validation_state", "None")
    if report is None or state != "Trusted":
        raise ImprimaturError(
            f"the credential reads {state}, not Trusted", "sign with an identity that is trusted here"
        )
    return report


def _watermark(manifest: sdk.ManifestStore) -> str:
    """The payload that the soft binding names, "" for none."""
    for binding in sdk.assertions(manifest, "c2pa.soft-binding"):
        for block in binding.get("blocks") or []:
            return str(block.get("value", ""))
    return ""
