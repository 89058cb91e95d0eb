"""Files with the same dataset, holders and depicted people, and the events about these."""

from array import array
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.rights.assets import Assets, combine, parts
from pipeline.rights.chronicle import NO_KIND, Chronicle
from pipeline.rights.coded import Codes
from pipeline.rights.spans import Spans
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


def grouped(assets: Assets, events: Chronicle) -> Grouping:
    """The rows by dataset, holders and depicted people, with the events about these."""
    columns = [assets.coded(name) for name in ("dataset", "holders", "depicts")]
    first, of_row = combine(*(column.codes for column in columns))
    people = [[_people(text) for text in column.values.to_pylist()] for column in columns]
    index = _by_subject(events)
    heard = [_about(index, kind, some) for kind, some in zip(("dataset", "holder", "person"), people, strict=True)]
    codes = [column.codes[first].tolist() for column in columns]
    starts, positions = array("q", [0]), array("q")
    for group in zip(*codes, strict=True):
        several = [found for one, code in zip(heard, group, strict=True) if (found := one[code])]
        positions.extend(several[0] if len(several) == 1 else sorted(set().union(*several)))
        starts.append(len(positions))
    spans = Spans(np.array(starts, dtype=np.int64), np.array(positions, dtype=np.int64))
    held, shown = ([some[code] for code in of] for some, of in zip(people[1:], codes[1:], strict=True))
    return Grouping(of_row, held, shown, spans)


def _about(index: dict[tuple[str, str], list[int]], kind: str, names: list[tuple[str, ...]]) -> list[list[int]]:
    """The events about each of some lists of people (or datasets)."""
    found = []
    for some in names:
        several = [index[kind, same(name)] for name in some if (kind, same(name)) in index]
        found.append(several[0] if len(several) == 1 else sorted(set().union(*several)))
    return found


def _by_subject(events: Chronicle) -> dict[tuple[str, str], list[int]]:
    """The events about each holder, person and dataset."""
    positions, kinds, names = events.mentions
    index: dict[tuple[str, str], list[int]] = defaultdict(list)
    wanted = pc.is_in(kinds, value_set=pa.array([*_KINDS, NO_KIND]))
    columns = kinds.filter(wanted).to_pylist(), names.filter(wanted).to_pylist()
    for position, kind, name in zip(positions[np.asarray(wanted)].tolist(), *columns, strict=True):
        for one in (kind,) if kind else _KINDS:
            index[one, same(name)].append(position)
    return index


def _people(text: str) -> tuple[str, ...]:
    """The people of a joined list, each once whatever the spelling."""
    return tuple({same(person): person for person in reversed(parts(text))}.values())[::-1]
