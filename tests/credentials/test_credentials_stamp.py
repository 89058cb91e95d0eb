"""A stamped output: signed and trusted, watermarked, disclosed wherever a reader looks, and repeatable."""

import getpass
import io
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from credentials_studio import WHEN, Studio, decoded, encoded, picture
from PIL import Image

from pipeline.core.digests import sha256
from pipeline.core.errors import ImprimaturError
from pipeline.credentials import sdk, watermark
from pipeline.credentials.certificates import certificate_pem, issue
from pipeline.credentials.identity import Identity
from pipeline.credentials.images import Format
from pipeline.credentials.manifest import Source, output_id, watermark_payload
from pipeline.credentials.stamp import StampReason, stamp
from pipeline.credentials.stamp_files import Stamping, stamp_files

FORMATS: list[Format] = ["png", "jpeg", "webp", "avif", "tiff", "gif"]
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def manifest_of(data: bytes, studio: Studio, format: str = "png") -> dict[str, Any]:
    report = sdk.read(data, f"image/{format}", studio.identity.anchors_pem)
    assert report is not None
    return sdk.active_manifest(report)


def stranger() -> str:
    """Anchors that signed nothing here."""
    return certificate_pem(issue("other root", None, 1, timedelta(days=9), datetime.now(UTC)).certificate).decode()


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_reads_trusted_with_its_mark_and_its_chain(studio: Studio, format: Format) -> None:
    for index in range(4):
        stamped = studio.stamped(index, format=format)
        assert stamped.reasons == ()
        assert (stamped.validation_state, stamped.watermark_read_back) == ("Trusted", True)
        payload = watermark_payload("night-1", index, studio.identity.watermark_key)
        assert watermark.extract(decoded(stamped.data), studio.identity.watermark_key) == payload
        assert stamped.watermark == f"{payload:08x}"
        assert stamped.psnr >= 38
        report = sdk.read(stamped.data, f"image/{format}", studio.identity.anchors_pem)
        assert report is not None
        assert len(report["manifests"]) == 3  # output, model, snapshot


def test_the_manifest_says_what_the_law_and_c2pa_ask_for(studio: Studio) -> None:
    stamped = studio.stamped(5)
    manifest = manifest_of(stamped.data, studio)
    assert manifest["claim_version"] == 2
    assert manifest["claim_generator_info"][0]["specVersion"]
    assert all(assertion["created"] for assertion in manifest["assertions"])
    (actions,) = sdk.assertions(manifest, "c2pa.actions")
    assert actions["allActionsIncluded"] is True
    created, marked = actions["actions"]
    assert (created["action"], created["digitalSourceType"]) == ("c2pa.created", SOURCE)
    assert created["when"] == WHEN
    assert created["softwareAgent"]["name"] == "m1"
    assert len(created["parameters"]["ingredients"]) == 1
    assert marked["action"] == "c2pa.watermarked.bound"
    (binding,) = sdk.assertions(manifest, "c2pa.soft-binding")
    assert binding["alg"] == watermark.ALGORITHM
    assert binding["blocks"][0]["value"] == stamped.watermark
    (mining,) = sdk.assertions(manifest, "cawg.training-mining")
    assert mining["entries"]["cawg.ai_generative_training"] == {"use": "notAllowed"}
    (generation,) = sdk.assertions(manifest, sdk.GENERATION_ASSERTION)
    assert generation == {
        "provider": "Imprimatur development studio", "system": "imprimatur", "systemVersion": sdk.VERSION,
        "createdAt": WHEN, "uniqueId": stamped.output, "batch": "night-1", "index": 5, "seed": 7, "label": "emblem",
        "model": "m1", "modelSha256": "ab" * 32, "snapshot": "s1", "snapshotRoot": "cd" * 32, "screening": "pass",
    }  # fmt: skip
    assert "thumbnail" not in manifest


@pytest.mark.parametrize("format", FORMATS)
def test_readers_without_c2pa_find_the_iptc_source_type(studio: Studio, format: Format) -> None:
    data = studio.stamped(1, format=format).data
    with Image.open(io.BytesIO(data)) as image:
        xmp = image.info.get("xmp", b"")
    if format == "gif":  # Pillow does not look for it there
        xmp = data[data.index(b"XMP DataXMP") : data.index(b"<?xpacket end")]
    text = xmp.decode() if isinstance(xmp, bytes) else xmp
    assert f"<Iptc4xmpExt:DigitalSourceType>{SOURCE}</Iptc4xmpExt:DigitalSourceType>" in text


def test_a_resumed_batch_repeats_pixels_and_ids_and_images_differ(studio: Studio) -> None:
    first, again, other = studio.stamped(2), studio.stamped(2), studio.stamped(3)
    assert (decoded(first.data) == decoded(again.data)).all()
    assert (first.output, first.watermark, first.pixels) == (again.output, again.watermark, again.pixels)
    assert first.manifest != again.manifest
    assert first.output != other.output
    assert first.watermark != other.watermark


