"""Runs: an unfinished one is taken up again with its moment; a finished one is followed by the next."""

from sqlalchemy import text

from pipeline.catalog.database import open_catalog
from pipeline.catalog.runs import begin_run, finish_run, note_run
from pipeline.core.workspace import Workspace


def test_unfinished_runs_resume_and_finished_ones_are_followed(workspace: Workspace) -> None:
    catalog = open_catalog(workspace)
    first = begin_run(catalog, "nightly", "settings-1")
    again = begin_run(catalog, "nightly", "settings-1")
    assert (first.id, first.resumed, again.resumed) == ("nightly-0001", False, True)
    assert again.as_of == first.as_of, "a resumed run keeps its moment"
    changed = begin_run(catalog, "nightly", "settings-2")
    assert (changed.id, changed.resumed) == ("nightly-0002", False), "other settings are another run"
    finish_run(catalog, first)
    assert begin_run(catalog, "nightly", "settings-1").id == "nightly-0003"
    assert begin_run(catalog, "weekly", "settings-1").id == "weekly-0001"


def test_a_run_notes_what_it_works_with(workspace: Workspace) -> None:
    catalog = open_catalog(workspace)
    run = begin_run(catalog, "nightly", "settings")
    note_run(catalog, run, snapshot="abc", model="def")
    with catalog.connect() as connection:
        row = connection.execute(text("select snapshot, model, state from runs")).one()
    assert tuple(row) == ("abc", "def", "running")
