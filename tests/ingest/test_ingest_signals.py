"""Facts in files: XMP in every spelling and container, copyright tags, headers, content credentials."""

import io
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.catalog.decode import open_image
from pipeline.core.settings import CredentialSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import ensure_identity
from pipeline.credentials.permissions import sign_training_mining
from pipeline.ingest.signals import read_signals

PROHIBITED = "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
PLUS = 'xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/"'


def xmp(description: str) -> bytes:
    return (f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {RDF}>{description}</rdf:RDF></x:xmpmeta>').encode()


ATTRIBUTE = xmp(f'<rdf:Description rdf:about="" {PLUS} plus:DataMining="{PROHIBITED}"/>')
ELEMENT = xmp(
    f'<rdf:Description rdf:about="" {PLUS}><plus:DataMining>{PROHIBITED}</plus:DataMining></rdf:Description>'
)
RESOURCE = xmp(f'<rdf:Description {PLUS}><plus:DataMining rdf:resource="{PROHIBITED}"/></rdf:Description>')
OTHER_PREFIX = ATTRIBUTE.replace(b"plus:", b"p:").replace(b":plus=", b":p=")


def picture() -> Image.Image:
    return Image.linear_gradient("L").resize((48, 48)).convert("RGB")


def encoded(image_format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture().save(stream, image_format, **options)
    return stream.getvalue()


def facts(data: bytes, *sidecars: Path) -> dict[str, Any]:
    text = read_signals(data, open_image(data), [(path.name, path.read_bytes()) for path in sidecars])
    return dict(json.loads(text)) if text else {}


@pytest.mark.parametrize("packet", [ATTRIBUTE, ELEMENT, RESOURCE, OTHER_PREFIX])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_plus_data_mining_is_found_in_every_spelling_and_container(image_format: str, packet: bytes) -> None:
    if image_format == "PNG":
        data = encoded()
        chunk = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + packet
        data = data[:-12] + png_chunk(chunk) + data[-12:]  # after the pixels, where many tools put it
    else:
        data = encoded(image_format, xmp=packet)
    assert facts(data) == {"xmp": {"plus:DataMining": PROHIBITED}}


def png_chunk(content: bytes) -> bytes:
    return (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")


def test_xmp_in_tiff_and_gif() -> None:
    assert facts(encoded("TIFF", tiffinfo={700: ATTRIBUTE}))["xmp"] == {"plus:DataMining": PROHIBITED}
    extension = b"\x21\xff\x0bXMP DataXMP" + ATTRIBUTE + b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    plain = encoded("GIF")
    data = plain[:-1] + extension + b";"
    assert facts(data)["xmp"] == {"plus:DataMining": PROHIBITED}


def test_extended_xmp_of_a_jpeg_is_put_together() -> None:
    main = xmp('<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:creator="Ada"/>')
    parts = [ATTRIBUTE[:150], ATTRIBUTE[150:]]
    segments = b""
    for part, offset in zip(parts, (0, 150), strict=True):
        body = b"http://ns.adobe.com/xmp/extension/\0" + b"G" * 32
        body += len(ATTRIBUTE).to_bytes(4, "big") + offset.to_bytes(4, "big") + part
        segments += b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    plain = encoded("JPEG", xmp=main)
    assert facts(plain[:2] + segments + plain[2:]) == {"xmp": {"dc:creator": "Ada", "plus:DataMining": PROHIBITED}}


def test_rights_properties_are_told_with_their_namespaces() -> None:
    packet = xmp(
        f"""<rdf:Description {PLUS} xmlns:cc="http://creativecommons.org/ns#"
        xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" xmlns:dc="http://purl.org/dc/elements/1.1/"
        xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:fake="http://example.com/"
        xmpRights:WebStatement="https://example.com/rights" fake:DataMining="no"
        Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture">
        <cc:license rdf:resource="https://creativecommons.org/licenses/by/4.0/"/>
        <dc:rights><rdf:Alt><rdf:li xml:lang="x-default">(c) Ada</rdf:li>
        <rdf:li xml:lang="de">© Ada</rdf:li></rdf:Alt></dc:rights>
        <dc:title>not recorded</dc:title></rdf:Description>"""
    )
    assert facts(encoded("JPEG", xmp=packet))["xmp"] == {
        "Iptc4xmpExt:DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
        "cc:license": "https://creativecommons.org/licenses/by/4.0/",
        "dc:rights": ["(c) Ada", "© Ada"],
        "xmpRights:WebStatement": "https://example.com/rights",
    }


@pytest.mark.parametrize(
    "packet",
    [
        ATTRIBUTE[:-30],
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + ATTRIBUTE,
        xmp("<rdf:Description>" * 3),
        b"\xff\xfe" + ATTRIBUTE,
    ],
)
def test_xmp_that_cannot_be_read_is_itself_a_fact(packet: bytes) -> None:
    assert facts(encoded("WEBP", xmp=packet))["unreadable"][0].startswith("xmp: ")


def test_plus_data_outside_of_any_packet_is_reported() -> None:
    found = facts(encoded() + ATTRIBUTE.replace(b"x:xmpmeta", b"y:xmpmeta"))
    assert "PLUS" in found["unreadable"][0]


def test_a_file_without_rights_data_has_no_facts() -> None:
    for image_format in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF"):
        assert facts(encoded(image_format)) == {}


def test_copyright_tags() -> None:
    exif = Image.Exif()
    exif[0x8298] = "(c) 2026 Ada Lovelace"
    assert facts(encoded("JPEG", exif=exif)) == {"exif_copyright": "(c) 2026 Ada Lovelace"}
    record = b"\x1c\x02\x74" + len("© Ada".encode()).to_bytes(2, "big") + "© Ada".encode()
    resource = b"8BIM\x04\x04\0\0" + len(record).to_bytes(4, "big") + record + b"\0" * (len(record) % 2)
    body = b"Photoshop 3.0\0" + resource
    plain = encoded("JPEG")
    data = plain[:2] + b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body + plain[2:]
    assert facts(data) == {"iptc_copyright": "© Ada"}


def test_headers_of_the_download(tmp_path: Path) -> None:
    sidecar = tmp_path / "a.headers.json"
    sidecar.write_text('{"X-Robots-Tag": ["noai", "otherbot: noindex"], "tdm-reservation": 1}')
    assert facts(encoded(), sidecar)["headers"] == {
        "X-Robots-Tag": ["noai", "otherbot: noindex"],
        "tdm-reservation": ["1"],
    }
    sidecar.write_text('[["tdm-reservation", "1"], ["tdm-reservation", "0"]]')
    assert facts(encoded(), sidecar)["headers"] == {"tdm-reservation": ["1", "0"]}


@pytest.mark.parametrize("content", ["", "{", "17", '["a"]', "[" * 100_000, '["' + "y" * 2_000_000 + '"]'])
def test_headers_that_cannot_be_read_are_a_fact(tmp_path: Path, content: str) -> None:
    sidecar = tmp_path / "a.headers.json"
    sidecar.write_text(content)
    found = facts(encoded(), sidecar)
    assert "headers" in found["unreadable"][0] and "headers" not in found


def test_an_xmp_sidecar_counts_like_embedded_xmp(tmp_path: Path) -> None:
    sidecar = tmp_path / "a.xmp"
    sidecar.write_bytes(ATTRIBUTE)
    assert facts(encoded(), sidecar) == {"xmp": {"plus:DataMining": PROHIBITED}}


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    workspace = Workspace(tmp_path_factory.mktemp("studio"))
    identity = ensure_identity(CredentialSettings(), workspace)
    entries = {"cawg.ai_generative_training": "notAllowed", "cawg.ai_inference": "allowed"}
    return sign_training_mining(encoded("JPEG"), "image/jpeg", entries, "plate", "2026-01-01T00:00:00Z", identity)


def test_training_and_mining_wishes_in_a_signed_credential(signed: bytes) -> None:
    found = facts(signed)["c2pa"]
    assert found["state"] in ("Valid", "Trusted")
    assert {entry["entry"]: entry["use"] for entry in found["training_mining"]} == {
        "cawg.ai_generative_training": "notAllowed",
        "cawg.ai_inference": "allowed",
    }
    assert all(entry["active"] for entry in found["training_mining"])


def test_wishes_are_still_read_from_a_file_that_was_altered(signed: bytes) -> None:
    position = signed.rindex(b"\xff\xda") + 40
    altered = signed[:position] + bytes([signed[position] ^ 1]) + signed[position + 1 :]
    found = facts(altered)["c2pa"]
    assert found["state"] == "Invalid"
    assert "notAllowed" in {entry["use"] for entry in found["training_mining"]}


def test_a_damaged_manifest_store_is_reported(signed: bytes) -> None:
    found = facts(signed.replace(b"jumb", b"jumx", 2))
    assert found["c2pa"]["state"] in ("Unreadable", "Invalid")


def test_a_credential_that_is_kept_elsewhere_is_named_and_not_fetched() -> None:
    url = "https://example.com/plate.c2pa"
    packet = xmp(f'<rdf:Description xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{url}"/>')
    assert facts(encoded("JPEG", xmp=packet)) == {
        "c2pa": {"state": "Remote", "remote_url": url, "training_mining": []}
    }
