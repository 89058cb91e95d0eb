"""Cases: files in the same circumstances get the same ruling, so each kind of circumstances is ruled on once.

What a ruling cannot depend on is taken out: what people are called (only who of them speaks), when exactly events
were recorded (only their order), their ids, and terms that make no difference to the question. Put back, the ids
become the evidence. All is done by column; only distinct cases are looked at one by one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.assets import Codes, combine
from pipeline.rights.consent import CLOSING, covers, is_readable
from pipeline.rights.findings import Finding
from pipeline.rights.ruling import Consent, Question, weigh_consent
from pipeline.rights.subjects import Grouping, Subjects
from pipeline.rights.voices import same

_MARK = "\x00"  # begins a stand-in; no name or id in the ledger holds it
_SOMETHING = f"{_MARK}asset"  # stands for an asset or dataset
_EVENT = f"event:{_MARK}"
_FIELDS = ("action", "subject_type", "uses", "commercial", "territory", "overrides_signals")  # what an event says
_HOLDER, _PERSON, _STRANGER = 1, 100_000, 200_000  # first number of the people of each kind; 0 is nobody


@dataclass(frozen=True)
class Lines:
    """What files hear: in line i, file `item[i]` hears `event[i]`. In the order of the fold within each file."""

    item: Codes
    event: Codes
    ambiguous: NDArray[np.bool_]  # the event's reference fits other assets too
    speaker: Codes  # 0 where the event speaks for its subject
    subject: Codes  # the holder or person that the event is about, else 0
    starts: Codes  # those of item i are lines starts[i] to starts[i + 1]


class Cases:
    """The consent cases of files, each given by its group (subjects.Grouping) and identity, for one question."""

    def __init__(self, subjects: Subjects, question: Question, group: Codes, identity: Codes) -> None:
        self._subjects, self._question, self._group = subjects, question, group
        saying, examples = _sayings(subjects.events, question.as_of)
        self._meaning, self._meant = _meanings(saying, [subjects.event(i) for i in examples.tolist()], question)
        self.lines = self._hear(identity)
        self._first, self.of_item = self._number()

    def _hear(self, identity: Codes) -> Lines:
        """Every event that matters to each file, and who speaks about whom there."""
        subjects, names = self._subjects, _Names()
        parts = [subjects.groups.events.of_each(self._group), subjects.own.of_each(identity)]
        ambiguous = subjects.ambiguous.of_each(identity)
        item = np.concatenate([part[0] for part in (*parts, ambiguous)])
        event = np.concatenate([part[1] for part in (*parts, ambiguous)])
        unsure = np.repeat([False, True], [len(item) - len(ambiguous[0]), len(ambiguous[0])])
        order = np.lexsort((event, unsure, item))
        item, event, unsure = item[order], event[order], unsure[order]
        again = np.zeros(len(item), dtype=bool)  # an event may reach a file by its holder and by its key
        again[1:] = (np.diff(item) == 0) & (np.diff(event) == 0) & (np.diff(unsure.astype(np.int8)) == 0)
        kept = ~again & (self._all(self._bears)[self._meaning[event]] | unsure)
        item, event, unsure = item[kept], event[kept], unsure[kept]
        speaker = names.numbers(_speakers(subjects.events, self._question.policy.registrars))[event]
        kept = ~self._settled(item, event, unsure, speaker)
        item, event, unsure, speaker = item[kept], event[kept], unsure[kept], speaker[kept]
        subject = names.numbers(_personal_subjects(subjects.events))[event]
        people = _People(subjects.groups, names)
        group = self._group[item]
        return Lines(
            item,
            event,
            unsure,
            people.places(group, speaker, item),
            people.places(group, subject, item),
            np.searchsorted(item, np.arange(len(identity) + 1)),
        )

    def _settled(self, item: Codes, event: Codes, unsure: NDArray[np.bool_], speaker: Codes) -> NDArray[np.bool_]:
        """Lines of the holders' word on the use that make no difference, for another is for all holders and places.

        It replaces what came before it, and where nothing ends it, grants of other uses and times explain nothing.
        """
        meaning = self._meaning[event]
        depicting = np.array([bool(people) for people in self._subjects.groups.depicts], dtype=bool)
        plain: NDArray[np.bool_] = ~unsure & (speaker == 0) & self._all(is_readable)[meaning]
        plain &= ~depicting[self._group[item]]
        count = int(item.max(initial=-1)) + 1
        last, end = np.full(count, -1), np.full(count, -1)
        settling = np.flatnonzero(plain & self._all(self._settles)[meaning])
        ending = np.flatnonzero(plain & self._all(lambda meant: meant.action == "expire")[meaning])
        last[item[settling]], end[item[ending]] = settling, ending  # of several the last assignment stays
        idle = plain & ~self._all(self._question.touched_by)[meaning] & (last > end)[item]
        return (plain & (np.arange(len(item)) < last[item])) | idle

    def _all(self, test: Callable[[ConsentEvent], bool]) -> NDArray[np.bool_]:
        """The answer for each meaning."""
        return np.array([test(meant) for meant in self._meant], dtype=bool)

    def _bears(self, event: ConsentEvent) -> bool:
        """False for what ends or closes another use, or is over or to come. Grants explain reasons."""
        asked = self._question
        return event.action == "grant" or asked.touched_by(event) or asked.touched_by(event, "likeness")

    def _settles(self, event: ConsentEvent) -> bool:
        """True for a word on the use, by all holders and for all places, that is in force."""
        settling = event.action in (*CLOSING, "grant") and event.subject_type in ("asset", "dataset")
        return settling and "*" in event.territory.split("|") and self._question.touched_by(event)

    def _number(self) -> tuple[Codes, Codes]:
        """(an item of each case, the case of each item): the people by number, then line by line."""
        lines = self.lines
        _, word = combine(self._meaning[lines.event], lines.ambiguous.astype(np.int64), lines.speaker, lines.subject)
        case = _numbers_of_people(self._subjects.groups)[self._group]
        lengths, place = np.diff(lines.starts), 0
        while len(longer := np.flatnonzero(lengths > place)):
            _, codes = combine(case[longer], word[lines.starts[longer] + place])
            case[longer] = int(case.max()) + 1 + codes
            place += 1
        return combine(case)

    def consents(self) -> list[Consent]:
        """What each case amounts to. Its evidence names events by their line within the item: see `spelled`."""
        return [self._consent(item) for item in self._first.tolist()]

    def _consent(self, item: int) -> Consent:
        lines, groups, group = self.lines, self._subjects.groups, int(self._group[item])
        start, end = int(lines.starts[item]), int(lines.starts[item + 1])
        depicts, held = groups.depicts[group], groups.holders[group]
        stand_ins = {0: ""} | {_PERSON + i: same(person) for i, person in enumerate(depicts)}
        by_name = {same(person): same(person) for person in depicts}  # a holder who is depicted is one person
        stand_ins |= {_HOLDER + i: by_name.get(same(h), f"{_MARK}h{i:02}") for i, h in enumerate(held)}
        said = [self._stood_in(line, line - start, stand_ins) for line in range(start, end)]
        sure = end - start - int(lines.ambiguous[start:end].sum())
        holders = tuple(stand_ins[_HOLDER + i] for i in range(len(held)))
        return weigh_consent(holders, depicts, said[:sure], said[sure:], self._question)

    def _stood_in(self, line: int, place: int, stand_ins: dict[int, str]) -> ConsentEvent:
        meant: ConsentEvent = self._meant[self._meaning[self.lines.event[line]]]
        speaker, subject = int(self.lines.speaker[line]), int(self.lines.subject[line])
        return ConsentEvent(  # dataclasses.replace takes four times as long
            event_id=f"{_MARK}{place}",
            recorded_at=f"{place:09}",
            effective_from=meant.effective_from,
            effective_until=meant.effective_until,
            actor=stand_ins.get(speaker) or f"{_MARK}s{speaker}" if speaker else "",
            subject_type=meant.subject_type,
            subject_id=stand_ins.get(subject) or f"{_MARK}s{subject}" if subject else meant.subject_id and _SOMETHING,
            action=meant.action,
            uses=meant.uses,
            commercial=meant.commercial,
            territory=meant.territory,
            overrides_signals=meant.overrides_signals,
            evidence="",
            note="",
        )

    def identifiers(self, item: int) -> list[str]:
        """Ids of the events that an item's evidence names by place."""
        events = self.lines.event[self.lines.starts[item] : self.lines.starts[item + 1]]
        found: list[str] = self._subjects.events["event_id"].take(pa.array(events)).to_pylist()
        return found


