"""A decision explained as a person would: what counted, on whose word, and what else was found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.decision import Decisions
from pipeline.rights.findings import Finding
from pipeline.rights.policy import policy_digest

_DID = {
    "grant": "granted",
    "withdraw": "withdrew",
    "restrict": "restricted",
    "expire": "let end",
    "unreadable": "said something unreadable about",
}
_USES = {
    "train_generative": "training generative models",
    "train_other": "training other models",
    "generate_input": "input to generation",
    "likeness": "their likeness",
    "*": "every use but likeness",
}
_COMMERCIAL = {"yes": "commercial only", "no": "not commercial", "any": "commercial or not"}


@dataclass(frozen=True)
class Explanation:
    """The decision on one file. `decisive` findings made it, `other` ones did not; `events` is all that was said."""

    dataset: str
    file: str
    asset: str
    purpose: str
    as_of: str
    known_at: str
    policy_sha256: str
    decision: str
    licence: str
    obligations: tuple[str, ...]
    holders: tuple[str, ...]
    depicts: tuple[str, ...]
    decisive: tuple[Finding, ...]
    other: tuple[Finding, ...]
    events: tuple[ConsentEvent, ...]

    def as_row(self) -> dict[str, object]:
        """The same as plain values for JSON."""
        return {
            **asdict(self),
            "decisive": [_finding_row(finding) for finding in self.decisive],
            "other": [_finding_row(finding) for finding in self.other],
            "events": [asdict(event) for event in self.events],
        }


def explain(decisions: Decisions, rows: Sequence[int], known_at: str) -> list[Explanation]:
    """Explain the decisions on some rows of the decisions' assets."""
    inherited, question = decisions.inherited(), decisions.question
    explained = []
    for number in rows:
        row = decisions.assets.rows([number])[0]
        ruling = decisions.rulings([number])[0].with_more(inherited.get(number, ()))
        told = ruling.told()
        explained.append(
            Explanation(
                dataset=row.dataset,
                file=row.file,
                asset=row.identity,
                purpose=str(question.purpose),
                as_of=question.as_of,
                known_at=known_at,
                policy_sha256=policy_digest(question.policy),
                decision=str(ruling.verdict),
                licence=ruling.licence,
                obligations=ruling.obligations,
                holders=row.holders,
                depicts=row.depicts,
                decisive=tuple(f for f in told if f.verdict is ruling.verdict),
                other=tuple(f for f in ruling.findings if f.verdict is not ruling.verdict),
                events=tuple(decisions.cited(number, told)),
            )
        )
    return explained


def in_words(explanation: Explanation) -> str:
    """Plain text for a reader: the question, the answer, the reasons with their evidence, the rest."""
    told = {event.event_id: event for event in explanation.events}
    lines = [
        f"{explanation.file} of dataset {explanation.dataset} (asset {explanation.asset})",
        f"May it be used for {_purpose(explanation.purpose)}, as of {explanation.as_of}, by what was known at "
        f"{explanation.known_at}?",
        _ANSWERS[explanation.decision],
        "",
        "Because:",
        *_reasons(explanation.decisive, told),
    ]
    if explanation.other:
        lines += ["", "Found too, but it did not decide:", *_reasons(explanation.other, told)]
    cited = {item for finding in (*explanation.decisive, *explanation.other) for item in finding.evidence}
    silent = [event for event in explanation.events if f"event:{event.event_id}" not in cited]
    if silent:
        lines += ["", "Said about it, but out of scope, replaced, or not in force:"]
        lines += [f"  - {event_in_words(event)}" for event in silent]
    people = [("Rights holders", explanation.holders), ("Depicted", explanation.depicts)]
    people += [("Owed when it is used", explanation.obligations)]
    lines += ["", *(f"{name}: {', '.join(values) or 'none'}" for name, values in people)]
    return "\n".join([*lines, f"Policy: {explanation.policy_sha256}"])


_ANSWERS = {
    "allow": "Yes: ALLOW.",
    "review": "Not before a person has looked at it: REVIEW.",
    "deny": "No: DENY.",
}


def event_in_words(event: ConsentEvent) -> str:
    """One event of the ledger as a sentence."""
    subject = f"{event.subject_type or 'subject'} {event.subject_id or '(not named)'}"
    until = f" to before {event.effective_until}" if event.effective_until else ""
    parts = [
        f"{event.event_id}: {event.actor or 'the records'} {_DID.get(event.action, event.action)} {subject}",
        " and ".join(_USES.get(use, use) for use in event.uses.split("|")),
        _COMMERCIAL.get(event.commercial, event.commercial),
        "everywhere" if event.territory == "*" else event.territory.replace("|", ", "),
        f"in force from {event.effective_from}{until}",
        f"recorded {event.recorded_at}",
        *(["over signals in the file"] if event.overrides_signals == "yes" else []),
        *([f"evidence: {event.evidence}"] if event.evidence else []),
        *([f"note: {event.note}"] if event.note else []),
    ]
    return "; ".join(parts)


def _reasons(findings: Sequence[Finding], told: Mapping[str, ConsentEvent]) -> list[str]:
    lines = []
    for finding in findings:
        lines.append(f"  {finding.verdict}: {finding.reason.explanation} [{finding.reason}]")
        for item in finding.evidence:
            event = told.get(item.removeprefix("event:")) if item.startswith("event:") else None
            lines.append(f"    - {event_in_words(event) if event else item}")
    return lines


def _purpose(text: str) -> str:
    use, _, commercial = text.partition(":")
    return f"{_USES[use]}, {'commercially' if commercial else 'not commercially'}"


def _finding_row(finding: Finding) -> dict[str, object]:
    return {
        "verdict": str(finding.verdict),
        "reason": str(finding.reason),
        "explanation": finding.reason.explanation,
        "evidence": list(finding.evidence),
    }
