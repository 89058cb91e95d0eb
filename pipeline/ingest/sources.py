"""What a source is, by its content, and what it holds: every file seen, in order, with all that is said of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest.archives import Box, is_tar, is_zip, tar_entries, zip_entries
from pipeline.ingest.cells import cell_entries, column_names, image_column, is_parquet
from pipeline.ingest.entries import Entry, Item, leads_outside, normal
from pipeline.ingest.folder import examine, folder_entries
from pipeline.ingest.idx import idx_entries, is_idx, open_idx, read_labels
from pipeline.ingest.listing import Listing
from pipeline.ingest.locate import locate_labels, locate_source
from pipeline.ingest.places import File, Refused, copy_out
from pipeline.ingest.reasons import IngestReason
from pipeline.ingest.table import Row, constants, mapping_of, read_rows
from pipeline.ingest.unpack import compression_of, unpacked

_ARCHIVES = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
_KNOWN = "name a folder, a tar or zip, a Parquet file with image bytes, a Croissant description or an IDX file"


@dataclass(frozen=True)
class Source:
    """A source that is being listed."""

    path: Path
    listing: Listing
    dataset: DatasetSettings

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
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".jsonl"):  # a table of the files beside it
        dataset, path = dataset.model_copy(update={"table": path.name}), path.parent
    folder = workspace.dataset(dataset.name)
    folder.mkdir(parents=True, exist_ok=True)
    listing = Listing(folder / ".listing.sqlite")
    try:
        reader = _Reader(dataset, workspace, path, listing)
        listing.add_entries(reader.entries())
        reader.add_tables()
        yield Source(path, listing, dataset)
    finally:
        listing.close()


class _Reader:
    """Reads one source into its listing."""

    def __init__(self, dataset: DatasetSettings, workspace: Workspace, path: Path, listing: Listing) -> None:
        self._dataset, self._workspace, self._path, self._listing = dataset, workspace, path, listing
        self._mapping = mapping_of(dataset)
        self._shards: list[tuple[Path, str]] = []  # img2dataset's tables: file, prefix of the names in its tar
        self._records = False  # was there anything that columns can be mapped from?

    def entries(self) -> Iterator[Entry]:
        """Every file that is seen: of a folder, and of the archives in it; or of one archive."""
        if self._path.is_file():
            yield from self._archive(self._path, Box(self._path.name))
            return
        named = [events.file for events in self._dataset.consent] + [self._dataset.table or ""]
        skipped = {(self._path / name).resolve() for name in named if name}
        for entry in folder_entries(self._path):
            if self._path / entry.file in skipped or self._is_statistics(entry.file):
                continue
            if isinstance(entry.place, File) and entry.file.lower().endswith(_ARCHIVES):
                yield from self._archive(Path(entry.place.path), Box(entry.file, f"{entry.file}/"))
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
        path, box = self._path / entry.file, Box(entry.file, f"{entry.file}/")
        try:
            holds_images = bool(image_column(path, self._image_column()))
        except ImprimaturError as error:
            yield box.fault(IngestReason.ARCHIVE_CORRUPT, error.message)
            return
        yield from self._cells(path, box) if holds_images else [entry]

    def _cells(self, path: Path, box: Box) -> Iterator[Entry]:
        column = image_column(path, self._image_column())
        if not column:
            raise ImprimaturError(f"{path}: no column holds images", "set columns.image to the one that does")
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

    def _is_statistics(self, file: str) -> bool:
        """img2dataset writes 00000_stats.json beside 00000.tar."""
        stem = file.removesuffix("_stats.json")
        return stem != file and (self._path / f"{stem}.tar").exists()

    def _image_column(self) -> str:
        return self._dataset.columns.get("image", "")
