"""Evidence by place: what files in like circumstances cite differs in events and people; these are left open.

At first a place is the line of an event within the file, or the rank of a depicted person. Of what comes to the same
but for that, it is the turn among all that is cited.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.chronicle import Chronicle
from pipeline.rights.coded import Codes
from pipeline.rights.consent import Standing
from pipeline.rights.findings import Finding
from pipeline.rights.ruling import Consent, cite

MARK = "\x00"  # begins a stand-in; no name or id in the ledger holds it
_PERSON = f"{MARK}p"
_SHOWN = f"depicts:{_PERSON}"
_EVENT = f"event:{MARK}"


def stand_in(place: int) -> str:
    """The id of the event at a place."""
    return f"{MARK}{place}"


def person(rank: int) -> str:
    """The name of a depicted person; sorts by rank."""
    return f"{_PERSON}{rank:05}"


def turn_of(evidence: str) -> int | None:
    """The turn that evidence names; None for evidence of its own."""
    return int(evidence.removeprefix(_EVENT)) if evidence.startswith(_EVENT) else None


def _place_of(evidence: str) -> int | None:
    """The line of an event, or -1 - the rank of a person."""
    return -1 - int(evidence.removeprefix(_SHOWN)) if evidence.startswith(_SHOWN) else turn_of(evidence)


def cited(entries: Codes, events: Chronicle, shown: pa.StringArray) -> pa.StringArray:
    """Evidence in full: events by their position, depicted people as -1 - their position."""
    people = entries < 0
    named = pc.binary_join_element_wise("event", events.texts("event_id", entries[~people]), ":")
    if not people.any():
        return named
    depicted = pc.binary_join_element_wise("depicts", shown.take(pa.array(-1 - entries[people])), ":")
    order = np.empty(len(entries), dtype=np.int64)
    order[~people], order[people] = np.arange(len(named)), len(named) + np.arange(len(depicted))
    return pa.concat_arrays([named, depicted]).take(pa.array(order))


def spelled(findings: Sequence[Finding], names: Mapping[str, str]) -> tuple[Finding, ...]:
    """Findings with other names for some of their evidence."""
    return tuple(
        replace(finding, evidence=tuple(names.get(item, item) for item in finding.evidence)) for finding in findings
    )


def by_turns(evidence: Iterable[str]) -> dict[str, str]:
    """The evidence at each turn, by what stands for it."""
    return {f"{_EVENT}{turn}": item for turn, item in enumerate(evidence)}


def distinct(consents: Iterable[Consent]) -> tuple[list[Consent], list[int]]:
    """(consents that rulings can tell apart, the number of each)."""
    numbers: dict[Hashable, int] = {}
    found: list[Consent] = []
    number_of_each = []
    for consent in consents:
        number = numbers.setdefault(_amount(consent), len(found))
        if number == len(found):
            found.append(consent)
        number_of_each.append(number)
    return found, number_of_each


def _amount(consent: Consent) -> Hashable:
    """All that a ruling depends on of a consent: of events, only which they are."""
    standings = tuple(map(_of_standing, consent.standings))
    closed = tuple(map(_of_standing, consent.closed))
    return standings, closed, cite(consent.unreadable), consent.claims


def _of_standing(standing: Standing) -> Hashable:
    return standing.state, standing.reason, cite(standing.events), standing.overrides_signals


def by_turn(consent: Consent) -> tuple[Consent, tuple[int, ...]]:
    """(the consent with turns in place of places, the place at each turn)."""
    events = chain(*(standing.events for standing in (*consent.standings, *consent.closed)), consent.unreadable)
    evidence = dict.fromkeys(chain(cite(events), *(claim.evidence for claim in consent.claims)))
    places = {item: place for item in evidence if (place := _place_of(item)) is not None}
    turns = {item: turn for turn, item in enumerate(places)}
    standings, closed = (
        tuple(replace(standing, events=_turned(standing.events, turns)) for standing in some)
        for some in (consent.standings, consent.closed)
    )
    claims = spelled(consent.claims, {item: f"{_EVENT}{turn}" for item, turn in turns.items()})
    return Consent(standings, closed, _turned(consent.unreadable, turns), claims), tuple(places.values())


def _turned(events: Iterable[ConsentEvent], turns: Mapping[str, int]) -> tuple[ConsentEvent, ...]:
    return tuple(_at_turn(turns[f"event:{event.event_id}"]) for event in events)


@lru_cache
def _at_turn(turn: int) -> ConsentEvent:
    """An event of which nothing is left but its turn."""
    return ConsentEvent(stand_in(turn), *[""] * (len(fields(ConsentEvent)) - 1))
