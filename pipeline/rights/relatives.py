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


def inherit(
    rows: Sequence[AssetRow],
    rulings: Sequence[Ruling],
    missing: Mapping[str, Sequence[Finding]],
    resolved: Mapping[str, frozenset[str]],
) -> dict[int, list[Finding]]:
    """What each row inherits: row number -> findings, only for rows that inherit any.

    Relatives are rows with the same bytes or the same decoded pixels, in any dataset, and the origins named in
    `derived_from`, transitively; `resolved` tells which identities such a reference fits, and `missing` what is found
    on origins that are not here. A ruling's `restrictions` bind all relatives, its `terms` the same bytes only: one
    asset listed twice under different terms gets the stricter answer.
    """
    restrictions, terms = [ruling.restrictions for ruling in rulings], [ruling.terms for ruling in rulings]
    twins: dict[str, list[int]] = defaultdict(list)
    bytes_to_pixels: dict[str, str] = {}
    for number, row in enumerate(rows):
        twins[bytes_to_pixels.setdefault(row.identity, row.pixels)].append(number)
    own = {group: _passed_on(rows, restrictions, numbers) for group, numbers in twins.items()}
    origins = {group: _origins(rows, numbers) for group, numbers in twins.items()}
    inherited: dict[int, list[Finding]] = {}
    for group, numbers in twins.items():
        if not origins[group] and (len(numbers) == 1 or not own[group]):
            continue
        found = _gather(group, own, origins, missing, resolved, bytes_to_pixels)
        for number in numbers:
            if found:
                inherited[number] = list(found)
    for number, finding in _stricter_listing(rows, terms):
        inherited.setdefault(number, []).append(finding)
    return inherited


def _stricter_listing(rows: Sequence[AssetRow], terms: Sequence[Sequence[Finding]]) -> Iterator[tuple[int, Finding]]:
    """For files that share their bytes with one under stricter terms: the file's number and the finding."""
    listings: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        listings[row.identity].append(number)
    for numbers in listings.values():
        if len(numbers) == 1:
            continue
        strictest = max(numbers, key=lambda number: max((f.verdict for f in terms[number]), default=Verdict.ALLOW))
        for finding in sorted(terms[strictest], key=lambda f: -f.verdict)[:1]:
            relative = f"relative:{rows[strictest].dataset}:{rows[strictest].file}"
            passed_on = Finding(finding.verdict, Reason.RELATIVE_TERMS, (relative, *finding.evidence))
            yield from ((number, passed_on) for number in numbers if number != strictest)


def _passed_on(
    rows: Sequence[AssetRow], restrictions: Sequence[Sequence[Finding]], numbers: list[int]
) -> list[Finding]:
    found: dict[Reason, Finding] = {}
    for number in numbers:
        for finding in restrictions[number]:
            reason = _INHERITED_AS.get(finding.reason, Reason.RELATIVE_REVIEW)
            if finding.verdict is Verdict.REVIEW:
                reason = Reason.RELATIVE_REVIEW
            relative = f"relative:{rows[number].dataset}:{rows[number].file}"
            found.setdefault(reason, Finding(finding.verdict, reason, (relative, *finding.evidence)))
    return list(found.values())


def _origins(rows: Sequence[AssetRow], numbers: list[int]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reference for number in numbers for reference in rows[number].derived_from))


def _gather(
    group: str,
    own: dict[str, list[Finding]],
    origins: dict[str, tuple[str, ...]],
    missing: Mapping[str, Sequence[Finding]],
    resolved: Mapping[str, frozenset[str]],
    bytes_to_pixels: dict[str, str],
) -> list[Finding]:
    """Restrictions of a group of twins and of all its ancestors; a circle of origins ends where it began."""
    seen, waiting, found = {group}, [group], list[Finding]()
    while waiting:
        current = waiting.pop()
        found += own[current]
        for reference in origins[current]:
            identities = resolved[reference]
            if not identities:
                found += missing[reference]
            elif len(identities) > 1:
                found.append(Finding(Verdict.REVIEW, Reason.AMBIGUOUS_REFERENCE, (f"derived_from:{reference}",)))
            for identity in sorted(identities):
                origin = bytes_to_pixels[identity]
                if origin not in seen:
                    seen.add(origin)
                    waiting.append(origin)
    return found
