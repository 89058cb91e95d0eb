"""The main job, end to end: consented pictures in, images that can answer for themselves out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.catalog.assets import read_asset
from pipeline.core.digests import pixel_digest, sha256
from pipeline.core.merkle import merkle_root
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from tests.e2e.conftest import Finished, Studio

PURPOSE = ["--purpose", "train_generative:commercial"]


def expected(studio: Studio) -> pd.DataFrame:
    return pd.read_csv(studio.sample / ".expected.csv", keep_default_na=False).set_index("file")


def test_every_decision_is_the_one_written_down_by_hand(studio: Studio, finished: Finished) -> None:
    home = ["--home", str(finished.home)]
    decided = {
        row["file"]: row["decision"]
        for row in studio.lines("audit", "decisions", "--dataset", "sample", *PURPOSE, *home)
    }
    seen = studio.lines("ingest", "list", "--dataset", "sample", *home)
    decided |= {row["file"]: "rejected" for row in seen if row["status"] == "rejected"}
    wanted = expected(studio)["decision"].to_dict()
    assert {file: decided.get(file) for file in wanted} == wanted
    assert set(decided) == set(wanted), "every file is accounted for, and no other"


def test_what_must_not_be_trained_on_was_not(studio: Studio, finished: Finished) -> None:
    workspace = Workspace(finished.home)
    selection = read_table(workspace.snapshot(finished.outcome["snapshot"]) / "selection.parquet")
    trained = selection[selection.selected]
    wanted = expected(studio)
    barred = wanted[wanted.decision != "allow"]
    assert len(barred) >= len(wanted) / 4
    assert not set(trained.file) & set(barred.index)
    model = json.loads((workspace.model(finished.outcome["model"]) / "model.json").read_text())
    assert model["root"] == merkle_root(trained.asset), "the loop fed exactly the snapshot"
    for row in trained.head(20).itertuples():
        data = read_asset(workspace, row.dataset, row.asset, row.store, row.offset, row.length)
        assert sha256(data) == sha256((studio.sample / row.file).read_bytes())


def test_published_files_are_trusted_and_known(studio: Studio, finished: Finished) -> None:
    batch = Workspace(finished.home).batch(finished.outcome["run"])
    published = sorted((batch / "images").iterdir())
    assert len(published) == finished.outcome["published"] > 0
    rows = studio.lines("verify", str(batch / "images"), "--home", str(finished.home))
    assert [row["state"] for row in rows] == ["Trusted"] * len(published)
    for row in rows:
        assert row["ai_generated"] is True
        assert row["training_mining"]["cawg.ai_generative_training"] == "notAllowed"
        assert row["registry"]["batch"] == finished.outcome["run"]
        assert {link["state"] for link in row["chain"]} == {"valid"}
        walked = ["output", "model", "weights", "snapshot", "statement", "assets", "ledger"]
        assert [link["link"] for link in row["chain"]] == walked


def test_a_stranger_without_our_anchors_reads_valid_but_not_trusted(studio: Studio, finished: Finished) -> None:
    image = next((Workspace(finished.home).batch(finished.outcome["run"]) / "images").iterdir())
    (row,) = studio.lines("verify", str(image), "--home", str(studio.folder / "elsewhere"))
    assert (row["state"], row["registry"]) == ("Valid", None)
    assert not (studio.folder / "elsewhere").exists(), "verifying makes no workspace"


def test_a_stripped_and_recompressed_copy_is_recovered(studio: Studio, finished: Finished, tmp_path: Path) -> None:
    image = sorted((Workspace(finished.home).batch(finished.outcome["run"]) / "images").iterdir())[0]
    copy = tmp_path / "copy.jpg"
    Image.open(image).convert("RGB").save(copy, quality=85)
    (row,) = studio.lines("verify", str(copy), "--home", str(finished.home))
    assert (row["state"], row["recovered"]) == ("None", True)
    (original,) = studio.lines("verify", str(image), "--home", str(finished.home))
    assert row["registry"]["output"] == original["registry"]["output"]


def test_batch_table_tells_every_image(finished: Finished) -> None:
    batch = Workspace(finished.home).batch(finished.outcome["run"])
    table = read_table(batch / "batch.parquet")
    assert list(table["index"]) == list(range(40))
    assert set(table.state) <= {"published", "quarantined"}
    for row in table.itertuples():
        data = (batch / row.file).read_bytes()
        assert sha256(data) == row.file_sha256, "quarantined images stay retrievable too"
        if row.state == "published":
            assert pixel_digest(np.asarray(Image.open(batch / row.file).convert("RGB"))) == row.pixels
        else:
            assert len(row.reasons) > 0


def test_report_is_one_self_contained_page(finished: Finished) -> None:
    page = Path(finished.outcome["report"]).read_text()
    assert finished.outcome["snapshot"] in page and finished.outcome["model"] in page
    assert "http://" not in page.replace("http://www.w3.org", "") or "<script" not in page
    assert "<script" not in page and 'src="http' not in page


def test_lineage_walks_both_ways(studio: Studio, finished: Finished) -> None:
    batch = Workspace(finished.home).batch(finished.outcome["run"])
    image = sorted((batch / "images").iterdir())[0]
    (back,) = studio.lines("audit", "trace", str(image), "--home", str(finished.home))
    text = json.dumps(back)
    assert finished.outcome["model"] in text and finished.outcome["snapshot"] in text
    selection = read_table(Workspace(finished.home).snapshot(finished.outcome["snapshot"]) / "selection.parquet")
    trained = set(selection.asset[selection.selected])
    near = (close["asset"] for found in read_table(batch / "batch.parquet").nearest for close in found)
    nearest = next(asset for asset in near if asset in trained)
    (forth,) = studio.lines("audit", "trace", nearest, "--home", str(finished.home))
    assert finished.outcome["model"] in json.dumps(forth)


def test_image_k_is_the_same_alone_as_in_its_batch(studio: Studio, finished: Finished, tmp_path: Path) -> None:
    table = read_table(Workspace(finished.home).batch(finished.outcome["run"]) / "batch.parquet")
    seed, model = str(table.seed.iloc[0]), finished.outcome["model"]
    studio.lines(
        "generate",
        "--model",
        model,
        "--count",
        "3",
        "--seed",
        seed,
        "--out",
        str(tmp_path),
        "--home",
        str(finished.home),
    )
    alone = read_table(tmp_path / "outputs.parquet")
    for row in alone.itertuples():
        small = np.asarray(Image.open(tmp_path / f"{model}-{seed}-{row.index:06d}.png"))
        grown = np.asarray(Image.fromarray(small).resize((64, 64), Image.Resampling.LANCZOS))
        assert pixel_digest(grown) == table.generated_pixels[row.index]


def test_the_next_night_reuses_the_model_and_makes_new_images(
    studio: Studio, finished: Finished, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(finished.home, home)
    second = studio.nightly(home)
    assert second["run"] == "nightly-0002"
    assert (second["model"], second["reused"]) == (finished.outcome["model"], True)
    batches = [read_table(Workspace(home).batch(run) / "batch.parquet") for run in ("nightly-0001", "nightly-0002")]
    assert not set(batches[0].generated_pixels) & set(batches[1].generated_pixels)
