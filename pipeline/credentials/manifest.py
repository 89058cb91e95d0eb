"""Manifest definitions (C2PA 2.x, claim v2) for outputs and for the sidecars of snapshots and models."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pipeline.core.digests import sha256
from pipeline.core.settings import CredentialSettings
from pipeline.credentials import sdk, watermark

DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
AI_GENERATED = DIGITAL_SOURCE + "trainedAlgorithmicMedia"
AI_EDITED = DIGITAL_SOURCE + "compositeWithTrainedAlgorithmicMedia"  # "Edited using Generative AI"
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
    identifier: str = ""  # id of the snapshot or model


@dataclass(frozen=True)
class Source:
    """The picture that an output is a variation of, or the signed file that is stamped again: its `parentOf`."""

    data: bytes
    mime: str
    title: str = "source"  # a file name may be personal, so none is taken over
    edited: bool = True  # by the model; False: the same picture, only marked and signed


def digital_source(source: Source | None) -> str:
    """The IPTC digital source type (a URL) of an output with or without a source picture."""
    return AI_EDITED if source and source.edited else AI_GENERATED


def output_id(batch: str, index: int, key: bytes) -> str:
    """Unique id of an output (UUID 8, RFC 9562): a keyed hash of batch and index, so a resumed run repeats it."""
    digest = bytearray(_keyed(b"output", batch, index, key)[:16])
    digest[6], digest[8] = 0x80 | digest[6] & 0x0F, 0x80 | digest[8] & 0x3F
    return str(UUID(bytes=bytes(digest)))


def watermark_payload(batch: str, index: int, key: bytes) -> int:
    """The 32 bits that an output carries. Two outputs may share them by chance: the fingerprint tells them apart."""
    return int.from_bytes(_keyed(b"watermark", batch, index, key)[:4], "big")


def output_manifest(
    facts: OutputFacts, output: str, payload: int, mime: str, settings: CredentialSettings, model: Link | None,
    source: Source | None = None,
) -> Manifest:  # fmt: skip
    """The manifest of a generated image; `model`, when known, becomes its `inputTo` ingredient.

    With settings.chain "linked" the model's credential is named by digest and URL instead of being carried. A
    `source` is added by sdk.sign under the label "parent". Carries the fields that California SB 942
    (B&P 22757.3(b)) and EU AI Act art. 50(2) ask for.
    """
    watermarked = {
        "action": "c2pa.watermarked.bound",
        "when": facts.when,
        "softwareAgent": {"name": watermark.ALGORITHM, "version": sdk.VERSION},
    }
    manifest = _manifest(facts.title, mime, [*_origin(facts, settings, model, source), watermarked])
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
        {"label": sdk.GENERATION_ASSERTION, "data": _generation(facts, output, settings, model)},
    ]
    if model is None:
        return manifest
    return {
        **manifest,
        "ingredients": [_linked(model, settings) if _is_linked(settings) else _carried(model, "model")],
    }


def snapshot_manifest(title: str, when: str, facts: dict[str, Any]) -> Manifest:
    """The sidecar manifest of a snapshot's signed statement; `facts` say which (id, root, size)."""
    created = {"action": "c2pa.created", "when": when, "digitalSourceType": STATEMENT_SOURCE}
    manifest = _manifest(title, OPAQUE, [created])
    manifest["assertions"] += [_asset_type("c2pa.types.dataset"), {"label": sdk.SNAPSHOT_ASSERTION, "data": facts}]
    return manifest


def model_manifest(
    title: str, when: str, facts: dict[str, Any], snapshot: Link, base: Link | None = None
) -> Manifest:
    """The sidecar manifest of a model's weights; `inputTo` ingredients are the snapshot that it was trained on and,
    of a fine-tuned model, the base model that it started from.
    """
    created = {
        "action": "c2pa.created",
        "when": when,
        "digitalSourceType": WEIGHTS_SOURCE,
        "softwareAgent": {"name": "imprimatur", "version": sdk.VERSION},
        "parameters": {"ingredientIds": ["snapshot", "base"] if base else ["snapshot"]},
    }
    manifest = _manifest(title, OPAQUE, [created])
    manifest["assertions"] += [
        _asset_type("c2pa.types.model", "c2pa.types.model.pytorch"),
        {"label": sdk.MODEL_ASSERTION, "data": facts},
    ]
    ingredients = [_carried(snapshot, "snapshot"), *([_carried(base, "base")] if base else [])]
    return {**manifest, "ingredients": ingredients}


