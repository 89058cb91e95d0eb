"""Signed statements: an in-toto Statement v1 in RFC 8785 bytes, in a DSSE envelope, signed with ed25519."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as SigningError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from pipeline.core.errors import EnvironmentFault, ImprimaturError
from pipeline.core.shards import machine_faults_named, write_bytes
from pipeline.core.workspace import Workspace

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


def sign_statement(payload: bytes, signer: CryptoSigner) -> bytes:
    """A DSSE envelope around `payload`, as JSON. ed25519 is deterministic: equal payloads give equal envelopes."""
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return (json.dumps(envelope.to_dict(), indent=2, sort_keys=True) + "\n").encode()


def read_statement(path: Path, public_key: Path) -> dict[str, Any]:
    """The verified payload of a statement file. `public_key` is the signer's PEM, from a source that you trust.

    Raises ImprimaturError when either file cannot be read or the signature does not hold.
    """
    try:
        pem = public_key.read_bytes()
    except OSError as error:
        raise ImprimaturError(f"{public_key}: no public key ({error})", "name the signer's PEM public key") from None
    return verified_payload(path, pem, str(public_key))


def verified_payload(path: Path, pem: bytes, key_name: str) -> dict[str, Any]:
    """The verified payload of a statement file, as read_statement; `key_name` says where `pem` is from."""
    try:
        key = SSlibKey.from_crypto(load_pem_public_key(pem))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ImprimaturError(f"{key_name}: no public key ({error})", "name the signer's PEM public key") from None
    try:
        envelope = Envelope.from_dict(json.loads(path.read_text(encoding="utf-8")))
        envelope.verify([key], 1)
        payload: dict[str, Any] = json.loads(envelope.payload)
    except OSError as error:
        raise ImprimaturError(f"{path}: cannot be read ({error.strerror})", "name a statement.json") from None
    except (SigningError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImprimaturError(
            f"{path}: its signature does not hold ({error or type(error).__name__})",
            "ask the studio for its statement and its public key again",
        ) from None
    if envelope.payload_type != PAYLOAD_TYPE or payload.get("_type") != STATEMENT_TYPE:
        raise ImprimaturError(f"{path}: is signed, but no in-toto statement", "name a snapshot's statement.json")
    return payload


def statement_signer(workspace: Workspace) -> CryptoSigner:
    """The workspace's statement key: made on first use, readable by its owner only, public key beside it."""
    private = workspace.keys / "statement.pem"
    if not private.exists():
        _make_key(workspace, private)
    try:
        signer = CryptoSigner(load_pem_private_key(private.read_bytes(), None))
    except (OSError, ValueError, TypeError) as error:
        raise EnvironmentFault(
            f"{private}: cannot be read as a private key ({type(error).__name__})", "restore it from your backup"
        ) from None
    public = public_key_path(workspace)
    if not public.exists():
        write_bytes(public, public_pem(signer))
    return signer


def snapshot_salt(signer: CryptoSigner, root: str) -> bytes:
    """The salt of a snapshot's salted tree, 32 bytes: known to the holder of the key only, the same for equal trees.

    It is a digest of a signature that is never published; ed25519 signs deterministically.
    """
    signature = signer.sign(f"imprimatur snapshot salt {root}".encode())
    return hashlib.sha256(bytes.fromhex(signature.signature)).digest()


def public_key_path(workspace: Workspace) -> Path:
    """Where the public half of the statement key lies."""
    return workspace.keys / "statement.pub.pem"


def public_pem(signer: CryptoSigner) -> bytes:
    """The signer's public key as PEM."""
    key = load_pem_private_key(signer.private_bytes, None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _make_key(workspace: Workspace, private: Path) -> None:
    """Written under another name and linked into place, so that of two runs at once one key wins for both."""
    with machine_faults_named(private):
        workspace.keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = private.with_name(f".statement-{uuid4().hex[:8]}.pem")
        write_bytes(temporary, CryptoSigner.generate_ed25519().private_bytes, mode=0o600)
        try:
            os.link(temporary, private)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
