"""The signing identity: made on first use, private, renewed; and a given one explained before it signs."""

import stat
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from credentials_studio import picture
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import CredentialSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials.certificates import END_ENTITY_LIFE, Pair, certificate_pem, issue, key_pem
from pipeline.credentials.identity import Identity, ensure_identity
from pipeline.credentials.manifest import OutputFacts
from pipeline.credentials.stamp import stamp

NOW = datetime.now(UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def identity_of(home: Path) -> Identity:
    return ensure_identity(CredentialSettings(), Workspace(home))


def test_the_development_identity_is_private_and_says_what_it_is(tmp_path: Path) -> None:
    identity = identity_of(tmp_path)
    assert identity.development
    assert "DEVELOPMENT" in identity.common_name
    assert "not for production" in identity.common_name
    files = [path for path in (tmp_path / "keys").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    folders = [tmp_path / "keys", tmp_path / "keys" / "development"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert "PRIVATE KEY" not in repr(identity)
    assert identity.watermark_key.hex() not in repr(identity)
    assert repr(identity.watermark_key) not in repr(identity)


def test_the_end_entity_certificate_lives_at_most_366_days(tmp_path: Path) -> None:
    first = x509.load_pem_x509_certificates(identity_of(tmp_path).chain_pem.encode())[0]
    assert first.not_valid_after_utc - first.not_valid_before_utc <= timedelta(days=366)


def test_a_second_use_gives_the_same_identity_and_another_workspace_another(tmp_path: Path) -> None:
    first = identity_of(tmp_path / "a")
    assert identity_of(tmp_path / "a") == first
    other = identity_of(tmp_path / "b")
    assert other.chain_pem != first.chain_pem
    assert other.watermark_key != first.watermark_key


def test_processes_that_race_get_one_identity(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        identities = set(pool.map(ensure_identity, [CredentialSettings()] * 2, [Workspace(tmp_path)] * 2))
    assert len(identities) == 1


def test_an_expired_development_certificate_is_renewed_under_the_same_root(tmp_path: Path) -> None:
    before = identity_of(tmp_path)
    folder = tmp_path / "keys" / "development"
    issuing = Pair(
        x509.load_pem_x509_certificate((folder / "issuing.pem").read_bytes()),
        serialization.load_pem_private_key((folder / "issuing.key.pem").read_bytes(), None),  # type: ignore[arg-type]
    )
    expired = issue("signer", issuing, None, timedelta(hours=-1), NOW - timedelta(days=30))
    (folder / "signer.pem").write_bytes(certificate_pem(expired.certificate, issuing.certificate))
    (folder / "signer.key.pem").write_bytes(key_pem(expired.key))
    after = identity_of(tmp_path)
    first = x509.load_pem_x509_certificates(after.chain_pem.encode())[0]
    assert first.not_valid_after_utc > NOW + timedelta(days=30)
    assert after.anchors_pem == before.anchors_pem
    assert after.watermark_key == before.watermark_key


def test_a_crash_between_key_and_certificate_heals(tmp_path: Path) -> None:
    before = identity_of(tmp_path)
    before.key.write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1())))
    after = identity_of(tmp_path)
    assert after.chain_pem != before.chain_pem
    public = serialization.load_pem_private_key(after.key.read_bytes(), None).public_key()
    assert x509.load_pem_x509_certificates(after.chain_pem.encode())[0].public_key() == public


def test_the_development_identity_is_refused_for_production(tmp_path: Path) -> None:
    with pytest.raises(ImprimaturError, match="production") as caught:
        ensure_identity(CredentialSettings(publish="production"), Workspace(tmp_path))
    assert caught.value.exit_code == 2
    assert not (tmp_path / "keys").exists()


# --- a given certificate -------------------------------------------------------------------------------------------

ROOT = issue("root CA", None, 1, timedelta(days=30), NOW)
ISSUING = issue("issuing CA", ROOT, 0, timedelta(days=30), NOW)


def end_entity(
    usages: list[x509.ObjectIdentifier] | None = None,
    aki: bool = True,
    start: timedelta = timedelta(days=-1),
    end: timedelta = timedelta(days=10),
    key: Key | None = None,
) -> Pair:
    """An end entity below ISSUING with one thing or another about it."""
    model = issue("x", ISSUING, None, END_ENTITY_LIFE, NOW).certificate
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Studio")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(ISSUING.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + start)
        .not_valid_after(NOW + end)
    )
    for extension in model.extensions:
        value = extension.value
        if isinstance(value, x509.ExtendedKeyUsage):
            if usages == []:
                continue
            value = x509.ExtendedKeyUsage(usages or list(value))
        if isinstance(value, x509.AuthorityKeyIdentifier) and not aki:
            continue
        builder = builder.add_extension(value, extension.critical)
    return Pair(builder.sign(ISSUING.key, hashes.SHA256()), key)  # type: ignore[arg-type]


