"""Verifying any file: separate facts, recovery of what was stripped, and no exception whatever the bytes."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import c2pa
import numpy as np
import pytest
from credentials_studio import WHEN, Studio, decoded, encoded, make_studio, picture
from PIL import Image
from sqlalchemy import insert, update

from pipeline.catalog.database import open_catalog
from pipeline.catalog.tables import outputs, recalls
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace
from pipeline.credentials import sdk, watermark
from pipeline.credentials.manifest import watermark_payload
from pipeline.credentials.permissions import sign_training_mining
from pipeline.credentials.repository import find_by_file_sha256, find_by_watermark, record_output, store_path
from pipeline.credentials.verify import Verification, read_anchors, verify

STATES = {"Trusted", "Valid", "Invalid", "None", "Remote", "Unreadable"}
CONTRACT = {
    "file", "state", "ai_generated", "training_mining", "signer", "timestamped", "recovered", "registry", "codes",
}  # fmt: skip


def check(path: Path, studio: Studio) -> Verification:
    return verify(path, [studio.identity.anchors_pem], studio.workspace, studio.identity.watermark_key)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def image_of(path: Path) -> Image.Image:
    return Image.fromarray(decoded(path.read_bytes()))


def test_a_published_output_is_trusted_and_known(studio: Studio) -> None:
    path = studio.published(0, "verify-1")
    facts = check(path, studio).as_json()
    assert set(facts) >= CONTRACT
    assert json.loads(json.dumps(facts)) == facts
    assert facts["state"] == "Trusted"
    assert facts["ai_generated"] is True
    assert facts["training_mining"]["cawg.ai_generative_training"] == "notAllowed"
    assert facts["signer"] == studio.identity.common_name
    assert (facts["timestamped"], facts["recovered"], facts["codes"]) == (False, False, [])
    registry = facts["registry"]
    assert (registry["batch"], registry["index"], registry["model"]) == ("verify-1", 0, "m1")
    assert (registry["snapshot"], registry["state"]) == ("s1", "published")
    assert (registry["found_by"], registry["similarity"]) == ("file", 1.0)


def test_a_recalled_output_and_one_affected_by_a_withdrawal_are_named(own_studio: Studio) -> None:
    path = own_studio.published(1, "night")
    found = check(path, own_studio)
    assert (found.recalled, found.affected, found.sound) == (False, "clear", True)
    output = str(found.registry["output"]) if found.registry else ""
    said = {"output": output, "because": "[]", "at": WHEN}
    with open_catalog(own_studio.workspace).begin() as connection:
        connection.execute(insert(recalls).values(**said, action="quarantine", state="affected"))
    assert (check(path, own_studio).affected, check(path, own_studio).sound) == ("affected", False)
    with open_catalog(own_studio.workspace).begin() as connection:
        connection.execute(insert(recalls).values(**said, action="recall", state="affected-strong"))
        connection.execute(update(outputs).where(outputs.c.output == output).values(state="recalled"))
    found = check(path, own_studio)
    assert (found.state, found.recalled, found.affected, found.sound) == ("Trusted", True, "affected-strong", False)
    stripped = write(path.with_name("stripped.png"), encoded(decoded(path.read_bytes()), "PNG"))
    assert check(stripped, own_studio).recalled is True  # a copy without its credential is recalled too
    with open_catalog(own_studio.workspace).begin() as connection:
        connection.execute(insert(recalls).values(**said, action="restore", state="clear"))
        connection.execute(update(outputs).where(outputs.c.output == output).values(state="published"))
    assert check(path, own_studio).sound


def test_an_unknown_signer_is_valid_and_not_trusted(studio: Studio, tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", studio.stamped(1).data)
    other = make_studio(tmp_path / "other").identity
    for anchors in ([], [other.anchors_pem]):
        found = verify(path, anchors)
        assert found.state == "Valid"
        assert "signingCredential.untrusted" in found.codes
        assert found.registry is None
    assert verify(path, [other.anchors_pem, studio.identity.anchors_pem]).state == "Trusted"


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "stripped": lambda image: encoded(np.asarray(image), "PNG"),
    "JPEG 75": lambda image: encoded(np.asarray(image), "JPEG", quality=75),
    "JPEG 60": lambda image: encoded(np.asarray(image), "JPEG", quality=60),
    "60 %": lambda image: encoded(np.asarray(image.resize((38, 38))), "PNG"),
    "cropped by 2 %": lambda image: encoded(np.asarray(image.crop((1, 1, 63, 63))), "JPEG", quality=80),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stripped_copy_is_recovered_with_evidence(studio: Studio, tmp_path: Path, change: str) -> None:
    for index in range(200, 205):  # pictures that no other test publishes
        path = studio.published(index, "verify-2")
        found = check(write(tmp_path / "copy", CHANGES[change](image_of(path))), studio)
        assert (found.state, found.recovered) == ("None", True)
        assert found.registry is not None
        assert (found.registry["batch"], found.registry["index"]) == ("verify-2", index)
        assert found.registry["found_by"] in {"watermark", "fingerprint"}
        assert found.registry["similarity"] > 0.7
        assert found.codes == ["recovered.trusted"]
        assert found.ai_generated is True
        assert [link.state for link in found.chain] == ["recovered", "valid", "valid"]


def test_unrelated_pictures_are_not_recovered(studio: Studio, tmp_path: Path) -> None:
    for index in range(5):
        studio.published(index, "verify-3")
    for seed in range(1000, 1060):
        found = check(write(tmp_path / "a.png", encoded(picture(seed), "PNG")), studio)
        assert (found.state, found.registry, found.ai_generated) == ("None", None, None)


def test_a_picture_with_a_wrecked_credential_is_recovered_too(studio: Studio, tmp_path: Path) -> None:
    stamped, facts = studio.stamped(1, "verify-5", "jpeg"), studio.facts(1, "verify-5")
    record_output(studio.workspace, stamped, facts, "images/a.jpg", "published")
    data = bytearray(stamped.data)
    data[data.rfind(b"jumb")] ^= 1  # a box inside the store
    found = check(write(tmp_path / "a.jpg", bytes(data)), studio)
    assert (found.state, found.recovered) == ("Unreadable", True)
    assert found.codes == ["manifest.unreadable", "recovered.trusted"]
    assert found.registry is not None
    assert found.registry["found_by"] == "watermark"


def test_a_watermark_on_another_picture_is_exposed(studio: Studio, tmp_path: Path) -> None:
    studio.published(1, "verify-4")
    key = studio.identity.watermark_key
    planted, _ = watermark.embed(picture(777), watermark_payload("verify-4", 1, key), key)
    found = check(write(tmp_path / "a.png", encoded(planted, "PNG")), studio)
    assert (found.recovered, found.registry) == (False, None)
    assert found.codes == ["watermark.transplanted"]


def test_a_damaged_store_is_not_believed(own_studio: Studio, tmp_path: Path) -> None:
    path = own_studio.published(1, "night")
    (entry,) = find_by_watermark(own_studio.workspace, own_studio.stamped(1, "night").watermark)
    store = store_path(own_studio.workspace, entry.output)
    copy = write(tmp_path / "copy.png", encoded(decoded(path.read_bytes()), "PNG"))
    sound = store.read_bytes()
    store.write_bytes(sound.replace(b"night-000001.png", b"night-000002.png"))
    found = check(copy, own_studio)
    assert found.recovered is False or "recovered.trusted" not in found.codes
    store.write_bytes(b"rubbish")
    assert check(copy, own_studio).codes == ["recovered.manifestUnreadable"]
    store.unlink()
    assert check(copy, own_studio).recovered is False


def test_a_restamped_output_replaces_its_row(own_studio: Studio) -> None:
    first, again = own_studio.stamped(1, "night"), own_studio.stamped(1, "night")
    facts = own_studio.facts(1, "night")
    for stamped in (first, again):
        entry = record_output(own_studio.workspace, stamped, facts, "images/a.png", "published")
    assert len(find_by_watermark(own_studio.workspace, first.watermark)) == 1
    assert find_by_file_sha256(own_studio.workspace, entry.file_sha256) == entry
    assert store_path(own_studio.workspace, entry.output).read_bytes() == again.manifest_store


def test_a_human_made_picture_with_permissions(studio: Studio, tmp_path: Path) -> None:
    entries = {"cawg.ai_generative_training": "notAllowed", "cawg.data_mining": "allowed"}
    signed = sign_training_mining(
        encoded(picture(1), "JPEG"), "image/jpeg", entries, "photo.jpg", WHEN, studio.identity
    )
    found = check(write(tmp_path / "a.jpg", signed), studio)
    assert (found.state, found.ai_generated, found.training_mining) == ("Trusted", False, entries)
    broken = bytearray(signed)
    broken[-40] ^= 1
    damaged = check(write(tmp_path / "b.jpg", bytes(broken)), studio)
    # restrictions count even in a broken credential; that no AI was used does not
    assert (damaged.state, damaged.ai_generated, damaged.training_mining) == ("Invalid", None, entries)


@pytest.mark.parametrize(
    ("entries", "mime"),
    [
        ({"cawg.ai_trainning": "notAllowed"}, "image/jpeg"),
        ({"cawg.ai_training": "no"}, "image/jpeg"),
        ({}, "image/bmp"),
    ],
)
def test_permissions_outside_the_standard_are_refused(studio: Studio, entries: dict[str, str], mime: str) -> None:
    with pytest.raises(ImprimaturError):
        sign_training_mining(encoded(picture(1), "JPEG"), mime, entries, "photo.jpg", WHEN, studio.identity)


def test_an_unsigned_iptc_disclosure_is_told_apart(studio: Studio, tmp_path: Path) -> None:
    xmp = b"<x>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia</x>"
    found = verify(write(tmp_path / "a.jpg", encoded(picture(50), "JPEG", xmp=xmp)))
    assert (found.state, found.ai_generated) == ("None", True)
    assert found.codes == ["iptc.digitalSourceType.unsigned"]


def test_a_remote_manifest_is_reported_and_not_fetched(studio: Studio, tmp_path: Path) -> None:
    created = {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/humanEdits",
    }
    manifest = {
        "claim_generator_info": [sdk.CLAIM_GENERATOR],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }
    for format in ("jpeg", "png"):
        output = io.BytesIO()
        with c2pa.Builder(manifest, sdk.signing_context(studio.identity)) as builder:
            builder.set_no_embed()
            builder.set_remote_url("https://manifests.invalid/1.c2pa")
            builder.sign(f"image/{format}", io.BytesIO(encoded(picture(1), format)), output)
        found = verify(write(tmp_path / f"a.{format}", output.getvalue()))
        assert (found.state, found.codes) == ("Remote", ["manifest.remote"])


@pytest.mark.parametrize(
    ("data", "state"),
    [
        (b"", "Unreadable"),
        (b"hello", "Unreadable"),
        (b"\x89PNG\r\n\x1a\n", "Unreadable"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "Unreadable"),
        (encoded(picture(1), "TIFF"), "None"),
        (encoded(picture(1), "AVIF"), "None"),
        (encoded(picture(1, 8), "GIF"), "None"),
    ],
)
def test_files_without_credentials_and_files_that_are_no_pictures(tmp_path: Path, data: bytes, state: str) -> None:
    assert verify(write(tmp_path / "a", data)).state == state


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path: Path) -> None:
    assert verify(tmp_path / "none.png").state == "Unreadable"
    assert verify(tmp_path).state == "Unreadable"


def test_verify_makes_no_workspace(studio: Studio, tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", studio.stamped(1).data)
    verify(path, [studio.identity.anchors_pem], Workspace(tmp_path / "home"), b"k" * 32)
    assert not (tmp_path / "home").exists()


def test_anchors_are_read_from_files_and_rubbish_is_refused(studio: Studio, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_text(studio.identity.anchors_pem)
    assert read_anchors([root, root]) == [studio.identity.anchors_pem] * 2
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ImprimaturError, match=r"empty\.pem"):
        read_anchors([root, tmp_path / "empty.pem"])
    with pytest.raises(ImprimaturError, match=r"none\.pem"):
        read_anchors([tmp_path / "none.pem"])
