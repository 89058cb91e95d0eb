"""The decision: allow, review or deny, for every asset, with reasons and the evidence behind them.

The order of evaluation is that of the reference design: the ledger first, the licence where it is silent, and
then the worst of that and everything that speaks against it: signals, likeness, claims, relatives.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pipeline.catalog.ledger import ConsentEvent
from pipeline.catalog.tables import DECISIONS
from pipeline.rights.consent import Standing, concerns, fold, is_readable
from pipeline.rights.findings import Finding, Purpose, Verdict
from pipeline.rights.licences import normalise
from pipeline.rights.policy import Policy
from pipeline.rights.reasons import Reason
from pipeline.rights.relatives import inherit
from pipeline.rights.signals import Signals, read_signals
from pipeline.rights.subjects import AssetRow, Subjects, asset_rows
from pipeline.rights.terms import Statement, judge_together
from pipeline.rights.voices import Voices, hear


@dataclass(frozen=True)
class Question:
    """What is asked of every asset."""

    purpose: Purpose
    policy: Policy
    as_of: str

    def fold(self, events: Sequence[ConsentEvent], use: str = "") -> Standing:
        """The standing of one speaker; `use` in place of the purpose's own."""
        return fold(events, use or self.purpose.use, self.purpose.commercial, self.policy.territories, self.as_of)

    def touched_by(self, event: ConsentEvent, use: str = "") -> bool:
        """True when an event, readable or not, bears on the question."""
        return not is_readable(event) or concerns(event, use or self.purpose.use, self.purpose.commercial, self.as_of)


@dataclass(frozen=True)
class Ruling:
    """The answer for one file, before its relatives are asked."""

    findings: tuple[Finding, ...]
    restrictions: tuple[Finding, ...]  # those that identical pictures and derivatives inherit
    licence: str
    obligations: tuple[str, ...]

    @property
    def terms(self) -> tuple[Finding, ...]:
        """What its licence or missing grants say against it: that binds the same bytes wherever they are listed."""
        return tuple(f for f in self.findings if f.verdict > Verdict.ALLOW and f not in self.restrictions)

    @property
    def verdict(self) -> Verdict:
        """The worst of its findings."""
        return max(finding.verdict for finding in self.findings)

    def told(self) -> list[Finding]:
        """The findings that made the verdict, the weightiest first; mere permissions only when nothing is against."""
        against = [finding for finding in self.findings if finding.verdict > Verdict.ALLOW]
        return sorted(against or self.findings, key=lambda finding: -finding.verdict)


def decide(
    inventory: pd.DataFrame,
    dataset_licences: Mapping[str, str],
    events: Sequence[ConsentEvent],
    purpose: Purpose,
    policy: Policy,
    as_of: str,
    known_at: str,
) -> pd.DataFrame:
    """Decide every accepted file.

    `inventory` holds the rows of tables.INVENTORY of all datasets concerned, with a `dataset` column; rejected
    rows are not decided, but references to them are understood. `as_of` is the moment asked about, `known_at`
    bounds what had been recorded by then (both RFC 3339 as core/moments.py writes them). Returns
    tables.DECISIONS in the inventory's order.
    """
    rows = asset_rows(inventory)
    subjects = Subjects(rows, [event for event in events if event.recorded_at <= known_at])
    question = Question(purpose, policy, as_of)
    rulings: dict[tuple[object, ...], Ruling] = {}  # equal rows get equal rulings: most datasets have few kinds
    ruled: list[Ruling] = []
    for number, row in enumerate(rows):
        licence = dataset_licences.get(row.dataset, "")
        about, ambiguous = subjects.about(number)
        kind = (licence, row.licence, row.holders, row.depicts, row.signals, about, ambiguous)
        if kind not in rulings:
            named = [subjects.events[i] for i in about], [subjects.events[i] for i in ambiguous]
            rulings[kind] = rule(row, licence, *named, question)
        ruled.append(rulings[kind])
    missing = {ref: _missing_origin(ref, subjects, question) for row in rows for ref in row.derived_from}
    restrictions, terms = [ruling.restrictions for ruling in ruled], [ruling.terms for ruling in ruled]
    inherited = inherit(rows, restrictions, terms, missing, subjects)
    return _table(rows, ruled, inherited)


def rule(
    row: AssetRow,
    dataset_licence: str,
    events: Sequence[ConsentEvent],
    ambiguous: Sequence[ConsentEvent],
    question: Question,
) -> Ruling:
    """Evaluate one file by itself, in the reference's order; `events` are those about it."""
    policy, purpose = question.policy, question.purpose
    voices = hear(filter(is_readable, events), row.holders, row.depicts, policy.registrars)
    signals = read_signals(row.signals, purpose, policy.agents)
    stated = [Statement("file", normalise(row.licence)), Statement("dataset", normalise(dataset_licence))]
    by_licence, expression, obligations = judge_together([*stated, *signals.licences], purpose, policy.licences)
    if signals.permits and all(statement.licence.state == "absent" for statement in stated):
        by_licence = [Finding(Verdict.REVIEW, Reason.LICENCE_EMBEDDED_ONLY, (signals.permits,))]
    standings = [question.fold(said) for _, said in sorted(voices.holders.items())]
    objections = [question.fold(said) for _, said in sorted(voices.objectors.items())]
    closed = [standing for standing in [*standings, *objections] if standing.state == "closed"]
    unreadable = [event for event in events if not is_readable(event)]
    granted = all(standing.state == "granted" for standing in standings)
    against = list(signals.findings)
    if closed:
        base = [Finding(Verdict.DENY, s.reason or Reason.CONSENT_WITHDRAWN, _cite(s.events)) for s in closed]
    elif unreadable:
        base = [Finding(Verdict.REVIEW, Reason.LEDGER_UNREADABLE, _cite(unreadable))]
    elif granted:
        base = [Finding(Verdict.ALLOW, Reason.GRANT, _cite(e for s in standings for e in s.events))]
        against = _against_grant(signals, standings)
        obligations = ()
    else:
        base = [*by_licence, *_why_no_grant(standings, max(finding.verdict for finding in by_licence))]
    claims = [*_likeness(voices, question), *_claims(voices, ambiguous, bool(row.depicts), question)]
    if purpose.use not in policy.uses:
        claims.append(Finding(Verdict.DENY, Reason.POLICY_DENIES, ("policy:uses",)))
    consent = [finding for finding in base if closed or unreadable]
    return Ruling(
        findings=(*base, *against, *claims),
        restrictions=tuple(f for f in (*consent, *against, *claims) if f.reason is not Reason.POLICY_DENIES),
        licence=expression,
        obligations=obligations,
    )


