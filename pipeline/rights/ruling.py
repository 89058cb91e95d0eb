"""The ruling on one file by itself, in the order of the reference design.

The ledger first, the licence where it is silent, and then the worst of that and everything that speaks against it:
signals, likeness, claims. What its relatives pass on is added in `decision`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.consent import Standing, concerns, fold, is_readable
from pipeline.rights.findings import Finding, Purpose, Verdict
from pipeline.rights.licences import normalise
from pipeline.rights.policy import Policy
from pipeline.rights.reasons import Reason
from pipeline.rights.signals import Signals, read_signals
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

    @cached_property
    def verdict(self) -> Verdict:
        """The worst of its findings."""
        return max(finding.verdict for finding in self.findings)

    def with_more(self, findings: Sequence[Finding]) -> "Ruling":
        """The same ruling with further findings, such as those that it inherits."""
        return replace(self, findings=(*self.findings, *findings))

    def told(self) -> list[Finding]:
        """The findings that made the verdict, the weightiest first; mere permissions only when nothing is against."""
        against = [finding for finding in self.findings if finding.verdict > Verdict.ALLOW]
        return sorted(against or self.findings, key=lambda finding: -finding.verdict)


@dataclass(frozen=True)
class Terms:
    """What a file's licences and signals say, whoever its holders are."""

    by_licence: tuple[Finding, ...]
    licence: str
    obligations: tuple[str, ...]
    signals: Signals


@dataclass(frozen=True)
class Consent:
    """What the events about a file amount to, whatever its licence is."""

    standings: tuple[Standing, ...]  # of each holder
    closed: tuple[Standing, ...]  # of holders, or of anybody where none is listed
    unreadable: tuple[ConsentEvent, ...]
    claims: tuple[Finding, ...]  # likeness, strangers' objections, ambiguous references

    @property
    def granted(self) -> bool:
        """True when every holder has granted the use."""
        return all(standing.state == "granted" for standing in self.standings)


def read_terms(licence: str, dataset_licence: str, signals: str, question: Question) -> Terms:
    """Judge the licences of file and dataset, and the JSON facts that ingest recorded."""
    read = read_signals(signals, question.purpose, question.policy.agents)
    stated = [Statement("file", normalise(licence)), Statement("dataset", normalise(dataset_licence))]
    judged = judge_together([*stated, *read.licences], question.purpose, question.policy.licences)
    by_licence, expression, obligations = judged
    if read.permits and all(statement.licence.state == "absent" for statement in stated):
        by_licence = [Finding(Verdict.REVIEW, Reason.LICENCE_EMBEDDED_ONLY, (read.permits,))]
    return Terms(tuple(by_licence), expression, obligations, read)


def weigh_consent(
    holders: tuple[str, ...],
    depicts: tuple[str, ...],
    events: Sequence[ConsentEvent],
    ambiguous: Sequence[ConsentEvent],
    question: Question,
) -> Consent:
    """Fold the events about a file with these holders and depicted people; `ambiguous` ones may be about others."""
    readable: list[ConsentEvent] = []
    unreadable: list[ConsentEvent] = []
    for event in events:
        (readable if is_readable(event) else unreadable).append(event)
    voices = hear(readable, holders, depicts, question.policy.registrars)
    standings = [question.fold(said) for _, said in sorted(voices.holders.items())]
    objections = [question.fold(said) for _, said in sorted(voices.objectors.items())]
    return Consent(
        tuple(standings),
        tuple(standing for standing in [*standings, *objections] if standing.state == "closed"),
        tuple(unreadable),
        (*_likeness(voices, question), *_claims(voices, ambiguous, bool(depicts), question)),
    )


def conclude(terms: Terms, consent: Consent, question: Question) -> Ruling:
    """The ruling, in the reference's order of evaluation."""
    obligations, against = terms.obligations, terms.signals.findings
    kept: tuple[Finding, ...] = ()
    if consent.closed:
        base = kept = tuple(
            Finding(Verdict.DENY, standing.reason or Reason.CONSENT_WITHDRAWN, cite(standing.events))
            for standing in consent.closed
        )
    elif consent.unreadable:
        base = kept = (Finding(Verdict.REVIEW, Reason.LEDGER_UNREADABLE, cite(consent.unreadable)),)
    elif consent.granted:
        base = (Finding(Verdict.ALLOW, Reason.GRANT, cite(e for s in consent.standings for e in s.events)),)
        against, obligations = tuple(_against_grant(terms.signals, consent.standings)), ()
    else:
        verdict = max(finding.verdict for finding in terms.by_licence)
        base = (*terms.by_licence, *_why_no_grant(consent.standings, verdict))
    findings = (*base, *against, *consent.claims)
    if question.purpose.use not in question.policy.uses:
        findings = (*findings, Finding(Verdict.DENY, Reason.POLICY_DENIES, ("policy:uses",)))
    return Ruling(findings, (*kept, *against, *consent.claims), terms.licence, obligations)


def _why_no_grant(standings: Sequence[Standing], verdict: Verdict) -> list[Finding]:
    """Where the licence does not help: why the grants that there are do not either."""
    if verdict is Verdict.ALLOW:
        return []
    reasons = [Finding(verdict, s.reason, cite(s.events)) for s in standings if s.reason]
    some = [standing for standing in standings if standing.state == "granted"]
    if some:
        reasons.append(Finding(verdict, Reason.GRANT_INCOMPLETE, cite(e for s in some for e in s.events)))
    return reasons


def _against_grant(signals: Signals, standings: Sequence[Standing]) -> list[Finding]:
    """A prohibition against a grant goes to a person, unless every grant says that it overrides signals."""
    if all(standing.overrides_signals for standing in standings):
        return []
    grants = cite(event for standing in standings for event in standing.events)
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
        objections = cite(e for s in (likeness, use) if s.state == "closed" for e in s.events)
        if required and (objections or likeness.state != "granted"):
            evidence = (f"depicts:{person}", *(objections or cite(likeness.events)))
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
            findings.append(Finding(Verdict.REVIEW, Reason.CLAIM_UNVERIFIED, cite(standing.events)))
    touching = [e for e in ambiguous if question.touched_by(e) or (depicting and question.touched_by(e, "likeness"))]
    if touching:
        findings.append(Finding(Verdict.REVIEW, Reason.AMBIGUOUS_REFERENCE, cite(touching)))
    return findings


def cite(events: Iterable[ConsentEvent]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"event:{event.event_id}" for event in events))
