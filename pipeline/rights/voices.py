"""Whose statement an event is: a rights holder's, a depicted person's, or a stranger's."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from pipeline.catalog.ledger import ConsentEvent

UNNAMED = ""


@dataclass
class Voices:
    """The readable events about one asset, by speaker.

    `holders` must all consent: the listed ones, or where none is listed the unnamed one, for whom only the studio's
    own records speak. `objectors` speak for an asset that nobody is listed for: they can close it, not open it.
    """

    holders: dict[str, list[ConsentEvent]] = field(default_factory=dict)
    objectors: dict[str, list[ConsentEvent]] = field(default_factory=dict)
    people: dict[str, list[ConsentEvent]] = field(default_factory=dict)
    strangers: dict[str, list[ConsentEvent]] = field(default_factory=dict)


def hear(
    events: Iterable[ConsentEvent], holders: tuple[str, ...], depicts: tuple[str, ...], registrars: tuple[str, ...]
) -> Voices:
    """Sort readable events about one asset by who speaks in them.

    An event without an actor, or recorded by a registrar, speaks for its subject: the named holder or person, or
    every holder of the asset or dataset. Any other actor speaks for themselves only.
    """
    listed = [same(holder) for holder in holders]
    recording = {UNNAMED, *(same(name) for name in registrars)}
    voices = Voices({name: [] for name in listed or [UNNAMED]}, people={same(person): [] for person in depicts})
    for event in events:
        actor, subject = same(event.actor), same(event.subject_id)
        unnamed = actor in recording or actor == subject
        if event.subject_type == "holder" and unnamed:
            voices.holders.setdefault(subject, []).append(event)
        elif event.subject_type == "person" and unnamed:
            voices.people.setdefault(subject, []).append(event)
        elif event.subject_type in ("asset", "dataset") and unnamed:
            for said in voices.holders.values():
                said.append(event)
        elif event.subject_type in ("asset", "dataset") and (actor in voices.holders or actor in voices.people):
            for group in (voices.holders, voices.people):
                if actor in group:
                    group[actor].append(event)
        elif event.subject_type in ("asset", "dataset") and not listed:
            voices.objectors.setdefault(actor, []).append(event)
        else:
            voices.strangers.setdefault(actor, []).append(event)
    return voices


@lru_cache(maxsize=65_536)
def same(name: str) -> str:
    """Names are compared without regard to case and outer spaces."""
    return name.strip().casefold()