def test_ids_depend_on_batch_index_and_key() -> None:
    ids = {output_id(batch, index, key) for batch in ("a", "b") for index in range(50) for key in (b"x", b"y")}
    assert len(ids) == 200
    assert output_id("a", 1, b"x") == output_id("a", 1, b"x")
    # a batch's name must not run into the index
    assert output_id("a", 11, b"x") != output_id("a\x001", 1, b"x")


def test_the_credential_adds_at_most_20_kilobytes_with_the_chain(studio: Studio) -> None:
    bare = len(encoded(decoded(studio.stamped(4).data), "PNG"))
    assert len(studio.stamped(4).data) - bare < 20_000


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_personal_is_in_the_file(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: Format
) -> None:
    """Not in a night's outputs, nor in a file stamped by hand whose own name and folders are a person's."""
    for variable in ("USER", "LOGNAME", "HOSTNAME"):
        monkeypatch.setenv(variable, "mira-okafor")
    folder = tmp_path / "home" / "mira-okafor"
    folder.mkdir(parents=True)
    given = folder / f"portrait of Mira Okafor.{format}"
    given.write_bytes(encoded(picture(62), format))
    (result,) = stamp_files([given], tmp_path / "out", studio.settings, studio.workspace)
    by_hand = Path(result["out"]).read_bytes()
    source = Source(given.read_bytes(), f"image/{format}")
    varied = stamp(picture(9), studio.facts(9), None, studio.identity, studio.settings, format, source).data
    night = studio.stamped(6, format=format).data
    personal = ["mira-okafor", "Mira Okafor", str(studio.workspace.home), str(tmp_path), str(Path.cwd())]
    personal += [socket.gethostname(), getpass.getuser(), str(Path.home()), "/tmp/", "/home/", "PRIVATE KEY"]
    for data in (night, by_hand, varied):
        assert [word for word in personal if len(word) > 4 and word.encode() in data] == []


def test_an_unknown_signer_is_not_published(studio: Studio) -> None:
    """The SDK signs happily and calls the result Valid: only Trusted counts here."""
    identity: Identity = replace(studio.identity, anchors_pem=stranger())
    stamped = stamp(picture(1), studio.facts(1), None, identity, studio.settings)
    assert stamped.validation_state == "Valid"
    assert stamped.reasons == (StampReason.NOT_TRUSTED,)


def test_a_signed_image_is_refused_and_keeps_its_manifest(studio: Studio) -> None:
    once = studio.stamped(7)
    twice = stamp(once.data, studio.facts(8), studio.model, studio.identity, studio.settings)
    assert twice.reasons == (StampReason.ALREADY_SIGNED,)
    assert twice.data == once.data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", StampReason.UNREADABLE),
        (b"GIF89a broken", StampReason.UNREADABLE),
        (encoded(picture(1), "PNG")[:900], StampReason.UNREADABLE),
        (encoded(picture(1, 47), "PNG"), StampReason.TOO_SMALL),
        (
            encoded(picture(1), "GIF", save_all=True, append_images=[Image.fromarray(picture(2))]),
            StampReason.ANIMATED,
        ),
    ],
)
def test_an_image_that_cannot_be_stamped_gets_a_reason(studio: Studio, data: bytes, reason: StampReason) -> None:
    stamped = stamp(data, studio.facts(9), None, studio.identity, studio.settings)
    assert stamped.reasons == (reason,)
    assert stamped.manifest_store == b""


def test_files_and_arrays_are_stamped_alike(studio: Studio) -> None:
    from_file = stamp(encoded(picture(2), "PNG"), studio.facts(2), studio.model, studio.identity, studio.settings)
    assert from_file.pixels == studio.stamped(2).pixels


