"""The listing of a source: its files joined with their sidecars and the rows of their tables, on disk.

A scratch SQLite file, so that the memory for a source does not grow with the number of its files. Filled once as a
stream, read once as a stream, and thrown away; nothing in it is kept.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from pipeline.catalog.references import key_of
from pipeline.ingest.entries import Entry, Fields, Item, is_hidden, leads_outside, normal
from pipeline.ingest.places import Array, Cell, File, Place, Span, ZipMember, from_json, to_json
from pipeline.ingest.reasons import IngestReason
from pipeline.ingest.table import SUFFIXES, Row

FACTS = (".headers.json", ".xmp")  # beside an image: HTTP response headers of its download, XMP
BESIDE = (".json", ".txt", ".cls")  # beside an image: its columns, its caption, its class (WebDataset)
_DOCUMENTS = {"AUTHORS", "CHANGELOG", "COPYING", "CREDITS", "LICENCE", "LICENSE", "NOTICE", "README", "SOURCE"}
_PROSE = ("", ".md", ".rst", ".txt", ".html", ".pdf")

_SCHEMA = """
CREATE TABLE files (id INTEGER PRIMARY KEY, box TEXT, position INTEGER, file TEXT, name TEXT, base TEXT, stem TEXT,
                    sample TEXT, place TEXT, fields TEXT, reason TEXT, detail TEXT);