def _why_no_grant(standings: Sequence[Standing], verdict: Verdict) -> list[Finding]:
    """Where the licence does not help: why the grants that there are do not either."""
    if verdict is Verdict.ALLOW:
        return []
    reasons = [Finding(verdict, s.reason, _cite(s.events)) for s in standings if s.reason]
    some = [standing for standing in standings if standing.state == "granted"]
    if some:
        reasons.append(Finding(verdict, Reason.GRANT_INCOMPLETE, _cite(e for s in some for e in s.events)))
    return reasons


def _against_grant(signals: Signals, standings: Sequence[Standing]) -> list[Finding]:
    """A prohibition against a grant goes to a person, unless every grant says that it overrides signals."""
    if all(standing.overrides_signals for standing in standings):
        return []
    grants = _cite(event for standing in standings for event in standing.events)
    return [
        Finding(Verdict.REVIEW, Reason.GRANT_VS_SIGNAL, (*finding.evidence, *grants))
        if finding.verdict is Verdict.DENY
        else finding
        for finding in signals.findings
    ]


def _likeness(voices: Voices, question: Question) -> list[Finding]:
    """Depicted people must have granted their likeness; where the policy does not ask it, objections still count."""
    required = question.policy.likeness == "always" or question.purpose.generative
    findings = []
    for person, said in sorted(voices.people.items()):
        likeness, use = question.fold(said, "likeness"), question.fold(said)
        objections = _cite(e for s in (likeness, use) if s.state == "closed" for e in s.events)
        if required and (objections or likeness.state != "granted"):
            evidence = (f"depicts:{person}", *(objections or _cite(likeness.events)))
            findings.append(Finding(Verdict.DENY, Reason.NO_LIKENESS, evidence))
        elif objections:
            findings.append(Finding(Verdict.REVIEW, Reason.CLAIM_UNVERIFIED, (f"depicts:{person}", *objections)))
    return findings


def _claims(voices: Voices, ambiguous: Sequence[ConsentEvent], depicting: bool, question: Question) -> list[Finding]:
    """Objections of strangers, and events that may or may not be meant for this asset. Strangers grant nothing."""
    findings = []
    for _, said in sorted(voices.strangers.items()):
        standing = question.fold(said)
        if standing.state == "closed":
            findings.append(Finding(Verdict.REVIEW, Reason.CLAIM_UNVERIFIED, _cite(standing.events)))
    touching = [e for e in ambiguous if question.touched_by(e) or (depicting and question.touched_by(e, "likeness"))]
    if touching:
        findings.append(Finding(Verdict.REVIEW, Reason.AMBIGUOUS_REFERENCE, _cite(touching)))
    return findings


def _missing_origin(reference: str, subjects: Subjects, question: Question) -> list[Finding]:
    """What is known of an origin that is not among the assets: at best nothing, at worst its withdrawal."""
    if subjects.resolve(reference):
        return []
    cited = f"derived_from:{reference}"
    events = [event for event in subjects.naming(reference) if is_readable(event)]
    voices = hear(events, (), (), question.policy.registrars)
    standings = [question.fold(said) for said in [*voices.holders.values(), *voices.objectors.values()]]
    closed = _cite(event for standing in standings if standing.state == "closed" for event in standing.events)
    if closed:
        return [Finding(Verdict.DENY, Reason.RELATIVE_WITHDRAWN, (cited, *closed))]
    return [Finding(Verdict.REVIEW, Reason.RELATIVE_UNKNOWN, (cited,))]


def _cite(events: Iterable[ConsentEvent]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"event:{event.event_id}" for event in events))


def _table(rows: Sequence[AssetRow], ruled: Sequence[Ruling], inherited: Mapping[int, list[Finding]]) -> pd.DataFrame:
    lines = []
    for number, row in enumerate(rows):
        if not row.accepted:
            continue
        ruling = ruled[number]
        if worse := [finding for finding in inherited.get(number, ()) if finding.verdict > ruling.verdict]:
            ruling = replace(ruling, findings=(*ruling.findings, *worse))
        told = ruling.told()
        lines.append(
            (
                row.dataset,
                row.file,
                row.identity,
                str(ruling.verdict),
                list(dict.fromkeys(str(finding.reason) for finding in told)),
                list(dict.fromkeys(item for finding in told for item in finding.evidence)),
                ruling.licence,
                list(ruling.obligations),
                list(row.holders),
                row.attribution,
            )
        )
    return pd.DataFrame(lines, columns=DECISIONS.names)
