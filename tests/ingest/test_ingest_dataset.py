"""The whole ingest: bad files never stop it, nothing is lost or doubled, a crash resumes, the bytes are the same."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sqlalchemy import select

from pipeline.catalog.assets import read_asset, read_fingerprints, read_inventory
from pipeline.catalog.database import open_catalog
from pipeline.catalog.decode import decode
from pipeline.catalog.tables import FINGERPRINTS, INVENTORY, datasets
from pipeline.core.digests import pixel_digest
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings, WorkSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest import IngestTotals, ingest_dataset
from pipeline.similarity.fingerprints import fingerprint

SERIAL = WorkSettings(backend="serial", shard_size=16)


def draw(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """40 pictures, two exact copies (one in another shard), five bad files, a table for the first ten."""
    folder = tmp_path / "source"
    for number in range(40):
        draw(folder / f"p{number:02}.png", number)
    shutil.copy(folder / "p00.png", folder / "p00-copy.png")
    shutil.copy(folder / "p01.png", folder / "z.png")
    (folder / "bad1.jpg").write_bytes(b"")
    (folder / "bad2.jpg").write_text("<html>404</html>")
    (folder / "bad3.png").write_bytes((folder / "p02.png").read_bytes()[:700])
    Image.new("RGB", (32, 32), "red").save(folder / "bad4.png")
    digests = [hashlib.sha256((folder / f"p{number:02}.png").read_bytes()).hexdigest() for number in range(10)]
    digests[9] = "0" * 64
    rows = [f"p{n:02}.png,CC-BY-4.0,Ada|Bo;Cy,p00|p01,{digests[n]}" for n in range(10)]
    table = ["file,licence,author,derived_from,sha256", *rows, "gone.png,MIT,Ada,,"]
    (folder / "metadata.csv").write_text("\n".join(table))
    return folder


def dataset(source: Path, **settings: object) -> DatasetSettings:
    return DatasetSettings.model_validate({"name": "set", "source": str(source), "licence": "MIT", **settings})


def outputs(workspace: Workspace) -> dict[str, bytes]:
    """Every file of the dataset but completion records, which name the time stamps of their inputs."""
    folder = workspace.dataset("set")
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".done.json")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_everything_seen_is_accounted_for(source: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    assert ingest_dataset(dataset(source), workspace, SERIAL) == IngestTotals("set", 47, 41, 6, 2)
    inventory = read_inventory(workspace, "set").set_index("file")
    assert list(inventory.reset_index().columns) == INVENTORY.names
    assert inventory[inventory.status == "rejected"].reason.to_dict() == {
        "bad1.jpg": "EMPTY_FILE",
        "bad2.jpg": "NOT_AN_IMAGE",
        "bad3.png": "TRUNCATED",
        "bad4.png": "FLAT",
        "gone.png": "MISSING_FILE",
        "p09.png": "DIGEST_MISMATCH",
    }
    assert inventory[inventory.duplicate_of != ""].duplicate_of.to_dict() == {
        "p00.png": "p00-copy.png",
        "z.png": "p01.png",
    }
    row = inventory.loc["p03.png"]
    assert (row.licence, list(row.holders), list(row.derived_from)) == (
        "CC-BY-4.0",
        ["Ada", "Bo", "Cy"],
        ["p00", "p01"],
    )
    assert (row.key, row.label, row.width, row.height, row.format) == ("p03", "", 24, 24, "PNG")
    assert inventory.loc["p20.png"].licence == ""


def test_assets_can_be_read_back_and_their_digests_recomputed(source: Path, tmp_path: Path) -> None:
    for store in ("copy", "reference"):
        workspace = Workspace(tmp_path / store)
        ingest_dataset(dataset(source, store=store), workspace, SERIAL)
        inventory = read_inventory(workspace, "set")
        for row in inventory[inventory.status == "accepted"].itertuples():
            data = read_asset(workspace, "set", row.asset, row.store, row.offset, row.length)
            assert data == (source / row.file).read_bytes()
            assert pixel_digest(decode(data).pixels) == row.pixels
        assert Path(inventory.store.max()).is_absolute() == (store == "reference")


def test_each_asset_has_one_fingerprint(source: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    ingest_dataset(dataset(source), workspace, SERIAL)
    table = read_fingerprints(workspace, "set").set_index("asset")
    accepted = read_inventory(workspace, "set").query("status == 'accepted'")
    assert sorted(table.index) == sorted(accepted.asset.unique()) and list(table.columns) == FINGERPRINTS.names[1:]
    expected = fingerprint(decode((source / "p05.png").read_bytes()).rgb())
    row = table.loc[hashlib.sha256((source / "p05.png").read_bytes()).hexdigest()]
    assert (row.phash, row.thumbnail) == (expected.phash, expected.thumbnail)


def test_the_catalog_names_the_dataset_and_keeps_its_moment_while_nothing_changes(
    source: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "home")

    def row() -> dict[str, object]:
        with open_catalog(workspace).connect() as connection:
            return dict(connection.execute(select(datasets)).mappings().one())

    ingest_dataset(dataset(source), workspace, SERIAL)
    first = row()
    assert (first["licence"], first["seen"], first["accepted"]) == ("MIT", 47, 41)
    ingest_dataset(dataset(source), workspace, SERIAL)
    assert row() == first
    draw(source / "new.png", 99)
    ingest_dataset(dataset(source), workspace, SERIAL)
    assert row()["seen"] == 48 and row()["inventory_sha256"] != first["inventory_sha256"]


def test_backends_workers_places_and_times_do_not_change_a_byte(source: Path, tmp_path: Path) -> None:
    here, there = Workspace(tmp_path / "here"), Workspace(tmp_path / "there")
    ingest_dataset(dataset(source), here, SERIAL)
    moved = tmp_path / "moved"
    shutil.copytree(source, moved, copy_function=shutil.copyfile)
    ingest_dataset(dataset(moved), there, WorkSettings(backend="processes", workers=2, shard_size=16))
    assert outputs(here) == outputs(there)


def test_finished_shards_are_not_redone(source: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    ingest_dataset(dataset(source), workspace, SERIAL)
    folder = workspace.dataset("set")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    ingest_dataset(dataset(source), workspace, SERIAL)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")} == before
    draw(source / "p39.png", 1000)  # in the last shard
    ingest_dataset(dataset(source), workspace, SERIAL)
    changed = {path.name for path, moment in before.items() if path.stat().st_mtime_ns != moment}
    assert "part-00002.parquet" in changed and not changed & {"part-00000.parquet", "part-00001.parquet"}


@pytest.mark.parametrize("lost", ["blobs/part-00001.bin", "fingerprints/part-00001.parquet", "fingerprints.parquet"])
def test_outputs_that_were_lost_are_made_again(source: Path, tmp_path: Path, lost: str) -> None:
    workspace = Workspace(tmp_path / "home")
    ingest_dataset(dataset(source), workspace, SERIAL)
    whole = outputs(workspace)
    (workspace.dataset("set") / lost).unlink()
    ingest_dataset(dataset(source), workspace, SERIAL)
    assert outputs(workspace) == whole


def test_a_dataset_that_shrinks_leaves_no_parts_behind(source: Path, tmp_path: Path) -> None:
    workspace, fresh = Workspace(tmp_path / "home"), Workspace(tmp_path / "fresh")
    ingest_dataset(dataset(source), workspace, SERIAL)
    for number in range(10, 40):
        (source / f"p{number:02}.png").unlink()
    ingest_dataset(dataset(source), workspace, SERIAL)
    ingest_dataset(dataset(source), fresh, SERIAL)
    assert outputs(workspace) == outputs(fresh)
    ingest_dataset(dataset(source, store="reference"), workspace, SERIAL)
    assert not list((workspace.dataset("set") / "blobs").iterdir())


def test_headers_beside_a_file_become_facts_and_a_change_of_them_is_noticed(source: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    sidecar = source / "p20.headers.json"
    for value in ("noai", "all"):
        sidecar.write_text(json.dumps({"X-Robots-Tag": value}))
        ingest_dataset(dataset(source), workspace, SERIAL)
        inventory = read_inventory(workspace, "set").set_index("file")
        assert json.loads(inventory.loc["p20.png"].signals) == {"headers": {"X-Robots-Tag": [value]}}
    assert inventory.loc["p21.png"].signals == ""


def test_idx_arrays_become_assets_that_anyone_can_recompute(tmp_path: Path) -> None:
    arrays = np.random.default_rng(0).integers(0, 255, (40, 28, 20), dtype=np.uint8)
    header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in arrays.shape)
    (tmp_path / "images").write_bytes(header + arrays.tobytes())
    workspace = Workspace(tmp_path / "home")
    totals = ingest_dataset(dataset(tmp_path / "images", store="reference"), workspace, SERIAL)
    assert (totals.seen, totals.accepted) == (40, 40)
    row = read_inventory(workspace, "set").iloc[17]
    assert (row.file, row.key, row.format) == ("images#00017", "00017", "PPM")
    assert row.asset == hashlib.sha256(b"P5\n20 28\n255\n" + arrays[17].tobytes()).hexdigest()
    data = read_asset(workspace, "set", row.asset, row.store, row.offset, row.length)
    assert np.array_equal(decode(data, arrays=True).pixels[..., 0], arrays[17])


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImprimaturError, match="nowhere"):
        ingest_dataset(dataset(tmp_path / "nowhere"), Workspace(tmp_path / "home"), SERIAL)


CHILD = """
import sys
from pathlib import Path
from pipeline.core.settings import DatasetSettings, WorkSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest import ingest_dataset
print("ready", flush=True)
ingest_dataset(DatasetSettings(name="set", source=sys.argv[1], licence="MIT"), Workspace(Path(sys.argv[2])),
               WorkSettings(backend="serial", shard_size=16))
