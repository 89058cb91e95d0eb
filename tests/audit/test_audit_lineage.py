"""Lineage: every output leads back to evidence, and every asset forward to what was made from it."""

import json
import shutil
from pathlib import Path

import audit_sample
import pytest

from pipeline.audit.batch_table import batch_path
from pipeline.audit.lineage import trace_asset, trace_output
from pipeline.catalog.database import open_catalog
from pipeline.catalog.tables import SELECTION, snapshots
from pipeline.core.digests import file_sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import read_table, write_table
from pipeline.core.workspace import Workspace

ROWS = audit_sample.asset_rows(20)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return audit_sample.build(tmp_path_factory.mktemp("studio"), assets=20, images=14)


def row_of(kind: int) -> dict:
    """The first sample asset of a kind: 0 trained on, 4 and 5 near duplicates, 6 review, 7 and 8 denied."""
    return ROWS[kind]


def test_an_output_leads_back_to_the_evidence_of_its_nearest_asset(workspace: Workspace) -> None:
    answer = trace_output(workspace, "6f1c0a52-0000-4000-8000-000000000000")
    assert answer["run"]["id"] == audit_sample.RUN
    assert answer["model"]["weights_sha256"] == "d" * 64
    assert answer["snapshot"]["purpose"] == "train_generative:commercial"
    assert (answer["state"], answer["validation_state"], answer["label"]) == ("published", "Trusted", "herringbone")
    first, second = answer["nearest"]
    assert first["asset"] == row_of(0)["asset"] and first["selected"] and first["distance"] < second["distance"]
    decision = first["decisions"][0]
    assert decision["licence"] == "CC-BY-4.0" and decision["holders"] == ["holder-0"]
    assert decision["reasons"] == ["LICENCE_CC_BY"] and "event 0" in decision["evidence"]


def test_an_output_is_found_by_the_digest_of_its_file(workspace: Workspace) -> None:
    by_id = trace_output(workspace, "6f1c0a52-0000-4000-8000-000000000002")
    assert trace_output(workspace, by_id["file_sha256"]) == by_id
    assert trace_output(workspace, by_id["file_sha256"].upper()) == by_id


def test_a_quarantined_file_that_was_never_stamped_is_found_by_its_digest(workspace: Workspace) -> None:
    file = next((workspace.batch(audit_sample.RUN) / "quarantine").iterdir())
    answer = trace_output(workspace, file_sha256(file))
    assert (answer["state"], answer["reasons"], answer["output"]) == ("quarantined", ["NEAR_COPY"], "")
    assert answer["file"].endswith(file.name) and answer["model"]["id"] == audit_sample.MODEL
    assert answer["nearest"][0]["decisions"]


def test_a_reused_model_is_found_from_a_later_snapshot_of_the_same_assets(tmp_path: Path) -> None:
    workspace = audit_sample.build(tmp_path, assets=10, images=2)
    with open_catalog(workspace).begin() as connection:
        row = dict(connection.execute(snapshots.select()).mappings().one())
        connection.execute(snapshots.insert().values({**row, "id": "later", "created_at": "2026-11-25T02:00:00Z"}))
    shutil.copytree(workspace.snapshot(audit_sample.SNAPSHOT), workspace.snapshot("later"))
    traced = trace_asset(workspace, "0000")["snapshots"]
    assert [snapshot["id"] for snapshot in traced] == [audit_sample.SNAPSHOT, "later"]
    assert [[model["id"] for model in snapshot["models"]] for snapshot in traced] == [[audit_sample.MODEL]] * 2


def test_answers_are_json(workspace: Workspace) -> None:
    for answer in (trace_output(workspace, "6f1c0a52-0000-4000-8000-000000000000"), trace_asset(workspace, "0000")):
        assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize("reference", ["no-such-output", "0" * 64, "", "' or 1=1 --", "../../etc/passwd"])
def test_an_unknown_output_or_asset_is_an_error_with_a_fix(workspace: Workspace, reference: str) -> None:
    for trace in (trace_output, trace_asset):
        with pytest.raises(ImprimaturError) as caught:
            trace(workspace, reference)
        assert "not in this workspace" in caught.value.message or "in no dataset" in caught.value.message
        assert caught.value.fix


