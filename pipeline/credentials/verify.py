"""Verifying any file by anyone: separate facts, each with its evidence, and never an exception for a hostile file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import c2pa
import numpy as np
from numpy.typing import NDArray

from pipeline.core.digests import sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace
from pipeline.credentials import sdk
from pipeline.credentials.chain import broken_link, walk
from pipeline.credentials.claims import ChainLink, Claims, read_claims
from pipeline.credentials.images import DECODE_ERRORS, decode_small, mime_of
from pipeline.credentials.manifest import AI_EDITED, AI_GENERATED, OPAQUE
from pipeline.credentials.recovery import find_output
from pipeline.credentials.repository import affected_state, read_store
from pipeline.credentials.sidecars import sidecar_path

State = Literal["Trusted", "Valid", "Invalid", "None", "Remote", "Unreadable"]
MAXIMUM_BYTES = 256 * 2**20  # larger files are not opened


@dataclass(frozen=True)
class Verification:
    """What is known about a file: separate facts, None where nothing is known."""

    file: str
    state: State
    intact: bool | None = None  # hashes and signature hold, whoever signed
    signer_trusted: bool | None = None
    ai_generated: bool | None = None  # None: nothing says so
    training_mining: dict[str, str] = field(default_factory=dict)  # entry to use, the strictest found
    signer: str = ""
    timestamped: bool = False
    recovered: bool = False  # the file carries no readable credential, but the repository has the one it had
    registry: dict[str, Any] | None = None
    recalled: bool | None = None  # of an output of ours
    affected: str | None = None  # by a withdrawal, of an output of ours: clear | affected | affected-strong
    codes: list[str] = field(default_factory=list)
    chain: tuple[ChainLink, ...] = ()  # output -> model -> weights -> snapshot -> statement -> assets -> ledger

    @property
    def broken_at(self) -> str:
        """Name of the link at which the chain breaks, "" when none is seen to."""
        return broken_link(self.chain)

    @property
    def sound(self) -> bool:
        """True when nothing here needs a person."""
        seen = "image.undecodable" not in self.codes
        clear = self.affected in (None, "clear") and not self.recalled
        return self.state == "Trusted" and seen and clear and not self.broken_at

    def as_json(self) -> dict[str, Any]:
        """The shape that `imprimatur verify --json` prints."""
        return {
            **vars(self),
            "chain": [link.as_json() for link in self.chain],
            "broken_at": self.broken_at,
            "sound": self.sound,
        }


def verify(
    path: Path,
    anchors_pem: Sequence[str] = (),
    workspace: Workspace | None = None,
    watermark_key: bytes | None = None,
) -> Verification:
    """Verify a file against trust anchors (PEM texts) and, when a workspace is given, its manifest repository.

    Trusted: intact, and signed by someone below the anchors. Valid: intact, signer unknown. Invalid: changed since,
    or badly signed. None: no credential. Remote: a credential elsewhere, which is not fetched. A missing or broken
    file, or credential, is Unreadable. A recovered answer keeps the file's own state. A credential beside the file
    (<name>.c2pa) counts as its own. Raises ImprimaturError for anchors that are none.

    Reads in this process: for files from strangers see guard.guarded.
    """
    return with_evidence(examine(path, anchors_pem, workspace, watermark_key), anchors_pem, workspace)


def examine(
    path: Path, anchors_pem: Sequence[str], workspace: Workspace | None, watermark_key: bytes | None
) -> Verification:
    """The part of `verify` that reads the file itself, and looks it up in the repository."""
    anchors = checked_anchors(anchors_pem)
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            return unreadable(path, "file.tooLarge")
        data = path.read_bytes()
        store = _sidecar(path)
    except OSError:
        return unreadable(path, "file.unreadable")
    mime = mime_of(data)
    if not mime and store is None:
        return unreadable(path, "file.notAnImage")
    state, claims, label, codes = _read_manifest(data, mime, anchors, store)
    found = Verification(str(path), state, codes=codes)
    if claims:
        found = _with_claims(found, claims)
    return _looked_up(found, data, mime, label, anchors, workspace, watermark_key)


def with_evidence(found: Verification, anchors_pem: Sequence[str], workspace: Workspace | None) -> Verification:
    """A verification whose chain is walked down to what this workspace holds: weights, statement, assets, ledger."""
    if not found.chain or workspace is None or not workspace.catalog.exists():
        return found
    return replace(found, chain=walk(found.chain, workspace, checked_anchors(anchors_pem)))


def read_anchors(paths: Iterable[Path]) -> list[str]:
    """PEM texts of anchor files. Raises ImprimaturError that names the file without a certificate."""
    texts = []
    for path in paths:
        try:
            texts.append(path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError):
            raise ImprimaturError(f"{path}: not a readable PEM file", "name a PEM file with --anchors") from None
        checked_anchors([texts[-1]], str(path))
    return texts


def checked_anchors(anchors_pem: Sequence[str], name: str = "anchors") -> str:
    """Several PEM texts as one. Raises ImprimaturError for one without a certificate."""
    # a PEM without certificates is silently taken by the SDK, and then nothing is ever trusted
    if any("-----BEGIN CERTIFICATE-----" not in text for text in anchors_pem):
        raise ImprimaturError(f"{name}: holds no PEM certificate", "give the root's PEM with --anchors")
    return "\n".join(anchors_pem)


def unreadable(path: Path, code: str) -> Verification:
    """The answer for a file of which nothing could be read."""
    return Verification(str(path), "Unreadable", codes=[code])


def _sidecar(path: Path) -> bytes | None:
    sidecar = sidecar_path(path)
    if sidecar == path or not sidecar.is_file() or sidecar.stat().st_size > MAXIMUM_BYTES:
        return None
    return sidecar.read_bytes()


def _read_manifest(
    data: bytes, mime: str, anchors: str, store: bytes | None
) -> tuple[State, Claims | None, str, list[str]]:
    """State, claims, label of the active manifest, codes; the file's own credential before one that lies beside."""
    embedded = _read(data, mime, anchors, None) if mime else None
    if embedded is None and store is not None:
        beside = _read(data, mime or OPAQUE, anchors, store)
        return beside or ("None", None, "", [])
    return embedded or ("None", None, "", [])


