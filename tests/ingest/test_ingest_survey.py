"""A look at a source: the same digests, signals and verdicts as an ingest, and hashes close to its own."""

from pathlib import Path

import numpy as np

from pipeline.catalog.assets import read_fingerprints, read_inventory
from pipeline.core.settings import DatasetSettings, WorkSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest import ingest_dataset
from pipeline.ingest.survey import survey
from pipeline.similarity.fingerprints import GLANCE_METHOD
from tests.ingest.same_set import encoded, members, write_files


def test_a_survey_says_what_an_ingest_will_find(tmp_path: Path) -> None:
    large = {"large.jpg": encoded(7, side=900), "flat.txt": b"no image", "x.png": encoded(8, "PNG")}
    source = write_files(tmp_path / "set", members() | large | {"cut.jpg": encoded(9)[:500]})
    dataset, workspace = DatasetSettings(name="set", source=str(source)), Workspace(tmp_path / "home")
    work = WorkSettings(backend="serial", shard_size=16)
    rows = {row["file"]: row for row in survey(dataset, Workspace(tmp_path / "scratch"), work)}
    ingest_dataset(dataset, workspace, work)
    inventory = read_inventory(workspace, "set")
    hashes = read_fingerprints(workspace, "set").set_index("asset").phash
    assert set(rows) == set(inventory.file)
    for seen in inventory.itertuples():
        row = rows[seen.file]
        named = ("status", "reason", "sha256", "width", "height", "signals")
        assert {name: row[name] for name in named} == {name: getattr(seen, name) for name in named}
        if row["status"] == "accepted":
            ours = np.frombuffer(bytes.fromhex(row["phash"]) + hashes[seen.asset], np.uint8).reshape(2, 32)
            assert row["method"] == GLANCE_METHOD and np.unpackbits(ours[0] ^ ours[1]).sum() <= 40
