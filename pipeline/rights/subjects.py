"""Which events are about which asset: references by digest, `dataset:key` or key; holders, people, datasets."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.voices import same


@dataclass(frozen=True, slots=True)
class AssetRow:
    """What the decision needs of one inventory row."""

    dataset: str
    file: str
    accepted: bool
    identity: str  # sha256 of the bytes, else something unique to the row
    pixels: str
    key: str
    licence: str
    holders: tuple[str, ...]
    depicts: tuple[str, ...]
    derived_from: tuple[str, ...]
    signals: str
    attribution: str


def asset_rows(inventory: pd.DataFrame) -> list[AssetRow]:
    """The rows of an inventory with a `dataset` column, in its order."""
    texts = {n: [_text(v) for v in inventory[n].tolist()] for n in _TEXTS}
    lists = {n: [_list(v) for v in inventory[n].tolist()] for n in ("holders", "depicts", "derived_from")}
    return [
        AssetRow(
            dataset=texts["dataset"][i],
            file=texts["file"][i],
            accepted=texts["status"][i] == "accepted",
            identity=texts["asset"][i] or texts["sha256"][i] or f"row {i}",
            pixels=texts["pixels"][i] or f"row {i}",
            key=texts["key"][i],
            licence=texts["licence"][i],
            holders=lists["holders"][i],
            depicts=lists["depicts"][i],
            derived_from=lists["derived_from"][i],
            signals=texts["signals"][i],
            attribution=texts["attribution"][i],
        )
        for i in range(len(inventory))
    ]


_TEXTS = ("dataset", "file", "status", "asset", "sha256", "pixels", "key", "licence", "signals", "attribution")


class Subjects:
    """An index from assets to the events about them. Events are named by their position in `events`."""

    def __init__(self, rows: Sequence[AssetRow], events: Sequence[ConsentEvent]) -> None:
        self.rows, self.events = rows, events
        self._by_subject: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._by_reference: dict[str, list[int]] = defaultdict(list)
        self._by_identity: dict[str, list[int]] = defaultdict(list)
        self._ambiguous: dict[str, list[int]] = defaultdict(list)
        self._shared: dict[tuple[Any, ...], frozenset[int]] = {}
        for number, event in enumerate(events):
            kinds = [event.subject_type] if event.subject_type else ["asset", "holder", "person", "dataset"]
            for kind in kinds:
                if kind == "asset":
                    self._by_reference[_reference(event.subject_id)].append(number)
                else:
                    self._by_subject[kind, same(event.subject_id)].append(number)
        for reference, numbers in self._by_reference.items():
            identities = self.resolve(reference)
            for identity in identities:
                (self._ambiguous if len(identities) > 1 else self._by_identity)[identity].extend(numbers)

    def about(self, number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Events about a row, and events that name it by a reference which fits other assets too."""
        row = self.rows[number]
        key = (row.dataset, row.holders, row.depicts)
        if key not in self._shared:
            subjects = [("dataset", row.dataset), *(("holder", h) for h in row.holders)]
            subjects += [("person", person) for person in row.depicts]
            found = (self._by_subject.get((kind, same(name)), ()) for kind, name in subjects)
            self._shared[key] = frozenset(event for events in found for event in events)
        own = self._by_identity.get(row.identity, ())
        events = self._shared[key].union(own) if own else self._shared[key]
        return tuple(sorted(events)), tuple(self._ambiguous.get(row.identity, ()))

    def resolve(self, reference: str) -> frozenset[str]:
        """Identities of the assets that a reference fits; more than one is ambiguous."""
        return frozenset(self._identities.get(_reference(reference), ()))

    def naming(self, reference: str) -> list[ConsentEvent]:
        """Events whose subject is written as this very reference."""
        return [self.events[number] for number in self._by_reference.get(_reference(reference), ())]

    @cached_property
    def _identities(self) -> dict[str, set[str]]:
        index: dict[str, set[str]] = defaultdict(set)
        for row in self.rows:
            index[row.identity].add(row.identity)
            if row.key:
                index[row.key].add(row.identity)
                index[f"{row.dataset}:{row.key}"].add(row.identity)
        return dict(index)


def _reference(text: str) -> str:
    text = text.strip()
    lower = text.lower()
    return lower if len(lower) == 64 and not lower.strip("0123456789abcdef") else text


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(value) if value is not None and not isinstance(value, str | float) else ()
