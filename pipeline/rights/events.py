"""Consent events from tables: CSV, JSONL or Parquet, with columns of any name."""

import csv
import difflib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.catalog.ledger import ConsentEvent
from pipeline.catalog.references import key_of
from pipeline.core.digests import json_digest
from pipeline.core.errors import ImprimaturError
from pipeline.core.moments import parse_moment
from pipeline.core.settings import ConsentFile
from pipeline.rights.chronicle import BROKEN_ROW
from pipeline.rights.consent import SUBJECTS, unreadable_field

_FIELDS = tuple(field.name for field in fields(ConsentEvent))
_DEFAULTS = {"uses": "*", "commercial": "any", "territory": "*", "overrides_signals": "no"}
_ANSWERS = {"true": "yes", "y": "yes", "1": "yes", "false": "no", "n": "no", "0": "no"}
_WORLD = {"WORLD", "WORLDWIDE", "GLOBAL"}
_LONGEST_ID = 200  # characters; no database indexes every length


def read_event_file(path: Path, file: ConsentFile, dataset: str, recorded_at: str) -> list[ConsentEvent]:
    """The events of a table, in order, one a row.

    `recorded_at` (the run's moment) stands in where the table has none; an event's id never depends on it. A row
    that cannot be read becomes an event with the action "unreadable" for whatever subject it still names; its note is
    JSON, `why` and the `row`. Raises ImprimaturError for a file or a mapping that cannot be used at all.
    """
    rows = _read_rows(path)
    _check_mapping(path, file, rows)
    return [_event(row, file, dataset, recorded_at) for row in rows]


def unreadable(events: Sequence[ConsentEvent]) -> list[dict[str, str]]:
    """What could not be read: event_id, subject (as far as it is named) and why, for the people who must mend it."""
    return [
        {"event_id": event.event_id, "subject": event.subject_id, "why": json.loads(event.note)["why"]}
        for event in events
        if event.action == "unreadable"
    ]


def _event(row: Mapping[str, str], file: ConsentFile, dataset: str, recorded_at: str) -> ConsentEvent:
    cells = {name: _cell(row, file, name) for name in _FIELDS}
    own = json_digest([dataset, {**row, **file.values}])[:32]
    identifier = cells["event_id"] or own
    try:
        if BROKEN_ROW in row:
            raise ImprimaturError("the row is no record of the table's columns")
        if len(identifier) > _LONGEST_ID:
            identifier = own
            raise ImprimaturError(f"event_id: longer than {_LONGEST_ID} characters")
        recorded = parse_moment(cells["recorded_at"], "recorded_at") if cells["recorded_at"] else recorded_at
        event = ConsentEvent(
            event_id=identifier,
            recorded_at=recorded,
            effective_from=parse_moment(cells["effective_from"], "effective_from")
            if cells["effective_from"]
            else recorded,
            effective_until=parse_moment(cells["effective_until"], "effective_until")
            if cells["effective_until"]
            else "",
            actor=cells["actor"],
            subject_type=cells["subject_type"].lower(),
            subject_id=_subject(cells, file, dataset),
            action=cells["action"].lower(),
            uses=_parts(cells["uses"] or _DEFAULTS["uses"]).lower(),
            commercial=_answer(cells["commercial"] or _DEFAULTS["commercial"]),
            territory=_territory(cells["territory"] or _DEFAULTS["territory"]),
            overrides_signals=_answer(cells["overrides_signals"] or _DEFAULTS["overrides_signals"]),
            evidence=cells["evidence"],
            note=cells["note"],
        )
        if name := unreadable_field(event):
            raise ImprimaturError(f"{name}: {getattr(event, name)!r} is not understood")
    except ImprimaturError as error:
        return _unreadable(row, cells, file, dataset, identifier, recorded_at, error.message)
    return event