def _read(
    data: bytes, mime: str, anchors: str, store: bytes | None
) -> tuple[State, Claims | None, str, list[str]] | None:
    try:
        report = sdk.read(data, mime, anchors, store)
        if report is None:
            return None
        states: dict[str, State] = {"Trusted": "Trusted", "Valid": "Valid"}
        state = states.get(report.get("validation_state", ""), "Invalid")
        label, codes = str(report.get("active_manifest", "")), sdk.failure_codes(report)
        return state, read_claims(report), label, codes if store is None else [*codes, "manifest.sidecar"]
    except c2pa.C2paError as error:
        if "remote" in type(error).__name__.lower() or "remote" in str(error).lower():
            return "Remote", None, "", ["manifest.remote"]
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        pass  # a report that is not of the reader's shape: nothing in it can be believed
    return "Unreadable", None, "", ["manifest.unreadable"]


def _with_claims(found: Verification, claims: Claims) -> Verification:
    # a broken credential may warn that AI was used, but not vouch that it was not
    vouched = claims.ai_generated or found.state in ("Trusted", "Valid")
    return replace(
        found,
        intact=claims.intact,
        signer_trusted=claims.signer_trusted,
        ai_generated=claims.ai_generated if vouched else None,
        training_mining=dict(claims.training_mining),
        signer=claims.signer,
        timestamped=claims.timestamped,
        chain=claims.chain,
    )


def _looked_up(
    found: Verification, data: bytes, mime: str, label: str, anchors: str, workspace: Workspace | None,
    key: bytes | None,
) -> Verification:  # fmt: skip
    """What the pixels and the repository add to what the credential says."""
    codes, rgb = list(found.codes), None
    if mime:
        rgb = _pixels(data)
        if rgb is None:
            codes.append("image.undecodable")
            found = replace(found, state="Unreadable" if found.state == "None" else found.state)
    if workspace is None or not workspace.catalog.exists():
        return _disclosed(replace(found, codes=codes), data, label)
    match, found_codes = find_output(workspace, sha256(data), label, rgb, key)
    codes += found_codes
    if match is not None:
        registry = match.as_json()
        affected = affected_state(workspace, match.entry.output)
        found = replace(found, registry=registry, recalled=registry["state"] == "recalled", affected=affected)
        if not label and found.state in ("None", "Unreadable") and match.found_by != "file":
            claims, recovered_codes = _recovered(read_store(workspace, match.entry.output), anchors)
            codes += recovered_codes
            if claims:
                found = replace(_with_claims(found, claims), recovered=True, ai_generated=claims.ai_generated)
    return _disclosed(replace(found, codes=codes), data, label)


def _disclosed(found: Verification, data: bytes, label: str) -> Verification:
    """What unsigned XMP says of a file without a credential; and every code once."""
    codes, named = list(dict.fromkeys(found.codes)), any(url.encode() in data for url in (AI_GENERATED, AI_EDITED))
    if found.ai_generated is None and not label and named:
        return replace(found, ai_generated=True, codes=[*codes, "iptc.digitalSourceType.unsigned"])
    return replace(found, codes=codes)


def _pixels(data: bytes) -> NDArray[np.uint8] | None:
    try:
        return decode_small(data)
    except DECODE_ERRORS:
        return None


def _recovered(store: bytes | None, anchors: str) -> tuple[Claims | None, list[str]]:
    """What a store out of the repository says. It fits another file's bytes, so only its signature can be checked."""
    if store is None:
        return None, []
    try:
        report = sdk.read(store, "application/c2pa", anchors)
    except c2pa.C2paError:
        report = None
    if report is None:
        return None, ["recovered.manifestUnreadable"]
    passed, claims = sdk.success_codes(report), read_claims(report)
    if "claimSignature.validated" not in passed:
        return None, ["recovered.badSignature"]
    output, *rest = claims.chain
    recovered = replace(output, state="recovered", detail="")  # its hard binding is to other bytes than these
    code = "recovered.trusted" if claims.signer_trusted else "recovered.signerUnknown"
    return replace(claims, intact=None, chain=(recovered, *rest)), [code]
