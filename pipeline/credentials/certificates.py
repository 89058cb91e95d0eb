"""X.509 for C2PA signing: the development chain, and a check that explains a certificate before it signs anything.

Rules: C2PA 2.x certificate profile (v3, Authority Key Identifier, digitalSignature, one of the accepted extended key
usages), as c2pa-rs enforces it; some of its refusals carry no reason, and a wrong key signs silently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

EMAIL_PROTECTION = ExtendedKeyUsageOID.EMAIL_PROTECTION
DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
CLAIM_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")  # c2pa-kp-claimSigning
ACCEPTED_USAGES = (EMAIL_PROTECTION, DOCUMENT_SIGNING, CLAIM_SIGNING)
EXCLUSIVE_USAGES = (ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.OCSP_SIGNING)  # alone or not at all

DEVELOPMENT = "Imprimatur DEVELOPMENT"
END_ENTITY_LIFE = timedelta(days=365)  # C2PA allows 366; without a time-stamp a credential ends with it
AUTHORITY_LIFE = timedelta(days=3650)


SigningKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key; the key never shows in a repr."""

    certificate: x509.Certificate
    key: SigningKey

    def __repr__(self) -> str:
        return f"Pair({self.certificate.subject.rfc4514_string()})"


def issue(role: str, issuer: Pair | None, path_length: int | None, life: timedelta, moment: datetime) -> Pair:
    """Issue a development certificate: an authority with `path_length`, or an end entity when it is None.

    The end entity has a P-256 key, for ES256; authorities have Ed25519 keys, whose signatures readers check in a
    third of the time, two for every credential. Without an issuer the certificate signs itself (the root). Not valid
    before one hour ago, against clock skew.
    """
    authority = path_length is not None
    key: SigningKey = ed25519.Ed25519PrivateKey.generate() if authority else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, DEVELOPMENT),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{DEVELOPMENT} {role}, not for production"),
        ]
    )
    signing_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(hours=1))
        .not_valid_after(moment + life)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path_length), critical=True)
        .add_extension(_key_usage(authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([EMAIL_PROTECTION, CLAIM_SIGNING]), critical=False)
    return Pair(builder.sign(signing_key, signature_hash(signing_key)), key)


def signature_hash(key: SigningKey) -> hashes.SHA256 | None:
    """The hash with which a key signs certificates: None for Ed25519, which has its own."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _key_usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    """Certificates as one PEM, in the order given."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def key_pem(key: SigningKey) -> bytes:
    """A private key as PKCS#8 PEM, the only form that c2pa-rs takes."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def common_name(certificate: x509.Certificate) -> str:
    """The subject's common name, else the whole subject."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def certificate_faults(certificate: Path, anchors: Path, algorithm: str) -> list[str]:
    """What is wrong with a certificate chain, one sentence a fault that names the file; empty when it may sign."""
    missing = [f"{path}: no such file" for path in (certificate, anchors) if not path.is_file()]
    if missing:
        return missing
    chain, roots = _certificates(certificate), _certificates(anchors)
    if not chain or not roots:
        return [
            f"{path}: holds no PEM certificate"
            for path, found in ((certificate, chain), (anchors, roots))
            if not found
        ]
    faults = [*_end_entity_faults(chain[0]), *_chain_faults(chain, roots)]
    if (fitting := _algorithm(chain[0].public_key())) != algorithm:
        faults.append(f"algorithm: the certificate's key needs {fitting or 'another kind of key'}, not {algorithm}")
    return [f"{certificate}: {fault}" for fault in faults]


def key_faults(key: Path, certificate: Path) -> list[str]:
    """What is wrong with a private key's file, for a certificate (PEM, end entity first) if that can be read."""
    if not key.is_file():
        return [f"{key}: no such file"]
    chain = _certificates(certificate)
    return [f"{key}: {fault}" for fault in _key_faults(key, chain[0])] if chain else []


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (ValueError, OSError):
        return []


def _validity_faults(certificate: x509.Certificate) -> list[str]:
    moment, name = datetime.now(UTC), common_name(certificate)
    if certificate.not_valid_after_utc < moment:
        return [f"the certificate of {name!r} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; renew it"]
    if certificate.not_valid_before_utc > moment:
        return [f"the certificate of {name!r} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"]
    return []


def _end_entity_faults(certificate: x509.Certificate) -> list[str]:
    faults = _validity_faults(certificate)
    if certificate.version != x509.Version.v3:
        faults.append("it is not an X.509 version 3 certificate; have it issued as one")
        return faults
    if isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        faults.append(f"it is signed with {certificate.signature_hash_algorithm.name}, which is broken; renew it")
    extensions = {extension.oid: extension.value for extension in certificate.extensions}
    constraints = extensions.get(x509.BasicConstraints.oid)
    if isinstance(constraints, x509.BasicConstraints) and constraints.ca:
        faults.append("the first certificate is an authority (CA); put the end-entity certificate first")
    if certificate.subject == certificate.issuer:
        faults.append("the first certificate is self-signed; C2PA needs one issued by an authority")
    if x509.AuthorityKeyIdentifier.oid not in extensions:
        faults.append("the Authority Key Identifier (AKI) is missing; have the certificate issued with it")
    usage = extensions.get(x509.KeyUsage.oid)
    if not isinstance(usage, x509.KeyUsage) or not usage.digital_signature or usage.key_cert_sign:
        faults.append("its key usage must be digitalSignature and not keyCertSign")
    purposes = extensions.get(x509.ExtendedKeyUsage.oid)
    granted = list(purposes) if isinstance(purposes, x509.ExtendedKeyUsage) else []
    if not any(purpose in ACCEPTED_USAGES for purpose in granted):
        faults.append(
            "its extended key usage (EKU) must name emailProtection, documentSigning or c2pa-kp-claimSigning"
        )
    if any(purpose in EXCLUSIVE_USAGES for purpose in granted):
        faults.append("its extended key usage (EKU) must not name timeStamping or OCSPSigning beside others")
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in granted:
        faults.append("its extended key usage (EKU) must not be anyExtendedKeyUsage")
    return faults


def _authority_faults(certificate: x509.Certificate) -> list[str]:
    faults, name = _validity_faults(certificate), common_name(certificate)
    extensions = {extension.oid: extension.value for extension in certificate.extensions}
    constraints, usage = extensions.get(x509.BasicConstraints.oid), extensions.get(x509.KeyUsage.oid)
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        faults.append(f"{name!r} stands in the chain as an issuer, but is no authority (CA)")
    elif isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
        faults.append(f"{name!r} stands in the chain as an issuer, but may not sign certificates (keyCertSign)")
    return faults


def _chain_faults(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> list[str]:
    """Each certificate must be issued by the next, and the last one by an anchor (or be one)."""
    faults = [fault for authority in chain[1:] for fault in _authority_faults(authority)]
    for child, parent in pairwise(chain):
        if not _issued_by(child, parent):
            faults.append(
                f"chain order: {common_name(child)!r} is not issued by the next certificate, "
                f"{common_name(parent)!r}; write end entity first, then its issuer, and so on"
            )
    if not any(chain[-1] == root or _issued_by(chain[-1], root) for root in roots):
        faults.append(
            f"the chain ends at {common_name(chain[-1])!r}, which no anchor issued; "
            "add the missing issuing certificate or name the right anchors"
        )
    return faults


def _issued_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _key_faults(path: Path, certificate: x509.Certificate) -> list[str]:
    faults = []
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        faults.append(f"the private key can be read by others (mode {mode:04o}); run: chmod 600 {path}")
    data = path.read_bytes()
    if b"BEGIN EC PRIVATE KEY" in data or b"BEGIN RSA PRIVATE KEY" in data:
        form = "SEC1" if b"BEGIN EC" in data else "PKCS#1"
        return [*faults, f"the key is {form}; convert it to PKCS#8 with: openssl pkcs8 -topk8 -nocrypt"]
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except TypeError:
        return [*faults, "the key is encrypted; give a PKCS#8 key without a pass phrase"]
    except ValueError:
        return [*faults, "holds no PEM private key (PKCS#8, BEGIN PRIVATE KEY)"]
    if not _same_key(key, certificate.public_key()):
        faults.append("the key does not match the certificate; give the key it was issued for")
    return faults


def _same_key(private: PrivateKeyTypes, public: CertificatePublicKeyTypes) -> bool:
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.public_key().public_bytes(*form) == public.public_bytes(*form)


def _algorithm(key: CertificatePublicKeyTypes) -> str:
    """The settings' name of the one algorithm that fits a key, "" when none does."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "es256", "secp384r1": "es384"}.get(key.curve.name, "")
    if isinstance(key, rsa.RSAPublicKey):
        return "ps256" if key.key_size >= 2048 else ""
    return "ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else ""
