"""The signing identity: made on first use, private, renewed, and not needed for checking."""

import stat
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import CredentialSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials.certificates import Pair, certificate_pem, issue, key_pem
from pipeline.credentials.identity import Identity, ensure_identity, verification_keys

NOW = datetime.now(UTC)


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


def test_checking_needs_no_private_key(tmp_path: Path) -> None:
    identity = identity_of(tmp_path)
    (tmp_path / "root.pem").write_text(identity.anchors_pem)
    (tmp_path / "chain.pem").write_text(identity.chain_pem)
    elsewhere = CredentialSettings(
        certificate=tmp_path / "chain.pem",
        private_key=tmp_path / "on-another-machine.pem",
        anchors=tmp_path / "root.pem",
    )
    assert verification_keys(elsewhere, Workspace(tmp_path)) == (identity.anchors_pem, identity.watermark_key)
    (tmp_path / "root.pem").unlink()
    with pytest.raises(ImprimaturError, match=r"credentials\.anchors"):
        verification_keys(elsewhere, Workspace(tmp_path))
