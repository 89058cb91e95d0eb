"""The consent fold: what one speaker's events amount to, for a purpose, at a moment.

Bitemporal: the caller passes the events known by then; here only those in force count. In recorded order, with
closing events last among equals, a grant opens its scope and a withdrawal or restriction closes it; later events
re-open and re-close. What has ended is gone: an expired grant does not undo an earlier withdrawal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.findings import USES
from pipeline.rights.reasons import Reason

CLOSING = frozenset({"withdraw", "restrict"})
ACTIONS = CLOSING | {"grant", "expire"}
SUBJECTS = frozenset({"asset", "holder", "person", "dataset"})
EVENT = "event"  # an unreadable event, that a person has read: all that can be said of it is "expire"
SCOPES = frozenset(USES) | {"likeness", "*"}
ORDER = {"grant": 0, "expire": 1, "withdraw": 2, "restrict": 2}
_ELSEWHERE = "elsewhere"
_MEMBERS = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
_EU = frozenset(_MEMBERS.split())


@dataclass(frozen=True)
class Standing:
    """What a speaker's events amount to; `reason` says why it is closed, or why no grant holds."""

    state: Literal["granted", "closed", "none"]
    reason: Reason | None = None
    events: tuple[ConsentEvent, ...] = ()
    overrides_signals: bool = False


NOTHING = Standing("none")


def is_readable(event: ConsentEvent) -> bool:
    """True when every field that carries meaning is one that we know."""
    return not unreadable_field(event)


def unreadable_field(event: ConsentEvent) -> str:
    """The first field that carries meaning and is not understood; "" when there is none."""
    return _unreadable_field(
        event.action,
        event.subject_type,
        bool(event.subject_id.strip()),
        event.uses,
        event.commercial,
        event.overrides_signals,
        event.territory,
        not event.effective_until or event.effective_until > event.effective_from,
    )


@lru_cache(maxsize=65_536)
def _unreadable_field(
    action: str, kind: str, named: bool, uses: str, commercial: str, overrides: str, territory: str, lasts: bool
) -> str:
    understood = {
        "action": action in ACTIONS,
        "subject_type": kind in SUBJECTS or (kind == EVENT and action == "expire"),
        "subject_id": named,
        "uses": set(uses.split("|")) <= SCOPES,
        "commercial": commercial in ("yes", "no", "any"),
        "overrides_signals": overrides in ("yes", "no"),
        "territory": all(is_territory(part) for part in territory.split("|")),
        "effective_until": lasts,
    }
    return next((name for name, sound in understood.items() if not sound), "")


def is_territory(code: str) -> bool:
    """`*`, `EU`, or an ISO 3166 alpha-2 country code."""
    return code == "*" or (len(code) == 2 and code.isascii() and code.isalpha() and code.isupper())


def fold(
    events: Iterable[ConsentEvent], use: str, commercial: bool, territories: Sequence[str], as_of: str
) -> Standing:
    """Fold one speaker's readable events. Closed anywhere in the territories is closed; a grant must cover all."""
    return _fold(tuple(events), use, commercial, tuple(territories), as_of)


@lru_cache(maxsize=65_536)  # among many files the same is said again and again
def _fold(
    events: tuple[ConsentEvent, ...], use: str, commercial: bool, territories: tuple[str, ...], as_of: str
) -> Standing:
    ordered = sorted(events, key=lambda e: (e.recorded_at, ORDER[e.action], e.event_id))
    places = _places(territories, frozenset([event.territory for event in ordered]))
    standing: dict[str, ConsentEvent] = {}
    for event in ordered:
        if _in_force(event, as_of) and covers(event, use, commercial):
            for place in _countries(event.territory, places):
                if event.action != "expire":
                    standing[place] = event
                elif place in standing and standing[place].action == "grant":
                    del standing[place]
    last = list(dict.fromkeys(standing[place] for place in sorted(standing)))
    closing = tuple(event for event in last if event.action in CLOSING)
    if closing:
        withdrawn = any(event.action == "withdraw" for event in closing)
        return Standing("closed", Reason.CONSENT_WITHDRAWN if withdrawn else Reason.CONSENT_RESTRICTED, closing)
    if last and len(standing) == len(places):
        return Standing("granted", None, tuple(last), all(event.overrides_signals == "yes" for event in last))
    return _why_not(ordered, use, commercial, as_of)


def _in_force(event: ConsentEvent, as_of: str) -> bool:
    return event.effective_from <= as_of and not _ended(event, as_of)


def _ended(event: ConsentEvent, as_of: str) -> bool:
    return bool(event.effective_until) and event.effective_until <= as_of


def covers(event: ConsentEvent, use: str, commercial: bool) -> bool:
    """Whether the event's scope includes the use. `*` grants every use but likeness, and closes likeness too."""
    return _covers(event.uses, event.commercial, event.action == "grant", use, commercial)


@lru_cache(maxsize=65_536)
def _covers(uses: str, terms: str, grants: bool, use: str, commercial: bool) -> bool:
    named = set(uses.split("|"))
    every = "*" in named and (use != "likeness" or not grants)
    return (use in named or every) and terms in ("any", "yes" if commercial else "no")


@lru_cache(maxsize=65_536)
def _places(territories: Sequence[str], named: frozenset[str]) -> frozenset[str]:
    """The places that count: the policy's countries, or for * every one that an event names, and elsewhere.

    Of places that the same events name, the first stands for all.
    """
    codes = {code for territory in named for code in territory.split("|")} - {"*"}
    asked = codes if "*" in territories else territories
    places = frozenset({_ELSEWHERE} if "*" in territories else ()).union(*(_expand(code) for code in asked))
    alike = {frozenset(c for c in codes if place in _expand(c)): place for place in sorted(places, reverse=True)}
    return frozenset(alike.values())


@lru_cache(maxsize=65_536)
def _countries(territory: str, places: frozenset[str]) -> frozenset[str]:
    """Those of the places that a territory covers."""
    codes = territory.split("|")
    return places if "*" in codes else places & frozenset().union(*(_expand(code) for code in codes))


def _expand(code: str) -> frozenset[str]:
    return _EU if code == "EU" else frozenset({code})


def _why_not(events: Sequence[ConsentEvent], use: str, commercial: bool, as_of: str) -> Standing:
    """The nearest miss among the grants: right but ended, right but early, wrong use, wrong place."""
    grants = [event for event in events if event.action == "grant"]
    if not grants:
        return NOTHING
    fitting = [event for event in grants if covers(event, use, commercial)]
    expiring = [event for event in events if event.action == "expire" and concerns(event, use, commercial, as_of)]
    current = [event for event in fitting if _in_force(event, as_of)]
    ended = [event for event in fitting if _ended(event, as_of)]
    if not fitting:
        return Standing("none", Reason.GRANT_SCOPE, tuple(grants))
    if current and expiring:
        return Standing("none", Reason.GRANT_EXPIRED, tuple(expiring))
    if current:
        return Standing("none", Reason.GRANT_TERRITORY, tuple(current))
    if ended:
        return Standing("none", Reason.GRANT_EXPIRED, tuple(ended))
    return Standing("none", Reason.GRANT_NOT_YET, tuple(fitting))


def concerns(event: ConsentEvent, use: str, commercial: bool, as_of: str) -> bool:
    """True when a readable event is in force and its scope includes the use."""
    return _in_force(event, as_of) and covers(event, use, commercial)
