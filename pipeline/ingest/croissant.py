"""Croissant 1.0 and 1.1 (MLCommons): a dataset described in JSON-LD, beside its files or pointing at them.

What is read: the licence, `usageInfo`, the distribution (FileObject, FileSet, what is contained in what, globs,
SHA-256) and, of the record sets, which column says what. Transforms are not run: images are taken as they lie.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest.entries import Fields, leads_outside
from pipeline.ingest.locate import locate_source
from pipeline.ingest.table import NAMES

_MAX_BYTES = 50_000_000
_TABLES = ("text/csv", "text/tab-separated-values", "application/jsonlines", "application/x-jsonlines")
# schema.org's words for our columns, as the data type of a field or what it is equivalent to
_PROPERTIES = {
    "license": "licence",
    "author": "holder_id",
    "creator": "holder_id",
    "copyrightHolder": "holder_id",
    "creditText": "attribution",
    "url": "source_url",
    "sha256": "sha256",
}
Node = dict[str, Any]


@dataclass(frozen=True)
class Container:
    """A file or folder with images in it, and which of its members are the dataset's ([] for all)."""

    path: Path
    includes: tuple[str, ...]
    excludes: tuple[str, ...]

    def holds(self, member: str) -> bool:
        """Is a member part of the dataset? Sidecars are: they can only restrict."""
        if member.lower().endswith((".headers.json", ".xmp")):
            return True
        listed = not self.includes or any(_matches(member, glob) for glob in self.includes)
        return listed and not any(_matches(member, glob) for glob in self.excludes)


@dataclass(frozen=True)
class Table:
    """A table of facts about the images: our column -> its column, and whether files are named with their folder."""

    path: Path
    columns: Fields
    by_base: bool


@dataclass(frozen=True)
class Description:
    """A dataset as Croissant describes it."""

    licence: str
    problems: tuple[str, ...]  # terms that a person must read
    containers: tuple[Container, ...]
    tables: tuple[Table, ...]
    columns: Fields  # of images in Parquet files


def is_croissant(path: Path) -> bool:
    """A JSON file that says that it is JSON-LD."""
    if path.suffix.lower() not in (".json", ".jsonld") or path.stat().st_size > _MAX_BYTES:
        return False
    return b'"@context"' in path.read_bytes()


def read_croissant(path: Path, dataset: DatasetSettings, workspace: Workspace) -> Description:
    """The description in a JSON-LD file, its files located (and downloaded where they must be).

    Raises ImprimaturError for a file that is none, or that names a file which is not there or is not pinned.
    """
    try:
        root = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ImprimaturError(f"{path}: not JSON ({error})", "mend it") from None
    if not isinstance(root, dict) or not isinstance(root.get("distribution"), list):
        raise ImprimaturError(f"{path}: not a Croissant description: it has no distribution", "name another source")
    return _Reader(path, dataset, workspace, root).read()


