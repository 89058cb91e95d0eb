"""The one place where c2pa-python is configured: no network, no thumbnails, every assertion a created one.

A Context costs 0.75 ms and swallows its signer, so each process keeps one for each identity and set of anchors.
"""

import io
import json
import re
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import c2pa

from pipeline.core.errors import ImprimaturError
from pipeline.credentials.identity import Identity
from pipeline.credentials.signers import remote_signer

TRUST_CONFIG = "\n".join(
    (
        "1.3.6.1.4.1.62558.2.1",  # c2pa-kp-claimSigning
        "1.3.6.1.5.5.7.3.4",  # emailProtection
        "1.3.6.1.5.5.7.3.36",  # documentSigning
        "1.3.6.1.5.5.7.3.8",  # timeStamping
        "1.3.6.1.5.5.7.3.9",  # OCSPSigning
        "",
    )
)
VERSION = version("imprimatur")
CLAIM_GENERATOR = {"name": "imprimatur", "version": VERSION, "specVersion": "2.4.0"}
GENERATION_ASSERTION = "dev.imprimatur.generation"
SNAPSHOT_ASSERTION = "dev.imprimatur.snapshot"
MODEL_ASSERTION = "dev.imprimatur.model"
PARENT = "parent"  # by this label actions name the `parentOf` ingredient
# base labels, without version: what is not listed lands in gathered_assertions and fails conformance
CREATED_ASSERTIONS = [
    "c2pa.actions",
    "c2pa.ingredient",
    "c2pa.soft-binding",
    "c2pa.asset-type",
    "cawg.training-mining",
    GENERATION_ASSERTION,
    SNAPSHOT_ASSERTION,
    MODEL_ASSERTION,
]
_ALGORITHMS = {
    "es256": c2pa.C2paSigningAlg.ES256,
    "es384": c2pa.C2paSigningAlg.ES384,
    "ps256": c2pa.C2paSigningAlg.PS256,
    "ed25519": c2pa.C2paSigningAlg.ED25519,
}
_SUFFIX = re.compile(r"(\.v\d+)?(__\d+)?")
ManifestStore = dict[str, Any]  # the Reader's JSON, parsed


class SigningError(Exception):
    """An asset could not be signed; the message says why."""


def settings(anchors_pem: str, hosts: tuple[str, ...] = ()) -> dict[str, Any]:
    """SDK settings: trust `anchors_pem` (PEM certificates), fetch nothing, talk to `hosts` only (a TSA's, if any)."""
    return {
        "version": 1,
        # an empty list of anchors is an error to the SDK
        "trust": {"trust_config": TRUST_CONFIG} | ({"user_anchors": anchors_pem} if anchors_pem else {}),
        "verify": {
            # off: stamping reads every output back itself, and that checks trust too, which this does not
            "verify_after_sign": False,
            "verify_trust": True,
            "remote_manifest_fetch": False,
            "ocsp_fetch": False,
        },
        "core": {"allowed_network_hosts": list(hosts)},
        "builder": {"thumbnail": {"enabled": False}, "created_assertion_labels": CREATED_ASSERTIONS},
    }


@lru_cache(maxsize=8)
def signing_context(identity: Identity) -> c2pa.Context:
    """This process's signing context of an identity. Raises ImprimaturError when the SDK refuses the identity."""
    hosts = (urlsplit(identity.timestamp_url).hostname or "",) if identity.timestamp_url else ()
    try:
        return c2pa.Context(c2pa.Settings.from_dict(settings(identity.anchors_pem, hosts)), _signer(identity))
    except (c2pa.C2paError, OSError) as error:
        raise ImprimaturError(
            f"{identity.common_name!r} cannot sign: {error}", "check credentials in the config"
        ) from None


def _signer(identity: Identity) -> c2pa.Signer:
    algorithm, key = _ALGORITHMS[identity.algorithm], identity.key
    if not isinstance(key, Path):
        remote = remote_signer(key, identity.algorithm, identity.chain_pem)
        return c2pa.Signer.from_callback(remote, algorithm, identity.chain_pem, identity.timestamp_url)
    url = identity.timestamp_url.encode() if identity.timestamp_url else None
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, identity.chain_pem.encode(), key.read_bytes(), url))


