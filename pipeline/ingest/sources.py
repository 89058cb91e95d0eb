"""What a source holds: every file seen, in order, with what its table says and where its bytes lie."""

import os
import posixpath
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pipeline.catalog.references import key_of
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest.idx import open_idx, read_labels
from pipeline.ingest.locate import locate_labels, locate_source
from pipeline.ingest.reasons import IngestReason
from pipeline.ingest.table import SUFFIXES, Fields, Row, constants, read_rows

FACTS = (".headers.json", ".xmp")  # beside an image: HTTP response headers of its download, XMP
_DOCUMENTS = {"AUTHORS", "CHANGELOG", "COPYING", "CREDITS", "LICENCE", "LICENSE", "NOTICE", "README", "SOURCE"}
_SIDECARS = (".json", ".txt")  # skipped beside an image of the same name


@dataclass(frozen=True, slots=True)
class Item:
    """One file seen in a source, or one that its table names. A `reason` rejects it before it is read."""

    file: str  # as the source names it, with forward slashes
    path: str = ""  # where to read it
    size: int = 0  # bytes
    mtime_ns: int = 0
    fields: Fields = field(default_factory=dict)  # what the table and the config say of it, in our columns
    reason: str = ""
    detail: str = ""
    sidecars: tuple[tuple[str, int], ...] = ()  # files of facts about this one: path, mtime_ns
    array: tuple[int, ...] = ()  # IDX: shape of the array that lies at `offset`
    offset: int = 0


@dataclass(frozen=True)
class Plan:
    """All items of a source in order; `version` stands for what size and time of the files do not show."""

    source: Path
    items: list[Item]
    version: str = ""


def plan_source(dataset: DatasetSettings, workspace: Workspace) -> Plan:
    """List a source. Raises ImprimaturError when it is missing, unreadable or empty, or its table is at fault."""
    source = locate_source(dataset, workspace)
    plan = _plan_folder(dataset, source) if source.is_dir() else _plan_idx(dataset, source, workspace)
    if not plan.items:
        raise ImprimaturError(
            f"dataset {dataset.name!r}, source: {source}: holds no files", "name a folder of images"
        )
    return plan


def _plan_idx(dataset: DatasetSettings, source: Path, workspace: Workspace) -> Plan:
    if dataset.table or dataset.columns:
        raise ImprimaturError(
            f"dataset {dataset.name!r}: table and columns have no meaning for an IDX file", "use values and licence"
        )
    images = open_idx(source, workspace)
    if len(images.shape) != 3 and images.shape[3:] != (3,):
        raise ImprimaturError(f"{source}: holds no images; its shape is {images.shape}", "name the file of images")
    labels, version = [""] * images.shape[0], images.sha256
    if path := locate_labels(dataset, workspace):
        file = open_idx(path, workspace)
        labels, version = read_labels(file, dataset.class_names), f"{version} {file.sha256}"
    if len(labels) != images.shape[0]:
        raise ImprimaturError(
            f"dataset {dataset.name!r}: {images.shape[0]} images, {len(labels)} labels",
            "name the labels of this file",
        )
    given, digits = constants(dataset), max(5, len(str(len(labels) - 1)))
    items = [
        Item(
            file=f"{source.name}#{number:0{digits}}",
            path=str(images.path),
            size=images.length,
            fields={"key": f"{number:0{digits}}", "label": label, **given},
            array=images.shape[1:],
            offset=images.start + number * images.length,
        )
        for number, label in enumerate(labels)
    ]
    return Plan(source, items, version)


def _plan_folder(dataset: DatasetSettings, root: Path) -> Plan:
    table = _table_of(dataset, root)
    skipped = {table, *((root / events.file).resolve() for events in dataset.consent)}
    seen = {_normal(item.file): item for item in _scan(root) if root / item.file not in skipped}
    given = constants(dataset)
    if table is not None:
        for row in read_rows(table, dataset):
            item = _named(row, root, seen)
            known = _normal(item.file)
            if seen.get(known, item).fields not in ({}, item.fields):
                item = replace(
                    item, reason=IngestReason.CONFLICTING_ROWS, detail=f"row {row.number} is not the first"
                )
            seen[known] = item
    items = [
        replace(item, fields={"key": key_of(item.file), **given, **_filled(item.fields)}) for item in seen.values()
    ]
    return Plan(root, sorted(items, key=lambda item: item.file))


def _filled(fields: Fields) -> Fields:
    """A table's cells; an empty key cell leaves the default key."""
    return {name: cell for name, cell in fields.items() if cell or name != "key"}