def output_resources(model: Link | None, settings: CredentialSettings) -> dict[str, bytes]:
    """The resources that the SDK must be handed with an output's manifest."""
    return {} if model is None or _is_linked(settings) else resources(model=model)


def resources(**links: Link | None) -> dict[str, bytes]:
    """The resources that the SDK must be handed with a manifest that carries these links, by label."""
    return {f"{label}.c2pa": link.store for label, link in links.items() if link}


def _manifest(title: str, mime: str, actions: list[dict[str, Any]]) -> Manifest:
    return {
        "claim_generator_info": [sdk.CLAIM_GENERATOR],
        "format": mime,
        "title": title,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"allActionsIncluded": True, "actions": actions}}],
    }


def _origin(
    facts: OutputFacts, settings: CredentialSettings, model: Link | None, source: Source | None
) -> list[dict[str, Any]]:
    """How the picture came about: created, or a parent opened and then edited (C2PA 2.x, actions, section 18.15)."""
    made: dict[str, Any] = {
        "action": "c2pa.created",
        "when": facts.when,
        "digitalSourceType": digital_source(source),
        "softwareAgent": {"name": facts.model or settings.system, "version": sdk.VERSION},
    }
    if model:
        made["parameters"] = {"ingredientIds": ["model"]}
    if source is None:
        return [made]
    opened = {
        "action": "c2pa.opened",
        "when": facts.when,
        "softwareAgent": {"name": settings.system, "version": sdk.VERSION},
        "parameters": {"ingredientIds": [sdk.PARENT]},
    }
    # stamping alone writes the IPTC disclosure, and changes no picture but for the watermark
    return [opened, {**made, "action": "c2pa.edited" if source.edited else "c2pa.edited.metadata"}]


def _carried(link: Link, label: str) -> dict[str, Any]:
    return {
        "title": link.title,
        "format": OPAQUE,
        "relationship": "inputTo",
        "label": label,
        "data_types": [{"type": link.kind}],
        "active_manifest": link.active_manifest,
        "validation_results": _terse(link.validation_results),
        "manifest_data": {"format": "application/c2pa", "identifier": f"{label}.c2pa"},
    }


def _linked(link: Link, settings: CredentialSettings) -> dict[str, Any]:
    return {
        "title": link.title,
        "format": OPAQUE,
        "relationship": "inputTo",
        "label": "model",
        "data_types": [{"type": link.kind}],
        "informational_URI": _url(link, settings),
    }


def _is_linked(settings: CredentialSettings) -> bool:
    return settings.chain == "linked"


def _url(link: Link, settings: CredentialSettings) -> str:
    return f"{str(settings.chain_url).rstrip('/')}/{link.identifier}.c2pa"


def _terse(results: Any) -> Any:
    """Validation results without their English sentences, which repeat the codes at a kilobyte a link."""
    if isinstance(results, dict):
        return {name: _terse(value) for name, value in results.items() if name != "explanation"}
    return [_terse(value) for value in results] if isinstance(results, list) else results


def _asset_type(*kinds: str) -> dict[str, Any]:
    return {"label": "c2pa.asset-type", "data": {"types": [{"type": kind} for kind in kinds]}}


def _training_mining(use: str) -> dict[str, Any]:
    """What others may do with the output (CAWG 1.1). Looking at it by machine, to verify it, is always allowed."""
    restricted = ("cawg.ai_generative_training", "cawg.ai_training", "cawg.data_mining")
    return {**{entry: {"use": use} for entry in restricted}, "cawg.ai_inference": {"use": "allowed"}}


def _generation(facts: OutputFacts, output: str, settings: CredentialSettings, model: Link | None) -> dict[str, Any]:
    linked = model if _is_linked(settings) else None
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
        "notice": settings.notice,
        "modelCredentialSha256": sha256(linked.store) if linked else "",
        "modelCredentialUrl": _url(linked, settings) if linked else "",
    }
    return {name: value for name, value in known.items() if value not in ("", None)}


def _keyed(purpose: bytes, batch: str, index: int, key: bytes) -> bytes:
    return hmac.new(key, purpose + b"\0" + f"{batch}\0{index}".encode(), hashlib.sha256).digest()
