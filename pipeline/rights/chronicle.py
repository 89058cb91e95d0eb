"""Known events by column, in the order in which they are folded. Few texts are distinct: most work is on numbers."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.assets import tidy, whole
from pipeline.rights.coded import Coded, Codes
from pipeline.rights.consent import EVENT, ORDER
from pipeline.rights.voices import same

_FIELDS = [field.name for field in fields(ConsentEvent)]
BROKEN_ROW = "unreadable row"  # in an event's note: the column of text that is not even a record
NO_KIND = ""  # an unreadable event may be about a subject of any kind


def unresolved(table: pa.Table, registrars: Sequence[str]) -> pa.Table:
    """A ledger.event_table without the unreadable events that a person has read.

    They say so by an event about that event, in the studio's own name; what it says they record anew.
    """
    kinds = table["subject_type"]
    if not any(EVENT in chunk.dictionary.to_pylist() for chunk in kinds.chunks):
        return table
    recording = {"", *map(same, registrars)}
    said = table.filter(pc.equal(kinds.cast(pa.string()), EVENT)).to_pylist()
    read = sorted(
        {row["subject_id"] for row in said if row["action"] == "expire" and same(row["actor"]) in recording}
    )
    named = pc.is_in(table["event_id"], value_set=pa.array(read, pa.string()))
    return table.filter(pc.invert(pc.and_(named, pc.equal(table["action"].cast(pa.string()), "unreadable"))))


class Chronicle:
    """A ledger.event_table, as recorded, closing events last among equals; events are named by their position."""

    def __init__(self, table: pa.Table) -> None:
        # in one piece: taking from many chunks is far slower
        self._columns = {name: whole(table[name]) for name in _FIELDS}
        self._order = np.arange(table.num_rows)
        self._order = self._in_order()
        self.mentions = _mentions(self)

    def __len__(self) -> int:
        return len(self._order)

    def coded(self, name: str) -> Coded:
        """A column as numbers."""
        column = self._columns[name]
        return Coded(column.dictionary, np.asarray(column.indices)[self._order].astype(np.int64))

    def each(self, name: str, told: Callable[[str], Any], dtype: Any = bool) -> NDArray[Any]:
        """What `told` says of a column's text, for every event; it is asked once for each distinct text."""
        coded = self.coded(name)
        return np.array([told(text) for text in coded.values.to_pylist()], dtype=dtype)[coded.codes]

    def texts(self, name: str, positions: Codes) -> pa.StringArray:
        """A column's texts, for some events."""
        column = self._columns[name].take(pa.array(self._order[positions]))
        return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column

    @property
    def subjects(self) -> pa.StringArray:
        """The subject of every event, as references are compared."""
        return self.mentions[2].slice(0, len(self))

    def named(self, identifiers: Sequence[str]) -> Codes:
        """Where the events with some ids are."""
        found = pc.is_in(self.texts("event_id", np.arange(len(self))), value_set=pa.array(identifiers, pa.string()))
        return np.flatnonzero(found)

    def at(self, positions: Sequence[int]) -> list[ConsentEvent]:
        """Some events as objects."""
        rows = self._order[np.asarray(positions, dtype=np.int64)].tolist()
        columns = self._columns.values()
        return [ConsentEvent(*(column[row].as_py() for column in columns)) for row in rows]

    def _in_order(self) -> Codes:
        recorded, action = self.coded("recorded_at"), self.each("action", lambda text: ORDER.get(text, 9), np.int64)
        moment = np.asarray(pc.rank(recorded.values), dtype=np.int64)[recorded.codes] * 10 + action
        return np.lexsort((_ranks(self._columns["event_id"]), moment))


def _ranks(texts: pa.StringArray) -> Codes:
    ranks = np.empty(len(texts), dtype=np.int64)
    ranks[np.asarray(pc.sort_indices(texts))] = np.arange(len(texts))
    return ranks


def _mentions(events: Chronicle) -> tuple[Codes, pa.DictionaryArray, pa.StringArray]:
    """(event, kind of subject, name of subject) for every subject that an event names."""
    positions = np.arange(len(events), dtype=np.int64)
    kinds, names = events.texts("subject_type", positions), tidy(events.texts("subject_id", positions))
    unreadable = np.flatnonzero(events.each("action", lambda action: action == "unreadable"))
    lost = unreadable[np.asarray(pc.equal(names.take(pa.array(unreadable)), ""))]
    if len(lost):
        notes = events.texts("note", lost).to_pylist()
        more = [
            (position, text) for position, note in zip(lost.tolist(), notes, strict=True) for text in mentioned(note)
        ]
        positions = np.concatenate([positions, np.array([position for position, _ in more], dtype=np.int64)])
        names = pa.concat_arrays([names, tidy(pa.array([text for _, text in more], pa.string()))])
        kinds = pa.concat_arrays([kinds, pa.array([NO_KIND] * len(more), pa.string())])
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
