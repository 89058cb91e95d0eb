"""What a source is, by its content, and what it holds: every file seen, in order, with all that is said of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest.archives import Box, is_tar, is_zip, tar_entries, zip_entries
from pipeline.ingest.cells import cell_entries, column_names, image_column, is_parquet
from pipeline.ingest.croissant import Container, Description, Table, containers_of, is_croissant, read_croissant
from pipeline.ingest.entries import Entry, Item, leads_outside, normal
from pipeline.ingest.folder import examine, folder_entries
from pipeline.ingest.idx import idx_entries, is_idx, open_idx, read_labels
from pipeline.ingest.listing import Listing
from pipeline.ingest.locate import locate_labels, locate_source
from pipeline.ingest.places import Cell, File, Refused, copy_out, version_of
from pipeline.ingest.reasons import IngestReason
from pipeline.ingest.table import Mapping, Row, constants, mapping_of, read_rows
from pipeline.ingest.unpack import compression_of, unpacked

_ARCHIVES = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
_KNOWN = "name a folder, a tar or zip, a Parquet file with image bytes, a Croissant description or an IDX file"


@dataclass(frozen=True)
class Source:
    """A source that is being listed."""

    path: Path
    listing: Listing
    dataset: DatasetSettings
    problems: tuple[str, ...] = ()  # terms of the whole dataset that a person must read

    def items(self) -> Iterator[Item]:
        """Every file in order. Raises ImprimaturError when there is none."""
        empty = True
        for item in self.listing.items(constants(self.dataset)):
            empty = False
            yield item
        if empty:
            raise ImprimaturError(
                f"dataset {self.dataset.name!r}, source: {self.path}: holds no files", "name a folder of images"
            )


@contextmanager
def open_source(dataset: DatasetSettings, workspace: Workspace) -> Iterator[Source]:
    """List a source. Raises ImprimaturError when it is missing or unreadable, or its table is at fault."""
    path = locate_source(dataset, workspace)
    description = None
    if path.is_file() and is_croissant(path):
        description = read_croissant(path, dataset, workspace)
        licences = dict.fromkeys(filter(None, (dataset.licence, description.licence)))
        dataset = dataset.model_copy(update={"licence": " AND ".join(licences) or None})
    elif path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".jsonl"):  # a table of the files beside it
        dataset, path = dataset.model_copy(update={"table": path.name}), path.parent
    folder = workspace.dataset(dataset.name)
    folder.mkdir(parents=True, exist_ok=True)
    listing = Listing(folder / ".listing.sqlite")
    try:
        reader = _Reader(dataset, workspace, path, listing, description)
        listing.add_entries(reader.entries())
        reader.add_tables()
        yield Source(path, listing, dataset, description.problems if description else ())
    finally:
        listing.close()


class _Reader:
    """Reads one source into its listing."""

    def __init__(
        self,
        dataset: DatasetSettings,
        workspace: Workspace,
        path: Path,
        listing: Listing,
        description: Description | None,
    ) -> None:
        self._dataset, self._workspace, self._path, self._listing = dataset, workspace, path, listing
        self._description = description
        mapping = mapping_of(dataset)
        self._mapping = Mapping({**(description.columns if description else {}), **mapping.columns}, mapping.values)
        self._shards: list[tuple[Path, str]] = []  # img2dataset's tables: file, prefix of the names in its tar
        self._records = False  # was there anything that columns can be mapped from?

    def entries(self) -> Iterator[Entry]:
        """Every file that is seen: of a folder, and of the archives in it; or of one archive."""
        if self._description:
            yield from self._described(self._description)
        elif self._path.is_file():
            yield from self._archive(self._path, Box(self._path.name))
        else:
            yield from self._folder(self._path, lambda file: True)

    def _described(self, description: Description) -> Iterator[Entry]:
        """What a Croissant description counts as its own, of each file and folder that it draws from."""
        groups = list(containers_of(description))
        for path, containers in groups:
            if path.is_dir():
                yield from self._folder(path, partial(_held, containers))
                continue
            box = Box(path.name, f"{path.name}/" if len(groups) > 1 else "")
            if not is_archive(path):
                yield Entry(path.name, File(str(path), path.stat().st_size, version_of(path)))
                continue
            for entry in self._archive(path, box):
                if isinstance(entry.place, Cell) or _held(containers, entry.file.removeprefix(box.prefix)):
                    yield entry

    def _folder(self, root: Path, wanted: Callable[[str], bool]) -> Iterator[Entry]:
        named = [events.file for events in self._dataset.consent] + [self._dataset.table or ""]
        skipped = {(root / name).resolve() for name in named if name} | {self._path}
        for entry in folder_entries(root):
            if root / entry.file in skipped or self._is_statistics(root, entry.file) or not wanted(entry.file):
                continue
            if isinstance(entry.place, File) and entry.file.lower().endswith(_ARCHIVES):
                box = Box(entry.file, f"{entry.file}/")
                yield from _or_empty(self._archive(Path(entry.place.path), box), box)
            elif isinstance(entry.place, File) and entry.file.lower().endswith(".parquet"):
                yield from self._parquet(entry)
            else:
                yield entry

    def add_tables(self) -> None:
        """Join the rows of every table with the files that they name."""
        for path, prefix in self._shards:
            self._add_table(path, prefix, by="key")
        for path, prefix in self._tables():
            self._add_table(path, prefix, by="file")
            self._records = True
        for table in self._description.tables if self._description else ():
            self._add_described(table)
        if self._dataset.columns and not self._records and not self._shards and not self._listing.has_records():
            raise ImprimaturError(
                f"dataset {self._dataset.name!r}: columns are mapped, but {self._path} has no table", "set table"
            )

    def _archive(self, path: Path, box: Box) -> Iterator[Entry]:
        inner, reason = unpacked(path, self._workspace) if compression_of(path) else (path, "")
        if is_zip(inner):
            yield from zip_entries(inner, box)
        elif is_parquet(inner):
            yield from self._cells(inner, box)
        elif is_idx(inner) and not box.prefix:
            yield from self._arrays(path)
        elif is_tar(inner):
            self._note_shard_table(path, box.prefix)
            yield from tar_entries(inner, box, reason)
        elif box.prefix:
            yield box.fault(reason or IngestReason.ARCHIVE_CORRUPT, "no member can be found in it")
        elif reason:
            raise ImprimaturError(f"{path}: cannot be unpacked whole ({reason})", "fetch the file again")
        else:
            raise ImprimaturError(f"{path}: neither a folder nor a file of images that we know", _KNOWN)

    def _parquet(self, entry: Entry) -> Iterator[Entry]:
        """The images in a Parquet file of a folder; a Parquet file without any is a table."""
        path, box = Path(entry.place.path if isinstance(entry.place, File) else ""), Box(entry.file, f"{entry.file}/")
        try:
            holds_images = bool(image_column(path, self._image_column()))
        except ImprimaturError as error:
            yield box.fault(IngestReason.ARCHIVE_CORRUPT, error.message)
            return
        yield from _or_empty(self._cells(path, box), box) if holds_images else [entry]

    def _cells(self, path: Path, box: Box) -> Iterator[Entry]:
        column = image_column(path, self._image_column())
        if not column:
            raise ImprimaturError(f"{path}: no column holds images", "set columns.image to the one that does")
        names = column_names(path)
        for ours, theirs in self._dataset.columns.items():
            if theirs not in names:
                fix = f"its columns are: {', '.join(names)}"
                raise ImprimaturError(f"{path}: has no column {theirs!r} (columns.{ours})", fix)
        self._records = True
        yield from cell_entries(path, column, self._mapping, box)

    def _arrays(self, path: Path) -> Iterator[Entry]:
        dataset = self._dataset
        if dataset.table or dataset.columns:
            raise ImprimaturError(
                f"dataset {dataset.name!r}: table and columns have no meaning for an IDX file",
                "use values and licence",
            )
        images = open_idx(path, self._workspace)
        if len(images.shape) != 3 and images.shape[3:] != (3,):
            raise ImprimaturError(f"{path}: holds no images; its shape is {images.shape}", "name the file of images")
        labels = [""] * images.shape[0]
        if file := locate_labels(dataset, self._workspace):
            labels = read_labels(open_idx(file, self._workspace), dataset.class_names)
        if len(labels) != images.shape[0]:
            raise ImprimaturError(
                f"dataset {dataset.name!r}: {images.shape[0]} images, {len(labels)} labels",
                "name the labels of this file",
            )
        yield from idx_entries(images, path.name, labels)

    def _tables(self) -> Iterator[tuple[Path, str]]:
        """(file, what the names in it are relative to) of the configured table, else of each metadata table."""
        name = self._dataset.table
        if not name:
            for file in self._listing.metadata_tables():
                parent = PurePosixPath(file).parent.as_posix()
                yield self._readable(file), "" if parent == "." else f"{parent}/"
            return
        folder = self._path if self._path.is_dir() else self._path.parent
        if self._path.is_file() and self._listing.table(name) is not None:
            yield self._readable(name), ""
        elif (folder / name).is_file():
            yield folder / name, ""
        else:
            raise ImprimaturError(
                f"dataset {self._dataset.name!r}, table: {name} is not in {self._path}",
                "name a file below the source",
            )

    def _readable(self, file: str) -> Path:
        """A table as a file: where it lies, or copied out of its archive."""
        place = self._listing.table(file)
        if place is None or isinstance(place, File):
            return Path(place.path if place else file)
        target = self._workspace.dataset(self._dataset.name) / f".table{PurePosixPath(file).suffix.lower()}"
        try:
            return copy_out(place, target)
        except Refused as fault:
            raise ImprimaturError(f"{file}: cannot be read ({fault.reason} {fault.detail})", "mend it") from None

    def _add_table(self, path: Path, prefix: str, by: str) -> None:
        def placed(row: Row) -> Row:
            name = row.fields.get(by, "")
            fields = {**row.fields, "file": f"{prefix}{name}" if name and not leads_outside(name) else name}
            return Row(row.number, fields, row.status)

        rows = (placed(row) for row in read_rows(path, self._dataset, by))
        self._listing.add_rows(rows, "sample" if by == "key" else "file", self._of_row)
        if path.name.startswith(".table"):
            path.unlink()

    def _add_described(self, table: Table) -> None:
        dataset = self._dataset.model_copy(update={"columns": {**table.columns, **self._dataset.columns}})
        self._listing.add_rows(read_rows(table.path, dataset), "base" if table.by_base else "file", self._of_row)
        self._records = True

    def _of_row(self, row: Row) -> Entry:
        """A row that names no file seen: one that the scan passes over, or a reason why there is none."""
        written = row.fields["file"]
        if not written:
            return Entry(f"row {row.number}", reason=IngestReason.MISSING_FILE, detail="no file is named")
        if leads_outside(written):
            return Entry(written, reason=IngestReason.PATH_OUTSIDE_SOURCE, detail=f"row {row.number}")
        if self._path.is_dir() and (found := examine(self._path, self._path / normal(written), through_links=True)):
            return found
        return Entry(normal(written), reason=IngestReason.MISSING_FILE, detail=row.status or f"row {row.number}")

    def _note_shard_table(self, path: Path, prefix: str) -> None:
        """img2dataset writes 00000.parquet beside 00000.tar; its rows name samples by their key."""
        table = path.with_name(path.name[: path.name.lower().index(".t")] + ".parquet")
        if table.is_file() and is_parquet(table) and not image_column(table) and "key" in column_names(table):
            self._shards.append((table, prefix))

    def _is_statistics(self, root: Path, file: str) -> bool:
        """img2dataset writes 00000_stats.json beside 00000.tar."""
        stem = file.removesuffix("_stats.json")
        return stem != file and (root / f"{stem}.tar").exists()

    def _image_column(self) -> str:
        return self._dataset.columns.get("image", "")


def is_archive(path: Path) -> bool:
    """Is it, by its first bytes, a file with other files in it?"""
    return bool(compression_of(path)) or is_zip(path) or is_tar(path) or is_parquet(path)


def _or_empty(entries: Iterator[Entry], box: Box) -> Iterator[Entry]:
    """The entries of an archive, or one that says that it has none."""
    first = next(entries, None)
    yield first or box.fault(IngestReason.ARCHIVE_EMPTY)
    yield from entries


def _held(containers: list[Container], member: str) -> bool:
    return any(container.holds(member) for container in containers)
