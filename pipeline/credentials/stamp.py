"""Stamping an output: watermark, encode with IPTC metadata, sign, and read all of it back from the final bytes."""

from dataclasses import dataclass
from enum import StrEnum

import c2pa
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.digests import pixel_digest
from pipeline.core.settings import CredentialSettings
from pipeline.credentials import sdk, watermark
from pipeline.credentials.identity import Identity
from pipeline.credentials.images import DECODE_ERRORS, FORMATS, Format, decode, encode, open_image
from pipeline.credentials.lint import Reading, broken_rules
from pipeline.credentials.manifest import (
    Link,
    OutputFacts,
    Source,
    digital_source,
    output_id,
    output_manifest,
    output_resources,
    watermark_payload,
)
from pipeline.similarity.fingerprints import fingerprint


class StampReason(StrEnum):
    """Why an output was not stamped well enough to be published."""

    UNREADABLE = "STAMP_UNREADABLE_IMAGE"
    ANIMATED = "STAMP_SEVERAL_FRAMES"
    ALREADY_SIGNED = "STAMP_ALREADY_SIGNED"
    TOO_SMALL = "STAMP_TOO_SMALL"
    SIGNING_FAILED = "STAMP_SIGNING_FAILED"
    NOT_TRUSTED = "STAMP_NOT_TRUSTED"
    WATERMARK_NOT_READ = "STAMP_WATERMARK_NOT_READ"
    RULES_BROKEN = "STAMP_RULES_BROKEN"


SENTENCES = {
    StampReason.UNREADABLE: "The image could not be decoded.",
    StampReason.ANIMATED: "The file holds several frames, of which stamping would keep one.",
    StampReason.ALREADY_SIGNED: "The image already carries a Content Credential, which stamping would drop.",
    StampReason.TOO_SMALL: f"A side is below {watermark.MINIMUM_SIDE} pixels, too small for the watermark.",
    StampReason.SIGNING_FAILED: "The credential could not be signed.",
    StampReason.NOT_TRUSTED: "Read back from the file, the credential is not trusted against the anchors.",
    StampReason.WATERMARK_NOT_READ: "The watermark could not be read back from the encoded file.",
    StampReason.RULES_BROKEN: "Read back from the file, the credential breaks a rule of the release table.",
}


@dataclass(frozen=True)
class Stamped:
    """A stamped output. Without reasons it may be published; with any it belongs into quarantine."""

    data: bytes  # the file, signed if that worked
    manifest_store: bytes
    manifest: str  # label of the active manifest
    output: str  # unique id
    watermark: str  # payload in hex as read back from `data`, "" when it was not
    psnr: float  # dB, marked against unmarked pixels
    validation_state: str  # Trusted | Valid | Invalid | "" when nothing was signed
    watermark_read_back: bool
    pixels: str  # pixel digest of `data`
    phash: bytes  # 256-bit perceptual hash of `data`
    thumbnail: bytes  # of `data`, as in tables.FINGERPRINTS
    reasons: tuple[StampReason, ...]
    detail: str = ""  # the SDK's words or codes, and the codes of rules that are broken (lint.py)


