"""Mutated files: whatever was done to a stamped file or its sidecar, verify answers, in time, and never with trust
that was not earned.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from credentials_studio import Studio, decoded, picture

from pipeline.credentials.guard import guarded
from pipeline.credentials.images import Format
from pipeline.credentials.stamp import stamp

FORMATS: list[Format] = ["png", "jpeg", "webp", "avif", "tiff", "gif"]
STATES = {"Trusted", "Valid", "Invalid", "None", "Remote", "Unreadable"}
BOXES = (b"jumb", b"jumd", b"cbor", b"json", b"uuid", b"bfdb", b"caBX", b"C2PA", b"mdat", b"meta", b"ftyp", b"IDAT")
NASTY = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\x9f", b"\xbf", b"\x5f", b"\x9b" * 9)
Mutation = Callable[[bytearray, random.Random, bytes], None]


def change_bytes(data: bytearray, chance: random.Random, _: bytes) -> None:
    for _each in range(chance.randrange(1, 12)):
        data[chance.randrange(len(data))] = chance.randrange(256)


def cut(data: bytearray, chance: random.Random, _: bytes) -> None:
    place = chance.randrange(len(data))
    del data[place : place + chance.randrange(1, 300)]


def insert(data: bytearray, chance: random.Random, _: bytes) -> None:
    place = chance.randrange(len(data))
    data[place:place] = chance.randbytes(chance.randrange(1, 80))


def truncate(data: bytearray, chance: random.Random, _: bytes) -> None:
    del data[chance.randrange(1, len(data)) :]


def repeat(data: bytearray, chance: random.Random, _: bytes) -> None:
    place, length = chance.randrange(len(data)), chance.randrange(1, 3000)
    data[place:place] = data[place : place + length] * chance.randrange(1, 6)


def splice(data: bytearray, chance: random.Random, other: bytes) -> None:
    place, taken = chance.randrange(len(data)), chance.randrange(len(other))
    data[place:] = other[taken : taken + chance.randrange(1, len(other))]


def lie_about_length(data: bytearray, chance: random.Random, _: bytes) -> None:
    """Put a wrong length before a box, or other bytes behind its name."""
    places = [place for box in BOXES for place in _places(data, box)]
    if not places:
        return change_bytes(data, chance, b"")
    place, nasty = chance.choice(places), chance.choice(NASTY)
    start = max(0, place - 4) if chance.random() < 0.7 else place + chance.randrange(4, 40)
    data[start : start + len(nasty)] = nasty
    return None


def wreck_the_store(data: bytearray, chance: random.Random, _: bytes) -> None:
    """Structural CBOR bytes inside the manifests: endless arrays, deep maps, huge strings."""
    start = max(0, data.find(b"jumb"))
    for _each in range(chance.randrange(1, 6)):
        place, nasty = chance.randrange(start, len(data)), chance.choice(NASTY)
        data[place : place + len(nasty)] = nasty


MUTATIONS: tuple[Mutation, ...] = (
    change_bytes, cut, insert, truncate, repeat, splice, lie_about_length, wreck_the_store,
)  # fmt: skip


def _places(data: bytearray, box: bytes) -> list[int]:
    found, place = [], data.find(box)
    while place >= 0 and len(found) < 40:
        found.append(place)
        place = data.find(box, place + 1)
    return found


def fuzz(studio: Studio, folder: Path, count: int, seed: int) -> tuple[Counter[str], float]:
    """Verify so many mutated files; returns how often each state or worker's code came, and the longest seconds."""
    files = {name: studio.stamped(1, "fuzz", name).data for name in FORMATS}
    pixels = {name: decoded(data) for name, data in files.items()}
    beside = studio.settings.model_copy(update={"placement": "sidecar"})
    alone = stamp(picture(2), studio.facts(2, "fuzz"), studio.model, studio.identity, beside)
    seen, longest = Counter[str](), 0.0
    anchors, key = [studio.identity.anchors_pem], studio.identity.watermark_key
    with guarded(anchors, studio.workspace, key) as verify_file:
        for number in range(count):
            chance = random.Random(seed * 1_000_003 + number)
            name = chance.choice([*FORMATS, "sidecar"])
            original = alone.manifest_store if name == "sidecar" else files[name]  # type: ignore[index]
            data = bytearray(original)
            for _each in range(chance.choice((1, 1, 1, 2, 4))):
                chance.choice(MUTATIONS)(data, chance, files[chance.choice(FORMATS)])
                data = data or bytearray(b"x")
            path = folder / "mutated.png"
            sidecar = folder / "mutated.c2pa"
            sidecar.unlink(missing_ok=True)
            if name == "sidecar":
                sidecar.write_bytes(data)
            path.write_bytes(alone.data if name == "sidecar" else data)
            started = time.monotonic()
            found = verify_file(path)
            longest = max(longest, time.monotonic() - started)
            json.dumps(found.as_json())
            assert found.state in STATES
            if found.state == "Trusted" and name != "sidecar" and bytes(data) != original:
                # only what the hard binding leaves out may differ: a checksum or padding of the manifests' own chunk
                unseen = "image.undecodable" in found.codes
                assert unseen or (decoded(bytes(data)) == pixels[name]).all(), (seed, number)  # type: ignore[index]
                assert not (unseen and found.sound)
                seen["Trusted, undecodable" if unseen else "Trusted, same pixels"] += 1
            seen[found.state] += 1
            seen.update(code for code in found.codes if code.startswith("file."))
    return seen, longest


def test_mutated_files_end_in_an_answer(studio: Studio, tmp_path: Path) -> None:
    seen, _ = fuzz(studio, tmp_path, 300, seed=1)
    assert sum(seen[state] for state in STATES) == 300
    assert not {"file.timeout", "file.crashedReader", "file.exhausted"}.intersection(seen)


@pytest.mark.slow
def test_fifty_thousand_mutated_files_end_in_an_answer(studio: Studio, tmp_path: Path) -> None:
    seen, longest = fuzz(studio, tmp_path, 50_000, seed=2)
    print(f"\n{dict(seen)}, longest {longest:.2f} s")
    assert sum(seen[state] for state in STATES) == 50_000
    assert not {"file.timeout", "file.crashedReader", "file.exhausted"}.intersection(seen)