"""


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(source: Path, tmp_path: Path) -> None:
    whole, killed = Workspace(tmp_path / "whole"), Workspace(tmp_path / "killed")
    ingest_dataset(dataset(source), whole, SERIAL)
    for delay in (0.02, 0.05, 0.1):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(source), str(killed.home)], stdout=subprocess.PIPE, env=dict(os.environ)
        )
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    ingest_dataset(dataset(source), killed, SERIAL)
    assert outputs(killed) == outputs(whole)
    pd.testing.assert_frame_equal(read_inventory(killed, "set"), read_inventory(whole, "set"))


def test_what_is_on_a_safety_hash_list_is_rejected_and_nothing_of_it_is_kept(source: Path, tmp_path: Path) -> None:
    home, found = Workspace(tmp_path / "home"), (source / "p03.png").read_bytes()
    (tmp_path / "list.txt").write_text(f"sha256 {hashlib.sha256(found).hexdigest()}")
    totals = ingest_dataset(dataset(source, store="copy"), home, SERIAL, [tmp_path / "list.txt"])
    assert totals == IngestTotals("set", 47, 40, 7, 2)
    row = read_inventory(home, "set").set_index("file").loc["p03.png"]
    assert (row["status"], row["reason"], row["sha256"], row["pixels"]) == ("rejected", "HASH_LIST_MATCH", "", "")
    kept = b"".join(path.read_bytes() for path in home.dataset("set").rglob("*") if path.is_file())
    assert found not in kept and hashlib.sha256(found).hexdigest().encode() not in kept
    assert ingest_dataset(dataset(source, store="copy"), home, SERIAL) == IngestTotals("set", 47, 41, 6, 2)
