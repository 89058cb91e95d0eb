"""What data/sample.yaml may say."""

from datetime import date
from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.core.settings import Settings, Slug
from pipeline.sample.drawings import CLASSES

Decision = Literal["allow", "review", "deny"]
Format = Literal["png", "jpeg", "webp"]
CopyKind = Literal["exact", "reencoded", "recompressed", "resized", "brighter"]
Damage = Literal[
    "empty",
    "truncated-png",
    "truncated-jpeg",
    "text",
    "markup",
    "one-pixel",
    "animation",
    "transparent",
    "giant",
    "missing",
]


class Collection(Settings):
    """Drawings with the same holders, licence and marks, and the decision that they must get."""

    name: Slug
    holders: tuple[str, ...]
    licence: str
    share: float = Field(gt=0)  # of all files, relative to the other shares
    decision: Decision
    because: str
    classes: tuple[str, ...] = Field(tuple(sorted(CLASSES)), min_length=1)
    format: Format | None = None  # None: mostly PNG, some JPEG and WebP
    listed: bool = True  # False: the table does not name its files
    depicts: tuple[str, ...] = ()
    derived_from: str | None = None  # a collection: each file names one of its files
    mining: str | None = None  # XMP plus:DataMining, the part after DMI-
    headers: dict[str, str] = Field({})  # HTTP headers the file was served with
    credential: dict[str, str] = Field({})  # entries of a signed cawg.training-mining assertion


class Copy(Settings):
    """Copies of a collection's files under their own names, and perhaps other rights."""

    name: Slug
    kind: CopyKind
    of: str
    share: float = Field(gt=0)
    decision: Decision
    trained: Literal["one", "no"]
    because: str
    holders: tuple[str, ...] | None = None  # None: as the original
    licence: str | None = None


class Broken(Settings):
    """A file that must be rejected."""

    file: str
    kind: Damage
    because: str


class Event(Settings):
    """One row of consent-events.csv; `collection` makes one for each of its files."""

    event_id: str
    recorded_at: date
    effective_from: date
    effective_until: date | None = None
    actor: str
    subject_type: Literal["asset", "holder", "person", "dataset"]
    subject_id: str | None = None
    collection: str | None = None
    action: Literal["grant", "restrict", "withdraw", "expire"]
    uses: str = "*"
    commercial: Literal["yes", "no", "any"] = "any"
    territory: str = "*"
    overrides_signals: Literal["yes", "no"] = "no"
    evidence: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if (self.subject_id is None) == (self.collection is None):
            raise ValueError("name either subject_id or collection")
        return self


class SampleDefinition(Settings):
    """The sample set, whole."""

    seed: int = Field(ge=0)
    size: int = Field(64, ge=16, le=256)
    count: int = Field(ge=1)  # of files, about
    dataset: Slug
    collections: tuple[Collection, ...] = Field(min_length=1)
    copies: tuple[Copy, ...] = ()
    broken: tuple[Broken, ...] = ()
    odd_names: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()

    @model_validator(mode="after")
    def _names_meet(self) -> Self:
        names = [collection.name for collection in self.collections]
        if len(set(names)) < len(names):
            raise ValueError("collections: two of them have the same name")
        named = [copy.of for copy in self.copies]
        named += [collection.derived_from for collection in self.collections if collection.derived_from]
        named += [event.collection for event in self.events if event.collection]
        unknown = sorted(set(named) - set(names))
        if unknown:
            raise ValueError(f"no such collection: {', '.join(unknown)}")
        strange = sorted({label for collection in self.collections for label in collection.classes} - set(CLASSES))
        if strange:
            raise ValueError(f"no such class: {', '.join(strange)}; there are {', '.join(sorted(CLASSES))}")
        return self
