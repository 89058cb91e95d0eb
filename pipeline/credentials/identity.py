"""Who signs: the identity of the settings, else a development one that is made on first use."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import CredentialSettings, RemoteKey
from pipeline.core.shards import machine_faults_named, write_bytes
from pipeline.core.workspace import Workspace
from pipeline.credentials.certificates import (
    AUTHORITY_LIFE,
    DEVELOPMENT,
    END_ENTITY_LIFE,
    Pair,
    certificate_faults,
    certificate_pem,
    common_name,
    issue,
    key_faults,
    key_pem,
)
from pipeline.credentials.signers import key_place, remote_signer

RENEW_BEFORE = timedelta(days=2)  # a development certificate must outlive the night it signs in


@dataclass(frozen=True)
class Identity:
    """A signing identity. It names the private key's place and never holds the key."""

    chain_pem: str = field(repr=False)  # end entity first, the root not needed
    key: Path | RemoteKey  # PKCS#8 PEM, mode 0600; or where else it is
    anchors_pem: str = field(repr=False)
    algorithm: str  # es256 | es384 | ps256 | ed25519
    common_name: str
    development: bool
    watermark_key: bytes = field(repr=False)  # 32 bytes
    timestamp_url: str | None = None


def ensure_identity(settings: CredentialSettings, workspace: Workspace) -> Identity:
    """The identity that the settings name, else the workspace's development identity, made or renewed if need be.

    Raises ImprimaturError that lists every fault of a given certificate, key or anchors file, and for
    `publish: production` without a certificate of one's own. Safe when several processes race.
    """
    key = settings.private_key or settings.signer
    if settings.certificate is not None and key is not None and settings.anchors is not None:
        return _given_identity(settings, settings.certificate, key, settings.anchors, workspace)
    if settings.publish == "production":
        raise ImprimaturError(
            "credentials.publish: production cannot be signed with the development identity",
            "give credentials.certificate, private_key and anchors, or set publish: development",
        )
    return _development_identity(settings, workspace)


def verification_keys(settings: CredentialSettings, workspace: Workspace) -> tuple[str, bytes]:
    """What checking needs and no more: trust anchors (PEM) and the watermark key (32 bytes); no private key.

    So a machine that only answers questions need not hold, or reach, the key that signs. Raises ImprimaturError for
    anchors that cannot be read.
    """
    if settings.certificate is None:
        identity = _development_identity(settings, workspace)
        return identity.anchors_pem, identity.watermark_key
    with _locked(workspace):
        return _given_anchors(settings), _watermark_key(workspace)


def _development_identity(settings: CredentialSettings, workspace: Workspace) -> Identity:
    folder = workspace.keys / "development"
    with _locked(workspace):
        issuing = _development_authority(folder)
        certificate, key = folder / "signer.pem", folder / "signer.key.pem"
        if _needs_renewal(certificate, key):
            signer = issue("signer", issuing, None, END_ENTITY_LIFE, datetime.now(UTC))
            write_bytes(key, key_pem(signer.key), mode=0o600)
            write_bytes(certificate, certificate_pem(signer.certificate, issuing.certificate), mode=0o600)
        secret = _watermark_key(workspace)
        chain, root = certificate.read_text(), (folder / "root.pem").read_text()
    anchors = root + _given_anchors(settings)
    name = common_name(x509.load_pem_x509_certificates(chain.encode())[0])
    return Identity(chain, key.resolve(), anchors, "es256", name, True, secret, settings.timestamp_url)


def _given_identity(
    settings: CredentialSettings, certificate: Path, key: Path | RemoteKey, anchors: Path, workspace: Workspace
) -> Identity:
    faults = certificate_faults(certificate, anchors, settings.algorithm)
    if isinstance(key, Path):
        faults += key_faults(key, certificate)
    elif not faults:
        fault = remote_signer(key, settings.algorithm, certificate.read_text()).prove()
        faults += [f"{key_place(key)}: {fault}"] if fault else []
    if faults:
        raise ImprimaturError(
            "the signing identity cannot be used:\n  " + "\n  ".join(faults),
            "mend these in the credentials block of the config; nothing was signed",
        )
    chain = certificate.read_text()
    first = x509.load_pem_x509_certificates(chain.encode())[0]
    development = DEVELOPMENT in first.subject.rfc4514_string()
    if development and settings.publish == "production":
        raise ImprimaturError(
            f"{certificate}: a development certificate is refused for credentials.publish: production",
            "give a certificate from your own authority",
        )
    with _locked(workspace):
        secret = _watermark_key(workspace)
    return Identity(
        chain, key.resolve() if isinstance(key, Path) else key, anchors.read_text(), settings.algorithm,
        common_name(first), development, secret, settings.timestamp_url,
    )  # fmt: skip


def _given_anchors(settings: CredentialSettings) -> str:
    """The anchors file's PEM, "" when none is named. Raises ImprimaturError when it cannot be read."""
    if settings.anchors is None:
        return ""
    try:
        return settings.anchors.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise ImprimaturError(
            f"{settings.anchors}: not a readable PEM file", "mend credentials.anchors in the config"
        ) from None


def _development_authority(folder: Path) -> Pair:
    """The development issuing authority. The root's key is thrown away: it signs once. root.pem is written last."""
    root_path, issuing_path, key_path = folder / "root.pem", folder / "issuing.pem", folder / "issuing.key.pem"
    if not root_path.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        moment = datetime.now(UTC)
        root = issue("root CA", None, 1, AUTHORITY_LIFE, moment)
        issuing = issue("issuing CA", root, 0, AUTHORITY_LIFE, moment)
        write_bytes(key_path, key_pem(issuing.key), mode=0o600)
        write_bytes(issuing_path, certificate_pem(issuing.certificate), mode=0o600)
        write_bytes(root_path, certificate_pem(root.certificate), mode=0o600)
        return issuing
    try:
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate(issuing_path.read_bytes())
    except (OSError, ValueError) as error:
        raise ImprimaturError(
            f"{folder}: the development identity is damaged ({error})",
            "restore the folder, or move it away to get a new one (its old signatures will then read as untrusted)",
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise ImprimaturError(
            f"{key_path}: no key that signs certificates here", "restore the folder, or move it away to get a new one"
        )
    return Pair(certificate, key)


def _needs_renewal(certificate: Path, key: Path) -> bool:
    """True when the signer is absent, half-written (a crash between its two files) or about to expire."""
    if certificate_faults(certificate, certificate.with_name("root.pem"), "es256") or key_faults(key, certificate):
        return True
    expiry = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    return expiry - datetime.now(UTC) < RENEW_BEFORE


def _watermark_key(workspace: Workspace) -> bytes:
    """The workspace's watermark key. No certificate goes into it, so that rotation leaves old marks readable."""
    path = workspace.keys / "watermark.secret"
    if not path.exists():
        write_bytes(path, secrets.token_bytes(32), mode=0o600)
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"imprimatur watermark 1").derive(path.read_bytes())


@contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    """Hold the key folder (0700) for oneself, against other processes."""
    with machine_faults_named(workspace.keys):
        workspace.keys.mkdir(parents=True, exist_ok=True)
        workspace.keys.chmod(0o700)
        descriptor = os.open(workspace.keys / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
