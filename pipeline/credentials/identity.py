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
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import CredentialSettings
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
    key_pem,
)

RENEW_BEFORE = timedelta(days=2)  # a development certificate must outlive the night it signs in


@dataclass(frozen=True)
class Identity:
    """A signing identity. It names the private key's file and never holds the key."""

    chain_pem: str = field(repr=False)  # end entity first, the root not needed
    key: Path  # PKCS#8 PEM, mode 0600
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
    if settings.certificate is not None and settings.private_key is not None and settings.anchors is not None:
        return _given_identity(settings, settings.certificate, settings.private_key, settings.anchors, workspace)
    if settings.publish == "production":
        raise ImprimaturError(
            "credentials.publish: production cannot be signed with the development identity",
            "give credentials.certificate, private_key and anchors, or set publish: development",
        )
    folder = workspace.keys / "development"
    with _locked(workspace):
        issuing = _development_authority(folder)
        certificate, key = folder / "signer.pem", folder / "signer.key.pem"
        if _needs_renewal(certificate, key):
            signer = issue("signer", issuing, None, END_ENTITY_LIFE, datetime.now(UTC))
            write_bytes(key, key_pem(signer.key), mode=0o600)
            write_bytes(certificate, certificate_pem(signer.certificate, issuing.certificate), mode=0o600)
        secret = _watermark_secret(workspace)
        chain, anchors = certificate.read_text(), (folder / "root.pem").read_text()
    return _identity(chain, key, anchors, "es256", True, secret, settings.timestamp_url)


def watermark_key(settings: CredentialSettings, workspace: Workspace) -> bytes:
    """The key that reads the watermarks of the settings' identity; 32 bytes."""
    return ensure_identity(settings, workspace).watermark_key


def _given_identity(
    settings: CredentialSettings, certificate: Path, key: Path, anchors: Path, workspace: Workspace
) -> Identity:
    faults = certificate_faults(certificate, key, anchors, settings.algorithm)
    if faults:
        raise ImprimaturError(
            "the signing identity cannot be used:\n  " + "\n  ".join(faults),
            "mend these in the credentials block of the config; nothing was signed",
        )
    with _locked(workspace):
        secret = _watermark_secret(workspace)
    development = _is_development(certificate)
    if development and settings.publish == "production":
        raise ImprimaturError(
            f"{certificate}: a development certificate is refused for credentials.publish: production",
            "give a certificate from your own authority",
        )
    return _identity(
        certificate.read_text(), key, anchors.read_text(), settings.algorithm, development, secret,
        settings.timestamp_url,
    )  # fmt: skip


def _identity(
    chain: str, key: Path, anchors: str, algorithm: str, development: bool, secret: bytes, timestamp: str | None
) -> Identity:
    name = common_name(x509.load_pem_x509_certificates(chain.encode())[0])
    # by name and not by key, so that a renewed certificate still reads the marks of the last one
    derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"imprimatur watermark 1\0" + name.encode()).derive(secret)
    return Identity(chain, key.resolve(), anchors, algorithm, name, development, derived, timestamp)


def _is_development(certificate: Path) -> bool:
    first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    return DEVELOPMENT in first.subject.rfc4514_string()


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
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ImprimaturError(f"{key_path}: not a P-256 key", "restore the folder, or move it away to get a new one")
    return Pair(certificate, key)


def _needs_renewal(certificate: Path, key: Path) -> bool:
    """True when the signer is absent, half-written (a crash between its two files) or about to expire."""
    faults = certificate_faults(certificate, key, certificate.with_name("root.pem"), "es256")
    if faults:
        return True
    expiry = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    return expiry - datetime.now(UTC) < RENEW_BEFORE


def _watermark_secret(workspace: Workspace) -> bytes:
    path = workspace.keys / "watermark.secret"
    if not path.exists():
        write_bytes(path, secrets.token_bytes(32), mode=0o600)
    return path.read_bytes()


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
