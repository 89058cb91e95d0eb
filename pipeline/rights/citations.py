"""Evidence by place: what files in the same circumstances cite differs only in the events, so these are left open.

First an event's place is its line within the file; of what comes to the same but for the lines, it is its turn among
the events cited.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from itertools import chain

from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.consent import Standing
from pipeline.rights.findings import Finding
from pipeline.rights.ruling import Consent, cite

MARK = "\x00"  # begins a stand-in; no name or id in the ledger holds it
_EVENT = f"event:{MARK}"


def stand_in(place: int) -> str:
    """The id of the event at a place."""
    return f"{MARK}{place}"


def place_of(evidence: str) -> int | None:
    """The place of the event that evidence names; None for other evidence."""
    return int(evidence.removeprefix(_EVENT)) if evidence.startswith(_EVENT) else None


def spelled(findings: Sequence[Finding], identifiers: Sequence[str] | Mapping[int, str]) -> tuple[Finding, ...]:
    """Findings with the ids of the events in place of their places."""
    return tuple(
        replace(finding, evidence=tuple(_spelled(item, identifiers) for item in finding.evidence))
        for finding in findings
    )


def _spelled(item: str, identifiers: Sequence[str] | Mapping[int, str]) -> str:
    place = place_of(item)
    return item if place is None else f"event:{identifiers[place]}"


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
    """(the consent, with the turn of each event among those that it cites as its place; their places before)."""
    events = chain(*(standing.events for standing in (*consent.standings, *consent.closed)), consent.unreadable)
    cited = dict.fromkeys(chain(cite(events), *(claim.evidence for claim in consent.claims)))
    places = tuple(place for item in cited if (place := place_of(item)) is not None)
    turns = {place: turn for turn, place in enumerate(places)}
    standings, closed = (
        tuple(replace(standing, events=_turned(standing.events, turns)) for standing in some)
        for some in (consent.standings, consent.closed)
    )
    names = {place: stand_in(turn) for place, turn in turns.items()}
    claims = spelled(consent.claims, names)
    return Consent(standings, closed, _turned(consent.unreadable, turns), claims), places


def _turned(events: Iterable[ConsentEvent], turns: Mapping[int, int]) -> tuple[ConsentEvent, ...]:
    return tuple(_at_turn(turns[int(event.event_id.removeprefix(MARK))]) for event in events)


@lru_cache
def _at_turn(turn: int) -> ConsentEvent:
    """An event of which nothing is left but its turn."""
    return ConsentEvent(stand_in(turn), *[""] * (len(fields(ConsentEvent)) - 1))
