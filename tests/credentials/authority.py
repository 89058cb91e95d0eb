"""An authority for the tests: it issues end entities with one thing or another about them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pipeline.core.settings import CredentialSettings
from pipeline.credentials.certificates import END_ENTITY_LIFE, Pair, certificate_pem, issue, key_pem, signature_hash

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
NOW = datetime.now(UTC)
ROOT = issue("root CA", None, 1, timedelta(days=30), NOW)
ISSUING = issue("issuing CA", ROOT, 0, timedelta(days=30), NOW)


def end_entity(
    usages: list[x509.ObjectIdentifier] | None = None,
    aki: bool = True,
    start: timedelta = timedelta(days=-1),
    end: timedelta = timedelta(days=10),
    key: Key | None = None,
    name: str = "Studio",
    issuer: Pair = ISSUING,
    may_issue: bool = False,
) -> Pair:
    """An end entity below `issuer`; `usages` [] leaves the extended key usage out."""
    model = issue("x", issuer, None, END_ENTITY_LIFE, NOW).certificate
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + start)
        .not_valid_after(datetime.now(UTC) + end)
    )
    for extension in model.extensions:
        value = extension.value
        if isinstance(value, x509.ExtendedKeyUsage):
            if usages == []:
                continue
            value = x509.ExtendedKeyUsage(usages or list(value))
        if isinstance(value, x509.AuthorityKeyIdentifier) and not aki:
            continue
        if isinstance(value, x509.KeyUsage) and may_issue:
            value = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
        builder = builder.add_extension(value, extension.critical)
    return Pair(builder.sign(issuer.key, signature_hash(issuer.key)), key)  # type: ignore[arg-type]


def self_signed() -> Pair:
    """A certificate that signs itself, with all else as C2PA wants it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Alone")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=10))
    )
    for extension in end_entity().certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def given(
    folder: Path, signer: Pair, chain: list[x509.Certificate] | None = None, roots: tuple[x509.Certificate, ...] = ()
) -> CredentialSettings:
    """Write an identity as files and name them in settings; anchors are ROOT unless other `roots` are given."""
    folder.mkdir(exist_ok=True)
    (folder / "chain.pem").write_bytes(certificate_pem(*(chain or [signer.certificate, ISSUING.certificate])))
    (folder / "key.pem").write_bytes(key_pem(signer.key))
    (folder / "key.pem").chmod(0o600)
    (folder / "root.pem").write_bytes(certificate_pem(*(roots or (ROOT.certificate,))))
    return CredentialSettings(
        certificate=folder / "chain.pem", private_key=folder / "key.pem", anchors=folder / "root.pem"
    )
