"""The decision: allow, review or deny, for every asset, with reasons and the evidence behind them.

Each file is ruled on by itself (`ruling`), files in the same circumstances only once (`cases`); then it inherits what
speaks against its relatives (`relatives`).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog.ledger import ConsentEvent
from pipeline.catalog.tables import DECISIONS, STRINGS
from pipeline.core.collection import no_collection
from pipeline.core.work import both
from pipeline.rights.assets import Assets, combine
from pipeline.rights.cases import Cases
from pipeline.rights.chronicle import Chronicle, unresolved
from pipeline.rights.citations import by_turns, cited, spelled, turn_of
from pipeline.rights.coded import MANY, Codes
from pipeline.rights.consent import is_readable
from pipeline.rights.findings import Finding, Verdict
from pipeline.rights.groups import grouped
from pipeline.rights.reasons import Reason
from pipeline.rights.relatives import inherit
from pipeline.rights.ruling import Question, Ruling, Terms, cite, conclude, read_terms
from pipeline.rights.spans import Spans
from pipeline.rights.speakers import Speakers
from pipeline.rights.subjects import Subjects
from pipeline.rights.voices import hear


def decide_table(
    inventory: pa.Table, dataset_licences: Mapping[str, str], known: pa.Table, question: Question
) -> pa.Table:
    """Decide every accepted file of an inventory (tables.INVENTORY with `dataset`), see blocks.decide.

    Returns tables.DECISIONS in the inventory's order.
    """
    with no_collection():
        heard = unresolved(known, question.policy.registrars)
        assets, events = both(inventory.num_rows > MANY, lambda: Assets(inventory), lambda: Chronicle(heard))
        return Decisions(assets, dataset_licences, events, question).table()


class Decisions:
    """Every file's ruling. Files that share licences, signals, people and events share an answer."""

    def __init__(
        self, assets: Assets, dataset_licences: Mapping[str, str], events: Chronicle, question: Question
    ) -> None:
        self.assets, self.question = assets, question
        self.subjects, speakers = both(
            assets.size > MANY,
            lambda: Subjects(assets, events),
            lambda: Speakers(grouped(assets, events), events, question.policy.registrars),
        )
        self.groups = speakers.groups
        first, self._item = self._kinds()
        alike = self.groups.of_row[first], assets.identity.codes[first]
        cases = partial(Cases, self.subjects, speakers, question, *alike)
        heard, (terms, terms_of) = both(assets.size > MANY, cases, partial(self._terms, first, dataset_licences))
        consents, consent_of, self._cited = heard.consents()
        some, self._case = combine(terms_of, consent_of)
        pairs = zip(terms_of[some].tolist(), consent_of[some].tolist(), strict=True)
        self._rulings = [conclude(terms[term], consents[consent], question) for term, consent in pairs]

    def _kinds(self) -> tuple[Codes, Codes]:
        """(a row of each kind, the kind of each row); events about one asset make kinds of their own."""
        own, ambiguous, identity = self.subjects.own, self.subjects.ambiguous, self.assets.identity.codes
        touched = (own.some | ambiguous.some)[identity]
        columns = [self.assets.coded(name).codes for name in ("licence", "signals")]
        return combine(*columns, self.groups.of_row, np.where(touched, identity + 1, 0))

    def _terms(self, first: Codes, dataset_licences: Mapping[str, str]) -> tuple[list[Terms], Codes]:
        """(the distinct terms, the number of those of each item)."""
        columns = [self.assets.coded(name) for name in ("licence", "signals", "dataset")]
        some, number = combine(*(column.codes[first] for column in columns))
        where = pa.array(first[some])
        licences, signals, datasets = (
            self.assets.column(name).take(where).to_pylist() for name in ("licence", "signals", "dataset")
        )
        given = [dataset_licences.get(name, "") for name in datasets]
        return [read_terms(*one, self.question) for one in zip(licences, given, signals, strict=True)], number

    def rulings(self, rows: Codes | Sequence[int]) -> list[Ruling]:
        """The rulings on some files by themselves, with the ids of the events."""
        items = self._item[np.asarray(rows, dtype=np.int64)]
        found = []
        for case, names in zip(self._case[items].tolist(), self._names(items), strict=True):
            ruling = self._rulings[case]
            findings, restrictions = spelled(ruling.findings, names), spelled(ruling.restrictions, names)
            found.append(Ruling(findings, restrictions, ruling.licence, ruling.obligations))
        return found

    def _names(self, items: Codes) -> list[dict[str, str]]:
        """For each item, what stands at the turns of its evidence."""
        item, entries = self._cited.of_each(items)
        found = self._in_full(entries).to_pylist()
        bounds = np.searchsorted(item, np.arange(len(items) + 1)).tolist()
        return [by_turns(found[start:end]) for start, end in pairwise(bounds)]

    def _in_full(self, entries: Codes) -> pa.StringArray:
        return cited(entries, self.subjects.events, self.groups.shown[1])

    def cited(self, row: int, findings: Sequence[Finding]) -> list[ConsentEvent]:
        """All events about a file, whether they bear on the question or not, and others that findings cite."""
        group, identity = self.groups.of_row[[row]], self.assets.identity.codes[[row]]
        spans = (
            (self.groups.events, group),
            (self.subjects.own, identity),
            (self.subjects.ambiguous, identity),
        )
        about = {position for span, codes in spans for position in span.of_each(codes)[1].tolist()}
        names = {i.removeprefix("event:") for f in findings for i in f.evidence if i.startswith("event:")}
        about |= set(self.subjects.events.named(sorted(names)).tolist())
        return self.subjects.events.at(sorted(about))

    def inherited(self) -> dict[int, list[Finding]]:
        """What rows inherit from their relatives, worse than what is found on themselves."""
        some = np.array([bool(ruling.restrictions or ruling.terms) for ruling in self._rulings], dtype=bool)
        derived = np.asarray(pc.not_equal(self.assets.column("derived_from"), ""))
        passing, related = some[self._case[self._item]] | derived, derived.copy()
        for shared in (self.assets.identity.codes, self.assets.pixels.codes):
            several = np.bincount(shared, minlength=len(shared)) > 1
            related |= (several & (np.bincount(shared[passing], minlength=len(shared)) > 0))[shared]
        if not related.any():
            return {}
        resolved = self.subjects.origins
        wanted = np.array(sorted({code for codes in resolved.values() for code in codes}), dtype=np.int64)
        numbers = np.flatnonzero(related | np.isin(self.assets.identity.codes, wanted))
        rulings = [self._rulings[case] for case in self._case[self._item[numbers]].tolist()]
        names = dict(zip(wanted.tolist(), self.assets.identity.named(wanted).to_pylist(), strict=True))
        identities = {reference: frozenset(names[code] for code in codes) for reference, codes in resolved.items()}
        missing = self._missing([reference for reference, codes in resolved.items() if not codes])
        found = inherit(self.assets.rows(numbers), rulings, missing, identities)
        sources = sorted({source for findings in found.values() for source, _ in findings})
        spelling = dict(zip(sources, self._names(self._item[numbers[sources]]), strict=True))
        return {
            int(numbers[place]): [finding for source, one in findings for finding in spelled([one], spelling[source])]
            for place, findings in found.items()
        }

    def _missing(self, references: list[str]) -> dict[str, list[Finding]]:
        """What is known of origins that are not among the assets: at best nothing, at worst their withdrawal."""
        found = {}
        for reference, positions in self.subjects.naming(references).items():
            events = filter(is_readable, self.subjects.events.at(positions))
            voices = hear(events, (), (), self.question.policy.registrars)
            standings = [self.question.fold(said) for said in [*voices.holders.values(), *voices.objectors.values()]]
            closed = cite(event for standing in standings if standing.state == "closed" for event in standing.events)
            evidence = (f"derived_from:{reference}", *closed)
            verdict, reason = (
                (Verdict.DENY, Reason.RELATIVE_WITHDRAWN) if closed else (Verdict.REVIEW, Reason.RELATIVE_UNKNOWN)
            )
            found[reference] = [Finding(verdict, reason, evidence)]
        return found

    def table(self) -> pa.Table:
        """tables.DECISIONS of every accepted file, in the inventory's order."""
        accepted = np.flatnonzero(self.assets.accepted)
        columns = partial(self._listed, accepted), partial(self._ruled, accepted)
        listed, ruled = both(self.assets.size > MANY, *columns)
        return pa.table([(listed | ruled)[name] for name in DECISIONS.names], schema=DECISIONS)

    def _listed(self, accepted: Codes) -> dict[str, pa.Array]:
        """What the inventory says of some files."""
        where = pa.array(accepted)
        asset = self.assets.identity.named(self.assets.identity.codes[accepted])
        texts = {name: self.assets.column(name).take(where) for name in ("dataset", "file", "attribution")}
        return {"asset": asset, "holders": self.assets.holders.take(where), **texts}

    def _ruled(self, accepted: Codes) -> dict[str, pa.Array]:
        """The rulings on some files, with what these inherit."""
        inherited = self.inherited()
        own = zip(self.rulings(list(inherited)), inherited.values(), strict=True)
        burdened = [ruling.with_more(worse) for ruling, worse in own]
        item, case = self._item.copy(), np.append(self._case, len(self._rulings) + np.arange(len(burdened)))
        item[list(inherited)] = len(self._case) + np.arange(len(burdened))
        starts = np.append(self._cited.starts[:-1], np.zeros(len(burdened), dtype=np.int64))
        rulings, ruling_of = [*self._rulings, *burdened], pa.array(case[item[accepted]])
        told = [ruling.told() for ruling in rulings]
        reasons = [list(dict.fromkeys(str(finding.reason) for finding in findings)) for findings in told]
        return {
            "decision": pa.array([str(ruling.verdict) for ruling in rulings]).take(ruling_of),
            "reasons": pa.array(reasons, STRINGS).take(ruling_of),
            "evidence": self._evidence(told, case[item[accepted]], starts[item[accepted]]),
            "licence": pa.array([ruling.licence for ruling in rulings]).take(ruling_of),
            "obligations": pa.array([ruling.obligations for ruling in rulings], STRINGS).take(ruling_of),
        }

    def _evidence(self, told: Sequence[Sequence[Finding]], case: Codes, start: Codes) -> pa.ListArray:
        """What each file's findings cite: texts of its case, and events and people of its own."""
        every = dict.fromkeys(item for findings in told for finding in findings for item in finding.evidence)
        texts = [item for item in every if turn_of(item) is None]
        numbers = {item: -1 - (turn_of(item) or 0) for item in every} | {text: i for i, text in enumerate(texts)}
        numbered = []  # of each case: the number of a text, or -1 - turn
        for findings in told:
            items = dict.fromkeys(item for finding in findings for item in finding.evidence)
            numbered.append([numbers[item] for item in items])
        ends = np.cumsum([0, *map(len, numbered)])
        row, number = Spans(ends, np.array([one for ones in numbered for one in ones], dtype=np.int64)).of_each(case)
        named = number < 0
        own = self._in_full(self._cited.events[start[row[named]] - 1 - number[named]])
        values = pa.concat_arrays([pa.array(texts, pa.string()), own])
        number[named] = len(texts) + np.arange(int(named.sum()))
        offsets = np.append(0, np.cumsum(np.diff(ends)[case]))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values.take(pa.array(number)))
