"""Manifest definitions (C2PA 2.x, claim v2) for outputs and for the sidecars of snapshots and models."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pipeline.core.settings import CredentialSettings
from pipeline.credentials import sdk, watermark

DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
AI_GENERATED = DIGITAL_SOURCE + "trainedAlgorithmicMedia"
STATEMENT_SOURCE = DIGITAL_SOURCE + "dataDrivenMedia"
WEIGHTS_SOURCE = "http://c2pa.org/digitalsourcetype/trainedAlgorithmicData"
OPAQUE = "application/octet-stream"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class OutputFacts:
    """What is known about an output before it is stamped; what is not known stays empty and is left out."""

    title: str  # file name
    when: str  # RFC 3339: the time of creation that is disclosed
    batch: str
    index: int
    seed: int | None = None
    label: str = ""
    model: str = ""  # model id
    model_sha256: str = ""  # of the weights file
    snapshot: str = ""  # snapshot id
    snapshot_root: str = ""  # Merkle root of the training set
    verdict: str = ""  # of screening


@dataclass(frozen=True)
class Link:
    """A signed sidecar, ready to become an ingredient: what the next manifest in the chain needs of it."""

    title: str
    kind: str  # c2pa.types.dataset | c2pa.types.model
    store: bytes
    active_manifest: str
    validation_results: dict[str, Any]


def output_id(batch: str, index: int, key: bytes) -> str:
    """Unique id of an output (UUID 8, RFC 9562): a keyed hash of batch and index, so a resumed run repeats it."""
    digest = bytearray(_keyed(b"output", batch, index, key)[:16])
    digest[6], digest[8] = 0x80 | digest[6] & 0x0F, 0x80 | digest[8] & 0x3F
    return str(UUID(bytes=bytes(digest)))


def watermark_payload(batch: str, index: int, key: bytes) -> int:
    """The 32 bits that an output carries. Two outputs may share them by chance: the fingerprint tells them apart."""
    return int.from_bytes(_keyed(b"watermark", batch, index, key)[:4], "big")


def output_manifest(
    facts: OutputFacts, output: str, payload: int, mime: str, settings: CredentialSettings, model: Link | None
) -> Manifest:
    """The manifest of a generated image; `model`, when known, becomes its `inputTo` ingredient.

    Carries the fields that California SB 942 (B&P 22757.3(b)) and EU AI Act art. 50(2) ask for.
    """
    created: dict[str, Any] = {
        "action": "c2pa.created",
        "when": facts.when,
        "digitalSourceType": AI_GENERATED,
        "softwareAgent": {"name": facts.model or settings.system, "version": sdk.VERSION},
    }
    if model:
        created["parameters"] = {"ingredientIds": ["model"]}
    watermarked = {
        "action": "c2pa.watermarked.bound",
        "when": facts.when,
        "softwareAgent": {"name": watermark.ALGORITHM, "version": sdk.VERSION},
    }
    manifest = _manifest(facts.title, mime, [created, watermarked])
    manifest["assertions"] += [
        {
            "label": "c2pa.soft-binding",
            # The algorithm is ours and not on the C2PA list. The specification wants `value` as a byte string; the
            # SDK's JSON route writes a text string, which readers take.
            "data": {
                "alg": watermark.ALGORITHM,
                "blocks": [{"scope": {}, "value": watermark.payload_hex(payload)}],
            },
        },
        {"label": "cawg.training-mining", "data": {"entries": _training_mining(settings.training_mining)}},
        {"label": sdk.GENERATION_ASSERTION, "data": _generation(facts, output, settings)},
    ]
    return _with_ingredient(manifest, model, "model")


def snapshot_manifest(title: str, when: str, facts: dict[str, Any]) -> Manifest:
    """The sidecar manifest of a snapshot's signed statement; `facts` say which (id, root, size)."""
    created = {"action": "c2pa.created", "when": when, "digitalSourceType": STATEMENT_SOURCE}
    manifest = _manifest(title, OPAQUE, [created])
    manifest["assertions"] += [_asset_type("c2pa.types.dataset"), {"label": sdk.SNAPSHOT_ASSERTION, "data": facts}]
    return manifest


def model_manifest(title: str, when: str, facts: dict[str, Any], snapshot: Link) -> Manifest:
    """The sidecar manifest of a model's weights, with the snapshot that it was trained on as `inputTo` ingredient."""
    created = {
        "action": "c2pa.created",
        "when": when,
        "digitalSourceType": WEIGHTS_SOURCE,
        "softwareAgent": {"name": "imprimatur", "version": sdk.VERSION},
        "parameters": {"ingredientIds": ["snapshot"]},
    }
    manifest = _manifest(title, OPAQUE, [created])
    manifest["assertions"] += [
        _asset_type("c2pa.types.model", "c2pa.types.model.pytorch"),
        {"label": sdk.MODEL_ASSERTION, "data": facts},
    ]
    return _with_ingredient(manifest, snapshot, "snapshot")


def resources(link: Link | None, label: str) -> dict[str, bytes]:
    """The resources that the SDK must be handed with a manifest that has `link` as its ingredient."""
    return {f"{label}.c2pa": link.store} if link else {}


def _manifest(title: str, mime: str, actions: list[dict[str, Any]]) -> Manifest:
    return {
        "claim_generator_info": [sdk.CLAIM_GENERATOR],
        "format": mime,
        "title": title,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"allActionsIncluded": True, "actions": actions}}],
    }


def _with_ingredient(manifest: Manifest, link: Link | None, label: str) -> Manifest:
    if link is None:
        return manifest
    ingredient = {
        "title": link.title,
        "format": OPAQUE,
        "relationship": "inputTo",
        "label": label,
        "data_types": [{"type": link.kind}],
        "active_manifest": link.active_manifest,
        "validation_results": link.validation_results,
        "manifest_data": {"format": "application/c2pa", "identifier": f"{label}.c2pa"},
    }
    return {**manifest, "ingredients": [ingredient]}


def _asset_type(*kinds: str) -> dict[str, Any]:
    return {"label": "c2pa.asset-type", "data": {"types": [{"type": kind} for kind in kinds]}}


def _training_mining(use: str) -> dict[str, Any]:
    """What others may do with the output (CAWG 1.1). Looking at it by machine, to verify it, is always allowed."""
    restricted = ("cawg.ai_generative_training", "cawg.ai_training", "cawg.data_mining")
    return {**{entry: {"use": use} for entry in restricted}, "cawg.ai_inference": {"use": "allowed"}}


def _generation(facts: OutputFacts, output: str, settings: CredentialSettings) -> dict[str, Any]:
    known: dict[str, Any] = {
        "provider": settings.provider,
        "system": settings.system,
        "systemVersion": sdk.VERSION,
        "createdAt": facts.when,
        "uniqueId": output,
        "batch": facts.batch,
        "index": facts.index,
        "seed": facts.seed,
        "label": facts.label,
        "model": facts.model,
        "modelSha256": facts.model_sha256,
        "snapshot": facts.snapshot,
        "snapshotRoot": facts.snapshot_root,
        "screening": facts.verdict,
    }
    return {name: value for name, value in known.items() if value not in ("", None)}


def _keyed(purpose: bytes, batch: str, index: int, key: bytes) -> bytes:
    return hmac.new(key, purpose + b"\0" + f"{batch}\0{index}".encode(), hashlib.sha256).digest()
