"""A stored index of the windows of thumbnails: which of many pictures a few may be a part of, or have as a part.

What cropped_candidates finds, at the cost of the few. The coarse codes of every window, and of every whole, lie in
two hash indexes; the fine codes in one file, in the order of the rows, of which only what is asked for is read.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.similarity.candidates import COARSE_DISTANCE, WINDOW_DISTANCE, WINDOWS, window_codes
from pipeline.similarity.hash_index import HashIndex
from pipeline.similarity.looks import Pixels

_FINE_WORDS = 4
_EACH = len(WINDOWS)


class CropIndex:
    """Thumbnails by their windows; rows count as they were added."""

    def __init__(self, folder: Path) -> None:
        self._windows = HashIndex(folder / "windows", 1, COARSE_DISTANCE)
        self._wholes = HashIndex(folder / "wholes", 1, COARSE_DISTANCE)
        self._fine = folder / "fine.u64"

    def __len__(self) -> int:
        return len(self._wholes)

    @property
    def intact(self) -> bool:
        """Whether its three parts hold the same pictures; a crash may leave them otherwise."""
        size = self._fine.stat().st_size if self._fine.exists() else 0
        return len(self._windows) == _EACH * len(self) and size == 8 * _FINE_WORDS * _EACH * len(self)

    def add(self, pictures: Pixels) -> None:
        """Add thumbnails, shape (n, 32, 32, 3)."""
        coarse, fine = window_codes(pictures)
        self._fine.parent.mkdir(parents=True, exist_ok=True)
        with self._fine.open("ab") as file:
            file.write(fine.astype("<u8").tobytes())
        self._windows.add(coarse.reshape(-1, 1))
        self._wholes.add(coarse[:, 0])

    def near(self, pictures: Pixels) -> NDArray[np.int64]:
        """Rows of the index that one of some thumbnails may be a part of, or the whole of; ascending."""
        if not len(self._wholes) or not len(pictures):
            return np.empty(0, np.int64)
        coarse, fine = window_codes(pictures)
        stored = np.memmap(self._fine, dtype="<u8", mode="r").reshape(-1, _FINE_WORDS)
        part_of, _ = self._windows.near(coarse[:, 0])
        whole_of, _ = self._wholes.near(coarse.reshape(-1, 1))
        found = []
        for (own, place), codes in (
            (part_of.T, fine[:, 0]),
            ((whole_of * np.array([1, _EACH])).T, fine.reshape(-1, _FINE_WORDS)),
        ):
            apart = np.bitwise_count(codes[own] ^ stored[place]).sum(axis=1, dtype=np.int64)
            found.append(place[apart <= WINDOW_DISTANCE] // _EACH)
        return np.unique(np.concatenate(found))