def _table_of(dataset: DatasetSettings, root: Path) -> Path | None:
    names = [dataset.table] if dataset.table else [f"metadata{suffix}" for suffix in (".csv", ".jsonl", ".parquet")]
    tables = [root / name for name in names if (root / name).is_file()]
    if dataset.table and not tables:
        raise ImprimaturError(
            f"dataset {dataset.name!r}, table: {dataset.table} is not in {root}", "name a file below the source"
        )
    if dataset.columns and not tables:
        raise ImprimaturError(f"dataset {dataset.name!r}: columns are mapped, but {root} has no table", "set table")
    return tables[0].resolve() if tables else None


def _named(row: Row, root: Path, seen: dict[str, Item]) -> Item:
    """The item that a table row names: seen in the folder, or a reason why not."""
    written = row.fields["file"]
    fields = {name: cell for name, cell in row.fields.items() if name != "file"}
    if not written:
        return Item(f"row {row.number}", fields=fields, reason=IngestReason.MISSING_FILE, detail="no file is named")
    file = posixpath.normpath(written.replace("\\", "/"))
    if file.startswith(("/", "../")) or file == ".." or file[1:2] == ":" or "\0" in file:
        return Item(written, fields=fields, reason=IngestReason.PATH_OUTSIDE_SOURCE, detail=f"row {row.number}")
    if item := seen.get(_normal(file)):
        return replace(item, fields=fields)
    found = _examine(root, root / file, through_links=True)  # a name that the scan skips, or nothing
    if found is not None:
        return replace(found, fields=fields)
    return Item(file, fields=fields, reason=IngestReason.MISSING_FILE, detail=f"row {row.number}")


def _scan(root: Path) -> Iterator[Item]:
    """Every file below `root` but hidden ones, documents, tables and sidecars. Links to folders are not followed."""
    unreadable: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=unreadable.append):
        here = Path(folder)
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if (here / name).is_symlink()]
        beside = frozenset(names)
        pictured = {PurePosixPath(name).stem for name in names if not name.lower().endswith(_SIDECARS)} | beside
        for name in (*names, *links):
            if name.startswith(".") or _is_companion(name, pictured):
                continue
            item = _examine(root, here / name)
            if item is not None:
                yield replace(item, sidecars=_sidecars_of(here, name, beside))
    for error in unreadable:
        if Path(error.filename) == root:
            raise ImprimaturError(f"{root}: cannot be read ({error.strerror})", "grant read access to the folder")
        yield Item(_relative(root, Path(error.filename)), reason=IngestReason.UNREADABLE, detail=error.strerror or "")


def _examine(root: Path, path: Path, through_links: bool = False) -> Item | None:
    """The item at a path; None for nothing and for a folder. `through_links`: folders on the way may be links."""
    file = _relative(root, path)
    try:
        facts = path.lstat()
        if through_links or stat.S_ISLNK(facts.st_mode):
            path = path.resolve(strict=True)
            facts = path.stat()
            if not path.is_relative_to(root):
                return Item(file, reason=IngestReason.PATH_OUTSIDE_SOURCE, detail="a link leads out of the source")
    except FileNotFoundError:
        return Item(file, reason=IngestReason.UNREADABLE, detail="a broken link") if path.is_symlink() else None
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        return Item(
            file, reason=IngestReason.UNREADABLE, detail=getattr(error, "strerror", None) or "links in a circle"
        )
    if stat.S_ISDIR(facts.st_mode):
        return None
    if not stat.S_ISREG(facts.st_mode):  # reading a pipe would wait for ever
        return Item(file, reason=IngestReason.UNREADABLE, detail="not a regular file")
    return Item(file, str(path), facts.st_size, facts.st_mtime_ns)


def _is_companion(name: str, pictured: set[str]) -> bool:
    """Tables, documents about the dataset, and sidecars (named like a picture of the folder) are not items of it."""
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if name.endswith(FACTS) or suffix in SUFFIXES:
        return True
    if path.stem.upper() in _DOCUMENTS and suffix in ("", ".md", ".rst", ".txt", ".html", ".pdf"):
        return True
    return suffix in _SIDECARS and path.stem in pictured


def _sidecars_of(folder: Path, name: str, beside: frozenset[str]) -> tuple[tuple[str, int], ...]:
    """`a.headers.json` or `a.png.headers.json` for a.png, and the same with .xmp."""
    candidates = [f"{stem}{suffix}" for suffix in FACTS for stem in (name, PurePosixPath(name).stem)]
    paths = [folder / candidate for candidate in candidates if candidate in beside]
    return tuple((str(path), path.lstat().st_mtime_ns) for path in paths)


def _relative(root: Path, path: Path) -> str:
    """How the source names a path. Bytes outside UTF-8 are escaped, so that the name can be written down."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")


def _normal(file: str) -> str:
    """One spelling for names that file systems compose differently."""
    return unicodedata.normalize("NFC", file)
