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

from pipeline.credentials import sdk, watermark
from pipeline.credentials.certificates import certificate_pem, issue
from pipeline.credentials.identity import Identity
from pipeline.credentials.manifest import output_id, watermark_payload
from pipeline.credentials.stamp import Format, StampReason, stamp
from pipeline.credentials.stamp_files import stamp_files

FORMATS: list[Format] = ["png", "jpeg", "webp"]
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
    with Image.open(io.BytesIO(studio.stamped(1, format=format).data)) as image:
        xmp = image.info["xmp"]
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


def test_nothing_personal_is_in_the_file(studio: Studio) -> None:
    data = studio.stamped(6).data
    personal = [str(studio.workspace.home), str(Path.cwd()), socket.gethostname(), "PRIVATE KEY"]
    personal += [getpass.getuser()] if getpass.getuser() != "root" else []
    assert [word for word in personal if len(word) > 3 and word.encode() in data] == []


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
    rgba = np.dstack([picture(1), np.full((64, 64), 255, np.uint8)])
    (tmp_path / "other").mkdir()
    files = {
        "a.png": encoded(rgba, "PNG"),
        "b.jpg": encoded(picture(2), "JPEG"),
        "c.webp": encoded(picture(3), "WEBP"),
        "d.gif": encoded(picture(4), "GIF"),
        "broken.png": b"not a picture",
        "other/a.png": encoded(picture(5), "PNG"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    paths = [tmp_path / name for name in [*files, "missing.png"]]
    results = stamp_files(paths, tmp_path / "out", studio.settings, studio.workspace)
    assert [result["state"] for result in results] == ["stamped"] * 4 + ["failed", "stamped", "failed"]
    assert results[4]["reasons"] == ["STAMP_UNREADABLE_IMAGE"]
    assert results[4]["detail"] == "The image could not be decoded."
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == sorted({"a.png", "b.jpg", "c.webp", "d.png", Path(results[5]["out"]).name})
    for result in results:
        if result["state"] == "stamped":
            assert result["validation_state"] == "Trusted"
            data = Path(result["out"]).read_bytes()
            assert manifest_of(data, studio, Path(result["out"]).suffix[1:].replace("jpg", "jpeg"))