@lru_cache(maxsize=8)
def reading_context(anchors_pem: str) -> c2pa.Context:
    """This process's reading context for trust anchors (PEM, any number of them, "" for none)."""
    return c2pa.Context(c2pa.Settings.from_dict(settings(anchors_pem)))


def sign(
    data: bytes,
    mime: str,
    manifest: ManifestStore,
    identity: Identity,
    resources: dict[str, bytes] | None = None,
    embed: bool = True,
    parent: tuple[str, str, bytes] | None = None,
) -> tuple[bytes, bytes]:
    """Sign `data` with a manifest definition: (the signed file, its manifest store), the file unchanged if not embed.

    `parent` is (title, MIME type, bytes) of the file that becomes the `parentOf` ingredient, credential and all.
    Raises SigningError with the reason: of the key's place if it failed, else the SDK's.
    """
    output = io.BytesIO()
    try:
        with c2pa.Builder(manifest, signing_context(identity)) as builder:
            if not embed:
                builder.set_no_embed()
            for name, content in (resources or {}).items():
                builder.add_resource(name, io.BytesIO(content))
            if parent:
                title, kind, content = parent
                ingredient = {"title": title, "label": PARENT, "relationship": "parentOf"}
                builder.add_ingredient(ingredient, kind, io.BytesIO(content))
            store = bytes(builder.sign(mime, io.BytesIO(data), output))
    except c2pa.C2paError as error:
        raise SigningError(_explained(error, identity)) from error
    return output.getvalue() if embed else data, store


def _explained(error: c2pa.C2paError, identity: Identity) -> str:
    """What went wrong outside the SDK, in its own words; the SDK calls either an invalid signature."""
    key = identity.key
    fault = "" if isinstance(key, Path) else remote_signer(key, identity.algorithm, identity.chain_pem).fault
    if fault:
        return fault
    if identity.timestamp_url and "internal error" in str(error):
        return f"time-stamping authority {identity.timestamp_url}: {error}"
    return str(error)


def read(data: bytes, mime: str, anchors_pem: str, store: bytes | None = None) -> ManifestStore | None:
    """What a C2PA reader says about `data` (with a sidecar `store`, if given): its JSON; None without a manifest.

    Raises c2pa.C2paError for a file or a store that cannot be read.
    """
    context = reading_context(anchors_pem)
    if store is None:
        reader = c2pa.Reader.try_create(mime, io.BytesIO(data), context=context)
        if reader is None:
            return None
    else:
        reader = c2pa.Reader(mime, io.BytesIO(data), manifest_data=store, context=context)
    with reader:
        report: ManifestStore = json.loads(reader.json())
    return report


def active_manifest(report: ManifestStore) -> ManifestStore:
    """The active manifest of a reader's report, {} when it names none."""
    manifest: ManifestStore = report.get("manifests", {}).get(report.get("active_manifest"), {})
    return manifest


def assertions(manifest: ManifestStore, label: str) -> list[Any]:
    """Data of a manifest's assertions with this label, whatever their version and number (c2pa.actions.v2__1)."""
    wanted = re.compile(re.escape(label) + r"(\.v\d+)?(__\d+)?")
    return [
        entry.get("data") for entry in manifest.get("assertions", []) if wanted.fullmatch(str(entry.get("label", "")))
    ]


def failure_codes(report: ManifestStore) -> list[str]:
    """Failure codes of a reader's report, of the active manifest and then of its ingredients, each once."""
    return list(dict.fromkeys(code for code, _ in failures(report)))


def failures(report: ManifestStore) -> list[tuple[str, str]]:
    """Failures of a reader's report: code, and JUMBF URL, which holds the label of the manifest that it lies in."""
    results = report.get("validation_results") or {}
    found = [results.get("activeManifest") or {}]
    found += [delta.get("validationDeltas") or {} for delta in results.get("ingredientDeltas") or []]
    entries = [entry for part in found for entry in part.get("failure") or []]
    return [(str(entry["code"]), str(entry.get("url", ""))) for entry in entries]


def success_codes(report: ManifestStore) -> set[str]:
    """Success codes of the active manifest in a reader's report."""
    results = (report.get("validation_results") or {}).get("activeManifest") or {}
    return {entry["code"] for entry in results.get("success") or []}
