"""Cases: files in the same circumstances get the same ruling, so each kind of circumstances is ruled on once.

What a ruling cannot depend on is taken out: what people are called (only who of them speaks), when exactly events
were recorded (only their order), their ids, and terms that make no difference to the question. Put back, the ids
become the evidence (`citations`). All is done by column; only distinct cases are looked at one by one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import chain, islice, starmap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.ledger import ConsentEvent
from pipeline.core.work import both
from pipeline.rights.assets import combine
from pipeline.rights.citations import MARK, by_turn, distinct, person, stand_in
from pipeline.rights.coded import MANY, Codes
from pipeline.rights.consent import CLOSING, is_readable
from pipeline.rights.groups import Grouping
from pipeline.rights.meanings import as_terms, meanings
from pipeline.rights.ruling import Consent, Question, weigh_consent
from pipeline.rights.spans import Spans
from pipeline.rights.speakers import HOLDER, PERSON, STRANGER, Speakers
from pipeline.rights.subjects import Subjects
from pipeline.rights.voices import same

_SOMETHING = f"{MARK}asset"  # stands for an asset or dataset
_MEDDLER, _ALL_HOLDERS = 10**10, 10**11  # numbers of voices, beside those of people
_Word = tuple[int, int, int, int]  # meaning, place, speaker, subject


@dataclass(frozen=True)
class Lines:
    """What files hear: in line i, file `item[i]` hears `event[i]`. In the order of the fold within each file."""

    item: Codes
    event: Codes
    ambiguous: NDArray[np.bool_]  # the event's reference fits other assets too
    speaker: Codes  # 0 where the event speaks for its subject
    subject: Codes  # the holder or person that the event is about, else 0
    voice: Codes  # the holder or stranger whose word it is
    starts: Codes  # those of item i are lines starts[i] to starts[i + 1]


class _People(NamedTuple):
    """Stand-ins for people; a holder who is depicted is one person."""

    names: dict[int, str]  # by the number of a speaker
    holders: tuple[str, ...]
    depicts: tuple[str, ...]


class Cases:
    """The consent cases of files, each given by its group (groups.Grouping) and identity, for one question."""

    def __init__(
        self, subjects: Subjects, speakers: Speakers, question: Question, group: Codes, identity: Codes
    ) -> None:
        self._subjects, self._speakers, self._question, self._group = subjects, speakers, question, group
        self._meaning, self._meant = meanings(subjects.events, question)
        self._made: dict[tuple[int, int, str, str], ConsentEvent] = {}
        self._people, people_of = _like_people(speakers.groups)
        self._people_of = people_of[group]
        self.lines = self._heard(group, identity)
        self._first, self.of_item = self._number()

    def _heard(self, groups: Codes, identity: Codes) -> Lines:
        if len(groups) < MANY:
            return self._hear(groups, identity)
        half = len(groups) // 2
        first, second = (
            partial(self._hear, groups[some], identity[some]) for some in (slice(half), slice(half, None))
        )
        return _joined(*both(True, first, second), half)

    def _hear(self, groups: Codes, identity: Codes) -> Lines:
        """What matters to files of these groups and identities, and who speaks about whom there."""
        item, event, unsure = self._reaching(groups, identity)
        group = groups[item]
        speaker = self._speakers.places(group, self._speakers.speaking[event], item)
        subject = self._speakers.places(group, self._speakers.about[event], item)
        voice = self._voice(group, event, unsure, speaker, subject)
        kept = np.flatnonzero(~self._settled(item, event, voice))
        order = kept[_by_voice(item, voice, unsure, kept)]
        starts = np.searchsorted(item[order], np.arange(len(identity) + 1))
        item, event, unsure = item[order], event[order], unsure[order]
        return Lines(item, event, unsure, speaker[order], subject[order], voice[order], starts)

    def _reaching(self, groups: Codes, identity: Codes) -> tuple[Codes, Codes, NDArray[np.bool_]]:
        """(item, event, whether it fits other assets too), for every event about each file that can matter to it."""
        subjects = self._subjects
        parts = [self._speakers.groups.events.of_each(groups), subjects.own.of_each(identity)]
        ambiguous = subjects.ambiguous.of_each(identity)
        item = np.concatenate([part[0] for part in (*parts, ambiguous)])
        event = np.concatenate([part[1] for part in (*parts, ambiguous)])
        unsure = np.repeat([False, True], [len(item) - len(ambiguous[0]), len(ambiguous[0])])
        order = np.argsort((item * 2 + unsure) * len(subjects.events) + event, kind="stable")  # three sorted runs
        item, event, unsure = item[order], event[order], unsure[order]
        again = np.zeros(len(item), dtype=bool)  # an event may reach a file by its holder and by its key
        again[1:] = (np.diff(item) == 0) & (np.diff(event) == 0) & (np.diff(unsure.astype(np.int8)) == 0)
        kept = ~again & (self._all(self._bears)[self._meaning[event]] | unsure)
        return item[kept], event[kept], unsure[kept]

    def _voice(self, group: Codes, event: Codes, unsure: NDArray[np.bool_], speaker: Codes, subject: Codes) -> Codes:
        """The holder or stranger whose word a line is, or all holders; 0 where it is unclear, or people are shown."""
        groups = self._speakers.groups
        alone = np.array([len(holders) <= 1 for holders in groups.holders], dtype=bool)[group]
        depicting = np.array([bool(people) for people in groups.depicts], dtype=bool)[group]
        of_file = self._all(lambda meant: meant.subject_type in ("asset", "dataset"))[self._meaning[event]]
        of_holder = self._all(lambda meant: meant.subject_type == "holder")[self._meaning[event]] & (speaker == 0)
        meddling = self._all(lambda meant: meant.subject_type == "holder")[self._meaning[event]] & (speaker != 0)
        voice: Codes = np.where(meddling, np.where(speaker < PERSON, _MEDDLER + speaker, speaker), 0)
        voice = np.where(of_holder, subject, np.where(of_file, speaker, voice))
        voice = np.where(of_file & (speaker == 0), np.where(alone, HOLDER, _ALL_HOLDERS), voice)
        plain: NDArray[np.bool_] = ~unsure & ~depicting & self._all(is_readable)[self._meaning[event]]
        return voice * plain

    def _settled(self, item: Codes, event: Codes, voice: Codes) -> NDArray[np.bool_]:
        """Lines that make no difference, for another word of the same holder on the use is for all places.

        It replaces what came before it, and where nothing ends it, grants of other uses and times explain nothing.
        """
        place, count = np.arange(len(item)), int(item.max(initial=-1)) + 1
        _, pair = combine(item, voice)
        settling = (voice != 0) & self._all(self._settles)[self._meaning[event]]
        ending = (voice != 0) & self._all(lambda meant: meant.action == "expire")[self._meaning[event]]
        for_all = voice == _ALL_HOLDERS
        settled = np.maximum(_last(pair, settling, len(item))[pair], _last(item, settling & for_all, count)[item])
        ended = np.maximum(_last(pair, ending, len(item))[pair], _last(item, ending & for_all, count)[item])
        ended = np.where(for_all, _last(item, ending, count)[item], ended)
        touching = self._all(self._question.touched_by)[self._meaning[event]]
        idle = ~touching & (settled > ended)
        # all that counts of strangers is what they object to
        opening = settling & ~self._all(lambda meant: meant.action in CLOSING)[self._meaning[event]]
        idle |= (voice >= STRANGER) & ~for_all & (~touching | opening | ending)
        makes_none: NDArray[np.bool_] = (voice != 0) & ((place < settled) | idle)
        return makes_none

    def _all(self, test: Callable[[ConsentEvent], bool]) -> NDArray[np.bool_]:
        """The answer for each meaning."""
        return np.array([test(meant) for meant in self._meant], dtype=bool)

    def _bears(self, event: ConsentEvent) -> bool:
        """False for what ends or closes another use, or is over or to come. Grants explain reasons."""
        asked = self._question
        return event.action == "grant" or asked.touched_by(event) or asked.touched_by(event, "likeness")

    def _settles(self, event: ConsentEvent) -> bool:
        """True for a word on the use, for all places, that is in force."""
        settling = event.action in (*CLOSING, "grant")
        return settling and "*" in event.territory.split("|") and self._question.touched_by(event)

    def _number(self) -> tuple[Codes, Codes]:
        """(an item of each case, the case of each item): the people by number, then line by line."""
        lines = self.lines
        # a holder's word is the same whether spoken of the file, of its dataset or of themselves
        meaning = self._meaning[lines.event]
        terms = np.where(lines.voice != 0, as_terms(self._meant, self._question)[meaning], len(self._meant) + meaning)
        people = [np.where(lines.voice != 0, 0, who) for who in (lines.speaker, lines.subject)]
        _, word = combine(terms, lines.voice, lines.ambiguous.astype(np.int64), *people)
        case = self._people_of.copy()
        lengths, place = np.diff(lines.starts), 0
        while len(longer := np.flatnonzero(lengths > place)):
            _, codes = combine(case[longer], word[lines.starts[longer] + place])
            case[longer] = int(case.max()) + 1 + codes
            place += 1
        return combine(case)

    def consents(self) -> tuple[list[Consent], Codes, Spans]:
        """(what cases amount to, the number of that for each item, what is cited for each item).

        Many cases come to the same but for events and people: evidence names these by their turn (citations).
        """
        used, use_of_case = distinct(starmap(self._consent, self._said()))
        turned = [by_turn(consent) for consent in used]
        found, number_of_use = distinct(consent for consent, _ in turned)
        use = np.array(use_of_case, dtype=np.int64)[self.of_item]
        return found, np.array(number_of_use, dtype=np.int64)[use], self._cited([places for _, places in turned], use)

    def _cited(self, places: list[tuple[int, ...]], use: Codes) -> Spans:
        """What stands at some places of each item, as citations.cited; which places, is told by their number."""
        starts, listed = np.cumsum([0, *map(len, places)]), np.array([*chain.from_iterable(places)], dtype=np.int64)
        item, place = Spans(starts, listed).of_each(use)
        entry, line = place - self._speakers.groups.shown[0][self._group[item]], self.lines.starts[item] + place
        entry[place >= 0] = self.lines.event[line[place >= 0]]
        return Spans(np.append(0, np.cumsum(np.diff(starts)[use])), entry)

    def _said(self) -> Iterator[tuple[int, list[_Word], int]]:
        """Of each case its people, what is said in it, and how many of these words are surely about its files."""
        lines, first = self.lines, self._first
        case, line = Spans(lines.starts, np.arange(len(lines.item))).of_each(first)
        words = zip(
            self._meaning[lines.event[line]].tolist(),
            (line - lines.starts[first][case]).tolist(),
            lines.speaker[line].tolist(),
            lines.subject[line].tolist(),
            strict=True,
        )
        lengths = np.bincount(case, minlength=len(first))
        sure = lengths - np.bincount(case[lines.ambiguous[line]], minlength=len(first))
        for people, length, some in zip(
            self._people_of[first].tolist(), lengths.tolist(), sure.tolist(), strict=True
        ):
            yield people, list(islice(words, length)), some

    def _consent(self, number: int, words: list[_Word], sure: int) -> Consent:
        people = self._people[number]
        said = [self._stood_in(*word, people.names) for word in words]
        return weigh_consent(people.holders, people.depicts, said[:sure], said[sure:], self._question)

    def _stood_in(
        self, number: int, place: int, speaker: int, subject: int, stand_ins: dict[int, str]
    ) -> ConsentEvent:
        actor = stand_ins.get(speaker) or f"{MARK}s{speaker}" if speaker else ""
        meant: ConsentEvent = self._meant[number]
        named = stand_ins.get(subject) or f"{MARK}s{subject}" if subject else meant.subject_id and _SOMETHING
        key = (number, place, actor, named)
        if key not in self._made:
            made = {"event_id": stand_in(place), "recorded_at": f"{place:09}", "evidence": "", "note": ""}
            self._made[key] = replace(meant, **made, actor=actor, subject_id=named)
        return self._made[key]


def _joined(first: Lines, second: Lines, items: int) -> Lines:
    """The lines of two parts of the files, of which the first has so many."""
    more = replace(second, item=second.item + items, starts=second.starts[1:] + len(first.item))
    return Lines(*(np.concatenate([getattr(part, field.name) for part in (first, more)]) for field in fields(Lines)))


def _by_voice(item: Codes, voice: Codes, unsure: NDArray[np.bool_], some: Codes) -> Codes:
    """The order of some lines: by item, and where nothing was said for all holders, by voice.

    Whether one holder spoke before another makes no difference, unless something was said for all.
    """
    shared = np.isin(item, item[voice == _ALL_HOLDERS])
    apart = np.where(shared, 0, voice)[some]
    voices = np.unique(apart)
    rank = np.searchsorted(voices, apart)
    return np.argsort((item * 2 + unsure)[some] * len(voices) + rank, kind="stable")


def _last(key: Codes, which: NDArray[np.bool_], count: int) -> Codes:
    """For each key the last line that is one of those, -1 when there is none."""
    found, lines = np.full(count, -1), np.flatnonzero(which)
    found[key[lines]] = lines  # of several the last assignment stays
    return found


def _like_people(groups: Grouping) -> tuple[list[_People], Codes]:
    """(groups of people that differ in more than names, the number of those of each group of files)."""
    numbers: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    people = map(_who_is_who, groups.holders, groups.depicts)
    number = np.array([numbers.setdefault(who, len(numbers)) for who in people], dtype=np.int64)
    return [_stand_ins(*who) for who in numbers], number


def _who_is_who(holders: Sequence[str], depicts: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(of each holder who is depicted the rank by name among the depicted, else -1; the rank of each depicted)."""
    if not depicts:
        return (-1,) * len(holders), ()
    ranks = {name: rank for rank, name in enumerate(sorted(map(same, depicts)))}
    return tuple(ranks.get(same(holder), -1) for holder in holders), tuple(ranks[same(one)] for one in depicts)


def _stand_ins(holders: Sequence[int], depicts: Sequence[int]) -> _People:
    shown = tuple(map(person, depicts))
    held = tuple(f"{MARK}h{i:05}" if rank < 0 else person(rank) for i, rank in enumerate(holders))
    return _People({0: "", **dict(enumerate(shown, PERSON)), **dict(enumerate(held, HOLDER))}, held, shown)
