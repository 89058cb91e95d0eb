"""What a file's row, its dataset and its own metadata say about its licence, taken together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.rights.findings import Finding, Purpose, Verdict
from pipeline.rights.licences import Judgement, Licence, judge
from pipeline.rights.reasons import Reason


@dataclass(frozen=True)
class Statement:
    """One licence and where it was stated: file (its table row), dataset, or a metadata field of the file."""

    source: str
    licence: Licence
    embedded: bool = False
    notice: bool = False  # a copyright notice, weaker than a licence field


def judge_together(
    statements: Sequence[Statement], purpose: Purpose, overrides: Mapping[str, str]
) -> tuple[list[Finding], str, tuple[str, ...]]:
    """Item, dataset and embedded licence together: the stricter wins; a contradiction is at least review.

    A dataset licence that says nothing (`other`, `unknown`) gives way to the file's; embedded metadata is nobody's
    signature, so alone it never does more than ask a person. Returns findings, the judged SPDX expression, and
    the obligations of every readable statement.
    """
    own = [s for s in statements if not s.embedded and s.licence.text.strip()]
    if any(s.source == "file" for s in own):
        own = [s for s in own if s.source == "file" or s.licence.state != "absent"]
    judged = [(s, judge(s.licence, purpose, overrides)) for s in own]
    evidence = tuple(f"licence:{s.licence.expression or s.licence.text.strip() or 'none'} ({s.source})" for s in own)
    evidence = evidence or ("licence:none",)
    worst = max(
        (j for _, j in judged), key=lambda j: j.verdict, default=Judgement(Verdict.DENY, (Reason.NO_LICENCE,))
    )
    findings = [Finding(worst.verdict, reason, evidence) for reason in worst.reasons]
    embedded = [s for s in statements if s.embedded]
    obligations = {o for _, j in judged for o in j.obligations}
    if all(s.licence.state == "absent" for s in own):
        alone = [s for s in embedded if s.licence.state != "reserved"]
        findings = [_embedded_alone(s, purpose, overrides) for s in alone] or findings
    else:
        if len({j.verdict for _, j in judged}) > 1:
            findings.append(Finding(worst.verdict, Reason.LICENCE_CONFLICT, evidence))
        for statement in embedded:
            findings += _contradiction(statement, own, purpose, overrides)
            obligations.update(judge(statement.licence, purpose, overrides).obligations)
    expression = " AND ".join(dict.fromkeys(_bracketed(s.licence.expression) for s in own if s.licence.expression))
    return findings, expression, tuple(sorted(obligations))


def _embedded_alone(statement: Statement, purpose: Purpose, overrides: Mapping[str, str]) -> Finding:
    verdict = max(Verdict.REVIEW, judge(statement.licence, purpose, overrides).verdict)
    return Finding(verdict, Reason.LICENCE_EMBEDDED_ONLY, (_cited(statement),))


def _contradiction(
    statement: Statement, own: Sequence[Statement], purpose: Purpose, overrides: Mapping[str, str]
) -> list[Finding]:
    if statement.licence.state == "readable" and _family(statement.licence) in {_family(s.licence) for s in own}:
        return []
    verdict = Verdict.REVIEW
    if not statement.notice:  # "all rights reserved" in a copyright notice is a camera's default as often as a claim
        verdict = max(verdict, judge(statement.licence, purpose, overrides).verdict)
    return [Finding(verdict, Reason.LICENCE_CONFLICT, (_cited(statement),))]


def _cited(statement: Statement) -> str:
    text = statement.licence.expression or " ".join(statement.licence.text.split())[:200]
    return f"licence:{text} ({statement.source})"


def _bracketed(expression: str) -> str:
    return f"({expression})" if " OR " in expression else expression


def _family(licence: Licence) -> str:
    """The expression without versions and ports: CC-BY-3.0-DE and CC-BY-4.0 do not contradict each other."""
    return re.sub(r"-\d[\d.]*(?:-[A-Z]+)?", "", licence.expression) or licence.state