class _Reader:
    def __init__(self, path: Path, dataset: DatasetSettings, workspace: Workspace, root: Node) -> None:
        self._path, self._dataset, self._workspace, self._root = path, dataset, workspace, root
        self._parts = {_id(node): node for node in root["distribution"] if isinstance(node, dict)}
        self._fields = [field for record in _list(root.get("recordSet")) for field in _list(record.get("field"))]

    def read(self) -> Description:
        """The whole description."""
        containers: list[Container] = []
        tables: list[Table] = []
        columns: Fields = {}
        for identifier, node in self._parts.items():
            inside, kind = _list(node.get("containedIn")), str(node.get("encodingFormat") or "")
            if _type(node) == "FileSet":
                for outer in inside or [None]:
                    containers.append(self._set(node, outer))
                columns |= self._columns([identifier])
            elif kind in _TABLES and not inside:
                file, by_base = self._file_column(identifier)
                tables.append(Table(self._file(node), self._columns([identifier]) | file, by_base))
            elif kind.startswith("image/") and not inside:
                containers.append(Container(self._file(node), (), ()))
            elif kind == "application/x-parquet" and not inside:
                containers.append(Container(self._file(node), (), ()))
                columns |= self._columns([identifier])
        if not containers:
            raise ImprimaturError(f"{self._path}: describes no files of images", "name another source")
        usage = self._root.get("usageInfo")
        problems = ("croissant: usageInfo states terms that a person must read",) if usage else ()
        return Description(_licence(self._root.get("license")), problems, tuple(containers), tuple(tables), columns)

    def _set(self, node: Node, outer: Any) -> Container:
        """A FileSet: members of an archive, or files of the folder that the description lies in."""
        container = self._parts.get(_reference(outer)) if outer is not None else None
        includes, excludes = (tuple(str(glob) for glob in _list(node.get(key))) for key in ("includes", "excludes"))
        if container is None or str(container.get("encodingFormat", "")).startswith(("git", "text/html")):
            return Container(self._path.parent, includes, excludes)
        return Container(self._file(container), includes, excludes)

    def _file(self, node: Node) -> Path:
        """The file behind a FileObject: beside the description, or downloaded; its digest is checked."""
        url, digest = str(node.get("contentUrl") or ""), str(node.get("sha256") or "") or None
        local = "://" not in url
        if not url or (local and leads_outside(url)):
            raise ImprimaturError(
                f"{self._path}: {_id(node)}: contentUrl {url!r} is not a file of the dataset", "mend it"
            )
        if not local and not digest:
            raise ImprimaturError(f"{self._path}: {_id(node)}: a URL needs its sha256", "add it to the description")
        source = str(self._path.parent / url) if local else url
        pinned = DatasetSettings(name=self._dataset.name, source=source, sha256=digest)
        return locate_source(pinned, self._workspace)

    def _columns(self, identifiers: list[str]) -> Fields:
        """Our column -> its column, for the fields that are drawn from one of these files."""
        found: Fields = {}
        for field in self._fields:
            source = _source(field)
            if _reference(source.get("fileObject") or source.get("fileSet")) in identifiers:
                column = str((source.get("extract") or {}).get("column") or "")
                ours = _ours(field)
                if column and ours:
                    found.setdefault(ours, column)
        return found

    def _file_column(self, identifier: str) -> tuple[Fields, bool]:
        """The column that names the images (it refers to a file's name), and whether that is without folder."""
        by_id = {_id(field): field for field in self._fields}
        for field in self._fields:
            source = _source(field)
            column = str((source.get("extract") or {}).get("column") or "")
            if not column or _reference(source.get("fileObject")) != identifier:
                continue
            for reference in _list(field.get("references")):
                target = reference.get("field", reference) if isinstance(reference, dict) else reference
                aim = by_id.get(_reference(target), {})
                named = (_source(aim).get("extract") or {}).get("fileProperty")
                if named:
                    return {"file": column}, named == "filename"
        return {}, False


def _matches(member: str, glob: str) -> bool:
    return fnmatch(member, glob) or ("/" not in glob and fnmatch(PurePosixPath(member).name, glob))


def _ours(field: Node) -> str:
    """Our name of a field: by its own name, else by schema.org's."""
    name = PurePosixPath(str(field.get("name") or _id(field))).name
    for ours, known in NAMES.items():
        if ours != "image" and name in known:
            return ours
    stated = [*_list(field.get("equivalentProperty")), *_list(field.get("dataType"))]
    words = [str(_reference(word)).replace("#", "/").split("/")[-1].split(":")[-1] for word in stated]
    return next((_PROPERTIES[word] for word in words if word in _PROPERTIES), "")


def _licence(value: Any) -> str:
    """The licence as one text; several bind together."""
    texts = []
    for one in _list(value):
        text = str(one.get("url") or one.get("@id") or one.get("name") or "") if isinstance(one, dict) else str(one)
        texts.append(text)
    return " AND ".join(text for text in texts if text)


def _source(field: Node) -> Node:
    source = field.get("source")
    return source if isinstance(source, dict) else {}


def _list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _id(node: Node) -> str:
    return str(node.get("@id") or node.get("name") or "")


def _reference(value: Any) -> str:
    return str(value.get("@id") or "") if isinstance(value, dict) else str(value or "")


def _type(node: Node) -> str:
    kinds = _list(node.get("@type")) or [""]
    return str(kinds[0]).split(":")[-1].split("/")[-1]


def containers_of(description: Description) -> Iterator[tuple[Path, list[Container]]]:
    """The containers by their file: several sets may be drawn from one archive."""
    paths = dict.fromkeys(container.path for container in description.containers)
    for path in paths:
        yield path, [container for container in description.containers if container.path == path]
