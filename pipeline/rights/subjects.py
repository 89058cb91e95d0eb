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
from numpy.typing import NDArray

from pipeline.rights.assets import Assets, Codes, combine, parts, tidy
from pipeline.rights.chronicle import Chronicle
from pipeline.rights.voices import same

_KINDS = ("holder", "person", "dataset")
BROKEN_ROW = "unreadable row"  # in an event's note: the column of text that is not even a record
_NO_KIND = ""  # an unreadable event may be about a subject of any kind


@dataclass(frozen=True)
class Spans:
    """Events by code: those of code i are `events[starts[i]:starts[i + 1]]`, in order."""

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


@dataclass(frozen=True)
class Grouping:
    """Rows with the same dataset, holders and depicted people share the events about these."""

    of_row: Codes
    datasets: list[str]
    holders: list[tuple[str, ...]]
    depicts: list[tuple[str, ...]]
    events: Spans


class Subjects:
    """The events about each row, named by their position in `events` (a ledger.event_table in the order of the fold)."""

    def __init__(self, assets: Assets, events: pa.Table) -> None:
        self._assets = assets
        self.events = Chronicle(events)
        self._positions, self._kinds, self._names = _subjects(self.events)
        asset = np.asarray(pc.is_in(self._kinds, value_set=pa.array(["asset", _NO_KIND])))
        self._references = self._names.filter(asset)
        self._referring = self._positions[asset]
        self.own, self.ambiguous = self._by_identity()

    def _by_identity(self) -> tuple[Spans, Spans]:
        """Events that name one asset, and events whose reference fits several."""
        coded = pc.dictionary_encode(self._references)
        reference, identity = self._assets.fitting(coded.dictionary)
        several = np.bincount(reference, minlength=len(coded.dictionary)) > 1
        # join: event -> reference -> identities
        order = np.argsort(reference, kind="stable")
        starts = np.searchsorted(reference[order], np.arange(len(coded.dictionary) + 1))
        codes = np.asarray(coded.indices, dtype=np.int64)
        line, identities = Spans(starts, identity[order]).of_each(codes)
        positions, many = self._referring[line], several[codes][line]
        size = len(self._assets.identity.values)
        return _by_code(identities[~many], positions[~many], size), _by_code(identities[many], positions[many], size)

    @cached_property
    def groups(self) -> Grouping:
        """The rows by dataset, holders and depicted people, with the events about these."""
        columns = [self._assets.coded(name) for name in ("dataset", "holders", "depicts")]
        first, of_row = combine(*(column.codes for column in columns))
        datasets, holders, depicts = (
            column.values.take(pa.array(column.codes[first])).to_pylist() for column in columns
        )
        held, shown = [_people(text) for text in holders], [_people(text) for text in depicts]
        starts, events = array("q", [0]), array("q")
        for dataset, some, others in zip(datasets, held, shown, strict=True):
            subjects = [("dataset", same(dataset)), *(("holder", same(h)) for h in some)]
            subjects += [("person", same(person)) for person in others]
            events.extend(sorted({event for subject in subjects for event in self._by_subject.get(subject, ())}))
            starts.append(len(events))
        spans = Spans(np.array(starts, dtype=np.int64), np.array(events, dtype=np.int64))
        return Grouping(of_row, datasets, held, shown, spans)

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


def _by_code(codes: Codes, events: Codes, size: int) -> Spans:
    order = np.lexsort((events, codes))
    return Spans(np.searchsorted(codes[order], np.arange(size + 1)), events[order])

