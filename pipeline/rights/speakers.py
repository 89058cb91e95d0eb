"""Who speaks in an event, and who they are to a file: people as numbers, by column."""

from itertools import chain

import numpy as np

from pipeline.rights.chronicle import Chronicle
from pipeline.rights.coded import Codes
from pipeline.rights.groups import Grouping
from pipeline.rights.voices import same

HOLDER, PERSON, STRANGER = 1, 100_000, 200_000  # first number of the people of each kind; 0 is nobody


class Speakers:
    """Who speaks in each event and about whom, and who they are to each group of files.

    To a group its holders and depicted persons are known by place, all others are strangers.
    """

    def __init__(self, groups: Grouping, events: Chronicle, registrars: tuple[str, ...]) -> None:
        self.groups, names = groups, _Names()
        self.speaking = _speaking(events, registrars, names)
        self.about = _about(events, names)
        self._size = len(names.known)  # a person of a group is known by group * size + number
        known = [
            (group * self._size + number, place)
            for group, (holders, depicts) in enumerate(zip(groups.holders, groups.depicts, strict=True))
            for place, person in chain(enumerate(depicts, PERSON), enumerate(holders, HOLDER))
            if (number := names.known.get(same(person))) is not None
        ]
        keys, places = np.array(known, dtype=np.int64).reshape(-1, 2).T
        order = np.argsort(keys, kind="stable")
        last = order[np.flatnonzero(np.diff(keys[order], append=-1))]  # who is a holder as well is known as that
        self._keys, self._places = keys[last], places[last]

    def places(self, group: Codes, name: Codes, item: Codes) -> Codes:
        """The place of each line's person; strangers are numbered within each item."""
        found, named = np.zeros(len(name), dtype=np.int64), np.flatnonzero(name)
        found[named] = self._known(group[named] * self._size + name[named])
        strange = np.flatnonzero(found == STRANGER)
        once, number = np.unique(item[strange] * self._size + name[strange], return_inverse=True)
        first = np.searchsorted(once, once // self._size * self._size)
        found[strange] = STRANGER + (np.arange(len(once)) - first)[number]
        return found

    def _known(self, key: Codes) -> Codes:
        """The places of people by their keys, STRANGER where a group does not know them."""
        if not len(self._keys):
            return np.full(len(key), STRANGER)
        at = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        return np.where(self._keys[at] == key, self._places[at], STRANGER)


class _Names:
    """Numbers for names; "" is 0."""

    def __init__(self) -> None:
        self.known = {"": 0}

    def number(self, name: str) -> int:
        return self.known.setdefault(name, len(self.known))


def _speaking(events: Chronicle, registrars: tuple[str, ...], names: _Names) -> Codes:
    """The number of who speaks in each event, 0 where it speaks for its subject: see voices.hear."""
    recording = {"", *(same(name) for name in registrars)}
    coded = events.coded("actor")
    speaks = [name if (name := same(actor)) not in recording else "" for actor in coded.values.to_pylist()]
    for name in sorted(speaks):  # strangers are told in this order, whatever that of their events
        names.number(name)
    found = np.array([names.known[name] for name in speaks], dtype=np.int64)[coded.codes]
    named = np.flatnonzero(found)
    subjects = [names.known.get(same(subject), 0) for subject in events.texts("subject_id", named).to_pylist()]
    found[named[found[named] == np.array(subjects, dtype=np.int64)]] = 0
    return found


def _about(events: Chronicle, names: _Names) -> Codes:
    """The number of the holder or person that each event is about, else 0."""
    personal = np.flatnonzero(events.each("subject_type", lambda kind: kind in ("holder", "person")))
    found = np.zeros(len(events), dtype=np.int64)
    found[personal] = [names.number(same(name)) for name in events.texts("subject_id", personal).to_pylist()]
    return found
