"""Which consent events are about which asset by reference, and which assets the origins of files are."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.rights.assets import Assets, parts, tidy
from pipeline.rights.chronicle import NO_KIND, Chronicle
from pipeline.rights.references import fitting
from pipeline.rights.spans import by_code


class Subjects:
    """The events about each identity, named by their position in `events`."""

    def __init__(self, assets: Assets, events: Chronicle) -> None:
        self.events = events
        self._positions, self._kinds, self._names = events.mentions
        referring = np.flatnonzero(pc.is_in(self._kinds, value_set=pa.array(["asset", NO_KIND])))
        listed = pc.unique(assets.column("derived_from")).to_pylist()
        origins = list({origin for text in listed for origin in parts(text)})
        texts = self._names.take(pa.array(referring)), tidy(pa.array(origins, pa.string()))
        reference, identity = fitting(assets, pa.concat_arrays(texts))
        of_event = reference < len(referring)
        several = (np.bincount(reference, minlength=len(referring)) > 1)[reference][of_event]
        position, about = self._positions[referring[reference[of_event]]], identity[of_event]
        # events that name one asset, and events whose reference fits several
        self.own, self.ambiguous = (
            by_code(about[some], position[some], len(assets.identity)) for some in (~several, several)
        )
        self.origins: dict[str, set[int]] = {origin: set() for origin in origins}  # which identities each fits
        pairs = reference[~of_event] - len(referring), identity[~of_event]
        for number, code in zip(*(numbers.tolist() for numbers in pairs), strict=True):
            self.origins[origins[number]].add(code)

    def naming(self, references: Sequence[str]) -> dict[str, list[int]]:
        """Events whose subject is written as one of these very references."""
        wanted = tidy(pa.array(references, pa.string()))
        of_asset = pc.is_in(self._kinds, value_set=pa.array(["asset", NO_KIND]))
        at = np.asarray(pc.fill_null(pc.index_in(self._names, value_set=wanted), -1), dtype=np.int64)
        at[~np.asarray(of_asset)] = -1
        found: dict[str, list[int]] = {reference: [] for reference in wanted.to_pylist()}
        for number in np.flatnonzero(at >= 0).tolist():
            found[wanted[int(at[number])].as_py()].append(int(self._positions[number]))
        return {text: found[tidied] for text, tidied in zip(references, wanted.to_pylist(), strict=True)}