def _unreadable(
    row: Mapping[str, str],
    cells: dict[str, str],
    file: ConsentFile,
    dataset: str,
    identifier: str,
    recorded_at: str,
    why: str,
) -> ConsentEvent:
    kind = cells["subject_type"].lower()
    try:
        recorded = parse_moment(cells["recorded_at"], "recorded_at") if cells["recorded_at"] else recorded_at
    except ImprimaturError:
        recorded = recorded_at
    return ConsentEvent(
        event_id=identifier,
        recorded_at=recorded,
        effective_from=recorded,
        effective_until="",
        actor=cells["actor"],
        subject_type=kind if kind in SUBJECTS else "",
        subject_id=_subject(cells, file, dataset),
        action="unreadable",
        uses=_DEFAULTS["uses"],
        commercial=_DEFAULTS["commercial"],
        territory=_DEFAULTS["territory"],
        overrides_signals=_DEFAULTS["overrides_signals"],
        evidence=cells["evidence"],
        note=json.dumps({"row": dict(row), "why": why}, ensure_ascii=False, sort_keys=True),
    )


def _cell(row: Mapping[str, str], file: ConsentFile, name: str) -> str:
    return (file.values.get(name) or row.get(file.columns.get(name, name)) or "").strip()


def _subject(cells: dict[str, str], file: ConsentFile, dataset: str) -> str:
    subject = cells["subject_id"]
    return f"{dataset}:{key_of(subject)}" if file.subject == "file" and subject else subject


def _parts(text: str) -> str:
    return "|".join(part.strip() for part in text.split("|"))


def _territory(text: str) -> str:
    return "|".join("*" if part in _WORLD else part for part in _parts(text.upper()).split("|"))


def _answer(text: str) -> str:
    return _ANSWERS.get(text.lower(), text.lower())


def _check_mapping(path: Path, file: ConsentFile, rows: list[dict[str, str]]) -> None:
    """A misspelt field or column would silently lose what it says."""
    for name in [*file.columns, *file.values]:
        if name not in _FIELDS:
            close = difflib.get_close_matches(name, _FIELDS, n=1)
            raise ImprimaturError(
                f"{path}: {name!r} is no field of a consent event",
                f"did you mean {close[0]!r}?" if close else f"known fields: {', '.join(_FIELDS)}",
            )
    present = {column for row in rows for column in row}
    for name, column in file.columns.items():
        if rows and column not in present:
            raise ImprimaturError(
                f"{path}: has no column {column!r}, which columns.{name} maps",
                f"its columns: {', '.join(sorted(present))}",
            )


def _read_rows(path: Path) -> list[dict[str, str]]:
    """The rows as texts by column name; every format gives the same texts for the same content."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return [_texts(row) for row in pq.read_table(path).to_pylist()]
        text = _decode(path.read_bytes())
    except (OSError, pa.ArrowException) as error:
        raise ImprimaturError(
            f"{path}: cannot be read ({error})", "name a readable CSV, JSONL or Parquet file"
        ) from None
    if suffix in (".jsonl", ".ndjson"):
        return [_json_row(line) for line in text.split("\n") if line.strip()]
    if suffix in (".csv", ".tsv", ".txt"):
        return _csv_rows(path, text)
    raise ImprimaturError(
        f"{path}: {suffix or 'no suffix'} is no table that is read", "write .csv, .jsonl or .parquet"
    )


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # a spreadsheet's "Unicode text"
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")  # what spreadsheets of Western Europe write


def _csv_rows(path: Path, text: str) -> list[dict[str, str]]:
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    # strict: an unclosed quote would swallow every event below it
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        rows = []
        for cells in reader:
            if len(cells) > len(names):
                rows.append({**_texts(dict(zip(names, cells, strict=False))), BROKEN_ROW: delimiter.join(cells)})
            elif any(cell.strip() for cell in cells):
                rows.append(_texts(dict(zip(names, cells, strict=False))))
    except csv.Error as error:
        raise ImprimaturError(f"{path}: line {reader.line_num}: {error}", "mend the line that it names") from None
    return rows


def _json_row(line: str) -> dict[str, str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    return _texts(row) if isinstance(row, dict) else _texts({BROKEN_ROW: line})


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    return {_clean(str(name)): _clean(_text(value)) for name, value in row.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return "|".join(_text(item) for item in value)
    return str(value)


def _clean(text: str) -> str:
    """Text that every database and encoder takes: no NUL, no lone surrogate."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
