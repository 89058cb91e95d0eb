"""Facts about rights as found in a file and in its sidecars, uninterpreted: that is for rights.

One JSON object a file, empty when there is nothing:
`xmp` {prefix:name: value, or a list of values where the file states several}, `exif_copyright`, `iptc_copyright`,
`headers` {name: [values]} as the server sent them, `c2pa` (see content_credentials), `unreadable` [what, why].
"""

import json
import struct
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring
from PIL import IptcImagePlugin
from PIL.ImageFile import ImageFile

from pipeline.catalog.jpeg import outside_scans
from pipeline.ingest.content_credentials import read_credentials

MAX_XMP_BYTES = 1_000_000
MAX_SIDECAR_BYTES = 1_000_000
MAX_VALUE = 4_000  # characters of one value that are kept

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_PREFIXES = {
    "http://ns.useplus.org/ldf/xmp/1.0/": "plus",
    "http://creativecommons.org/ns#": "cc",
    "http://web.resource.org/cc/": "cc",
    "http://ns.adobe.com/xap/1.0/rights/": "xmpRights",
    "http://www.w3.org/ns/tdmrep/": "tdm",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
}
_ONLY = {"dc": {"rights", "creator"}, "Iptc4xmpExt": {"DigitalSourceType", "PersonInImage"}}  # else every property
_PACKET = (b"<x:xmpmeta", b"</x:xmpmeta>")
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_PLUS = b"http://ns.useplus.org/ldf/xmp/1.0/"


def read_signals(
    data: bytes, image: ImageFile, sidecars: Sequence[tuple[str, bytes]] = (), problems: Sequence[str] = ()
) -> str:
    """JSON (ASCII, sorted keys) of the facts in an image's bytes and in its sidecars; "" for none.

    `image` is the header of `data`, from catalog.decode; `sidecars` are name and content of each file of facts;
    `problems` what else about the file could not be read. Never raises: what cannot be read is itself a fact.
    """
    unreadable: list[str] = list(problems)
    searched = outside_scans(data) if image.format in ("JPEG", "MPO") else data
    credentials, faults = read_credentials(data, image.format or "", searched)
    packets = _packets(searched, image, unreadable)
    headers: dict[str, list[str]] = {}
    for name, content in sidecars:
        if len(content) > MAX_SIDECAR_BYTES:
            unreadable.append(f"{name}: more than {MAX_SIDECAR_BYTES:,} bytes")
        elif name.lower().endswith(".xmp"):
            packets.append(content)
        else:
            for name, values in _headers(content, unreadable).items():
                headers.setdefault(name, []).extend(values)
    facts: dict[str, Any] = {
        "xmp": _xmp(searched, packets, unreadable),
        "exif_copyright": _exif_copyright(image, unreadable),
        "iptc_copyright": _iptc_copyright(image, unreadable),
        "headers": headers,
        "c2pa": credentials,
        "unreadable": unreadable + faults,
    }
    facts = {name: value for name, value in facts.items() if value}
    return json.dumps(facts, sort_keys=True, separators=(",", ":")) if facts else ""


def _xmp(data: bytes, packets: list[bytes], unreadable: list[str]) -> dict[str, str | list[str]]:
    """Rights properties of every XMP packet: two packets that disagree are both told."""
    found: dict[str, list[str]] = {}
    for packet in filter(None, packets):
        if len(packet) > MAX_XMP_BYTES:
            unreadable.append(f"xmp: a packet of {len(packet):,} bytes")
            continue
        try:
            root = fromstring(packet.strip(b"\0 \t\r\n"), forbid_dtd=True)
        except Exception as error:  # ParseError, and defusedxml's refusals
            unreadable.append(f"xmp: {type(error).__name__}: {error}"[:300])
            continue
        for name, value in _properties(root):
            if value not in found.setdefault(name, []):
                found[name].append(value)
    known = any(name.startswith("plus:") for name in found)
    if not known and not unreadable and _PLUS in _without(data, packets):
        unreadable.append("xmp: the file mentions PLUS rights data that is in none of its XMP packets")
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _without(data: bytes, packets: list[bytes]) -> bytes:
    """The bytes of a file but for the packets that were read: these often declare namespaces that they do not use."""
    for packet in filter(None, packets):
        data = data.replace(packet, b"")
    return data


