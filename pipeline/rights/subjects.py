"""Which consent events are about which asset: by reference, holder, person or dataset."""

from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.work import both
from pipeline.rights.assets import Assets, combine, parts, tidy
from pipeline.rights.chronicle import NO_KIND, Chronicle
from pipeline.rights.coded import MANY, Codes
from pipeline.rights.references import fitting
from pipeline.rights.spans import Spans, by_code
from pipeline.rights.voices import same

_KINDS = ("holder", "person", "dataset")


@dataclass(frozen=True)
class Grouping:
    """Rows with the same dataset, holders and depicted people share the events about these."""

    of_row: Codes
    holders: list[tuple[str, ...]]
    depicts: list[tuple[str, ...]]
    events: Spans

    @cached_property
    def shown(self) -> tuple[Codes, pa.StringArray]:
        """(where the people of each group start, the depicted people of all groups, by name within each)."""
        names = [sorted(map(same, people)) for people in self.depicts]
        return np.cumsum([0, *map(len, names)]), pa.array(list(chain.from_iterable(names)), pa.string())


class Subjects:
    """The events about each row, named by their position in `events`."""

    def __init__(self, assets: Assets, events: Chronicle) -> None:
        self._assets, self.events = assets, events
        self._positions, self._kinds, self._names = events.mentions
        asset = np.asarray(pc.is_in(self._kinds, value_set=pa.array(["asset", NO_KIND])))
        about, self.groups = both(
            assets.size > MANY, lambda: self._about_assets(np.flatnonzero(asset)), self._grouped
        )
        self.own, self.ambiguous = about
        listed = pc.unique(assets.column("derived_from")).to_pylist()
        origins = list({origin for text in listed for origin in parts(text)})
        self.origins: dict[str, set[int]] = {origin: set() for origin in origins}  # which identities each fits
        pairs = fitting(assets, tidy(pa.array(origins, pa.string())))
        for number, code in zip(*(numbers.tolist() for numbers in pairs), strict=True):
            self.origins[origins[number]].add(code)

    def _about_assets(self, referring: Codes) -> tuple[Spans, Spans]:
        """Events that name one asset, and events whose reference fits several."""
        reference, identity = fitting(self._assets, self._names.take(pa.array(referring)))
        many = (np.bincount(reference, minlength=len(referring)) > 1)[reference]
        position, size = self._positions[referring[reference]], len(self._assets.identity)
        return by_code(identity[~many], position[~many], size), by_code(identity[many], position[many], size)

    def _grouped(self) -> Grouping:
        """The rows by dataset, holders and depicted people, with the events about these."""
        columns = [self._assets.coded(name) for name in ("dataset", "holders", "depicts")]
        first, of_row = combine(*(column.codes for column in columns))
        people = [[_people(text) for text in column.values.to_pylist()] for column in columns]
        heard = [self._about(kind, some) for kind, some in zip(("dataset", "holder", "person"), people, strict=True)]
        codes = [column.codes[first].tolist() for column in columns]
        starts, events = array("q", [0]), array("q")
        for group in zip(*codes, strict=True):
            several = [found for one, code in zip(heard, group, strict=True) if (found := one[code])]
            events.extend(several[0] if len(several) == 1 else sorted(set().union(*several)))
            starts.append(len(events))
        spans = Spans(np.array(starts, dtype=np.int64), np.array(events, dtype=np.int64))
        held, shown = ([some[code] for code in of] for some, of in zip(people[1:], codes[1:], strict=True))
        return Grouping(of_row, held, shown, spans)

    def _about(self, kind: str, names: list[tuple[str, ...]]) -> list[list[int]]:
        """The events about each of some lists of people (or datasets)."""
        index, found = self._by_subject, []
        for some in names:
            several = [index[kind, same(name)] for name in some if (kind, same(name)) in index]
            found.append(several[0] if len(several) == 1 else sorted(set().union(*several)))
        return found

    @cached_property
    def _by_subject(self) -> dict[tuple[str, str], list[int]]:
        index: dict[tuple[str, str], list[int]] = defaultdict(list)
        wanted = pc.is_in(self._kinds, value_set=pa.array([*_KINDS, NO_KIND]))
        columns = self._kinds.filter(wanted).to_pylist(), self._names.filter(wanted).to_pylist()
        for position, kind, name in zip(self._positions[np.asarray(wanted)].tolist(), *columns, strict=True):
            for one in (kind,) if kind else _KINDS:
                index[one, same(name)].append(position)
        return index

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


def _people(text: str) -> tuple[str, ...]:
    """The people of a joined list, each once whatever the spelling."""
    return tuple({same(person): person for person in reversed(parts(text))}.values())[::-1]
