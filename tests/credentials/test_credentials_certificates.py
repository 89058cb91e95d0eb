"""The certificate check: it says before anything is signed what the SDK would refuse, or would sign in vain."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from authority import ISSUING, NOW, ROOT, end_entity, given, self_signed
from credentials_studio import encoded, picture
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import CredentialSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials import sdk
from pipeline.credentials.certificates import CLAIM_SIGNING, DOCUMENT_SIGNING, EMAIL_PROTECTION, Pair, issue, key_pem
from pipeline.credentials.identity import Identity, ensure_identity

P384 = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()


@dataclass(frozen=True)
class Row:
    """A row of the certificate matrix: what is given, and what the check says ("": nothing is wrong)."""

    name: str
    signer: Pair
    says: str
    algorithm: str = "es256"
    chain: tuple[x509.Certificate, ...] = ()
    key: Pair | None = None  # another private key than the certificate's


_SOUND = end_entity()
_OUTSIDER = issue("stranger CA", None, 0, timedelta(days=30), NOW)
MATRIX = [
    Row("emailProtection and c2pa", _SOUND, ""),
    Row("emailProtection", end_entity([EMAIL_PROTECTION]), ""),
    Row("documentSigning", end_entity([DOCUMENT_SIGNING]), ""),
    Row("c2pa-kp-claimSigning", end_entity([CLAIM_SIGNING]), ""),
    Row("P-384 with ES384", end_entity(key=P384), "", "es384"),
    Row("RSA with PS256", end_entity(key=RSA), "", "ps256"),
    Row("Ed25519", end_entity(key=ED25519), "", "ed25519"),
    Row("codeSigning", end_entity([ExtendedKeyUsageOID.CODE_SIGNING]), "EKU"),
    Row("no extended key usage", end_entity([]), "EKU"),
    Row("any usage", end_entity([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), "anyExtendedKeyUsage"),
    Row("time-stamping too", end_entity([EMAIL_PROTECTION, ExtendedKeyUsageOID.TIME_STAMPING]), "timeStamping"),
    Row("no authority key identifier", end_entity(aki=False), "AKI"),
    Row("self-signed", (_ALONE := self_signed()), "self-signed", chain=(_ALONE.certificate,)),
    Row("an authority signs", ISSUING, "authority", chain=(ISSUING.certificate, ROOT.certificate)),
    Row("may issue certificates", end_entity(may_issue=True), "keyCertSign"),
    Row("expired", end_entity(end=timedelta(hours=-1)), "expired on"),
    Row("not yet valid", end_entity(start=timedelta(days=2)), "not valid before"),
    Row("chain in wrong order", _SOUND, "chain order", chain=(ISSUING.certificate, _SOUND.certificate)),
    Row("issuing authority missing", _SOUND, "no anchor issued", chain=(_SOUND.certificate,)),
    Row("issued by somebody else", end_entity(issuer=_OUTSIDER), "chain order"),
    Row("below an unknown root", (_LOST := end_entity(issuer=_OUTSIDER)), "no anchor issued",
        chain=(_LOST.certificate, _OUTSIDER.certificate)),
    Row("issued by an end entity", (_CHILD := end_entity(issuer=_SOUND)), "is no authority",
        chain=(_CHILD.certificate, _SOUND.certificate, ISSUING.certificate)),
    Row("P-384 with ES256", end_entity(key=P384), "needs es384"),
    Row("P-521", end_entity(key=ec.generate_private_key(ec.SECP521R1())), "another kind of key"),
    Row("key of another certificate", _SOUND, "does not match", key=end_entity()),
]  # fmt: skip


def settings_of(row: Row, folder: Path) -> CredentialSettings:
    settings = given(folder, row.signer, list(row.chain) or None)
    if row.key:
        (folder / "key.pem").write_bytes(key_pem(row.key.key))
    return settings.model_copy(update={"algorithm": row.algorithm})


def faults(folder: Path, settings: CredentialSettings) -> str:
    with pytest.raises(ImprimaturError) as caught:
        ensure_identity(settings, Workspace(folder / "home"))
    assert caught.value.exit_code == 2
    return caught.value.message


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.name)
def test_the_check_explains_what_the_sdk_would_not_trust(tmp_path: Path, row: Row) -> None:
    settings = settings_of(row, tmp_path)
    assert (signed_unchecked(settings) == "Trusted") is (row.says == "")
    if row.says:
        message = faults(tmp_path, settings)
        assert row.says in message
        assert str(tmp_path) in message
    else:
        assert ensure_identity(settings, Workspace(tmp_path / "home")).algorithm == row.algorithm


def signed_unchecked(settings: CredentialSettings) -> str:
    """What comes of signing without our check: the state that is read back, or "refused"."""
    assert settings.certificate and settings.private_key and settings.anchors
    identity = Identity(
        settings.certificate.read_text(), settings.private_key, settings.anchors.read_text(), settings.algorithm,
        "unchecked", False, b"k" * 32,
    )  # fmt: skip
    created = {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalArt",
    }
    manifest = {
        "claim_generator_info": [sdk.CLAIM_GENERATOR],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }
    try:
        data, _ = sdk.sign(encoded(picture(1), "PNG"), "image/png", manifest, identity)
    except (ImprimaturError, sdk.SigningError):
        return "refused"
    report = sdk.read(data, "image/png", identity.anchors_pem)
    return str((report or {}).get("validation_state"))


def test_a_sound_identity_may_publish_in_production(tmp_path: Path) -> None:
    settings = given(tmp_path, end_entity()).model_copy(update={"publish": "production"})
    identity = ensure_identity(settings, Workspace(tmp_path / "home"))
    assert (identity.common_name, identity.development) == ("Studio", False)
    assert len(identity.watermark_key) == 32


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    settings = given(tmp_path, end_entity([ExtendedKeyUsageOID.CODE_SIGNING], aki=False))
    (tmp_path / "key.pem").chmod(0o644)
    message = faults(tmp_path, settings)
    assert all(word in message for word in ("EKU", "AKI", "chmod 600"))


def test_a_sec1_key_is_explained_with_the_command_that_converts_it(tmp_path: Path) -> None:
    signer = end_entity()
    settings = given(tmp_path, signer)
    sec1 = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL)
    (tmp_path / "key.pem").write_bytes(signer.key.private_bytes(*sec1, serialization.NoEncryption()))
    assert "openssl pkcs8" in faults(tmp_path, settings)


def test_an_encrypted_key_and_no_key_at_all_are_explained(tmp_path: Path) -> None:
    signer = end_entity()
    settings = given(tmp_path, signer)
    pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    locked = signer.key.private_bytes(*pkcs8, serialization.BestAvailableEncryption(b"secret"))
    (tmp_path / "key.pem").write_bytes(locked)
    assert "encrypted" in faults(tmp_path, settings)
    (tmp_path / "key.pem").write_text("no key here")
    assert "holds no PEM private key" in faults(tmp_path, settings)


def test_a_missing_file_and_a_file_without_certificate_are_named(tmp_path: Path) -> None:
    settings = given(tmp_path, end_entity())
    (tmp_path / "root.pem").write_text("no certificate here")
    assert "root.pem: holds no PEM certificate" in faults(tmp_path, settings)
    (tmp_path / "key.pem").unlink()
    assert "key.pem: no such file" in faults(tmp_path, settings)


def test_a_development_certificate_is_refused_for_production_wherever_it_is_named(tmp_path: Path) -> None:
    development = ensure_identity(CredentialSettings(), Workspace(tmp_path))
    folder = tmp_path / "keys" / "development"
    assert isinstance(development.key, Path)
    settings = CredentialSettings(
        certificate=folder / "signer.pem", private_key=development.key, anchors=folder / "root.pem",
        publish="production",
    )  # fmt: skip
    assert "development certificate is refused" in faults(tmp_path, settings)