def _packets(data: bytes, image: ImageFile, unreadable: list[str]) -> list[bytes]:
    """The packet that Pillow knows of, every other one in the bytes (GIF, second pictures), and Adobe's extension."""
    info = image.info
    known = info.get("xmp") or b""
    packets = [known.encode() if isinstance(known, str) else bytes(known)] if known else []
    if image.format in ("JPEG", "MPO") and _EXTENSION in data:
        extended, data = _extended(data)
        packets += extended
    start = data.find(_PACKET[0])
    while start >= 0:
        end = data.find(_PACKET[1], start)
        packet = data[start : end + len(_PACKET[1]) if end >= 0 else start + MAX_XMP_BYTES]
        if not any(packet in other for other in packets):
            packets.append(packet)
        start = data.find(_PACKET[0], start + len(packet))
    if any(isinstance(name, str) and name.lower().startswith("raw profile type xmp") for name in info):
        unreadable.append("xmp: in ImageMagick's raw profile form")
    return packets


def _extended(data: bytes) -> tuple[list[bytes], bytes]:
    """Extended XMP of a JPEG, put together from its APP1 segments, and the bytes without these segments.

    XMP specification part 3, 1.1.3.1: GUID (32 bytes), full length (4), offset of this part (4), the part.
    """
    parts: dict[bytes, dict[int, bytes]] = {}
    rest, after = [], 0
    position = data.find(_EXTENSION)
    while position >= 2:
        end = position - 2 + int.from_bytes(data[position - 2 : position], "big")
        body = data[position + len(_EXTENSION) : end]
        if len(body) > 40:
            parts.setdefault(body[:32], {})[struct.unpack(">I", body[36:40])[0]] = body[40:]
            rest.append(data[after:position])
            after = end
        position = data.find(_EXTENSION, max(end, position + 1))
    packets = [b"".join(part for _, part in sorted(pieces.items())) for pieces in parts.values()]
    return packets, b"".join([*rest, data[after:]])


def _properties(root: Element) -> list[tuple[str, str]]:
    """Rights properties at any depth, as attributes or as elements; parts of a list are told one by one."""
    found = []
    for element in root.iter():
        for name, value in element.attrib.items():
            if known := _known(name):
                found.append((known, value))
        if known := _known(element.tag):
            resource = element.get(f"{_RDF}resource")
            texts = [resource] if resource else [text.strip() for text in element.itertext()]
            found.extend((known, text) for text in texts if text)
    return [(name, value.strip()[:MAX_VALUE]) for name, value in found]


def _known(name: Any) -> str | None:
    """prefix:name of a property that is recorded."""
    if not isinstance(name, str) or not name.startswith("{"):
        return None
    namespace, local = name[1:].split("}", 1)
    prefix = _PREFIXES.get(namespace)
    if prefix is None or local not in _ONLY.get(prefix, {local}):
        return None
    return f"{prefix}:{local}"


def _exif_copyright(image: ImageFile, unreadable: list[str]) -> str:
    try:
        return _text(image.getexif().get(0x8298))
    except Exception as error:
        unreadable.append(f"exif: {type(error).__name__}: {error}"[:300])
        return ""


def _iptc_copyright(image: ImageFile, unreadable: list[str]) -> str:
    """IIM record 2, data set 116."""
    try:
        return _text((IptcImagePlugin.getiptcinfo(image) or {}).get((2, 116)))
    except Exception as error:
        unreadable.append(f"iptc: {type(error).__name__}: {error}"[:300])
        return ""


def _headers(content: bytes, unreadable: list[str]) -> dict[str, list[str]]:
    """HTTP response headers from their sidecar.

    Read are {name: value or [values]}, [[name, value], ...], [{"name": name, "value": value}, ...] as in HAR files,
    and any of these as the "headers" of an object. Anything else is unreadable as a whole.
    """
    headers: dict[str, list[str]] = {}
    try:
        value = json.loads(content)
        if isinstance(value, dict) and isinstance(value.get("headers"), dict | list):
            value = value["headers"]
        for name, item in value.items() if isinstance(value, dict) else map(_pair, value):
            values = [one for one in (item if isinstance(item, list) else [item]) if one is not None]
            if not isinstance(name, str) or not all(isinstance(one, str | int | float) for one in values):
                raise ValueError("a header that is no text")
            headers.setdefault(name, []).extend(str(one)[:MAX_VALUE] for one in values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        unreadable.append(f"headers: {type(error).__name__}: {error}"[:300])
        return {}
    return headers


def _pair(value: Any) -> tuple[Any, Any]:
    if isinstance(value, dict):
        return value["name"], value["value"]
    name, item = value
    return name, item


def _text(value: Any) -> str:
    """Text of a tag's value; several values are joined, bytes are UTF-8 or else Latin-1. Always valid Unicode."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "; ".join(_text(item) for item in value)
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            value = value.decode("latin-1")
    return str(value).strip("\0 \t\r\n").encode(errors="replace").decode()[:MAX_VALUE]
