"""The lines of an impact, and the questions that they answer about what something rests on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import RowMapping

from pipeline.audit.origins import Origin, Questions, Touched


@dataclass(frozen=True)
class Line:
    """One snapshot, model or output. `lawful_when_made` is as then known, `lawful_as_known` as known at the moment
    asked about: both ask whether everything that it rests on was allowed at the moment when it was made.
    """

    kind: str  # snapshot | model | output
    id: str
    state: str  # clear | affected | affected-strong
    because: tuple[str, ...]  # assets: those used, then the relatives through which
    lawful_when_made: bool
    lawful_as_known: bool
    made_at: str
    facts: Mapping[str, Any]  # what else a reader of this kind wants to know

    def as_json(self) -> dict[str, Any]:
        """The line of `imprimatur audit impact --json`."""
        value = asdict(self)
        return {**{name: value[name] for name in value if name != "facts"}, **value["facts"]}


def hit_by(own: Iterable[Origin], questions: Questions, as_of: str, known_at: str) -> Touched:
    """What is touched at a moment in any of the snapshots that something rests on."""
    found: Touched = {}
    for origin in own:
        found |= questions.touched(origin, as_of, known_at)
    return found


def lawful_then(own: Sequence[Origin], questions: Questions, moment: str) -> bool:
    """Whether all was allowed at a moment, as then known: no event since the snapshots had barred anything.

    Facts of an asset are those of today; what they alone change is held against the present, not the past.
    """
    for origin in own:
        then = questions.touched(origin, moment, moment)
        at_first = questions.touched(origin, origin.as_of, origin.known_at)
        if not origin.all_allowed or then.keys() - at_first.keys():
            return False
    return True


def chain_of(model: str, by_id: Mapping[str, RowMapping]) -> list[RowMapping]:
    """A model and those that it was fine-tuned from, one after another."""
    chain: list[RowMapping] = []
    while model in by_id and by_id[model] not in chain:
        chain.append(by_id[model])
        model = by_id[model]["base"]
    return chain


def in_order(hit: Touched) -> tuple[str, ...]:
    """The assets of an answer: those used first, then the relatives through which."""
    return tuple(dict.fromkeys([*hit, *(relative for relatives in hit.values() for relative in relatives)]))
