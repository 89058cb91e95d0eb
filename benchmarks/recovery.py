"""Recovery of stripped outputs: how many copies lead back to their manifest, and how many strangers do.

IMPRIMATUR_MIRROR=<folder with crawl-tiles, game-icons, fashion-mnist, bccd-blood-cells> python benchmarks/recovery.py

Outputs are pictures of the four datasets, at 256 and at 64 px, stamped and recorded as a night does it. Copies carry
no metadata. Strangers are other pictures of the same datasets; two pictures that the house's own rule for duplicates
calls the same are no strangers and are counted apart.
"""

import argparse
import io
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from copy_guard import fashion, tiles
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

from pipeline.catalog.database import open_catalog
from pipeline.catalog.records import record_outputs
from pipeline.catalog.tables import outputs
from pipeline.core.settings import CredentialSettings, DuplicateSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import Identity, ensure_identity
from pipeline.credentials.images import decode_small
from pipeline.credentials.manifest import OutputFacts
from pipeline.credentials.recovery import find_output, fingerprint_matches
from pipeline.credentials.repository import record_output
from pipeline.credentials.stamp import stamp
from pipeline.similarity.fingerprints import fingerprint, hash_words, thumbnails
from pipeline.similarity.groups import duplicate_groups

Pixels = NDArray[np.uint8]
WHEN = "2026-11-24T02:00:00Z"


def encoded(image: Image.Image, quality: int | None = None) -> bytes:
    stream = io.BytesIO()
    image.save(
        stream, *(("PNG",) if quality is None else ("JPEG",)), **({} if quality is None else {"quality": quality})
    )
    return stream.getvalue()


def resized(image: Image.Image, factor: float) -> Image.Image:
    size = round(image.width * factor), round(image.height * factor)
    return image.resize(size, Image.Resampling.BICUBIC)


def edges_lost(image: Image.Image, part: float) -> Image.Image:
    across, down = max(1, round(image.width * part)), max(1, round(image.height * part))
    return image.crop((across, down, image.width - across, image.height - down))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "stripped": lambda image: encoded(image),
    "JPEG 60": lambda image: encoded(image, 60),
    "60 % of the size": lambda image: encoded(resized(image, 0.6)),
    "screenshot: 125 %, 2 % lost at each edge, JPEG 85": lambda image: encoded(
        edges_lost(resized(image, 1.25), 0.02), 85
    ),
    "beyond: 5 % lost at each edge, JPEG 75": lambda image: encoded(edges_lost(image, 0.05), 75),
    "beyond: a corner, 90 % of each side, JPEG 75": lambda image: encoded(
        image.crop((0, 0, round(image.width * 0.9), round(image.height * 0.9))), 75
    ),
}


def pictures(mirror: Path) -> dict[str, list[Pixels]]:
    """Each dataset's pictures in an order of chance that is always the same."""
    blood = [
        np.asarray(Image.open(path).convert("RGB")) for path in sorted((mirror / "bccd-blood-cells/images").iterdir())
    ]
    sets = {
        "crawl-tiles": tiles(mirror / "crawl-tiles" / "tiles"),
        "game-icons": tiles(mirror / "game-icons" / "png64"),
        "fashion-mnist": fashion(mirror / "fashion-mnist")[:8000],
        "bccd-blood-cells": [blood_cell for photo in blood for blood_cell in quarters(photo)],
    }
    chance = np.random.default_rng(0)
    return {name: [found[k] for k in chance.permutation(len(found))] for name, found in sets.items()}


def quarters(photo: Pixels) -> list[Pixels]:
    height, width = photo.shape[0] // 2, photo.shape[1] // 2
    return [photo[y : y + height, x : x + height] for y in (0, height) for x in (0, width)]


def at(rgb: Pixels, side: int) -> Image.Image:
    """Enlarged or reduced so that the shorter side has `side` px."""
    factor = side / min(rgb.shape[:2])
    return resized(Image.fromarray(rgb), factor)


def publish(workspace: Workspace, identity: Identity, chosen: dict[str, list[Pixels]], side: int) -> dict[str, bytes]:
    """Stamp and record; the published files by output id. What is not fit to be published is left out, and said."""
    published, refused = {}, Counter[str]()
    for name, found in chosen.items():
        for index, rgb in enumerate(found):
            facts = OutputFacts(f"{index}.png", WHEN, f"{name}-{side}", index)
            stamped = stamp(np.asarray(at(rgb, side)), facts, None, identity, CredentialSettings())
            if stamped.reasons:
                refused[f"{name}: {stamped.reasons[0]}"] += 1
                continue
            record_output(workspace, stamped, facts, f"images/{index}.png", "published")
            published[stamped.output] = stamped.data
    if refused:
        print(f"not published at {side} px: {dict(refused)}")
    return published


def recovered(workspace: Workspace, published: dict[str, bytes], copies: int, key: bytes) -> None:
    """Print a row for each kind of copy."""
    chance = np.random.default_rng(1)
    chosen = [list(published.items())[k] for k in chance.permutation(len(published))[:copies]]
    for name, copy in COPIES.items():
        right, wrong, by, spent = 0, 0, Counter[str](), time.process_time()
        for output, data in chosen:
            found, _ = find_output(
                workspace, "", "", decode_small(copy(Image.open(io.BytesIO(data)).convert("RGB"))), key
            )
            right += bool(found and same(found.entry.output, output, published))
            wrong += bool(found and not same(found.entry.output, output, published))
            by[found.found_by if found else "not found"] += 1
        spent = 1000 * (time.process_time() - spent) / len(chosen)
        shares = f"{right / len(chosen):.4f} | {wrong} | {by['watermark']} / {by['fingerprint']} / {by['not found']}"
        print(f"| {name} | {shares} | {spent:.0f} ms |", flush=True)