def given(folder: Path, signer: Pair, chain: list[x509.Certificate] | None = None) -> CredentialSettings:
    """Write an identity as files and name them in settings."""
    (folder / "chain.pem").write_bytes(certificate_pem(*(chain or [signer.certificate, ISSUING.certificate])))
    (folder / "key.pem").write_bytes(key_pem(signer.key))
    (folder / "key.pem").chmod(0o600)
    (folder / "root.pem").write_bytes(certificate_pem(ROOT.certificate))
    return CredentialSettings(
        certificate=folder / "chain.pem", private_key=folder / "key.pem", anchors=folder / "root.pem"
    )


def faults(folder: Path, settings: CredentialSettings) -> str:
    with pytest.raises(ImprimaturError) as caught:
        ensure_identity(settings, Workspace(folder / "home"))
    assert caught.value.exit_code == 2
    return caught.value.message


def test_a_sound_given_identity_is_taken_and_may_publish_in_production(tmp_path: Path) -> None:
    settings = given(tmp_path, end_entity()).model_copy(update={"publish": "production"})
    identity = ensure_identity(settings, Workspace(tmp_path / "home"))
    assert (identity.common_name, identity.development) == ("Studio", False)
    assert len(identity.watermark_key) == 32


@pytest.mark.parametrize(
    ("signer", "words"),
    [
        (end_entity(end=timedelta(hours=-1)), "expired on"),
        (end_entity(start=timedelta(days=2)), "not valid before"),
        (end_entity(usages=[ExtendedKeyUsageOID.CODE_SIGNING]), "EKU"),
        (end_entity(usages=[]), "EKU"),
        (
            end_entity(usages=[ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.TIME_STAMPING]),
            "timeStamping",
        ),
        (end_entity(aki=False), "AKI"),
        (end_entity(key=ec.generate_private_key(ec.SECP384R1())), "needs es384"),
        (ISSUING, "authority"),
    ],
)
def test_a_bad_certificate_is_explained(tmp_path: Path, signer: Pair, words: str) -> None:
    message = faults(tmp_path, given(tmp_path, signer))
    assert words in message
    assert str(tmp_path) in message


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("es256", ec.generate_private_key(ec.SECP256R1())),
        ("es384", ec.generate_private_key(ec.SECP384R1())),
        ("ps256", rsa.generate_private_key(65537, 2048)),
        ("ed25519", ed25519.Ed25519PrivateKey.generate()),
    ],
)
def test_every_algorithm_signs_and_reads_trusted(tmp_path: Path, algorithm: str, key: Key) -> None:
    settings = given(tmp_path, end_entity(key=key)).model_copy(update={"algorithm": algorithm})
    identity = ensure_identity(settings, Workspace(tmp_path / "home"))
    stamped = stamp(picture(1), OutputFacts("a.png", "2026-11-24T02:00:00Z", "b", 1), None, identity, settings)
    assert (stamped.validation_state, stamped.reasons) == ("Trusted", ())


def test_chain_order_and_missing_issuer_are_explained(tmp_path: Path) -> None:
    signer = end_entity()
    assert "chain order" in faults(tmp_path, given(tmp_path, signer, [ISSUING.certificate, signer.certificate]))
    assert "no anchor issued" in faults(tmp_path, given(tmp_path, signer, [signer.certificate]))


def test_a_key_of_another_certificate_is_explained(tmp_path: Path) -> None:
    settings = given(tmp_path, end_entity())
    (tmp_path / "key.pem").write_bytes(key_pem(end_entity().key))
    assert "does not match the certificate" in faults(tmp_path, settings)


def test_a_sec1_key_is_explained_with_the_command_that_converts_it(tmp_path: Path) -> None:
    signer = end_entity()
    settings = given(tmp_path, signer)
    sec1 = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL)
    (tmp_path / "key.pem").write_bytes(signer.key.private_bytes(*sec1, serialization.NoEncryption()))
    assert "openssl pkcs8" in faults(tmp_path, settings)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = given(tmp_path, end_entity())
    (tmp_path / "key.pem").chmod(0o644)
    assert "chmod 600" in faults(tmp_path, settings)


def test_a_missing_file_and_a_file_without_certificate_are_named(tmp_path: Path) -> None:
    settings = given(tmp_path, end_entity())
    (tmp_path / "root.pem").write_text("no certificate here")
    assert "root.pem: holds no PEM certificate" in faults(tmp_path, settings)
    (tmp_path / "key.pem").unlink()
    assert "key.pem: no such file" in faults(tmp_path, settings)