class _Names:
    """Numbers for names; "" is 0."""

    def __init__(self) -> None:
        self.known = {"": 0}

    def numbers(self, names: Sequence[str]) -> Codes:
        known = self.known
        return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


class _People:
    """Who people are to a group of files: its holders and depicted persons by place, all others as strangers."""

    def __init__(self, groups: Grouping, names: _Names) -> None:
        self._places: dict[tuple[int, int], int] = {}
        for group, (holders, depicts) in enumerate(zip(groups.holders, groups.depicts, strict=True)):
            for first, people in ((_PERSON, depicts), (_HOLDER, holders)):  # who is both counts as holder
                for place, person in reversed(list(enumerate(people))):
                    if (number := names.known.get(same(person))) is not None:
                        self._places[group, number] = first + place

    def places(self, group: Codes, name: Codes, item: Codes) -> Codes:
        """The place of each line's person; strangers are numbered within each item."""
        found, named = np.zeros(len(name), dtype=np.int64), np.flatnonzero(name)
        first, pair = combine(group[named], name[named])
        pairs = zip(group[named][first].tolist(), name[named][first].tolist(), strict=True)
        found[named] = np.array([self._places.get(one, _STRANGER) for one in pairs], dtype=np.int64)[pair]
        strange = np.flatnonzero(found == _STRANGER)
        once = np.unique(np.stack([item[strange], name[strange]]), axis=1)
        rank = np.arange(once.shape[1]) - np.searchsorted(once[0], once[0])
        key = once[0] * (int(name.max(initial=0)) + 1) + once[1]
        at = np.searchsorted(key, item[strange] * (int(name.max(initial=0)) + 1) + name[strange])
        found[strange] = _STRANGER + rank[at]
        return found


