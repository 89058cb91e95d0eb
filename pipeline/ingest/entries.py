"""What a source yields: a name, where the bytes lie, and the columns that come with it."""

import os
import posixpath
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from pipeline.ingest.places import Place

Fields = dict[str, str]  # our column -> cell


@dataclass(frozen=True, slots=True)
class Entry:
    """One file seen in a source. A `reason` rejects it before it is read."""

    file: str  # as the source names it, with forward slashes
    place: Place | None = None
    fields: Fields = field(default_factory=dict)
    reason: str = ""
    detail: str = ""
    box: str = ""  # the archive that it lies in, "" in a folder


@dataclass(frozen=True, slots=True)
class Item:
    """One file to be examined, with everything that the source says of it."""

    file: str
    place: Place | None
    fields: Fields
    reason: str = ""
    detail: str = ""
    sidecars: tuple[tuple[str, Place], ...] = ()  # files of facts about this one: name, place


class Source(Protocol):
    """Anything that can be listed, as a stream."""

    def entries(self) -> Iterator[Entry]:
        """Every file seen, in any order."""


def normal(file: str) -> str:
    """One spelling for names that systems write differently: composition of accents, slashes, `./`."""
    return posixpath.normpath(unicodedata.normalize("NFC", file.replace("\\", "/")))


def leads_outside(file: str) -> bool:
    """Is it an absolute path, or one that climbs above the source?"""
    path = posixpath.normpath(file.replace("\\", "/"))
    return path.startswith(("/", "../")) or path == ".." or path[1:2] == ":" or "\0" in path


def is_hidden(file: str) -> bool:
    """Files of the system, not of the dataset: names with a leading dot, and what macOS puts into its zips."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(file).parts if part != "..")


def written(name: str) -> str:
    """A name as text that can be written down: bytes outside UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
