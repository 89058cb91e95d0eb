"""Which file holds what, whose it is, and what must become of it: the whole sample set before a line is drawn."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from pipeline.sample.definition import Broken, Collection, Copy, SampleDefinition

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
ODD_NAMES = Collection(
    name="odd-names",
    holders=("Atelier Lumen",),
    licence="CC0-1.0",
    share=1,
    decision="allow",
    because="a strange name is no reason",
)


@dataclass(frozen=True)
class Planned:
    """One file of the set. `group` names the files that show the same picture, "" when it stands alone."""

    file: str  # below the folder, with forward slashes
    origin: Collection | Copy | Broken
    case: str  # the origin's name, or what is wrong with it
    label: str
    number: int  # of the drawing within its class
    format: str
    holders: tuple[str, ...]
    licence: str
    decision: str  # allow | review | deny | rejected
    trained: str  # yes | one (of its group) | no
    because: str
    group: str = ""
    depicts: tuple[str, ...] = ()
    derived_from: str = ""
    original: str = ""  # the file that this one copies

    @property
    def key(self) -> str:
        """How events and derivatives refer to it."""
        return PurePosixPath(self.file).stem


def plan_files(definition: SampleDefinition, count: int) -> list[Planned]:
    """Every file of a set of about `count` files, originals before their copies; each rights case at least once."""
    origins: list[Collection | Copy] = [*definition.collections, *definition.copies]
    shared = max(0, count - len(definition.broken) - len(definition.odd_names))
    per_share = shared / sum(origin.share for origin in origins)
    drawn = _drawings(definition, per_share)
    copies = _copies(definition, drawn, per_share)
    together = [*_grouped(drawn, copies), *copies]
    return [*together, *_odd_names(definition, drawn), *map(_broken, definition.broken)]


def _amount(origin: Collection | Copy, per_share: float) -> int:
    return max(1, round(origin.share * per_share))


def _drawings(definition: SampleDefinition, per_share: float) -> list[Planned]:
    """The drawings of all collections, shuffled, so that neither class nor number tells a file's rights."""
    assigned = [
        (collection, place)
        for collection in definition.collections
        for place in range(_amount(collection, per_share))
    ]
    numbers: Counter[str] = Counter()
    files = []
    for turn, drawn in enumerate(np.random.default_rng(definition.seed).permutation(len(assigned))):
        collection, place = assigned[drawn]
        label = collection.classes[turn % len(collection.classes)]
        chosen = collection.format or {3: "jpeg", 8: "webp"}.get(place % 12, "png")
        number = numbers[label]
        numbers[label] += 1
        files.append(
            Planned(
                file=f"{label}/{label.removesuffix('s')}-{number:04d}{SUFFIXES[chosen]}",
                origin=collection,
                case=collection.name,
                label=label,
                number=number,
                format=chosen,
                holders=collection.holders,
                licence=collection.licence,
                decision=collection.decision,
                trained="yes" if collection.decision == "allow" else "no",
                because=collection.because,
                depicts=collection.depicts,
            )
        )
    return _with_ancestors(files)


def _with_ancestors(files: list[Planned]) -> list[Planned]:
    """Name an ancestor for each derived work."""
    by_case: dict[str, list[str]] = {}
    for file in files:
        by_case.setdefault(file.case, []).append(file.key)
    return [
        replace(file, derived_from=by_case[parent][file.number % len(by_case[parent])])
        if isinstance(file.origin, Collection) and (parent := file.origin.derived_from)
        else file
        for file in files
    ]


def _copies(definition: SampleDefinition, drawn: list[Planned], per_share: float) -> list[Planned]:
    """Copies, each of another PNG original."""
    taken: set[str] = set()
    copies = []
    for copy in definition.copies:
        free = [file for file in drawn if file.case == copy.of and file.format == "png" and file.file not in taken]
        for original in free[: _amount(copy, per_share)]:
            taken.add(original.file)
            copies.append(_copied(copy, original))
    return copies


def _copied(copy: Copy, original: Planned) -> Planned:
    format_ = "jpeg" if copy.kind == "recompressed" else "webp" if _as_webp(copy, original) else "png"
    return replace(
        original,
        file=f"{original.label}/{original.key}-{copy.name}{SUFFIXES[format_]}",
        origin=copy,
        case=copy.name,
        format=format_,
        holders=original.holders if copy.holders is None else copy.holders,
        licence=original.licence if copy.licence is None else copy.licence,
        decision=copy.decision,
        trained=copy.trained,
        because=copy.because,
        group=original.file,
        original=original.file,
    )


def _as_webp(copy: Copy, original: Planned) -> bool:
    return copy.kind == "reencoded" and original.number % 2 == 0


def _grouped(drawn: list[Planned], copies: list[Planned]) -> list[Planned]:
    """The originals, told of their copies: a group is only as free as its least free member."""
    by_original = {copy.original: copy for copy in copies}
    return [
        file
        if (copy := by_original.get(file.file)) is None
        else replace(
            file,
            group=file.file,
            trained=copy.trained,
            # the same bytes are one asset, and it gets the stricter answer
            decision=copy.decision if _same_bytes(copy) else file.decision,
            because=f"{file.because}; copied as {copy.file}: {copy.because}",
        )
        for file in drawn
    ]


def _same_bytes(copy: Planned) -> bool:
    return isinstance(copy.origin, Copy) and copy.origin.kind == "exact"


def _odd_names(definition: SampleDefinition, drawn: list[Planned]) -> list[Planned]:
    """One more drawing of a class for each odd name."""
    labels = sorted({file.label for file in drawn})
    numbers = Counter(file.label for file in drawn)
    files = []
    for place, name in enumerate(definition.odd_names):
        label = labels[place % len(labels)]
        files.append(
            Planned(
                file=name,
                origin=ODD_NAMES,
                case=ODD_NAMES.name,
                label=label,
                number=numbers[label],
                format="png",
                holders=ODD_NAMES.holders,
                licence=ODD_NAMES.licence,
                decision="allow",
                trained="yes",
                because=ODD_NAMES.because,
            )
        )
        numbers[label] += 1
    return files


def _broken(broken: Broken) -> Planned:
    return Planned(
        file=broken.file,
        origin=broken,
        case=broken.kind,
        label="textiles",
        number=0,
        format="",
        holders=("Atelier Lumen",),
        licence="CC0-1.0",
        decision="rejected",
        trained="no",
        because=broken.because,
    )
