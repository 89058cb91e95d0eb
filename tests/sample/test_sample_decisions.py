"""The sample set through ingest, decision and selection: every file must get the answer written down for it."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from pipeline.core.moments import parse_moment
from pipeline.core.settings import WorkSettings, load_job
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from pipeline.ingest import ingest_dataset
from pipeline.rights.blocks import decide
from pipeline.rights.events import read_event_file
from pipeline.rights.findings import parse_purpose
from pipeline.rights.policy import Policy
from pipeline.rights.selection import select
from pipeline.sample.sample_set import draw_sample_set

PROJECT = Path(__file__).parents[2]
MOMENT = parse_moment("2026-06-01")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """One row a file: what .expected.csv says (`case`, `decision`, `trained`, `group`), and what came out."""
    folder = tmp_path_factory.mktemp("decisions") / "sample"
    draw_sample_set(PROJECT / "data" / "sample.yaml", folder, count=250)
    job = load_job(PROJECT / "configs" / "nightly.yaml")
    dataset = job.datasets[0].model_copy(update={"source": str(folder)})
    workspace = Workspace.at(folder.parent / "studio")
    ingest_dataset(dataset, workspace, WorkSettings(backend="serial", workers=1))
    inventory = read_table(workspace.dataset(dataset.name) / "inventory.parquet").assign(dataset=dataset.name)
    events = read_event_file(folder / dataset.consent[0].file, dataset.consent[0], dataset.name, MOMENT)
    purpose = parse_purpose("train_generative:commercial")
    decisions = decide(inventory, {}, events, purpose, Policy(), MOMENT, MOMENT)
    prints = read_table(workspace.dataset(dataset.name) / "fingerprints.parquet")
    selection = select(inventory, decisions, prints, job.duplicates).set_index("asset")
    came_out = [
        (file, selection.decision[asset], bool(selection.selected[asset]), asset)
        if status == "accepted"
        else (file, "rejected", False, "")
        for file, status, asset in zip(inventory.file, inventory.status, inventory.asset, strict=True)
    ]
    with (folder / ".expected.csv").open(encoding="utf-8", newline="") as stream:
        expected = pd.DataFrame(list(csv.DictReader(stream)))
    found = pd.DataFrame(came_out, columns=["file", "decided", "selected", "asset"])
    return expected.merge(found, on="file", how="outer", validate="one_to_one", indicator=True)


def test_nothing_seen_is_left_out(answers: pd.DataFrame) -> None:
    assert answers[answers["_merge"] != "both"].file.tolist() == []


def test_every_file_gets_the_answer_written_down_for_it(answers: pd.DataFrame) -> None:
    wrong = answers[answers.decision != answers.decided]
    assert wrong[["case", "decision", "decided"]].drop_duplicates().to_dict("records") == []


def test_what_must_not_be_trained_on_is_not_selected(answers: pd.DataFrame) -> None:
    assert answers[(answers.trained == "no") & answers.selected].case.unique().tolist() == []


def test_what_may_be_trained_on_is_selected(answers: pd.DataFrame) -> None:
    assert answers[(answers.trained == "yes") & ~answers.selected].file.tolist() == []


def test_of_a_group_of_copies_exactly_one_is_selected(answers: pd.DataFrame) -> None:
    groups = answers[answers.trained == "one"].groupby("group")
    assert len(groups) >= 4
    for group, members in groups:
        assert members[members.selected].asset.nunique() == 1, group
