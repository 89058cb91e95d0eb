"""Keys elsewhere sign as a key file does, their faults are told in their own words, and time-stamps outlive them."""

import base64
import importlib.util
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from authority import ROOT, Key, end_entity, given
from credentials_studio import encoded, picture
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from local_services import Answer, make_tsa, served, sign_as_google_kms

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import CredentialSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials import sdk
from pipeline.credentials.certificates import Pair, certificate_pem, issue
from pipeline.credentials.identity import Identity, ensure_identity
from pipeline.credentials.manifest import OutputFacts
from pipeline.credentials.stamp import Stamped, StampReason, stamp
from pipeline.credentials.verify import Verification, verify

SOFTHSM = next((path for path in Path("/usr/lib").glob("**/softhsm/libsofthsm2.so")), None)
KEYS: dict[str, Key] = {
    "es256": ec.generate_private_key(ec.SECP256R1()),
    "es384": ec.generate_private_key(ec.SECP384R1()),
    "ps256": rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def elsewhere(folder: Path, signer: Pair, key: dict[str, object], algorithm: str = "es256") -> CredentialSettings:
    """Settings with the certificate in files and the key where `key` says."""
    files = given(folder, signer)
    (folder / "key.pem").unlink()
    return CredentialSettings.model_validate(
        {"certificate": files.certificate, "anchors": files.anchors, "signer": key, "algorithm": algorithm}
    )


def stamped_with(settings: CredentialSettings, home: Path, index: int = 1) -> Stamped:
    identity = ensure_identity(settings, Workspace(home))
    return stamp(picture(index), OutputFacts("a.png", "2026-11-24T02:00:00Z", "b", index), None, identity, settings)


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_algorithm_signs_from_a_key_file_and_from_a_key_service(tmp_path: Path, algorithm: str) -> None:
    signer = end_entity(key=KEYS[algorithm])
    from_file = given(tmp_path / "file", signer).model_copy(update={"algorithm": algorithm})
    assert stamped_with(from_file, tmp_path / "home").reasons == ()
    token = tmp_path / "token"
    token.write_text("letmein\n")
    token.chmod(0o600)
    with served(sign_as_google_kms(KEYS[algorithm], "letmein")) as url:
        key = {"kind": "http", "url": f"{url}/v1/keys/1:asymmetricSign", "token_file": token}
        stamped = stamped_with(elsewhere(tmp_path / "kms", signer, key, algorithm), tmp_path / "home")
    assert (stamped.validation_state, stamped.reasons) == ("Trusted", ())


def broken(status: int, body: bytes) -> Callable[[str, bytes], Answer]:
    return lambda _authorization, _body: (status, "application/json", body)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (broken(403, b'{"error": "PERMISSION_DENIED"}'), "answered 403"),
        (broken(200, b"<html>"), "holds no signature"),
        (broken(200, b'{"signature": "@@"}'), "holds no signature"),
        (broken(200, json.dumps({"signature": base64.b64encode(b"short").decode()}).encode()), "no es256 signature"),
        (sign_as_google_kms(ec.generate_private_key(ec.SECP256R1())), "does not match the certificate"),
    ],
)
def test_a_key_service_that_cannot_sign_is_explained_first(
    tmp_path: Path, answer: Callable[[str, bytes], Answer], words: str
) -> None:
    with served(answer) as url:
        settings = elsewhere(tmp_path / "a", end_entity(), {"kind": "http", "url": url})
        with pytest.raises(ImprimaturError, match=words) as caught:
            ensure_identity(settings, Workspace(tmp_path / "home"))
    assert url in str(caught.value) and "nothing was signed" in str(caught.value)


def test_a_key_service_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = elsewhere(tmp_path / "a", end_entity(), {"kind": "http", "url": "http://127.0.0.1:9/sign"})
    with pytest.raises(ImprimaturError, match=r"127\.0\.0\.1:9/sign: no answer"):
        ensure_identity(settings, Workspace(tmp_path / "home"))


