"""One asset at a time: the same decision on one asset and its relatives, without deciding all the others."""

import bisect
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Engine

from pipeline.catalog.ledger import ConsentEvent, event_table, read_events_about
from pipeline.core.errors import ImprimaturError
from pipeline.rights.assets import LISTS, Assets, parts, tidy_text
from pipeline.rights.chronicle import Chronicle, unresolved
from pipeline.rights.coded import Coded, CodedDigests
from pipeline.rights.consent import EVENT
from pipeline.rights.decision import Decisions
from pipeline.rights.ruling import Question


class Inquiry:
    """An inventory (as for decide_table) in memory, the ledger in its database: a question takes milliseconds."""

    def __init__(self, catalog: Engine, inventory: pa.Table, dataset_licences: Mapping[str, str]) -> None:
        self._catalog, self._licences = catalog, dataset_licences
        self._inventory = inventory.combine_chunks()  # from many chunks, taking a few rows costs a copy of all
        self._assets = Assets(inventory)
        self._by_identity = _Index(self._assets.identity)
        self._by_pixels = _Index(self._assets.pixels)
        self._by_key = _Index(self._assets.coded("key"))

    def ask(self, reference: str, question: Question, known_at: str) -> tuple[Decisions, list[int]]:
        """The decisions on an asset's relatives and namesakes, and which of its rows are the asset's own files.

        Raises ImprimaturError when the reference (digest, `dataset:key` or key) fits no asset, or several.
        """
        own = self._fitting(reference)
        identities = {int(self._assets.identity.codes[row]) for row in own}
        if len(identities) != 1:
            raise ImprimaturError(
                f"{reference!r} fits {len(identities)} assets",
                "name one asset by its SHA-256 or as dataset:key; see imprimatur ingest list",
            )
        rows = np.array(sorted(self._concerned(own)), dtype=np.int64)
        part = Assets(self._inventory.take(pa.array(rows)))
        events = event_table(self._said_of(_subjects(part), known_at))
        heard = Chronicle(unresolved(events, question.policy.registrars))
        decisions = Decisions(part, self._licences, heard, question)
        return decisions, np.flatnonzero(np.isin(rows, sorted(own))).tolist()

    def _said_of(self, subjects: set[str], known_at: str) -> list[ConsentEvent]:
        """Events about some subjects, and about those of these events that cannot be read."""
        events = read_events_about(self._catalog, subjects, known_at)
        unreadable = {event.event_id for event in events if event.action == "unreadable"}
        if unreadable:
            found = read_events_about(self._catalog, unreadable, known_at)
            events += [event for event in found if event.subject_type == EVENT]
        return events

    def _concerned(self, own: set[int]) -> set[int]:
        """Twins and origins of some files, transitively, and all that a reference to one of these fits too."""
        seen, waiting = set(own), list(own)
        while waiting:
            row = waiting.pop()
            found = self._by_identity.rows(self._assets.identity.codes[row])
            found |= self._by_pixels.rows(self._assets.pixels.codes[row])
            for origin in parts(self._assets.column("derived_from")[row].as_py()):
                found |= self._fitting(origin)
            waiting += found - seen
            seen |= found
        rows = np.array(sorted(seen), dtype=np.int64)
        datasets, keys = (self._assets.column(name).take(pa.array(rows)).to_pylist() for name in ("dataset", "key"))
        references = set(self._assets.identity.named(self._assets.identity.codes[rows]).to_pylist())
        for dataset, key in zip(datasets, keys, strict=True):
            references |= {key, f"{dataset}:{key}"} - {""}
        return seen.union(*(self._fitting(reference) for reference in references))

    def _fitting(self, reference: str) -> set[int]:
        """Rows of the assets that a reference fits: by digest, `dataset:key` or key."""
        text = tidy_text(reference)
        rows = self._by_identity.rows(self._by_identity.code(text)) | self._by_key.rows(self._by_key.code(text))
        dataset, colon, key = text.partition(":")
        if colon:
            datasets = self._assets.column("dataset")
            rows |= {r for r in self._by_key.rows(self._by_key.code(key)) if datasets[r].as_py() == dataset}
        return rows.union(*(self._by_identity.rows(self._assets.identity.codes[row]) for row in rows))


def _subjects(assets: Assets) -> set[str]:
    """Everything that an event about some files may name as its subject."""
    datasets, keys = (assets.column(name).to_pylist() for name in ("dataset", "key"))
    people = {one for name in LISTS for text in assets.column(name).to_pylist() for one in parts(text)}
    qualified = {f"{dataset}:{key}" for dataset, key in zip(datasets, keys, strict=True)}
    return people.union(datasets, keys, qualified, assets.identity.named(assets.identity.codes).to_pylist())


class _Index:
    """From texts to codes and from codes to rows, by bisection: little memory, and quick to make."""

    def __init__(self, coded: Coded | CodedDigests) -> None:
        self._values = coded.named(np.arange(len(coded)))
        self._order = np.asarray(pc.sort_indices(self._values))
        self._rows = np.argsort(coded.codes, kind="stable")
        self._codes = coded.codes[self._rows]

    def code(self, text: str) -> int:
        """The code of a text, -1 when there is none."""
        values, order = self._values, self._order
        encoded = text.encode()
        place = bisect.bisect_left(range(len(order)), encoded, key=lambda i: values[int(order[i])].as_py().encode())
        return int(order[place]) if place < len(order) and values[int(order[place])].as_py() == text else -1

    def rows(self, code: int) -> set[int]:
        """The rows with a code."""
        first, last = np.searchsorted(self._codes, [code, code + 1])
        found: set[int] = set(self._rows[first:last].tolist())
        return found