def test_given_files_are_stamped_and_a_bad_one_stops_nothing(studio: Studio, tmp_path: Path) -> None:
    rgba = np.dstack([picture(64), np.full((64, 64), 255, np.uint8)])
    (tmp_path / "other").mkdir()
    files = {
        "a.png": encoded(rgba, "PNG"),
        "b.jpg": encoded(picture(65), "JPEG"),
        "c.webp": encoded(picture(66), "WEBP"),
        "d.gif": encoded(picture(67), "GIF"),
        "broken.png": b"not a picture",
        "other/a.png": encoded(picture(68), "PNG"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    paths = [tmp_path / name for name in [*files, "missing.png"]]
    results = stamp_files(paths, tmp_path / "out", studio.settings, studio.workspace)
    assert [result["state"] for result in results] == ["stamped"] * 4 + ["failed", "stamped", "failed"]
    assert results[4]["reasons"] == ["STAMP_UNREADABLE_IMAGE"]
    assert results[4]["detail"] == "The image could not be decoded."
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == sorted({"a.png", "b.jpg", "c.webp", "d.gif", Path(results[5]["out"]).name})
    for result in results:
        if result["state"] == "stamped":
            assert result["validation_state"] == "Trusted"
            data = Path(result["out"]).read_bytes()
            title = manifest_of(data, studio, Path(result["out"]).suffix[1:].replace("jpg", "jpeg"))["title"]
            assert title.startswith(result["output"])  # and not the file's name


def test_a_signed_file_becomes_the_parent_when_asked_and_else_is_refused(studio: Studio, tmp_path: Path) -> None:
    signed = tmp_path / "signed.png"
    signed.write_bytes(studio.stamped(63).data)
    (refused,) = stamp_files([signed], tmp_path / "a", studio.settings, studio.workspace)
    assert refused["reasons"] == ["STAMP_ALREADY_SIGNED"]
    assert not (tmp_path / "a").exists()
    (again,) = stamp_files([signed], tmp_path / "b", studio.settings, studio.workspace, Stamping(signed="parent"))
    assert again["state"] == "stamped", again
    report = sdk.read(Path(again["out"]).read_bytes(), "image/png", studio.identity.anchors_pem)
    assert report is not None
    manifest = sdk.active_manifest(report)
    (parent,) = manifest["ingredients"]
    assert parent["relationship"] == "parentOf"
    assert parent["active_manifest"] == studio_label(signed, studio)
    (actions,) = sdk.assertions(manifest, "c2pa.actions")
    names = [action["action"] for action in actions["actions"]]
    assert names == ["c2pa.opened", "c2pa.edited.metadata", "c2pa.watermarked.bound"]
    assert len(report["manifests"]) == 4  # this, its parent, and the parent's model and snapshot


def test_a_variation_carries_its_source_as_parent_and_is_edited_by_ai(studio: Studio) -> None:
    photo = Source(encoded(picture(40), "JPEG"), "image/jpeg")
    stamped = stamp(picture(12), studio.facts(12), studio.model, studio.identity, studio.settings, "png", photo)
    assert stamped.reasons == (), stamped.detail
    manifest = manifest_of(stamped.data, studio)
    relations = {entry["relationship"]: entry["title"] for entry in manifest["ingredients"]}
    assert relations == {"parentOf": "source", "inputTo": "model m1"}
    (actions,) = sdk.assertions(manifest, "c2pa.actions")
    opened, edited, _ = actions["actions"]
    assert (opened["action"], edited["action"]) == ("c2pa.opened", "c2pa.edited")
    composite = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    assert edited["digitalSourceType"] == composite
    assert f"<Iptc4xmpExt:DigitalSourceType>{composite}<".encode() in stamped.data


def test_a_sidecar_leaves_the_file_as_encoded(studio: Studio, tmp_path: Path) -> None:
    settings = studio.settings.model_copy(update={"placement": "sidecar"})
    (tmp_path / "a.jpg").write_bytes(encoded(picture(61), "JPEG"))
    (result,) = stamp_files([tmp_path / "a.jpg"], tmp_path / "out", settings, studio.workspace)
    assert (result["state"], result["validation_state"]) == ("stamped", "Trusted")
    data, store = Path(result["out"]).read_bytes(), Path(result["sidecar"]).read_bytes()
    assert Path(result["sidecar"]) == tmp_path / "out" / "a.c2pa"
    assert b"jumb" not in data
    report = sdk.read(data, "image/jpeg", studio.identity.anchors_pem, store)
    assert report is not None
    assert report["validation_state"] == "Trusted"


def test_a_linked_chain_names_the_model_by_digest_and_url_and_is_small(studio: Studio) -> None:
    settings = studio.settings.model_copy(update={"chain": "linked", "chain_url": "https://studio.example/models/"})
    stamped = stamp(picture(13), studio.facts(13), studio.model, studio.identity, settings)
    assert stamped.reasons == (), stamped.detail
    manifest = manifest_of(stamped.data, studio)
    (model,) = manifest["ingredients"]
    assert (model["relationship"], model["informational_URI"]) == (
        "inputTo", "https://studio.example/models/m1.c2pa",
    )  # fmt: skip
    (generation,) = sdk.assertions(manifest, sdk.GENERATION_ASSERTION)
    assert generation["modelCredentialSha256"] == sha256(studio.model.store)
    assert generation["modelCredentialUrl"] == model["informational_URI"]
    assert len(stamped.data) - len(encoded(decoded(stamped.data), "PNG")) < 7_000


def test_stamping_by_hand_can_name_the_model(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(ImprimaturError, match="model 'none' is not in this workspace"):
        stamp_files([], tmp_path, studio.settings, studio.workspace, Stamping(model="none"))
    with pytest.raises(ImprimaturError, match=r"missing\.png"):
        stamp_files([], tmp_path, studio.settings, studio.workspace, Stamping(source=tmp_path / "missing.png"))


def studio_label(path: Path, studio: Studio) -> str:
    report = sdk.read(path.read_bytes(), "image/png", studio.identity.anchors_pem)
    assert report is not None
    return str(report["active_manifest"])
