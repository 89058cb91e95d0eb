"""Boxes of a manifest store (JUMBF, ISO/IEC 19566-5): as much of it as handing out one manifest needs."""

from collections.abc import Iterator

_HEADER = 8  # bytes: length, type


def active_manifest_only(store: bytes) -> bytes:
    """A manifest store that holds only the active manifest, which is the last one (C2PA 2.2, 11.1.4.2).

    Raises ValueError for bytes that are no manifest store.
    """
    kind, content = next(_boxes(store), (b"", b""))
    children = list(_boxes(content))
    if kind != b"jumb" or len(children) < 2 or children[0][0] != b"jumd":
        raise ValueError("not a manifest store")
    kept = b"".join(_box(*child) for child in (children[0], children[-1]))
    return _box(b"jumb", kept)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each box in turn. Raises ValueError for a length that does not fit."""
    place = 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        if length < _HEADER or place + length > len(data):
            raise ValueError("a box does not fit its length")
        yield data[place + 4 : place + 8], data[place + _HEADER : place + length]
        place += length


def _box(kind: bytes, content: bytes) -> bytes:
    return (_HEADER + len(content)).to_bytes(4, "big") + kind + content
