"""Verifying any file by anyone: separate facts, each with its evidence, and never an exception for a hostile file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import c2pa
import numpy as np
from numpy.typing import NDArray

from pipeline.core.digests import sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace
from pipeline.credentials import sdk
from pipeline.credentials.images import DECODE_ERRORS, decode, mime_of
from pipeline.credentials.manifest import AI_GENERATED, DIGITAL_SOURCE
from pipeline.credentials.recovery import find_output
from pipeline.credentials.repository import read_store

State = Literal["Trusted", "Valid", "Invalid", "None", "Remote", "Unreadable"]
MAXIMUM_BYTES = 256 * 2**20  # larger files are not opened
_AI_SOURCES = {AI_GENERATED, DIGITAL_SOURCE + "compositeWithTrainedAlgorithmicMedia"}
_MEDIA_RELATIONS = {"parentOf", "componentOf"}  # what an ingredient says holds for the file too; `inputTo` does not
_STRICTNESS = {"notAllowed": 2, "constrained": 1, "allowed": 0}


@dataclass(frozen=True)
class Verification:
    """What is known about a file. `as_json` is the shape that `imprimatur verify --json` prints."""

    file: str
    state: State
    ai_generated: bool | None  # None: nothing says so
    training_mining: dict[str, str]
    signer: str
    timestamped: bool
    recovered: bool  # the file carries no readable credential, but the repository has the one it had
    registry: dict[str, Any] | None
    codes: list[str]
    chain: list[dict[str, str]]  # output -> model -> snapshot: {"link", "title", "manifest", "state"}

    def as_json(self) -> dict[str, Any]:
        """The contract's keys, and `chain`."""
        return dict(vars(self))


@dataclass(frozen=True)
class _Claims:
    """What a manifest store says, whoever signed it."""

    ai_generated: bool | None
    training_mining: dict[str, str]
    signer: str
    timestamped: bool
    chain: list[dict[str, str]]


_NO_CLAIMS = _Claims(None, {}, "", False, [])


def verify(
    path: Path,
    anchors_pem: Sequence[str] = (),
    workspace: Workspace | None = None,
    watermark_key: bytes | None = None,
) -> Verification:
    """Verify a file against trust anchors (PEM texts) and, when a workspace is given, its manifest repository.

    Trusted: intact, and signed by someone below the anchors. Valid: intact, signer unknown. Invalid: changed since,
    or badly signed. None: no credential. Remote: a credential elsewhere, which is not fetched. A missing or broken
    file, or credential, is Unreadable. A recovered answer keeps the file's own state. Raises ImprimaturError for
    anchors that are none.
    """
    anchors = _checked_anchors(anchors_pem)
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            return _unreadable(path, "file.tooLarge")
        data = path.read_bytes()
    except OSError:
        return _unreadable(path, "file.unreadable")
    mime = mime_of(data)
    if not mime:
        return _unreadable(path, "file.notAnImage")
    rgb = _pixels(data)
    state, report, codes = _read_manifest(data, mime, anchors)
    if rgb is None:
        codes.append("image.undecodable")
        state = "Unreadable" if state == "None" else state
    claims = _claims(report) if report else _NO_CLAIMS
    match, recovered = None, False
    if workspace is not None and workspace.catalog.exists():
        match, found_codes = find_output(
            workspace, sha256(data), str((report or {}).get("active_manifest", "")), rgb, watermark_key
        )
        codes += found_codes
        if match is not None and report is None and state in ("None", "Unreadable"):
            store = read_store(workspace, match.entry.output) if match.found_by != "file" else None
            recovered_claims, recovered_codes = _recovered_claims(store, anchors)
            recovered, claims = recovered_claims is not None, recovered_claims or claims
            codes += recovered_codes
    ai_generated = claims.ai_generated
    if ai_generated is None and report is None and AI_GENERATED.encode() in data:
        ai_generated = True
        codes.append("iptc.digitalSourceType.unsigned")
    if state == "Invalid" and ai_generated is False:
        ai_generated = None  # a broken credential may warn, but not vouch
    return Verification(
        file=str(path),
        state=state,
        ai_generated=ai_generated,
        training_mining=claims.training_mining,
        signer=claims.signer,
        timestamped=claims.timestamped,
        recovered=recovered,
        registry=match.as_json() if match else None,
        codes=list(dict.fromkeys(codes)),
        chain=claims.chain,
    )


def read_anchors(paths: Iterable[Path]) -> list[str]:
    """PEM texts of anchor files. Raises ImprimaturError that names the file without a certificate."""
    texts = []
    for path in paths:
        try:
            texts.append(path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError):
            raise ImprimaturError(f"{path}: not a readable PEM file", "name a PEM file with --anchors") from None
        _checked_anchors([texts[-1]], str(path))
    return texts


def _checked_anchors(anchors_pem: Sequence[str], name: str = "anchors") -> str:
    # a PEM without certificates is silently taken by the SDK, and then nothing is ever trusted
    if any("-----BEGIN CERTIFICATE-----" not in text for text in anchors_pem):
        raise ImprimaturError(f"{name}: holds no PEM certificate", "give the root's PEM with --anchors")
    return "\n".join(anchors_pem)


