"""Files made to break decoders: mutations of every format, and bombs. Each gets a verdict; the batch goes on."""

import io
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.catalog.decode import FORMATS
from pipeline.catalog.tables import INVENTORY
from pipeline.core.errors import ImprimaturError
from pipeline.core.guard import Guard, Limits, Lost
from pipeline.core.settings import DatasetSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest.entries import Item
from pipeline.ingest.places import Span
from pipeline.ingest.reasons import EXPLANATIONS
from pipeline.ingest.shard import Shard, examine_item
from pipeline.ingest.sources import open_source
from pipeline.ingest.table import Mapping
from tests.ingest.same_set import json_lines, members, write_images_parquet, write_tar, write_zip


def picture(side: int = 96) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image_format: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x8298] = 6, "(c) Ada"
    stream = io.BytesIO()
    if image_format != "GIF":
        options |= {"exif": exif}
    picture().save(stream, image_format, **options)
    return stream.getvalue()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, runs overwritten, cut out, doubled, or numbers made large: what breaks parsers."""
    work = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(len(work)) if rng.random() < 0.5 else rng.randrange(min(len(work), 300))
        kind = rng.randrange(6)
        if kind == 0:
            work[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            work[place : place + rng.randrange(1, 64)] = rng.randbytes(rng.randrange(1, 64))
        elif kind == 2:
            del work[place : place + rng.randrange(1, 200)]
        elif kind == 3:
            work[place:place] = work[max(0, place - 100) : place]
        elif kind == 4:
            work[place : place + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
        else:
            del work[max(place, len(work) // 3) :]
        if not work:
            return b""
    return bytes(work)


def verdicts(files: list[bytes], folder: Path, limits: Limits) -> Counter[str]:
    """Examine each in the guard, as a shard does; count status and reason."""
    store = folder / "files.bin"
    store.write_bytes(b"".join(files))
    items, offset = [], 0
    for number, data in enumerate(files):
        items.append(Item(f"{number}.jpg", Span(str(store), len(data), "", offset), {"key": str(number)}))
        offset += len(data)
    blob = folder / "blob.bin"
    blob.touch()
    shard = Shard("blobs/x", blob, True, (255, 255, 255), Mapping({}, {}), ())
    found: Counter[str] = Counter()
    with Guard(examine_item, shard, limits) as guard:
        for outcome in guard.examine_all(items):
            if isinstance(outcome, Lost):
                found[outcome.reason] += 1
            else:
                row, _ = outcome
                assert set(row) == set(INVENTORY.names)
                found[row["reason"] or row["status"]] += 1
                if row["status"] == "accepted":
                    shard.note(row)
    assert sum(found.values()) == len(files)
    return found


SORTS = [(image_format, {}) for image_format in FORMATS] + [
    ("JPEG", {"progressive": True}),
    ("JPEG", {"restart_marker_rows": 1}),
    ("TIFF", {"compression": "tiff_deflate"}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {"lossless": True}),
]


def fuzzed(number: int, seed: int, folder: Path) -> Counter[str]:
    rng = random.Random(seed)
    originals = [encoded(image_format, **options) for image_format, options in SORTS]
    return verdicts([mutated(rng.choice(originals), rng) for _ in range(number)], folder, Limits())


def test_mutated_files_of_every_format_get_a_verdict(tmp_path: Path) -> None:
    found = fuzzed(600, 0, tmp_path)
    assert set(found) <= {*EXPLANATIONS, "accepted"}
    assert found["CORRUPT"] + found["TRUNCATED"] > 100 and found["accepted"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_many_more_mutated_files_get_a_verdict(tmp_path: Path, seed: int) -> None:
    assert set(fuzzed(3000, seed, tmp_path)) <= {*EXPLANATIONS, "accepted"}


def scan_bomb(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: small, valid enough, and hours of work."""
    stream = io.BytesIO()
    picture().resize((6000, 6000)).save(stream, "JPEG", progressive=True, quality=30)
    data = stream.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def test_a_jpeg_with_endless_scans_is_stopped_and_its_neighbours_are_taken(tmp_path: Path) -> None:
    files = [encoded("PNG"), scan_bomb(400), encoded("JPEG")]
    assert verdicts(files, tmp_path, Limits(seconds=1.0)) == Counter({"accepted": 2, "TIME_LIMIT": 1})


@pytest.mark.slow
def test_ten_seconds_are_the_limit(tmp_path: Path) -> None:
    assert verdicts([scan_bomb(2000), encoded("JPEG")], tmp_path, Limits())["TIME_LIMIT"] == 1


def test_the_largest_pictures_that_are_taken_fit_into_the_memory_that_a_file_may_take(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 65535, 8000).astype(np.uint16), (8000, 8000))
    files = []
    for image in (Image.fromarray(ramp), Image.fromarray((ramp >> 8).astype(np.uint8)).convert("LA")):
        stream = io.BytesIO()
        image.save(stream, "PNG", compress_level=1)
        files.append(stream.getvalue())
    assert verdicts(files, tmp_path, Limits(seconds=60)) == Counter({"accepted": 2})
    assert verdicts(files, tmp_path, Limits(seconds=60, memory=100_000_000)) == Counter({"MEMORY_LIMIT": 2})


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet", "jsonl", "tar.gz"])
def test_mutated_archives_and_tables_give_items_or_a_message(tmp_path: Path, kind: str) -> None:
    files = members(with_json=True) | {"metadata.jsonl": json_lines()}
    if kind == "parquet":
        data = write_images_parquet(tmp_path / "x.parquet").read_bytes()
    elif kind == "jsonl":
        data = json_lines()
    elif kind == "zip":
        data = write_zip(tmp_path / "x.zip", files).read_bytes()
    else:
        data = write_tar(tmp_path / f"x.{kind}", files, "w:gz" if kind == "tar.gz" else "w").read_bytes()
    rng = random.Random(kind)
    outcomes: Counter[str] = Counter()
    for number in range(60):
        source = tmp_path / str(number) / f"x.{kind}"
        source.parent.mkdir()
        source.write_bytes(mutated(data, rng))
        try:
            with open_source(DatasetSettings(name="set", source=str(source)), Workspace(tmp_path / "home")) as opened:
                outcomes["items"] += len(list(opened.items())) > 0
        except ImprimaturError as error:
            assert error.fix
            outcomes["message"] += 1
    assert sum(outcomes.values()) == 60 and outcomes["items"] > 0
