"""Relatives: identical pictures and derivatives inherit what speaks against an asset, never what speaks for it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pipeline.rights.assets import AssetRow
from pipeline.rights.findings import Finding, Verdict
from pipeline.rights.reasons import Reason
from pipeline.rights.ruling import Ruling

_INHERITED_AS = {
    Reason.CONSENT_WITHDRAWN: Reason.RELATIVE_WITHDRAWN,
    Reason.CONSENT_RESTRICTED: Reason.RELATIVE_RESTRICTED,
    Reason.NO_LIKENESS: Reason.RELATIVE_LIKENESS,
    Reason.SIGNAL_DMI_PROHIBITED: Reason.RELATIVE_PROHIBITED,
    Reason.SIGNAL_CAWG_PROHIBITED: Reason.RELATIVE_PROHIBITED,
    Reason.SIGNAL_TDM: Reason.RELATIVE_PROHIBITED,
    Reason.SIGNAL_NOAI: Reason.RELATIVE_PROHIBITED,
    Reason.SIGNAL_AIPREF: Reason.RELATIVE_PROHIBITED,
}

Inherited = tuple[int, Finding]  # the row whose events the finding cites, and what it passes on


def inherit(
    rows: Sequence[AssetRow],
    rulings: Sequence[Ruling],
    missing: Mapping[str, Sequence[Finding]],
    resolved: Mapping[str, frozenset[str]],
) -> dict[int, list[Inherited]]:
    """What each row inherits, worse than its own ruling; only for rows that inherit any.

    Relatives are rows with the same bytes or the same decoded pixels, in any dataset, and the origins named in
    `derived_from`, transitively; `resolved` tells which identities such a reference fits, and `missing` what is found
    on origins that are not here. A ruling's `restrictions` bind all relatives, its `terms` the same bytes only: one
    asset listed twice under different terms gets the stricter answer.
    """
    twins: dict[str, list[int]] = defaultdict(list)
    bytes_to_pixels: dict[str, str] = {}
    for number, row in enumerate(rows):
        twins[bytes_to_pixels.setdefault(row.identity, row.pixels)].append(number)
    inherited: dict[int, list[Inherited]] = defaultdict(list)
    for group, numbers in twins.items():
        lenient = [number for number in numbers if rulings[number].verdict < Verdict.DENY]
        if lenient and (len(numbers) > 1 or rows[numbers[0]].derived_from):
            found = _gather(group, twins, rows, rulings, missing, resolved, bytes_to_pixels)
            for number in lenient:
                inherited[number] += found
    for number, finding in _stricter_listing(rows, rulings):
        inherited[number].append(finding)
    worse = {
        number: [one for one in found if one[1].verdict > rulings[number].verdict]
        for number, found in inherited.items()
    }
    return {number: found for number, found in worse.items() if found}


def _stricter_listing(rows: Sequence[AssetRow], rulings: Sequence[Ruling]) -> Iterator[tuple[int, Inherited]]:
    """For files that share their bytes with one under stricter terms: the file's number and the finding."""
    listings: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        listings[row.identity].append(number)
    for numbers in listings.values():
        if len(numbers) == 1:
            continue
        terms = {number: rulings[number].terms for number in numbers}
        strictest = max(numbers, key=lambda number: max((f.verdict for f in terms[number]), default=Verdict.ALLOW))
        for finding in sorted(terms[strictest], key=lambda f: -f.verdict)[:1]:
            relative = f"relative:{rows[strictest].dataset}:{rows[strictest].file}"
            passed_on = Finding(finding.verdict, Reason.RELATIVE_TERMS, (relative, *finding.evidence))
            yield from ((number, (strictest, passed_on)) for number in numbers if number != strictest)


def _passed_on(rows: Sequence[AssetRow], rulings: Sequence[Ruling], numbers: list[int]) -> list[Inherited]:
    found: dict[Reason, Inherited] = {}
    for number in numbers:
        for finding in rulings[number].restrictions:
            reason = _INHERITED_AS.get(finding.reason, Reason.RELATIVE_REVIEW)
            if finding.verdict is Verdict.REVIEW:
                reason = Reason.RELATIVE_REVIEW
            relative = f"relative:{rows[number].dataset}:{rows[number].file}"
            found.setdefault(reason, (number, Finding(finding.verdict, reason, (relative, *finding.evidence))))
    return list(found.values())


def _gather(
    group: str,
    twins: Mapping[str, list[int]],
    rows: Sequence[AssetRow],
    rulings: Sequence[Ruling],
    missing: Mapping[str, Sequence[Finding]],
    resolved: Mapping[str, frozenset[str]],
    bytes_to_pixels: Mapping[str, str],
) -> list[Inherited]:
    """Restrictions of a group of twins and of all its ancestors; a circle of origins ends where it began."""
    seen, waiting, found = {group}, [group], list[Inherited]()
    while waiting:
        numbers = twins[waiting.pop()]
        found += _passed_on(rows, rulings, numbers)
        for reference in dict.fromkeys(origin for number in numbers for origin in rows[number].derived_from):
            identities = resolved[reference]
            if not identities:
                found += [(numbers[0], finding) for finding in missing[reference]]
            elif len(identities) > 1:
                unclear = Finding(Verdict.REVIEW, Reason.AMBIGUOUS_REFERENCE, (f"derived_from:{reference}",))
                found.append((numbers[0], unclear))
            for identity in sorted(identities):
                origin = bytes_to_pixels[identity]
                if origin not in seen:
                    seen.add(origin)
                    waiting.append(origin)
    return found
