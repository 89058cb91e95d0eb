import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import append_events, read_events
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import ConsentFile
from pipeline.core.workspace import Workspace
from pipeline.rights.events import read_event_file, unreadable

MOMENT = "2026-06-01T00:00:00.000000Z"
FILE = ConsentFile(file="events")


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def test_csv_with_byte_order_mark_semicolons_and_foreign_headings(tmp_path: Path) -> None:
    table = write(
        tmp_path / "Zustimmung.csv",
        "Nummer;Urheberin;Wirkung;ab\nE-1;Rósa;Grant;2026-02-03\n",
        encoding="utf-8-sig",
    )
    file = ConsentFile(
        file=table.name,
        columns={"event_id": "Nummer", "subject_id": "Urheberin", "action": "Wirkung", "effective_from": "ab"},
        values={"subject_type": "holder", "commercial": "TRUE", "territory": "eu|ch"},
    )
    (event,) = read_event_file(table, file, "d", MOMENT)
    assert (event.event_id, event.subject_id, event.action) == ("E-1", "Rósa", "grant")
    assert event.effective_from == "2026-02-03T00:00:00.000000Z" and event.recorded_at == MOMENT
    assert (event.commercial, event.territory, event.uses, event.overrides_signals) == ("yes", "EU|CH", "*", "no")


def test_every_format_gives_the_same_events(tmp_path: Path) -> None:
    rows = [
        {
            "subject_type": "holder",
            "subject_id": "ada",
            "action": "grant",
            "recorded_at": "2026-01-05T10:00:00+02:00",
        },
        {"subject_type": "asset", "subject_id": "k", "action": "restrict", "recorded_at": "2026-01-06"},
    ]
    header = ",".join(rows[0])
    write(tmp_path / "e.csv", "\n".join([header, *(",".join(row.values()) for row in rows)]))
    write(tmp_path / "e.jsonl", "\n".join(json.dumps(row) for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "e.parquet")
    csv, jsonl, parquet = (
        read_event_file(tmp_path / f"e.{suffix}", FILE, "d", MOMENT) for suffix in ("csv", "jsonl", "parquet")
    )
    assert csv == jsonl == parquet
    assert csv[0].recorded_at == csv[0].effective_from == "2026-01-05T08:00:00.000000Z"


def test_an_id_is_the_rows_own_and_does_not_depend_on_the_day(tmp_path: Path) -> None:
    table = write(tmp_path / "e.csv", "subject_type,subject_id,action\nholder,ada,grant\nholder,bela,grant\n")
    today, tomorrow = (read_event_file(table, FILE, "d", day) for day in (MOMENT, "2026-06-02T00:00:00.000000Z"))
    assert [event.event_id for event in today] == [event.event_id for event in tomorrow]
    assert len({event.event_id for event in today}) == 2
    assert read_event_file(table, FILE, "e", MOMENT)[0].event_id != today[0].event_id
    catalog = open_catalog(Workspace(tmp_path / "home"))
    append_events(catalog, today)
    assert append_events(catalog, tomorrow).already_known == 2


@pytest.mark.parametrize(
    "line",
    [
        "E-1,holder,ada,bless,*,2026-01-01",
        "E-1,holder,ada,withdraw,everything,2026-01-01",
        "E-1,holder,ada,withdraw,*,the other day",
        "E-1,holder,ada,withdraw,*,2026-01-01,one,cell,too,many",
        "E-1,family,ada,withdraw,*,2026-01-01",
        "E-1,holder,ada",
    ],
)
def test_a_row_that_cannot_be_read_keeps_its_subject_and_is_counted(tmp_path: Path, line: str) -> None:
    table = write(tmp_path / "e.csv", f"event_id,subject_type,subject_id,action,uses,effective_from\n{line}\n")
    events = read_event_file(table, FILE, "d", MOMENT)
    assert len(unreadable(events)) == len(events) == 1
    assert (events[0].event_id, events[0].subject_id, events[0].action) == ("E-1", "ada", "unreadable")
    assert events[0].subject_type == ("holder" if "holder" in line else "")
    assert "ada" in json.loads(events[0].note)["row"].values()


def test_broken_json_lines_and_odd_characters_are_kept_as_unreadable(tmp_path: Path) -> None:
    table = write(tmp_path / "e.jsonl", '{"subject_id": "ada\n[1]\n{"action": "\\ud800", "subject_id": "a\\u0000"}\n')
    events = read_event_file(table, FILE, "d", MOMENT)
    assert len(unreadable(events)) == 3 and len({event.event_id for event in events}) == 3
    catalog = open_catalog(Workspace(tmp_path / "home"))
    assert append_events(catalog, events).imported == 3
    assert read_events(catalog, MOMENT) == events


def test_an_unclosed_quote_is_refused_because_it_would_swallow_the_events_below(tmp_path: Path) -> None:
    table = write(
        tmp_path / "e.csv",
        'subject_type,subject_id,action,note\nholder,ada,grant,"never closed\nholder,bela,withdraw,\n',
    )
    with pytest.raises(ImprimaturError, match=r"e.csv: line 3"):
        read_event_file(table, FILE, "d", MOMENT)


def test_utf_16_and_western_spreadsheets(tmp_path: Path) -> None:
    text = "subject_type\tsubject_id\taction\nholder\tRósa\tgrant\n"
    for encoding in ("utf-16", "cp1252"):
        (event,) = read_event_file(write(tmp_path / f"{encoding}.csv", text, encoding), FILE, "d", MOMENT)
        assert event.subject_id == "Rósa"


def test_file_subjects_name_the_asset_by_dataset_and_key(tmp_path: Path) -> None:
    table = write(tmp_path / "e.csv", "upstream_path\nmon/dragon.old.png\n")
    file = ConsentFile(
        file="e.csv",
        columns={"subject_id": "upstream_path"},
        values={"subject_type": "asset", "action": "restrict"},
        subject="file",
    )
    assert read_event_file(table, file, "tiles", MOMENT)[0].subject_id == "tiles:dragon.old"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (ConsentFile(file="e.csv", columns={"subject": "who"}), "'subject' is no field"),
        (ConsentFile(file="e.csv", values={"comercial": "yes"}), "'comercial' is no field"),
        (ConsentFile(file="e.csv", columns={"subject_id": "whom"}), "no column 'whom'"),
    ],
)
def test_a_mapping_that_would_lose_something_is_refused(tmp_path: Path, file: ConsentFile, message: str) -> None:
    table = write(tmp_path / "e.csv", "who,action\nada,grant\n")
    with pytest.raises(ImprimaturError, match=message):
        read_event_file(table, file, "d", MOMENT)


@pytest.mark.parametrize(("name", "content"), [("none.csv", None), ("e.parquet", "no parquet"), ("e.docx", "text")])
def test_files_that_cannot_be_read_at_all_are_named(tmp_path: Path, name: str, content: str | None) -> None:
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(ImprimaturError, match=name):
        read_event_file(tmp_path / name, FILE, "d", MOMENT)


def test_an_empty_file_holds_no_events(tmp_path: Path) -> None:
    assert read_event_file(write(tmp_path / "e.csv", ""), FILE, "d", MOMENT) == []