def same(found: str, output: str, published: dict[str, bytes]) -> bool:
    return found == output or (found in published and duplicates(published[found], published[output]))


def duplicates(first: bytes, second: bytes) -> bool:
    """True when the house's rule calls two files the same picture."""
    prints = [fingerprint(decode_small(data)) for data in (first, second)]
    groups = duplicate_groups(
        [one.phash for one in prints], np.array([one.flatness for one in prints], np.float32),
        thumbnails([one.thumbnail for one in prints]), ["a", "b"], DuplicateSettings(),
    )  # fmt: skip
    return bool(groups[0] >= 0 and groups[0] == groups[1])


def strangers(
    workspace: Workspace, unrelated: Iterable[Image.Image], published: dict[str, bytes], key: bytes | None
) -> None:
    """Print how many strangers were taken for outputs; without a key, by looks alone."""
    found_by, duplicate, asked, spent = Counter[str](), 0, 0, time.process_time()
    for image in unrelated:
        asked += 1
        found, _ = find_output(workspace, "", "", np.asarray(image), key)
        if found and found.entry.output in published and duplicates(published[found.entry.output], encoded(image)):
            duplicate += 1
        elif found:
            found_by[found.found_by] += 1
            print(f"false: {found.found_by} {found.entry.batch} {found.entry.index} {found.evidence}", flush=True)
    spent = 1000 * (time.process_time() - spent) / asked
    how, false = "" if key else ", by looks alone", sum(found_by.values())
    print(f"strangers{how}: {asked} asked, {false} false recoveries; {duplicate} were an output's picture")
    print(f"by the rule for duplicates; {spent:.0f} ms CPU each", flush=True)


def at_scale(folder: Path, counts: list[int], query: Pixels) -> None:
    """Print the time of a lookup by looks beside that of a scan over all hashes, in catalogs of random hashes."""
    chance, workspace, known = np.random.default_rng(2), Workspace(folder), 0
    catalog = open_catalog(workspace)
    for count in counts:
        for start in range(known, count, 5000):
            record_outputs(catalog, [random_row(chance, number) for number in range(start, min(count, start + 5000))])
        known, times = count, []
        for look in (lambda: fingerprint_matches(workspace, query), lambda: scan(catalog, fingerprint(query).phash)):
            look()
            spent = time.process_time()
            for _ in range(5):
                look()
            times.append(1000 * (time.process_time() - spent) / 5)
        print(f"| {count:,} | {times[0]:.1f} ms | {times[1]:.1f} ms | {times[1] / times[0]:.1f} |", flush=True)
    size = (folder / "catalog.sqlite").stat().st_size / known
    print(f"catalog: {size:.0f} bytes an output, of which its thumbnail has 3,072")


def random_row(chance: np.random.Generator, number: int) -> dict[str, object]:
    names = [column.name for column in outputs.columns]
    return {
        **dict.fromkeys(names, ""), "output": f"{number:036d}", "index": number, "file_sha256": f"{number:064x}",
        "manifest": f"urn:c2pa:{number}", "watermark": f"{number:08x}", "phash": chance.bytes(32),
        "thumbnail": bytes(3072),
    }  # fmt: skip


def scan(catalog: object, phash: bytes) -> int:
    """What a lookup costs without an index: every hash is read and compared."""
    with catalog.connect() as connection:  # type: ignore[attr-defined]
        rows = connection.execute(select(outputs.c.output, outputs.c.phash)).all()
    apart = np.bitwise_count(hash_words([row.phash for row in rows]) ^ hash_words([phash])).sum(axis=1)
    return int((apart <= 48).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outputs", type=int, default=1000, help="at 256 px; half as many at 64 px")
    parser.add_argument("--copies", type=int, default=300, help="of each kind")
    parser.add_argument("--strangers", type=int, default=10_000)
    parser.add_argument("--searched", type=int, default=1_000, help="strangers searched for a watermark too (100 ms)")
    parser.add_argument("--scale", type=int, default=200_000, help="outputs in the largest synthetic catalog")
    given = parser.parse_args()
    known = pictures(Path(os.environ["IMPRIMATUR_MIRROR"]))
    share = given.outputs // len(known)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "studio")
        identity = ensure_identity(CredentialSettings(), workspace)
        for side, part in ((256, slice(0, share)), (64, slice(share, share + share // 2))):
            published = publish(workspace, identity, {name: found[part] for name, found in known.items()}, side)
            print(f"\n{side} px, {len(published)} outputs")
            print("| copy | right output | wrong | watermark / looks / not | CPU |")
            print("|---|---|---|---|---|")
            recovered(workspace, published, given.copies, identity.watermark_key)
            if side == 256:
                large = published
        rest = [rgb for found in known.values() for rgb in found[2 * share :]]
        chance = np.random.default_rng(3).permutation(len(rest))[: given.strangers]
        print()
        everything = {**large, **published}
        strangers(workspace, (at(rest[k], 256) for k in chance), everything, None)
        strangers(workspace, (at(rest[k], 256) for k in chance[: given.searched]), everything, identity.watermark_key)
        print("\n| outputs | by the index | scan of all hashes | ratio |\n|---|---|---|---|")
        query = np.asarray(at(known["game-icons"][0], 256))
        counts = [count for count in (2_000, 20_000, 200_000, 1_000_000) if count <= given.scale]
        at_scale(Path(folder) / "scale", counts, query)


if __name__ == "__main__":
    main()
