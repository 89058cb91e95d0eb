"""Several numbers for each code, in two arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.rights.coded import Codes


@dataclass(frozen=True)
class Spans:
    """Numbers by code: those of code i are `events[starts[i]:starts[i + 1]]`, in order."""

    starts: Codes
    events: Codes

    @property
    def some(self) -> NDArray[np.bool_]:
        """Which codes have any."""
        return np.diff(self.starts) > 0

    def of_each(self, codes: Codes) -> tuple[Codes, Codes]:
        """(number of the code in `codes`, event) for every event of each."""
        lengths = np.diff(self.starts)[codes]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.repeat(np.arange(len(codes)), lengths), self.events[np.repeat(self.starts[codes], lengths) + within]


def by_code(codes: Codes, events: Codes, size: int) -> Spans:
    """The numbers of each of `size` codes, ascending."""
    order = np.lexsort((events, codes))
    return Spans(np.searchsorted(codes[order], np.arange(size + 1)), events[order])