def test_an_asset_leads_forward_to_the_outputs_that_it_is_nearest_to(workspace: Workspace) -> None:
    asset = row_of(0)["asset"]
    (snapshot,) = trace_asset(workspace, asset)["snapshots"]
    assert snapshot["trained_on"] == "itself" and snapshot["decisions"][0]["decision"] == "allow"
    (model,) = snapshot["models"]
    table = read_table(batch_path(workspace, audit_sample.RUN))
    nearest = {
        row["output"] for row in table.to_dict("records") if row["output"] and row["nearest"][0]["asset"] == asset
    }
    assert {strong["output"] for strong in model["strong"]} == nearest != set()
    assert model["outputs"] == (table["output"] != "").sum() > len(nearest)
    assert {strong["state"] for strong in model["strong"]} == {"published"}


@pytest.mark.parametrize("reference", ["0003", "weave:0003", ROWS[3]["asset"], ROWS[3]["asset"].upper()])
def test_an_asset_can_be_named_in_three_ways(workspace: Workspace, reference: str) -> None:
    answer = trace_asset(workspace, reference)
    assert answer["asset"] == ROWS[3]["asset"]
    assert [file["file"] for file in answer["files"]] == ["patterns/0003.png"]


@pytest.mark.parametrize(
    ("kind", "decision", "reason"), [(6, "review", "LICENCE_CONFLICT"), (7, "deny", "NO_LICENCE")]
)
def test_an_asset_that_was_not_allowed_has_no_model(
    workspace: Workspace, kind: int, decision: str, reason: str
) -> None:
    (snapshot,) = trace_asset(workspace, row_of(kind)["asset"])["snapshots"]
    assert (snapshot["selected"], snapshot["trained_on"], snapshot["models"]) == (False, "", [])
    assert snapshot["reason"] == reason and snapshot["decisions"][0]["decision"] == decision


def test_a_near_duplicate_is_traced_through_the_twin_that_represents_it(workspace: Workspace) -> None:
    twin, kept = row_of(5), row_of(4)
    (snapshot,) = trace_asset(workspace, twin["asset"])["snapshots"]
    assert not snapshot["selected"] and snapshot["trained_on"] == "twin"
    assert [one["asset"] for one in snapshot["twins"]] == [kept["asset"]]
    (by_kept,) = trace_asset(workspace, kept["asset"])["snapshots"]
    strong = [one["output"] for one in snapshot["models"][0]["strong"]]
    assert strong == [one["output"] for one in by_kept["models"][0]["strong"]]


def test_a_rejected_file_says_why_and_was_used_nowhere(workspace: Workspace) -> None:
    answer = trace_asset(workspace, "broken")
    assert answer["asset"] == "" and answer["snapshots"] == []
    assert (answer["files"][0]["status"], answer["files"][0]["reason"]) == ("rejected", "UNREADABLE")


def test_a_reference_that_fits_several_assets_is_refused(tmp_path: Path) -> None:
    workspace = audit_sample.build(tmp_path, assets=10, images=2)
    path = workspace.dataset("weave") / "inventory.parquet"
    table = read_table(path)
    table.loc[table["key"] == "0001", "key"] = "0000"
    write_table(path, table, audit_sample.tables.INVENTORY)
    with pytest.raises(ImprimaturError, match="names 2 different files") as caught:
        trace_asset(workspace, "weave:0000")
    assert "patterns/0001.png" in caught.value.message


def test_a_batch_without_a_table_is_reported_and_not_taken_for_harmless(tmp_path: Path) -> None:
    workspace = audit_sample.build(tmp_path, assets=10, images=2)
    batch_path(workspace, audit_sample.RUN).unlink()
    (model,) = trace_asset(workspace, "0000")["snapshots"][0]["models"]
    assert (model["outputs"], model["strong"], model["unscreened"]) == (2, [], [audit_sample.RUN])
    answer = trace_output(workspace, "6f1c0a52-0000-4000-8000-000000000000")
    assert answer["verdict"] is None and answer["nearest"] == []


def test_a_lost_selection_is_an_error_and_not_an_empty_answer(tmp_path: Path) -> None:
    workspace = audit_sample.build(tmp_path, assets=10, images=2)
    path = workspace.snapshot(audit_sample.SNAPSHOT) / "selection.parquet"
    assert list(read_table(path).columns) == SELECTION.names
    path.unlink()
    with pytest.raises(ImprimaturError, match="it is not there"):
        trace_asset(workspace, "0000")
