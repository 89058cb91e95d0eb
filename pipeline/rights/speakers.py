"""Who speaks in an event, and who they are to a file: people as numbers, by column."""

from itertools import chain

import numpy as np

from pipeline.rights.assets import combine
from pipeline.rights.chronicle import Chronicle
from pipeline.rights.coded import Codes
from pipeline.rights.subjects import Grouping
from pipeline.rights.voices import same

HOLDER, PERSON, STRANGER = 1, 100_000, 200_000  # first number of the people of each kind; 0 is nobody


class Speakers:
    """Who speaks in each event and about whom, and who they are to each group of files.

    To a group its holders and depicted persons are known by place, all others are strangers.
    """

    def __init__(self, groups: Grouping, events: Chronicle, registrars: tuple[str, ...]) -> None:
        names = _Names()
        self.speaking = _speaking(events, registrars, names)
        self.about = _about(events, names)
        self._places = {
            (group, number): place
            for group, (holders, depicts) in enumerate(zip(groups.holders, groups.depicts, strict=True))
            for place, person in chain(enumerate(depicts, PERSON), enumerate(holders, HOLDER))  # the latter stays
            if (number := names.known.get(same(person))) is not None
        }

    def places(self, group: Codes, name: Codes, item: Codes) -> Codes:
        """The place of each line's person; strangers are numbered within each item."""
        found, named = np.zeros(len(name), dtype=np.int64), np.flatnonzero(name)
        first, pair = combine(group[named], name[named])
        pairs = zip(group[named][first].tolist(), name[named][first].tolist(), strict=True)
        found[named] = np.array([self._places.get(one, STRANGER) for one in pairs], dtype=np.int64)[pair]
        strange = np.flatnonzero(found == STRANGER)
        once = np.unique(np.stack([item[strange], name[strange]]), axis=1)
        rank = np.arange(once.shape[1]) - np.searchsorted(once[0], once[0])
        key = once[0] * (int(name.max(initial=0)) + 1) + once[1]
        at = np.searchsorted(key, item[strange] * (int(name.max(initial=0)) + 1) + name[strange])
        found[strange] = STRANGER + rank[at]
        return found


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
