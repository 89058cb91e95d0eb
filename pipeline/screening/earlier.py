"""Which earlier outputs a batch may repeat, without reading them all: a stored index of every batch's hashes.

It finds repeats that are upright, turned or mirrored, at the cost of the batch. The index is made of the batches'
verdict tables, and made anew where it does not fit them.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from pipeline.catalog.tables import HASH_BYTES
from pipeline.core.shards import read_table, write_json
from pipeline.screening.pictures import pixels_of
from pipeline.similarity.candidates import TURNS
from pipeline.similarity.fingerprints import fingerprint, hash_words
from pipeline.similarity.hash_index import HashIndex
from pipeline.similarity.looks import turned


def earlier_rows(
    folder: Path, verdicts: Mapping[str, Path], images: Iterable[bytes], distance: int
) -> dict[str, list[int]]:
    """By batch the rows of its verdict table (tables.VERDICTS) that one of the images (PNG) may show again.

    `verdicts` names the table of each earlier batch; the index in `folder` takes in those that it lacks.
    """
    index, listed = _index(folder / str(distance), verdicts, distance)
    pairs, _ = index.near(hash_words([phash for data in images for phash in _positions(data)]))
    found = np.unique(pairs[:, 1])
    ends = np.cumsum([count for _, count in listed])
    batch_of = np.searchsorted(ends, found, side="right")
    rows = {
        batch: (found[batch_of == number] - (ends[number] - count)).tolist()
        for number, (batch, count) in enumerate(listed)
        if batch in verdicts
    }
    return {batch: some for batch, some in rows.items() if some}


def _index(folder: Path, verdicts: Mapping[str, Path], distance: int) -> tuple[HashIndex, list[tuple[str, int]]]:
    """The index with every batch in it, and its batches with their numbers of rows, in the order of the rows."""
    index, record = HashIndex(folder, HASH_BYTES // 8, distance), folder / "batches.json"
    listed = [(batch, count) for batch, count in json.loads(record.read_text())] if record.exists() else []
    if sum(count for _, count in listed) != len(index):  # a run was killed between the two
        shutil.rmtree(folder)
        listed = []
    known = {batch for batch, _ in listed}
    hashes = {batch: read_table(path, ["phash"])["phash"] for batch, path in verdicts.items() if batch not in known}
    if hashes:
        index.add(hash_words([phash for table in hashes.values() for phash in table]))
        listed += [(batch, len(table)) for batch, table in hashes.items()]
        write_json(record, listed)
    return index, listed


def _positions(data: bytes) -> Iterator[bytes]:
    """The hashes of an image in the eight positions of a square; none when it cannot be decoded."""
    pixels = pixels_of(data)
    if pixels is not None:
        for turn in range(TURNS):
            yield fingerprint(np.ascontiguousarray(turned(pixels[None], turn)[0], dtype=np.uint8)).phash
