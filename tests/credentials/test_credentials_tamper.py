"""The tamper matrix: what each change to a stamped file, or to what is trusted, is reported as, in every format."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from credentials_studio import Studio, decoded, encoded, make_studio, picture
from PIL import Image

from pipeline.credentials.certificates import certificate_pem, issue
from pipeline.credentials.images import Format
from pipeline.credentials.stamp import stamp
from pipeline.credentials.verify import Verification, verify

FORMATS: list[Format] = ["png", "jpeg", "webp", "avif", "tiff", "gif"]
PIXELS: dict[Format, Callable[[bytes], int]] = {  # where a byte of the compressed pixels lies
    "png": lambda data: data.index(b"IDAT") + 40,
    "jpeg": lambda data: len(data) - 40,
    "webp": lambda data: data.index(b"VP8L") + 60,
    "avif": lambda data: data.rindex(b"mdat") + 400,
    "tiff": lambda data: 200,
    "gif": lambda data: len(data) - 60,
}
_STAMPED: dict[Format, bytes] = {}


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> Format:
    chosen: Format = request.param
    return chosen


def stamped(studio: Studio, format: Format) -> bytes:
    if format not in _STAMPED:
        _STAMPED[format] = studio.stamped(1, "tamper", format).data
    return _STAMPED[format]


def read(data: bytes, studio: Studio, folder: Path, name: str = "a.bin") -> Verification:
    path = folder / name
    path.write_bytes(data)
    return verify(path, [studio.identity.anchors_pem])


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def hard_binding(format: Format) -> str:
    return "assertion.bmffHash.mismatch" if format == "avif" else "assertion.dataHash.mismatch"


def test_a_stamped_file_is_trusted_whatever_its_name_says(studio: Studio, tmp_path: Path, format: Format) -> None:
    for name in ("right", "wrong.jpg", "wrong.png"):
        found = read(stamped(studio, format), studio, tmp_path, name)
        assert (found.state, found.intact, found.signer_trusted, found.codes) == ("Trusted", True, True, [])
        assert (found.ai_generated, found.sound) == (True, True)


def test_a_flipped_pixel_is_invalid(studio: Studio, tmp_path: Path, format: Format) -> None:
    data = stamped(studio, format)
    found = read(flipped(data, PIXELS[format](data)), studio, tmp_path)
    assert (found.state, found.intact, found.signer_trusted) == ("Invalid", False, True)
    assert hard_binding(format) in found.codes
    assert found.broken_at == "output"
    assert found.ai_generated is True  # a broken credential may warn


def test_four_bytes_appended_are_invalid(studio: Studio, tmp_path: Path, format: Format) -> None:
    found = read(stamped(studio, format) + bytes(4), studio, tmp_path)
    assert (found.state, found.intact) == ("Invalid", False)
    assert hard_binding(format) in found.codes


@pytest.mark.parametrize("words", [b"trainedAlgorithmicMedia", b"notAllowed", b"uniqueId", b"snapshot s1"])
def test_a_byte_of_the_manifests_is_invalid(studio: Studio, tmp_path: Path, format: Format, words: bytes) -> None:
    data = stamped(studio, format)
    store = data.index(b"jumb")  # the XMP says some of it too
    found = read(flipped(data, data.index(words, store)), studio, tmp_path)
    assert (found.state, found.intact) == ("Invalid", False)
    mismatches = {"assertion.hashedURI.mismatch", "ingredient.manifest.mismatch", "claimSignature.mismatch"}
    assert mismatches.intersection(found.codes), found.codes


def test_a_file_saved_again_carries_nothing(studio: Studio, tmp_path: Path, format: Format) -> None:
    again = encoded(decoded(stamped(studio, format)), format.upper())
    found = read(again, studio, tmp_path)
    assert (found.state, found.intact, found.signer_trusted, found.sound) == ("None", None, None, False)


def test_a_truncated_file_is_invalid_or_unreadable(studio: Studio, tmp_path: Path, format: Format) -> None:
    data = stamped(studio, format)
    for part in (0.5, 0.8, 0.99):
        found = read(data[: int(len(data) * part)], studio, tmp_path)
        assert found.state in {"Invalid", "Unreadable", "None"}
        assert not found.sound


def test_anchors_of_others_make_it_valid_and_no_more(studio: Studio, tmp_path: Path) -> None:
    """None, somebody else's, and somebody else's of the same name."""
    path = tmp_path / "a.png"
    path.write_bytes(stamped(studio, "png"))
    other = certificate_pem(issue("other root", None, 1, timedelta(days=9), datetime.now(UTC)).certificate).decode()
    same_name = make_studio(tmp_path / "other").identity.anchors_pem
    for anchors in ([], [other], [same_name], [other, same_name]):
        found = verify(path, anchors)
        assert (found.state, found.intact, found.signer_trusted) == ("Valid", True, False)
        assert found.codes == ["signingCredential.untrusted"]
        assert found.sound is False


def test_the_root_or_the_issuer_among_several_anchors_is_enough(studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(stamped(studio, "png"))
    issuer = (studio.workspace.keys / "development" / "issuing.pem").read_text()
    other = certificate_pem(issue("other root", None, 1, timedelta(days=9), datetime.now(UTC)).certificate).decode()
    for anchors in ([issuer], [other, studio.identity.anchors_pem], [other + studio.identity.anchors_pem + other]):
        assert verify(path, anchors).state == "Trusted"


def test_a_chain_without_its_issuer_is_valid_and_no_more(studio: Studio, tmp_path: Path) -> None:
    end = "-----END CERTIFICATE-----\n"
    alone = studio.identity.chain_pem.split(end)[0] + end
    identity = replace(studio.identity, chain_pem=alone)
    signed = stamp(picture(1), studio.facts(1, "tamper"), None, identity, studio.settings)
    found = read(signed.data, studio, tmp_path)
    assert (signed.validation_state, found.state, found.signer_trusted) == ("Valid", "Valid", False)


def test_a_manifest_moved_onto_another_picture_is_invalid(studio: Studio, tmp_path: Path) -> None:
    data, other = stamped(studio, "png"), encoded(np.asarray(Image.fromarray(picture(9))), "PNG")
    start = data.index(b"caBX") - 4
    length = int.from_bytes(data[start : start + 4], "big") + 12
    found = read(other[:33] + data[start : start + length] + other[33:], studio, tmp_path)
    assert (found.state, found.intact) == ("Invalid", False)


def test_a_sidecar_of_another_file_is_invalid(studio: Studio, tmp_path: Path) -> None:
    settings = studio.settings.model_copy(update={"placement": "sidecar"})
    one = stamp(picture(1), studio.facts(1, "tamper"), studio.model, studio.identity, settings)
    (tmp_path / "a.c2pa").write_bytes(one.manifest_store)
    assert read(one.data, studio, tmp_path, "a.png").state == "Trusted"
    assert read(one.data + b"\0", studio, tmp_path, "a.png").state == "Invalid"
    assert read(encoded(picture(2), "PNG"), studio, tmp_path, "a.png").state == "Invalid"
    (tmp_path / "a.c2pa").write_bytes(b"rubbish")
    assert read(one.data, studio, tmp_path, "a.png").state == "Unreadable"
