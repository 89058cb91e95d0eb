"""A stored index of hashes: a batch is compared with millions at the cost of the batch.

A folder of segments, each a few memory-mapped arrays: the codes in the order of every band of a plan, and where each
key begins. A lookup reads the buckets that it needs. A batch that is added becomes a segment; segments of like size
are joined, so that there are about log2(N) of them.
"""

import json
from pathlib import Path

import numpy as np

from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import write_json
from pipeline.similarity.bands import Bucketed, Codes, Plan, band_blocks, bucketed, plan_bands
from pipeline.similarity.join import Pairs, in_order

_ARRAYS = ("codes", "rows", "keys", "starts")


class HashIndex:
    """Codes of `words` 64-bit words, found within `distance` bits; rows count as they were added."""

    def __init__(self, folder: Path, words: int, distance: int) -> None:
        self._folder, self._words, self._distance = folder, words, distance

    def __len__(self) -> int:
        return sum(count for _, count in self._segments())

    def add(self, codes: Codes) -> None:
        """Add a batch, shape (n, words) uint64. Segments no longer than twice the new one are joined with it."""
        if not len(codes):
            return
        segments = self._segments()
        joined = len(codes)
        while segments and segments[-1][1] <= 2 * joined:
            first, count = segments.pop()
            codes, joined = np.concatenate([self._read(first), codes]), joined + count
        self._write(sum(count for _, count in segments), codes)
        self._tidy()

    def near(self, codes: Codes) -> Pairs:
        """Pairs (row of `codes`, row of the index) within the distance, and their distances, sorted."""
        found = [np.empty((0, 3), np.int64)]
        for first, _ in self._segments():
            plan = self._plan(first)
            for band in range(len(plan.widths)):
                stored = self._band(first, band)
                for triples in band_blocks(bucketed(codes, plan, band), stored, plan, band, self._distance):
                    found.append(triples + np.array([0, first, 0]))
        return in_order(np.concatenate(found))

    def _segments(self) -> list[tuple[int, int]]:
        """First row and number of codes of each segment; a longer one takes the place of those that it joined."""
        listed: list[tuple[int, int]] = []
        known = {int(path.parent.name): json.loads(path.read_text()) for path in self._folder.glob("*/segment.json")}
        following = 0
        while following in known:
            facts = known[following]
            if (facts["words"], facts["distance"]) != (self._words, self._distance):
                raise ImprimaturError(
                    f"{self._folder}: an index of other hashes or another distance", "build it anew"
                )
            listed.append((following, facts["count"]))
            following += facts["count"]
        return listed

    def _write(self, first: int, codes: Codes) -> None:
        plan = plan_bands(self._words, self._distance, len(codes))
        folder = self._folder / str(first)
        folder.mkdir(parents=True, exist_ok=True)
        for band in range(len(plan.widths)):
            made = bucketed(codes, plan, band)
            for name in _ARRAYS:
                np.save(folder / f"{len(codes)}-{band}-{name}.npy", getattr(made, name), allow_pickle=False)
        facts = {"count": len(codes), "words": self._words, "distance": self._distance}
        write_json(folder / "segment.json", {**facts, "widths": plan.widths, "flips": plan.flips})

    def _tidy(self) -> None:
        """Take away what longer segments have taken the place of."""
        standing = {str(first): ("segment.json", f"{count}-") for first, count in self._segments()}
        for path in self._folder.glob("*/*"):
            if not path.name.startswith(standing.get(path.parent.name, ())):
                path.unlink()

    def _plan(self, first: int) -> Plan:
        facts = json.loads((self._folder / str(first) / "segment.json").read_text())
        return Plan(facts["words"], tuple(facts["widths"]), tuple(facts["flips"]))

    def _band(self, first: int, band: int) -> Bucketed:
        count = dict(self._segments())[first]
        paths = {name: self._folder / str(first) / f"{count}-{band}-{name}.npy" for name in _ARRAYS}
        return Bucketed(**{name: np.load(path, mmap_mode="r", allow_pickle=False) for name, path in paths.items()})

    def _read(self, first: int) -> Codes:
        """The codes of a segment in the order in which they were added."""
        stored = self._band(first, 0)
        codes = np.empty(stored.codes.shape, np.uint64)
        codes[stored.rows] = stored.codes
        return codes