def place_of(evidence: str) -> int | None:
    """The place within the item of the event that evidence names; None for other evidence."""
    return int(evidence.removeprefix(_EVENT)) if evidence.startswith(_EVENT) else None


def spelled(findings: Sequence[Finding], identifiers: Sequence[str]) -> tuple[Finding, ...]:
    """Findings with the ids of the events in place of their places."""
    return tuple(
        replace(finding, evidence=tuple(_spelled(item, identifiers) for item in finding.evidence))
        for finding in findings
    )


def _spelled(item: str, identifiers: Sequence[str]) -> str:
    place = place_of(item)
    return item if place is None else f"event:{identifiers[place]}"


def _sayings(events: pa.Table, as_of: str) -> tuple[Codes, Codes]:
    """(what each event says, an event that says it): its terms, and whether it is to come, in force or over."""
    begins, until = events["effective_from"], events["effective_until"]
    ends = pc.not_equal(until, "")
    flags = [
        pc.greater(begins, as_of),
        pc.and_(ends, pc.less_equal(until, as_of)),
        pc.and_(ends, pc.less_equal(until, begins)),
        pc.equal(pc.utf8_trim_whitespace(events["subject_id"]), ""),
    ]
    columns = [np.asarray(flag).astype(np.int64) for flag in flags]
    columns += [_codes(events[name]) for name in _FIELDS]
    first, saying = combine(*columns)
    return saying, first


def _meanings(saying: Codes, said: list[ConsentEvent], question: Question) -> tuple[Codes, list[ConsentEvent]]:
    """(the meaning of each event, an event of each meaning): terms that make no difference are as good as equal."""
    numbers: dict[tuple[object, ...], int] = {}
    meant: list[ConsentEvent] = []
    of_saying = []
    for event in said:
        number = numbers.setdefault(_meaning(event, question), len(numbers))
        if number == len(meant):
            meant.append(event)
        of_saying.append(number)
    return np.array(of_saying, dtype=np.int64)[saying], meant


def _meaning(event: ConsentEvent, question: Question) -> tuple[object, ...]:
    if not is_readable(event):
        return ("unreadable", event.subject_type)
    commercial = question.purpose.commercial
    return (
        event.action,
        event.subject_type,
        event.territory,
        event.overrides_signals,
        covers(event, question.purpose.use, commercial),
        covers(event, "likeness", commercial),
        event.effective_from <= question.as_of,
        not event.effective_until or event.effective_until > question.as_of,
    )


def _codes(column: pa.ChunkedArray) -> Codes:
    return np.asarray(pc.dictionary_encode(column).combine_chunks().indices, dtype=np.int64)


def _speakers(events: pa.Table, registrars: tuple[str, ...]) -> list[str]:
    """Who speaks in each event, "" where it speaks for its subject: see voices.hear."""
    recording = {"", *(same(name) for name in registrars)}
    folded = {name: same(name) for name in pc.unique(events["actor"]).to_pylist()}
    speakers = [folded[name] for name in events["actor"].to_pylist()]
    if set(folded.values()) <= recording:
        return [""] * len(speakers)
    return [
        "" if speaker in recording or speaker == same(subject) else speaker
        for speaker, subject in zip(speakers, events["subject_id"].to_pylist(), strict=True)
    ]


def _personal_subjects(events: pa.Table) -> list[str]:
    """The holder or person that each event is about, else ""."""
    personal = pc.is_in(events["subject_type"], value_set=pa.array(["holder", "person"]))
    return [same(name) for name in pc.if_else(personal, events["subject_id"], "").to_pylist()]


def _numbers_of_people(groups: Grouping) -> Codes:
    """A number for the people of each group: how many holders, who of them is depicted, and the depicted people."""
    numbers: dict[tuple[object, ...], int] = {}
    found = []
    for holders, depicts in zip(groups.holders, groups.depicts, strict=True):
        shown = {same(person) for person in depicts}
        key = (
            (*(same(h) if same(h) in shown else holders.index(h) for h in holders), depicts)
            if shown
            else len(holders)
        )
        found.append(numbers.setdefault((key,), len(numbers)))
    return np.array(found, dtype=np.int64)