CREATE TABLE beside (owner TEXT, suffix TEXT, box TEXT, position INTEGER, file TEXT, place TEXT);
CREATE TABLE tables (file TEXT, place TEXT);
CREATE TABLE rows (id INTEGER, number INTEGER, fields TEXT);
"""
_INDICES = """
CREATE INDEX by_file ON files (file); CREATE INDEX by_name ON files (name); CREATE INDEX by_base ON files (base);
CREATE INDEX by_stem ON files (stem); CREATE INDEX by_sample ON files (sample);
CREATE INDEX by_owner ON beside (owner); CREATE INDEX by_id ON rows (id);
"""


class Listing:
    """A source's files in order: by archive, by place in it, by name."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _SCHEMA)

    def close(self) -> None:
        """Throw it away."""
        self._database.close()
        self._path.unlink(missing_ok=True)

    def add_entries(self, entries: Iterable[Entry]) -> None:
        """Sort each file seen into images, files of facts, and tables; documents and hidden files are passed over."""
        self._database.execute("BEGIN")
        for entry in entries:
            self._add(entry)
        self._database.execute("COMMIT")
        self._database.executescript(_INDICES)
        self._refuse_repeated()
        self._add_orphans()

    def table(self, file: str) -> Place | None:
        """The place of a table of this name."""
        row = self._database.execute("SELECT place FROM tables WHERE file = ?", (file,)).fetchone()
        return from_json(row[0]) if row else None

    def metadata_tables(self) -> list[str]:
        """Hugging Face's tables: `metadata.csv`, `.jsonl` or `.parquet` in any folder, in order."""
        query = "SELECT file FROM tables WHERE file GLOB 'metadata.*' OR file GLOB '*/metadata.*' ORDER BY file"
        return [file for (file,) in self._database.execute(query)]

    def has_records(self) -> bool:
        """Are there JSON files beside images?"""
        return self._database.execute("SELECT 1 FROM beside WHERE suffix = '.json' LIMIT 1").fetchone() is not None

    def add_rows(self, rows: Iterable[Row], match: str, find: Callable[[Row], Entry]) -> None:
        """Give each row to the files that it names; `find` makes an entry of a row that names none of them.

        `match`: what the column `file` of the rows says: `file` a path, `base` a name without folder, `sample` a
        WebDataset key.
        """
        self._database.execute("BEGIN")
        for row in rows:
            found = self._named(row.fields.get("file", ""), match) or [self._insert(find(row))]
            fields = {name: cell for name, cell in row.fields.items() if name != "file"}
            for identifier in found:
                values = (identifier, row.number, json.dumps(fields))
                self._database.execute("INSERT INTO rows VALUES (?, ?, ?)", values)
        self._database.execute("COMMIT")

    def items(self, given: Fields) -> Iterator[Item]:
        """Every file in order, with the columns that the source, its tables and `given` say."""
        query = """SELECT id, file, name, stem, sample, place, fields, reason, detail FROM files
                   ORDER BY box, position, file, id"""
        for identifier, file, *names, place, fields, reason, detail in self._database.execute(query):
            rows = self._database.execute("SELECT number, fields FROM rows WHERE id = ?", (identifier,)).fetchall()
            stated = [(number, json.loads(row)) for number, row in [(0, fields), *rows]]
            columns = {"key": key_of(file)}
            for number, cells in stated:
                if not reason and not agree(columns, cells):
                    reason, detail = IngestReason.CONFLICTING_ROWS, f"row {number} is not the first"
                columns |= {ours: cell for ours, cell in cells.items() if cell or ours != "key"}
            yield Item(file, from_json(place), columns | given, reason, detail, self._sidecars(names))

    def _add(self, entry: Entry) -> None:
        if not isinstance(entry.place, File | Span | ZipMember):
            self._insert(entry)
            return
        path = PurePosixPath(entry.file)
        suffix, place = path.suffix.lower(), to_json(entry.place)
        ending = next((ending for ending in (*FACTS, *BESIDE) if path.name.lower().endswith(ending)), "")
        if is_hidden(entry.file) or (path.stem.upper() in _DOCUMENTS and suffix in _PROSE):
            return
        if suffix in SUFFIXES:
            self._database.execute("INSERT INTO tables VALUES (?, ?)", (entry.file, place))
        elif ending:
            values = (
                normal(entry.file)[: -len(ending)],
                ending,
                entry.box,
                _position(entry.place),
                entry.file,
                place,
            )
            self._database.execute("INSERT INTO beside VALUES (?, ?, ?, ?, ?, ?)", values)
        else:
            self._insert(entry)

    def _insert(self, entry: Entry) -> int:
        names = names_of(entry.file)
        stated = (to_json(entry.place), json.dumps(entry.fields), entry.reason, entry.detail)
        values = (entry.box, _position(entry.place), entry.file, *names, *stated)
        cursor = self._database.execute("INSERT INTO files VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return int(cursor.lastrowid or 0)

    def _refuse_repeated(self) -> None:
        """Members of an archive with the name of an earlier one. In a table of images they are told apart by row."""
        self._database.execute(
            """UPDATE files SET reason = ?, place = '' WHERE reason = '' AND box != '' AND place NOT LIKE '["Cell%'
               AND EXISTS (SELECT 1 FROM files first WHERE first.file = files.file AND first.id < files.id)""",
            (IngestReason.DUPLICATE_MEMBER,),
        )
        self._database.execute(
            """UPDATE files SET file = file || '#' || position WHERE place LIKE '["Cell%'
               AND EXISTS (SELECT 1 FROM files first WHERE first.file = files.file AND first.id < files.id)"""
        )

    def _add_orphans(self) -> None:
        """Files of facts whose image is not there; JSON and text that are beside no image are files like others."""
        query = """SELECT suffix, box, file, place FROM beside
                   WHERE NOT EXISTS (SELECT 1 FROM files WHERE name = owner)
                   AND NOT EXISTS (SELECT 1 FROM files WHERE stem = owner)
                   AND NOT EXISTS (SELECT 1 FROM files WHERE sample = owner)"""
        for suffix, box, file, place in self._database.execute(query).fetchall():
            reason = IngestReason.ORPHAN_SIDECAR if suffix in FACTS else ""
            self._insert(Entry(file, from_json(place), {}, reason, "", box))

    def _named(self, written: str, match: str) -> list[int]:
        """Files that a row names: by the very spelling, else by any spelling of it."""
        if match == "sample":
            columns = [("sample", written)]
        elif match == "base":
            columns = [("base", normal(written))]
        else:
            columns = [("file", written)] if written else []
            columns += [("name", normal(written))] if written and not leads_outside(written) else []
        for column, value in columns:
            query = f"SELECT id FROM files WHERE {column} = ?"  # noqa: S608  # of three fixed names
            if found := [identifier for (identifier,) in self._database.execute(query, (value,))]:
                return found
        return []

    def _sidecars(self, names: list[str]) -> tuple[tuple[str, Place], ...]:
        """`a.headers.json` or `a.png.headers.json` for a.png, and the same with every other suffix."""
        name, stem, sample = names
        query = "SELECT file, place FROM beside WHERE owner IN (?, ?, ?) AND suffix != '.txt' ORDER BY file"
        found = self._database.execute(query, (name, stem, sample)).fetchall()
        return tuple((PurePosixPath(file).name, place) for file, text in found if (place := from_json(text)))


def names_of(file: str) -> tuple[str, str, str, str]:
    """(path in one spelling, its last part, path without suffix, WebDataset key: path up to the name's first dot)."""
    path = PurePosixPath(normal(file))
    sample = path.with_name(path.name.split(".")[0] or path.name) if path.name else path
    return path.as_posix(), path.name, path.with_suffix("").as_posix() if path.name else "", sample.as_posix()


def agree(one: Fields, other: Fields) -> bool:
    """Do two records say the same of all that both of them name? The key of a file may be the default one."""
    return all(one[name] == other[name] for name in (one.keys() & other.keys()) - {"key"})


def _position(place: Place | None) -> int:
    if isinstance(place, Span | ZipMember | Array):
        return place.offset
    return place.row if isinstance(place, Cell) else 0