def stamp(
    image: bytes | NDArray[np.uint8],
    facts: OutputFacts,
    model: Link | None,
    identity: Identity,
    settings: CredentialSettings,
    format: Format = "png",
    source: Source | None = None,
) -> Stamped:
    """Stamp an image: a file's bytes, or pixels (H, W, 3) uint8. `source` is the picture that it is a variation of.

    A file that carries a credential is refused, unless it is its own `source` (see `as_parent`). Pixels, unique id
    and watermark depend only on the image, the batch, the index and the identity's watermark key; signature and
    manifest label differ from call to call. With settings.placement "sidecar" the file is not touched by signing and
    `manifest_store` belongs beside it. Faults of the image come back as reasons; raises ImprimaturError only for an
    identity that cannot sign at all.
    """
    output = output_id(facts.batch, facts.index, identity.watermark_key)
    payload = watermark_payload(facts.batch, facts.index, identity.watermark_key)
    if isinstance(image, bytes):
        fault, rgb = _opened(image, identity, source)
        if rgb is None:
            return _failed(image, output, fault)
    else:
        rgb = image
    disclosed, tool = digital_source(source), f"{settings.system} {sdk.VERSION}"
    if min(rgb.shape[:2]) < watermark.MINIMUM_SIDE:
        return _failed(encode(rgb, format, disclosed, tool), output, StampReason.TOO_SMALL)
    marked, quality = watermark.embed(rgb, payload, identity.watermark_key)
    unsigned, mime = encode(marked, format, disclosed, tool), f"image/{format}"
    manifest = output_manifest(facts, output, payload, mime, settings, model, source)
    parent = (source.title, source.mime, source.data) if source else None
    embed = settings.placement == "embedded"
    try:
        data, store = sdk.sign(unsigned, mime, manifest, identity, output_resources(model, settings), embed, parent)
    except sdk.SigningError as error:
        return _failed(unsigned, output, StampReason.SIGNING_FAILED, str(error))
    try:
        report = sdk.read(data, mime, identity.anchors_pem, None if embed else store) or {}
    except c2pa.C2paError:
        report = {}
    pixels = decode(data)
    reading = Reading(
        report, data, mime, facts, output, payload, watermark.held(pixels, identity.watermark_key),
        source is not None, model is not None, bool(identity.timestamp_url), settings,
    )  # fmt: skip
    return _judged(reading, store, pixels, quality)


def as_parent(data: bytes) -> Source:
    """A file that is to be stamped once more, as the `source` of what it becomes. Raises one of DECODE_ERRORS."""
    with open_image(data) as image:
        return Source(data, f"image/{FORMATS[str(image.format)]}", edited=False)


def _opened(data: bytes, identity: Identity, source: Source | None) -> tuple[StampReason, NDArray[np.uint8] | None]:
    """Decoded pixels, or the reason why the file cannot be stamped."""
    try:
        with open_image(data) as image:
            mime = Image.MIME.get(image.format or "", "")
            animated = image.format != "MPO" and getattr(image, "n_frames", 1) > 1  # MPO: a phone's JPEG
        rgb = decode(data)
    except DECODE_ERRORS:
        return StampReason.UNREADABLE, None
    if animated:
        return StampReason.ANIMATED, None
    if source is not None and source.data == data:
        return StampReason.UNREADABLE, rgb
    try:
        signed = sdk.read(data, mime, identity.anchors_pem) is not None
    except c2pa.C2paError:
        # a format that the SDK does not know carries nothing; a credential it cannot read is one all the same
        signed = mime in c2pa.Reader.get_supported_mime_types()
    return (StampReason.ALREADY_SIGNED, None) if signed else (StampReason.UNREADABLE, rgb)


def _judged(reading: Reading, store: bytes, pixels: NDArray[np.uint8], quality: float) -> Stamped:
    """What was read back, as a stamped output with the reasons that speak against its release."""
    report, found = reading.report, reading.found
    state, marked = str(report.get("validation_state", "")), found == reading.payload
    broken = broken_rules(reading)
    reasons = []
    if state != "Trusted":
        reasons.append(StampReason.NOT_TRUSTED)
    if not marked:
        reasons.append(StampReason.WATERMARK_NOT_READ)
    if broken and not reasons:
        reasons.append(StampReason.RULES_BROKEN)
    looks = fingerprint(pixels)
    return Stamped(
        data=reading.data,
        manifest_store=store,
        manifest=str(report.get("active_manifest", "")),
        output=reading.output,
        watermark=watermark.payload_hex(found),
        psnr=quality,
        validation_state=state,
        watermark_read_back=marked,
        pixels=pixel_digest(pixels),
        phash=looks.phash,
        thumbnail=looks.thumbnail,
        reasons=tuple(reasons),
        detail=", ".join([*sdk.failure_codes(report), *broken]),
    )


def _failed(data: bytes, output: str, reason: StampReason, detail: str = "") -> Stamped:
    try:
        rgb = decode(data)
        pixels, looks = pixel_digest(rgb), fingerprint(rgb)
        phash, thumbnail = looks.phash, looks.thumbnail
    except DECODE_ERRORS:
        pixels, phash, thumbnail = "", b"", b""
    return Stamped(data, b"", "", output, "", 0.0, "", False, pixels, phash, thumbnail, (reason,), detail)