def test_a_key_service_that_fails_in_the_night_is_quoted(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sound, answers = sign_as_google_kms(key), []

    def answer(authorization: str, body: bytes) -> Answer:
        answers.append(body)
        return sound(authorization, body) if len(answers) == 1 else (503, "text/plain", b"quota exceeded")

    with served(answer) as url:
        stamped = stamped_with(elsewhere(tmp_path / "a", end_entity(key=key), {"kind": "http", "url": url}), tmp_path)
    assert stamped.reasons == (StampReason.SIGNING_FAILED,)
    assert "answered 503: quota exceeded" in stamped.detail


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("letmein")
    (tmp_path / "token").chmod(0o644)
    key = {"kind": "http", "url": "http://127.0.0.1:9/", "token_file": tmp_path / "token"}
    with pytest.raises(ImprimaturError, match="can be read by others"):
        ensure_identity(elsewhere(tmp_path / "a", end_entity(), key), Workspace(tmp_path / "home"))


@pytest.fixture
def studio_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A module of somebody's own, with functions that sign well and badly."""
    signer = end_entity()
    (tmp_path / "signer.pem").write_bytes(given(tmp_path / "x", signer).private_key.read_bytes())  # type: ignore[union-attr]
    (tmp_path / "studio_keys.py").write_text(
        "from pathlib import Path\n"
        "from cryptography.hazmat.primitives import hashes, serialization\n"
        "from cryptography.hazmat.primitives.asymmetric import ec\n"
        "KEY = serialization.load_pem_private_key((Path(__file__).parent / 'signer.pem').read_bytes(), None)\n"
        "def sign(data): return KEY.sign(data, ec.ECDSA(hashes.SHA256()))\n"
        "def locked(data): raise PermissionError('the safe is locked until 06:00')\n"
        "def text(data): return 'signed'\n"
        "number = 7\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield signer


def test_a_function_of_ones_own_signs(tmp_path: Path, studio_keys: Pair) -> None:
    settings = elsewhere(tmp_path / "a", studio_keys, {"kind": "python", "function": "studio_keys:sign"})
    assert stamped_with(settings, tmp_path / "home").validation_state == "Trusted"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("studio_keys:locked", "the safe is locked until 06:00"),
        ("studio_keys:text", "it gave str and not bytes"),
        ("studio_keys:number", "is not a function"),
        ("studio_keys:none", "cannot be imported"),
        ("no_such_package:sign", "cannot be imported"),
    ],
)
@pytest.mark.usefixtures("studio_keys")
def test_a_function_that_cannot_sign_is_explained(tmp_path: Path, function: str, words: str) -> None:
    settings = elsewhere(tmp_path / "a", end_entity(), {"kind": "python", "function": function})
    with pytest.raises(ImprimaturError, match=words):
        ensure_identity(settings, Workspace(tmp_path / "home"))


@pytest.mark.skipif(
    SOFTHSM is None or not shutil.which("softhsm2-util") or importlib.util.find_spec("pkcs11") is None,
    reason="needs SoftHSM2 and python-pkcs11",
)
def test_a_hardware_token_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm.conf"))
    tool = ["softhsm2-util", "--token", "studio", "--pin", "1234"]
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "studio", "--pin", "1234", "--so-pin", "5678"],
        check=True,
    )
    (tmp_path / "pin").write_text("9999")
    (tmp_path / "pin").chmod(0o600)
    place = {"kind": "pkcs11", "module": SOFTHSM, "token": "studio", "pin_file": tmp_path / "pin"}
    with pytest.raises(ImprimaturError, match="cannot be opened: PinIncorrect"):
        ensure_identity(elsewhere(tmp_path / "x", end_entity(), {**place, "key": "es256"}), Workspace(tmp_path))
    (tmp_path / "pin").write_text("1234")
    for number, algorithm in enumerate(("es256", "es384", "ps256")):
        signer = end_entity(key=KEYS[algorithm])
        files = given(tmp_path / algorithm, signer)
        imported = ["--import", str(files.private_key), "--label", algorithm, "--id", f"0{number}"]
        subprocess.run([*tool, *imported], check=True)
        settings = elsewhere(tmp_path / algorithm, signer, {**place, "key": algorithm}, algorithm)
        stamped = stamped_with(settings, tmp_path / "home")
        assert (stamped.validation_state, stamped.reasons) == ("Trusted", ())
    with pytest.raises(ImprimaturError, match=r"key 'none'.*cannot be opened"):
        ensure_identity(elsewhere(tmp_path / "y", end_entity(), {**place, "key": "none"}), Workspace(tmp_path))


def test_every_block_in_the_document_on_signing_is_understood() -> None:
    document = (Path(__file__).parents[2] / "docs" / "signing.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", document, re.S)
    read = [CredentialSettings.model_validate(yaml.safe_load(block)["credentials"]) for block in blocks]
    assert {type(settings.signer).__name__ for settings in read} == {
        "NoneType", "HttpSigner", "Pkcs11Signer", "PythonSigner",
    }  # fmt: skip


# --- rotation ------------------------------------------------------------------------------------------------------


def check(data: bytes, identity: Identity, path: Path) -> Verification:
    path.write_bytes(data)
    return verify(path, [identity.anchors_pem])


def test_after_rotation_old_outputs_still_verify_and_new_ones_carry_the_new_certificate(tmp_path: Path) -> None:
    home = tmp_path / "home"
    old = stamped_with(given(tmp_path / "keys", end_entity(name="Studio 2026")), home, 1)
    renewed = given(tmp_path / "keys", end_entity(name="Studio 2027"))
    identity = ensure_identity(renewed, Workspace(home))
    new = stamped_with(renewed, home, 2)
    for stamped, name in ((old, "Studio 2026"), (new, "Studio 2027")):
        found = check(stamped.data, identity, tmp_path / "a.png")
        assert (found.state, found.signer) == ("Trusted", name)


