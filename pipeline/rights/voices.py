"""Whose statement an event is: a rights holder's, a depicted person's, or a stranger's."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.catalog.ledger import ConsentEvent

UNNAMED = ""


@dataclass
class Voices:
    """The events about one asset, by speaker. With no listed holder, whoever speaks is taken as one."""

    holders: dict[str, list[ConsentEvent]] = field(default_factory=dict)
    people: dict[str, list[ConsentEvent]] = field(default_factory=dict)
    strangers: dict[str, list[ConsentEvent]] = field(default_factory=dict)


def hear(
    events: Iterable[ConsentEvent], holders: tuple[str, ...], depicts: tuple[str, ...], registrars: tuple[str, ...]
) -> Voices:
    """Sort readable events about one asset by who speaks in them.

    An event without an actor, or recorded by a registrar, speaks for its subject: the named holder or person, or
    every holder of the asset or dataset. An actor speaks for themselves only.
    """
    voices = Voices({same(h): [] for h in holders}, {same(p): [] for p in depicts})
    listed, recording = set(voices.holders), {same(name) for name in registrars}
    for event in events:
        actor, subject = same(event.actor), same(event.subject_id)
        actor = UNNAMED if actor in recording else actor
        if event.subject_type in ("holder", "person"):
            group = voices.holders if event.subject_type == "holder" else voices.people
            if actor in (UNNAMED, subject):
                group.setdefault(subject, []).append(event)
            else:
                voices.strangers.setdefault(actor, []).append(event)
            continue
        speakers = listed if actor == UNNAMED and listed else {actor} if not listed or actor in listed else set()
        if actor in voices.people:
            voices.people[actor].append(event)
            speakers &= listed
        for speaker in speakers:
            voices.holders.setdefault(speaker, []).append(event)
        if not speakers and actor not in voices.people:
            voices.strangers.setdefault(actor, []).append(event)
    return voices


def same(name: str) -> str:
    """Names are compared without regard to case and outer spaces."""
    return name.strip().casefold()
