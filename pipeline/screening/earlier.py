"""Which earlier outputs a batch may repeat, without reading them all: a stored index of every batch's looks.

It finds repeats that are upright, turned, mirrored or cropped (either one may be a part of the other, turned too), at
the cost of the batch. The index is made of the batches' verdict tables, and made anew where it does not fit them.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.tables import HASH_BYTES
from pipeline.core.shards import read_table, write_json
from pipeline.screening.pictures import pixels_of
from pipeline.similarity.candidates import TURNS
from pipeline.similarity.crop_index import CropIndex
from pipeline.similarity.fingerprints import fingerprint, hash_words, thumbnails
from pipeline.similarity.hash_index import HashIndex
from pipeline.similarity.looks import turned


def earlier_rows(
    folder: Path, verdicts: Mapping[str, Path], images: Iterable[bytes], distance: int
) -> dict[str, list[int]]:
    """By batch the rows of its verdict table (tables.VERDICTS) that one of the images (PNG) may show again.

    `verdicts` names the table of each earlier batch; the index in `folder` takes in those that it lacks.
    """
    hashes, crops, listed = _index(folder / str(distance), verdicts, distance)
    shown = [pixels for data in images if (pixels := pixels_of(data)) is not None]
    pairs, _ = hashes.near(hash_words([phash for pixels in shown for phash in _positions(pixels)]))
    small = thumbnails([fingerprint(pixels).thumbnail for pixels in shown])
    parts = crops.near(np.concatenate([turned(small, turn) for turn in range(TURNS)]))
    found = np.union1d(pairs[:, 1], parts)
    ends = np.cumsum([count for _, count in listed])
    batch_of = np.searchsorted(ends, found, side="right")
    rows = {
        batch: (found[batch_of == number] - (ends[number] - count)).tolist()
        for number, (batch, count) in enumerate(listed)
        if batch in verdicts
    }
    return {batch: some for batch, some in rows.items() if some}


def _index(
    folder: Path, verdicts: Mapping[str, Path], distance: int
) -> tuple[HashIndex, CropIndex, list[tuple[str, int]]]:
    """The indexes with every batch in them, and the batches with their numbers of rows, in the order of the rows."""
    record = folder / "batches.json"
    hashes, crops = HashIndex(folder / "hashes", HASH_BYTES // 8, distance), CropIndex(folder / "crops")
    listed = [(batch, count) for batch, count in json.loads(record.read_text())] if record.exists() else []
    counted = sum(count for _, count in listed)
    if not (crops.intact and counted == len(hashes) == len(crops)):  # a run was killed in between
        shutil.rmtree(folder)
        listed = []
    known = {batch for batch, _ in listed}
    for batch, path in verdicts.items():
        if batch not in known:
            table = read_table(path, ["phash", "thumbnail"])
            hashes.add(hash_words(list(table["phash"])))
            crops.add(thumbnails(list(table["thumbnail"])))
            listed.append((batch, len(table)))
    if len(listed) > len(known):
        write_json(record, listed)
    return hashes, crops, listed


def _positions(pixels: NDArray[np.uint8]) -> Iterator[bytes]:
    """The hashes of an image in the eight positions of a square."""
    for turn in range(TURNS):
        yield fingerprint(np.ascontiguousarray(turned(pixels[None], turn)[0], dtype=np.uint8)).phash
