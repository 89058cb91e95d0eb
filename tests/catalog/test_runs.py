"""Runs: an unfinished one is taken up again with its moment; a finished one is followed by the next."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from pipeline.catalog.database import open_catalog
from pipeline.catalog.runs import begin_run, finish_run, note_run
from pipeline.core.workspace import Workspace


def test_unfinished_runs_resume_and_finished_ones_are_followed(tmp_path: Path) -> None:
    catalog = open_catalog(Workspace(tmp_path))
    first = begin_run(catalog, "nightly", "settings-1")
    again = begin_run(catalog, "nightly", "settings-1")
    assert (first.id, first.resumed, again.resumed) == ("nightly-0001", False, True)
    assert again.as_of == first.as_of, "a resumed run keeps its moment"
    changed = begin_run(catalog, "nightly", "settings-2")
    assert (changed.id, changed.resumed) == ("nightly-0002", False), "other settings are another run"
    finish_run(catalog, first)
    assert begin_run(catalog, "nightly", "settings-1").id == "nightly-0003"
    assert begin_run(catalog, "weekly", "settings-1").id == "weekly-0001"


def test_a_run_notes_what_it_works_with(tmp_path: Path) -> None:
    catalog = open_catalog(Workspace(tmp_path))
    run = begin_run(catalog, "nightly", "settings")
    note_run(catalog, run, snapshot="abc", model="def")
    with catalog.connect() as connection:
        row = connection.execute(text("select snapshot, model, state from runs")).one()
    assert tuple(row) == ("abc", "def", "running")


@pytest.mark.parametrize("statement", ["update consent_events set note = 'x'", "delete from consent_events"])
def test_the_consent_ledger_refuses_changes_in_the_database_itself(tmp_path: Path, statement: str) -> None:
    catalog = open_catalog(Workspace(tmp_path))
    insert = (
        "insert into consent_events (event_id, recorded_at, effective_from, effective_until, actor, subject_type,"
        " subject_id, action, uses, commercial, territory, overrides_signals, evidence, note, prev, hash) values"
        " (:id, '2026', '2026', '', '', 'asset', 'a', 'grant', '*', 'any', '*', 'no', '', '', :prev, :hash)"
    )
    with catalog.begin() as connection:
        connection.execute(text(insert), {"id": "E-1", "prev": "", "hash": "h1"})
    with pytest.raises(IntegrityError, match="append-only"), catalog.begin() as connection:
        connection.execute(text(statement))
    with pytest.raises(IntegrityError, match="chain is broken"), catalog.begin() as connection:
        connection.execute(text(insert), {"id": "E-2", "prev": "not h1", "hash": "h2"})