def _pixels(data: bytes) -> NDArray[np.uint8] | None:
    try:
        return decode(data)
    except DECODE_ERRORS:
        return None


def _read_manifest(data: bytes, mime: str, anchors: str) -> tuple[State, sdk.ManifestStore | None, list[str]]:
    if mime not in c2pa.Reader.get_supported_mime_types():
        return "None", None, ["format.withoutCredentials"]
    try:
        report = sdk.read(data, mime, anchors)
    except c2pa.C2paError as error:
        if "remote" in type(error).__name__.lower() or "remote" in str(error).lower():
            return "Remote", None, ["manifest.remote"]
        return "Unreadable", None, ["manifest.unreadable"]
    if report is None:
        return "None", None, []
    states: dict[str, State] = {"Trusted": "Trusted", "Valid": "Valid"}
    return states.get(report.get("validation_state", ""), "Invalid"), report, sdk.failure_codes(report)


def _recovered_claims(store: bytes | None, anchors: str) -> tuple[_Claims | None, list[str]]:
    """What a store out of the repository says. It fits another file's bytes, so only its signature can be checked."""
    if store is None:
        return None, []
    try:
        report = sdk.read(store, "application/c2pa", anchors)
    except c2pa.C2paError:
        return None, ["recovered.manifestUnreadable"]
    if report is None:
        return None, ["recovered.manifestUnreadable"]
    passed = sdk.success_codes(report)
    signed = "claimSignature.validated" in passed
    trusted = signed and "signingCredential.trusted" in passed
    code = "recovered.trusted" if trusted else "recovered.signerUnknown" if signed else "recovered.badSignature"
    if not signed:
        return None, [code]
    claims = _claims(report)
    output = {**claims.chain[0], "state": "recovered"}  # its hard binding is to other bytes than these
    return replace(claims, chain=[output, *claims.chain[1:]]), [code]


def _claims(report: sdk.ManifestStore) -> _Claims:
    active = sdk.active_manifest(report)
    signature = active.get("signature_info") or {}
    family = list(_family(report, active))
    return _Claims(
        ai_generated=_ai_generated(family),
        training_mining=_training_mining(family),
        signer=str(signature.get("common_name") or signature.get("issuer") or ""),
        timestamped=bool(signature.get("time")),
        chain=_chain(report, active),
    )


def _family(report: sdk.ManifestStore, manifest: sdk.ManifestStore) -> Iterator[sdk.ManifestStore]:
    """A manifest and those of the media that it was made from, each once: an ingredient list may be a loop."""
    waiting, seen = [manifest], set[str]()
    while waiting:
        current = waiting.pop(0)
        yield current
        for ingredient in current.get("ingredients") or []:
            label = ingredient.get("active_manifest")
            if ingredient.get("relationship") in _MEDIA_RELATIONS and label and label not in seen:
                seen.add(label)
                waiting.append(report.get("manifests", {}).get(label) or {})


def _ai_generated(family: list[sdk.ManifestStore]) -> bool | None:
    """True when any action names an AI source, False when sources are named and none is AI, else None."""
    sources = [
        str(action["digitalSourceType"])
        for manifest in family
        for data in sdk.assertions(manifest, "c2pa.actions")
        for action in _list(_dict(data).get("actions"))
        if _dict(action).get("digitalSourceType")
    ]
    return bool(_AI_SOURCES.intersection(sources)) if sources else None


def _training_mining(family: list[sdk.ManifestStore]) -> dict[str, str]:
    """Entry to use, the strictest of the file and of the media it was made from; legacy c2pa. labels too."""
    strictest: dict[str, str] = {}
    for manifest in family:
        for label in ("cawg.training-mining", "c2pa.training-mining"):
            for data in sdk.assertions(manifest, label):
                for entry, rule in _dict(_dict(data).get("entries")).items():
                    use = str(_dict(rule).get("use", ""))
                    if _STRICTNESS.get(use, -1) > _STRICTNESS.get(strictest.get(entry, ""), -1):
                        strictest[entry] = use
    return dict(sorted(strictest.items()))


def _chain(report: sdk.ManifestStore, active: sdk.ManifestStore) -> list[dict[str, str]]:
    """Output, model, snapshot: manifests that follow each other as `inputTo` ingredients, and whether each holds."""
    failing = " ".join(sdk.failure_urls(report))
    links, current, label = [], active, str(report.get("active_manifest", ""))
    for name in ("output", "model", "snapshot"):
        state = "absent" if not current else "invalid" if label in failing else "valid"
        links.append({"link": name, "title": str(current.get("title", "")), "manifest": label, "state": state})
        inputs = [entry for entry in current.get("ingredients") or [] if entry.get("relationship") == "inputTo"]
        label = str(inputs[0].get("active_manifest") or "") if inputs else ""
        current = report.get("manifests", {}).get(label) or {}
    return links


def _dict(value: Any) -> dict[str, Any]:
    """Assertion data are anyone's JSON: take nothing for granted."""
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _unreadable(path: Path, code: str) -> Verification:
    return Verification(str(path), "Unreadable", None, {}, "", False, False, None, [code], [])
