"""A withdrawal, from the letter to the last published image, and the night after."""

import csv
import shutil
from pathlib import Path

from sqlalchemy import text

from pipeline.catalog.database import open_catalog
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from tests.e2e.conftest import Finished, Studio
from tests.e2e.in_process import lines, said


def copied(finished: Finished, tmp_path: Path) -> tuple[Workspace, list[str]]:
    """A workspace of one's own after one night, and the option that names it."""
    home = tmp_path / "home"
    shutil.copytree(finished.home, home)
    return Workspace(home), ["--home", str(home)]


def test_what_rests_on_a_withdrawn_work_is_found_recalled_and_blocked(finished: Finished, tmp_path: Path) -> None:
    workspace, home = copied(finished, tmp_path)
    run, model = finished.outcome["run"], finished.outcome["model"]
    before = lines("audit", "impact", *home)
    assert {row["state"] for row in before} == {"clear"}
    assert {row["kind"] for row in before} == {"snapshot", "model", "output"}
    table = read_table(workspace.batch(run) / "batch.parquet")
    published = table[table.state == "published"]
    selection = read_table(workspace.snapshot(finished.outcome["snapshot"]) / "selection.parquet")
    trained = set(selection.asset[selection.selected])
    near = {row.output: [n["asset"] for n in row.nearest if n["asset"] in trained] for row in published.itertuples()}
    asset = next(assets[0] for assets in near.values() if assets)
    letter = tmp_path / "letter.txt"
    letter.write_text("Take it out, please.")
    (done,) = lines("withdraw", "asset", asset, "--evidence", str(letter), *home)
    assert (done["models"], done["recalled"]) == (1, len(published))
    after = {row["id"]: row for row in lines("audit", "impact", *home)}
    assert after[model]["state"] == "affected" and asset in after[model]["because"]
    assert after[model]["lawful_when_made"] is True
    for output, assets in near.items():
        strong = assets[:1] == [asset]
        assert after[output]["state"] == ("affected-strong" if strong else "affected"), output
    recalls = lines("audit", "recalls", *home)
    assert {row["output"] for row in recalls} == set(published.output)
    image = workspace.batch(run) / recalls[0]["file"]
    (verified,) = lines("verify", str(image), *home)
    assert (verified["state"], verified["registry"]["state"]) == ("Trusted", "recalled"), "retrievable, and marked"
    blocked = said("generate", "--model", model, "--count", "1", "--out", str(tmp_path / "out"), *home)
    assert blocked.code == 1 and "may not be used any more" in blocked.err and not (tmp_path / "out").exists()
    trained_on = said("train", "--snapshot", finished.outcome["snapshot"], *home)
    assert trained_on.code == 1 and "snapshot" in trained_on.err
    (plan,) = lines("audit", "plan", *home)
    assert asset in {row["asset"] for row in plan["removed"]} and plan["assets_after"] < plan["assets_before"]
    assert lines("audit", "impact", "--known-at", "2026-01-01", *home)[0]["state"] == "clear"
    with open_catalog(workspace).connect() as connection:
        evidence = connection.execute(text("select evidence from consent_events order by seq desc limit 1")).scalar()
    assert evidence is not None and evidence.startswith("letter.txt (sha256 ")

    grant = tmp_path / "grant.csv"
    with grant.open("w", newline="") as sheet:
        writer = csv.writer(sheet)
        writer.writerow(["event_id", "subject_type", "subject_id", "action", "overrides_signals"])
        writer.writerow(["undo-1", "asset", asset, "grant", "yes"])
    (undone,) = lines("consent", "import", str(grant), *home)
    assert undone["restored"] == len(published)
    assert {row["state"] for row in lines("audit", "impact", *home)} == {"clear"}
    assert lines("audit", "recalls", *home) == []
    assert said("generate", "--model", model, "--count", "1", "--out", str(tmp_path / "out"), *home).code == 0


def test_the_night_after_trains_another_model_and_publishes_nothing_of_the_old_one(
    studio: Studio, finished: Finished, tmp_path: Path
) -> None:
    """The first run was killed after stamping and before publishing; then came the withdrawal."""
    workspace, home = copied(finished, tmp_path)
    batch = workspace.batch(finished.outcome["run"])
    images = sorted(path.name for path in (batch / "images").iterdir())
    (batch / "staging").mkdir()
    (batch / "images").rename(batch / "staging" / "images")
    with open_catalog(workspace).begin() as connection:
        connection.execute(text("update runs set state = 'running'"))
    snapshot = workspace.snapshot(finished.outcome["snapshot"])
    selection = read_table(snapshot / "selection.parquet")
    asset = selection[selection.selected].asset.iloc[0]
    (done,) = lines("withdraw", "asset", asset, *home)
    assert done["models"] == 1
    second = studio.nightly(workspace.home)
    assert second["run"] == "nightly-0002", "the overtaken run is given up"
    assert second["model"] != finished.outcome["model"] and not second["reused"]
    after = read_table(workspace.snapshot(second["snapshot"]) / "selection.parquet").set_index("asset")
    assert not after.selected[asset] and after.decision[asset] == "deny"
    assert not (batch / "images").exists() and not (batch / "staging").exists()
    assert set(images) <= {path.name for path in (batch / "quarantine").iterdir()}
    found = {row["id"]: row for row in lines("audit", "impact", *home)}
    assert found[second["model"]]["state"] == "clear"
    assert {found[row]["published"] for row in found if found[row].get("model") == finished.outcome["model"]} == {
        "quarantined"
    }
    (old,) = (row for row in found.values() if row["id"] == finished.outcome["model"])
    assert (old["state"], old["lawful_when_made"]) == ("affected", True)
    assert second["published"] > 0
    with open_catalog(workspace).connect() as connection:
        states = dict(connection.execute(text("select id, state from runs")).fetchall())
    assert states == {"nightly-0001": "abandoned", "nightly-0002": "done"}
