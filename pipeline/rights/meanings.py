"""What events mean to a question: terms that make no difference to it are taken out."""

import numpy as np
import pyarrow.compute as pc

from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.assets import combine
from pipeline.rights.chronicle import Chronicle
from pipeline.rights.coded import Codes
from pipeline.rights.consent import covers, is_readable
from pipeline.rights.ruling import Question

_FIELDS = ("action", "subject_type", "uses", "commercial", "territory", "overrides_signals")  # what an event says


def meanings(events: Chronicle, question: Question) -> tuple[Codes, list[ConsentEvent]]:
    """(the meaning of each event, an event of each meaning)."""
    saying, examples = _sayings(events, question.as_of)
    numbers: dict[tuple[object, ...], int] = {}
    meant: list[ConsentEvent] = []
    of_saying = []
    for event in events.at(examples.tolist()):
        number = numbers.setdefault(_meaning(event, question), len(numbers))
        if number == len(meant):
            meant.append(event)
        of_saying.append(number)
    return np.array(of_saying, dtype=np.int64)[saying], meant


def as_terms(meant: list[ConsentEvent], question: Question) -> Codes:
    """Meanings numbered without the kind of their subject, and without likeness: for where nobody is shown."""
    keys = [_meaning(event, question) for event in meant]
    return np.array([keys.index(next(k for k in keys if k[2:] == key[2:])) for key in keys], dtype=np.int64)


def _sayings(events: Chronicle, as_of: str) -> tuple[Codes, Codes]:
    """(what each event says, an event that says it): its terms, and whether it is to come, in force or over."""
    limited = np.flatnonzero(events.each("effective_until", bool))
    begins, ends = (events.texts(name, limited) for name in ("effective_from", "effective_until"))
    backwards = np.zeros(len(events), dtype=bool)
    backwards[limited] = pc.less_equal(ends, begins)
    flags = [
        events.each("effective_from", lambda begins: begins > as_of),
        events.each("effective_until", lambda ends: bool(ends) and ends <= as_of),
        backwards,
        np.asarray(pc.equal(events.subjects, "")),
    ]
    said = [events.coded(name).codes for name in _FIELDS]
    first, saying = combine(*(flag.astype(np.int64) for flag in flags), *said)
    return saying, first


def _meaning(event: ConsentEvent, question: Question) -> tuple[object, ...]:
    """What a ruling can depend on of an event; from the third place on, what it can as a word on the use."""
    if not is_readable(event):
        return (event.subject_type, (), "unreadable")
    use, commercial, as_of = question.purpose.use, question.purpose.commercial, question.as_of
    when = (event.effective_from <= as_of, not event.effective_until or event.effective_until > as_of)
    of_likeness = (*when, event.territory) if covers(event, "likeness", commercial) else ()
    if not covers(event, use, commercial):
        return (event.subject_type, of_likeness, event.action)
    overriding = event.action == "grant" and event.overrides_signals == "yes"
    return (event.subject_type, of_likeness, event.action, event.territory, overriding, when)
