"""Which consent events are about which asset: by reference, holder, person or dataset."""

import json
import re
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.rights.assets import Assets, Codes, combine, parts, tidy
from pipeline.rights.chronicle import Chronicle
from pipeline.rights.references import fitting
from pipeline.rights.spans import Spans, by_code
from pipeline.rights.voices import same

_KINDS = ("holder", "person", "dataset")
BROKEN_ROW = "unreadable row"  # in an event's note: the column of text that is not even a record
_NO_KIND = ""  # an unreadable event may be about a subject of any kind


@dataclass(frozen=True)
class Grouping:
    """Rows with the same dataset, holders and depicted people share the events about these."""

    of_row: Codes
    holders: list[tuple[str, ...]]
    depicts: list[tuple[str, ...]]
    events: Spans


class Subjects:
    """The events about each row, named by their position in `events`."""

    def __init__(self, assets: Assets, events: pa.Table) -> None:
        self._assets = assets
        self.events = Chronicle(events)
        self._positions, self._kinds, self._names = _subjects(self.events)
        asset = np.asarray(pc.is_in(self._kinds, value_set=pa.array(["asset", _NO_KIND])))
        self._references = self._names.filter(asset)
        self._referring = self._positions[asset]
        origins = list(
            {origin for text in pc.unique(assets.column("derived_from")).to_pylist() for origin in parts(text)}
        )
        references = pa.concat_arrays([self._references, tidy(pa.array(origins, pa.string()))])
        reference, identity = fitting(assets, references)
        of_event = reference < len(self._references)
        self.own, self.ambiguous = self._by_identity(reference[of_event], identity[of_event])
        self.origins: dict[str, set[int]] = {origin: set() for origin in origins}  # which identities each fits
        for number, code in zip(reference[~of_event].tolist(), identity[~of_event].tolist(), strict=True):
            self.origins[origins[number - len(self._references)]].add(code)

    def _by_identity(self, reference: Codes, identity: Codes) -> tuple[Spans, Spans]:
        """Events that name one asset, and events whose reference fits several."""
        many = (np.bincount(reference, minlength=len(self._references)) > 1)[reference]
        position, size = self._referring[reference], len(self._assets.identity.values)
        return by_code(identity[~many], position[~many], size), by_code(identity[many], position[many], size)

    @cached_property
    def groups(self) -> Grouping:
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
        wanted = pc.is_in(self._kinds, value_set=pa.array([*_KINDS, _NO_KIND]))
        columns = self._kinds.filter(wanted).to_pylist(), self._names.filter(wanted).to_pylist()
        for position, kind, name in zip(self._positions[np.asarray(wanted)].tolist(), *columns, strict=True):
            for one in (kind,) if kind else _KINDS:
                index[one, same(name)].append(position)
        return index

    def naming(self, references: Sequence[str]) -> dict[str, list[int]]:
        """Events whose subject is written as one of these very references."""
        wanted = tidy(pa.array(references, pa.string()))
        at = np.asarray(pc.fill_null(pc.index_in(self._references, value_set=wanted), -1), dtype=np.int64)
        found: dict[str, list[int]] = {reference: [] for reference in wanted.to_pylist()}
        for number in np.flatnonzero(at >= 0).tolist():
            found[wanted[int(at[number])].as_py()].append(int(self._referring[number]))
        return {text: found[tidied] for text, tidied in zip(references, wanted.to_pylist(), strict=True)}


def _subjects(events: Chronicle) -> tuple[Codes, pa.DictionaryArray, pa.StringArray]:
    """(event, kind of subject, name of subject) for every subject that an event names."""
    kinds, names = events.texts("subject_type", np.arange(len(events))), events.subjects
    positions = np.arange(len(events), dtype=np.int64)
    unreadable = np.flatnonzero(events.each("action", lambda action: action == "unreadable"))
    lost = unreadable[np.asarray(pc.equal(names.take(pa.array(unreadable)), ""))]
    if len(lost):
        notes = events.texts("note", lost).to_pylist()
        more = [
            (position, text) for position, note in zip(lost.tolist(), notes, strict=True) for text in mentioned(note)
        ]
        positions = np.concatenate([positions, np.array([position for position, _ in more], dtype=np.int64)])
        names = pa.concat_arrays([names, tidy(pa.array([text for _, text in more], pa.string()))])
        kinds = pa.concat_arrays([kinds, pa.array([_NO_KIND] * len(more), pa.string())])
    return positions, kinds, names


def mentioned(note: str) -> set[str]:
    """What a row that names no subject may be about: its every cell; in text that is no row, every part of it."""
    try:
        row = json.loads(note)["row"]
        cells = [str(cell) for cell in row.values()]
        broken = str(row.get(BROKEN_ROW, ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        cells, broken = [], note
    words = [*cells, *re.split(r'[",;\t{}\[\]|]+', broken)]
    return {word.strip() for word in words if word.strip()}


def _people(text: str) -> tuple[str, ...]:
    """The people of a joined list, each once whatever the spelling."""
    return tuple({same(person): person for person in reversed(parts(text))}.values())[::-1]