def test_a_new_authority_joins_the_old_one_among_the_anchors(tmp_path: Path) -> None:
    home = tmp_path / "home"
    old = stamped_with(given(tmp_path / "keys", end_entity(name="old")), home, 1)
    root = issue("second root", None, 1, timedelta(days=30), ROOT.certificate.not_valid_before_utc)
    issuing = issue("second issuing", root, 0, timedelta(days=30), ROOT.certificate.not_valid_before_utc)
    signer = end_entity(name="new", issuer=issuing)
    chain, roots = [signer.certificate, issuing.certificate], (root.certificate, ROOT.certificate)
    settings = given(tmp_path / "keys", signer, chain, roots)
    identity = ensure_identity(settings, Workspace(home))
    for stamped in (old, stamped_with(settings, home, 2)):
        assert check(stamped.data, identity, tmp_path / "a.png").state == "Trusted"


def test_rotation_leaves_watermarks_readable(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    before = ensure_identity(given(tmp_path / "keys", end_entity(name="a")), workspace).watermark_key
    assert ensure_identity(given(tmp_path / "keys", end_entity(name="b")), workspace).watermark_key == before


# --- time-stamping -------------------------------------------------------------------------------------------------


def test_a_time_stamped_output_stays_trusted_after_its_certificate_has_expired(tmp_path: Path) -> None:
    answer, tsa_root = make_tsa(tmp_path)
    signer = end_entity(end=timedelta(seconds=3))
    settings = given(tmp_path / "keys", signer)
    assert settings.anchors
    settings.anchors.write_bytes(certificate_pem(ROOT.certificate) + tsa_root)
    plain = stamped_with(settings, tmp_path / "home", 1)
    with served(answer) as url:
        stamped = stamped_with(settings.model_copy(update={"timestamp_url": url}), tmp_path / "home", 2)
    assert (plain.reasons, stamped.reasons) == ((), ())
    identity = ensure_identity(settings, Workspace(tmp_path / "home"))
    now = check(stamped.data, identity, tmp_path / "a.png")
    assert (now.state, now.timestamped) == ("Trusted", True)
    expiry = signer.certificate.not_valid_after_utc.timestamp()
    time.sleep(max(0.0, expiry + 1.1 - time.time()))  # the certificate's last second belongs to it
    later = check(stamped.data, identity, tmp_path / "a.png")
    assert (later.state, later.timestamped) == ("Trusted", True)
    assert check(plain.data, identity, tmp_path / "b.png").state == "Invalid"
    without = certificate_pem(ROOT.certificate).decode()  # a TSA that nobody vouches for proves nothing
    assert verify(tmp_path / "a.png", [without]).state != "Trusted"


def test_a_time_stamping_authority_that_fails_is_named(tmp_path: Path) -> None:
    settings = given(tmp_path / "keys", end_entity())
    with served(broken(500, b"out of order")) as url:
        for place in (url, "http://127.0.0.1:9/tsa"):
            stamped = stamped_with(settings.model_copy(update={"timestamp_url": place}), tmp_path / "home")
            assert stamped.reasons == (StampReason.SIGNING_FAILED,)
            assert f"time-stamping authority {place}" in stamped.detail


def test_the_development_identity_can_be_time_stamped(tmp_path: Path) -> None:
    answer, tsa_root = make_tsa(tmp_path)
    (tmp_path / "tsa-root.pem").write_bytes(tsa_root)
    with served(answer) as url:
        settings = CredentialSettings(anchors=tmp_path / "tsa-root.pem", timestamp_url=url)
        stamped = stamped_with(settings, tmp_path / "home")
    identity = ensure_identity(settings, Workspace(tmp_path / "home"))
    assert check(stamped.data, identity, tmp_path / "a.png").timestamped is True


def test_the_sdk_is_never_handed_a_context_of_another_key(tmp_path: Path) -> None:
    """Contexts are kept per identity: two identities of one process must not sign for each other."""
    first = ensure_identity(given(tmp_path / "a", end_entity(name="first")), Workspace(tmp_path / "home"))
    second = ensure_identity(given(tmp_path / "b", end_entity(name="second")), Workspace(tmp_path / "home"))
    for identity in (first, second, first):
        manifest = {"claim_generator_info": [sdk.CLAIM_GENERATOR], "assertions": [{
            "label": "c2pa.actions.v2", "data": {"actions": [{
                "action": "c2pa.created",
                "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalArt"}]}}]}  # fmt: skip
        data, _ = sdk.sign(encoded(picture(1), "PNG"), "image/png", manifest, identity)
        assert check(data, identity, tmp_path / "c.png").signer == identity.common_name
