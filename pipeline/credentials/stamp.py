"""Stamping an output: watermark, encode with IPTC metadata, sign, and read all of it back from the final bytes."""

import io
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal
from xml.sax.saxutils import escape

import c2pa
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from pipeline.core.digests import pixel_digest
from pipeline.core.settings import CredentialSettings
from pipeline.credentials import sdk, watermark
from pipeline.credentials.identity import Identity
from pipeline.credentials.manifest import (
    AI_GENERATED,
    Link,
    OutputFacts,
    output_id,
    output_manifest,
    resources,
    watermark_payload,
)
from pipeline.similarity.fingerprints import fingerprint

Format = Literal["png", "jpeg", "webp"]
SUFFIXES: dict[Format, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF")  # and none of Pillow's rarer, riskier readers
MAXIMUM_PIXELS = 64_000_000
# Pillow's readers raise almost anything for a broken file: RuntimeError, struct.error, KeyError, SyntaxError, ...
DECODE_ERRORS = (Exception,)

# Iptc4xmpExt:DigitalSourceType, IPTC Photo Metadata 2025.1: what readers without C2PA look at
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/">
   <Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


class StampReason(StrEnum):
    """Why an output was not stamped well enough to be published."""

    UNREADABLE = "STAMP_UNREADABLE_IMAGE"
    ANIMATED = "STAMP_SEVERAL_FRAMES"
    ALREADY_SIGNED = "STAMP_ALREADY_SIGNED"
    TOO_SMALL = "STAMP_TOO_SMALL"
    SIGNING_FAILED = "STAMP_SIGNING_FAILED"
    NOT_TRUSTED = "STAMP_NOT_TRUSTED"
    WATERMARK_NOT_READ = "STAMP_WATERMARK_NOT_READ"


SENTENCES = {
    StampReason.UNREADABLE: "The image could not be decoded.",
    StampReason.ANIMATED: "The file holds several frames, of which stamping would keep one.",
    StampReason.ALREADY_SIGNED: "The image already carries a Content Credential, which stamping would drop.",
    StampReason.TOO_SMALL: f"A side is below {watermark.MINIMUM_SIDE} pixels, too small for the watermark.",
    StampReason.SIGNING_FAILED: "The credential could not be signed.",
    StampReason.NOT_TRUSTED: "Read back from the file, the credential is not trusted against the anchors.",
    StampReason.WATERMARK_NOT_READ: "The watermark could not be read back from the encoded file.",
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
    reasons: tuple[StampReason, ...]
    detail: str = ""  # the SDK's words when signing failed


def stamp(
    image: bytes | NDArray[np.uint8],
    facts: OutputFacts,
    model: Link | None,
    identity: Identity,
    settings: CredentialSettings,
    format: Format = "png",
) -> Stamped:
    """Stamp an image: a file's bytes, or pixels (H, W, 3) uint8.

    Pixels, unique id and watermark depend only on the image, the batch, the index and the identity's watermark key;
    signature and manifest label differ from call to call. JPEG is written at quality 95, WebP lossless, both
    because the watermark must be read from the file. Faults of the image come back as reasons; raises
    ImprimaturError only for an identity that cannot sign at all.
    """
    output = output_id(facts.batch, facts.index, identity.watermark_key)
    payload = watermark_payload(facts.batch, facts.index, identity.watermark_key)
    if isinstance(image, bytes):
        fault, rgb = _opened(image, identity)
        if rgb is None:
            return _failed(image, output, fault)
    else:
        rgb = image
    if min(rgb.shape[:2]) < watermark.MINIMUM_SIDE:
        return _failed(_encoded(rgb, format, settings), output, StampReason.TOO_SMALL)
    marked, quality = watermark.embed(rgb, payload, identity.watermark_key)
    unsigned = _encoded(marked, format, settings)
    manifest = output_manifest(facts, output, payload, f"image/{format}", settings, model)
    try:
        data, store = sdk.sign(unsigned, f"image/{format}", manifest, identity, resources(model, "model"))
    except sdk.SigningError as error:
        return _failed(unsigned, output, StampReason.SIGNING_FAILED, str(error))
    return _read_back(data, store, output, payload, quality, f"image/{format}", identity)


def open_image(data: bytes) -> Image.Image:
    """Open an image of a format that is read here, without decoding it. Raises one of DECODE_ERRORS."""
    Image.init()  # else `formats` may only name what Pillow happens to have loaded
    return Image.open(io.BytesIO(data), formats=READABLE)


def decode(data: bytes) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) uint8 of an image file, oriented, on white where transparent. Raises one of DECODE_ERRORS."""
    with open_image(data) as image:
        if image.width * image.height > MAXIMUM_PIXELS:
            raise ValueError(f"{image.width}x{image.height} px is more than this reads")
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            coloured = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)
        return np.asarray(upright.convert("RGB"))


def _opened(data: bytes, identity: Identity) -> tuple[StampReason, NDArray[np.uint8] | None]:
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
    try:
        signed = sdk.read(data, mime, identity.anchors_pem) is not None
    except c2pa.C2paError:
        # a format that the SDK does not know carries nothing; a credential it cannot read is one all the same
        signed = mime in c2pa.Reader.get_supported_mime_types()
    return (StampReason.ALREADY_SIGNED, None) if signed else (StampReason.UNREADABLE, rgb)


def _encoded(rgb: NDArray[np.uint8], format: Format, settings: CredentialSettings) -> bytes:
    tool = escape(f"{settings.system} {sdk.VERSION}")
    xmp = _XMP.format(source=AI_GENERATED, tool=tool)
    stream, image = io.BytesIO(), Image.fromarray(rgb)
    if format == "png":
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", xmp)
        image.save(stream, "PNG", pnginfo=chunks)
    elif format == "jpeg":
        image.save(stream, "JPEG", quality=95, subsampling=0, xmp=xmp.encode())
    else:
        image.save(stream, "WEBP", lossless=True, xmp=xmp.encode())
    return stream.getvalue()


def _read_back(
    data: bytes, store: bytes, output: str, payload: int, quality: float, mime: str, identity: Identity
) -> Stamped:
    try:
        report = sdk.read(data, mime, identity.anchors_pem) or {}
    except c2pa.C2paError:
        report = {}
    state = str(report.get("validation_state", ""))
    rgb = decode(data)
    found = watermark.extract(rgb, identity.watermark_key)
    reasons = []
    if state != "Trusted":
        reasons.append(StampReason.NOT_TRUSTED)
    if found != payload:
        reasons.append(StampReason.WATERMARK_NOT_READ)
    return Stamped(
        data=data,
        manifest_store=store,
        manifest=str(report.get("active_manifest", "")),
        output=output,
        watermark=watermark.payload_hex(found),
        psnr=quality,
        validation_state=state,
        watermark_read_back=found == payload,
        pixels=pixel_digest(rgb),
        phash=fingerprint(rgb).phash,
        reasons=tuple(reasons),
        detail=", ".join(sdk.failure_codes(report)) if state != "Trusted" else "",
    )


def _failed(data: bytes, output: str, reason: StampReason, detail: str = "") -> Stamped:
    try:
        rgb = decode(data)
        pixels, phash = pixel_digest(rgb), fingerprint(rgb).phash
    except DECODE_ERRORS:
        pixels, phash = "", b""
    return Stamped(data, b"", "", output, "", 0.0, "", False, pixels, phash, (reason,), detail)
