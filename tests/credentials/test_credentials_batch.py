"""Stamping a batch: every format, beside or inside the file, and the same result after kill -9."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from credentials_studio import Studio, encoded, picture

from pipeline.catalog.database import open_catalog
from pipeline.catalog.tables import GENERATED, VERDICTS
from pipeline.core.shards import finish, read_table, write_json, write_table
from pipeline.credentials.batch import publish, stamp_shard, stamping_jobs
from pipeline.credentials.images import SUFFIXES, Format
from pipeline.credentials.verify import verify

RUN = (
    "import json, sys; from pipeline.credentials.batch import stamp_shard; stamp_shard(json.load(open(sys.argv[1])))"
)
SAME = ["index", "output", "state", "file", "pixels", "watermark", "validation_state"]


def job(studio: Studio, folder: Path, count: int, format: Format = "png", **changes: Any) -> dict[str, Any]:
    """One shard of generated images, all of which but the first passed the gate, as a job."""
    generated, verdicts = folder / "generated" / "part-00000.parquet", folder / "verdicts.parquet"
    images = [encoded(picture(500 + index), "PNG") for index in range(count)]
    table = pd.DataFrame({name: [""] * count for name in GENERATED.names})
    table = table.assign(index=range(count), label="emblem", image=images)
    write_table(generated, table, GENERATED)
    finish(generated, "key")
    judged = pd.DataFrame({name: [None] * count for name in VERDICTS.names})
    judged = judged.assign(index=range(count), verdict="pass", reasons=[[]] * count, nearest=[[]] * count)
    judged.loc[0, "verdict"] = "quarantine"
    write_table(verdicts, judged, VERDICTS)
    facts = {"batch": "night-9", "seed": 1, "model": "m1", "model_sha256": "", "snapshot": "s1", "snapshot_root": ""}
    settings = studio.settings.model_copy(update=changes)
    (made,) = stamping_jobs(
        studio.workspace, [generated], verdicts, facts, settings, studio.identity, studio.weights, format, folder
    )
    return made


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif", "tiff", "gif"])
def test_a_batch_in_every_format_with_sidecars(own_studio: Studio, tmp_path: Path, format: Format) -> None:
    shard = job(own_studio, tmp_path, 3, format, placement="sidecar")
    assert stamp_shard(shard)["published"] == 2
    table = read_table(Path(shard["out"]))
    publish(open_catalog(own_studio.workspace), "night-9", "m1", "s1", table, tmp_path)
    images = sorted(path for path in (tmp_path / "images").iterdir() if path.suffix == SUFFIXES[format])
    assert len(images) == 2
    for path in images:
        assert verify(path, [own_studio.identity.anchors_pem]).codes == ["manifest.sidecar"]
        assert verify(path, [own_studio.identity.anchors_pem]).state == "Trusted"


def test_of_an_image_on_a_safety_hash_list_no_copy_is_made(own_studio: Studio, tmp_path: Path) -> None:
    shard = job(own_studio, tmp_path, 3)
    verdicts = read_table(Path(shard["verdicts"]))
    verdicts.loc[0, "verdict"] = "stopped"
    write_table(Path(shard["verdicts"]), verdicts, VERDICTS)
    assert stamp_shard(shard)["published"] == 2
    assert read_table(Path(shard["out"]))["index"].tolist() == [1, 2]
    assert not (Path(shard["staging"]) / "quarantine").exists()


def test_a_batch_that_was_killed_comes_out_as_if_it_had_not_been(own_studio: Studio, tmp_path: Path) -> None:
    count = 12
    undisturbed = job(own_studio, tmp_path / "a", count)
    stamp_shard(undisturbed)
    shard = job(own_studio, tmp_path / "b", count)
    write_json(tmp_path / "job.json", shard)
    command = [sys.executable, "-c", RUN, str(tmp_path / "job.json")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.Popen(command, env=environment)
    staged = Path(shard["staging"]) / "images"
    while killed.poll() is None and (not staged.exists() or len(list(staged.iterdir())) < 4):
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not Path(shard["out"]).exists()
    (staged / ".night-9-000003.png.0badcafe.tmp").write_bytes(b"half a picture")  # as if killed while writing
    stamp_shard(shard)
    tables = [read_table(Path(each["out"]))[SAME] for each in (undisturbed, shard)]
    pd.testing.assert_frame_equal(*tables)
    before = (staged / "night-9-000001.png").read_bytes()
    stamp_shard(shard)  # a finished shard is not stamped again
    assert (staged / "night-9-000001.png").read_bytes() == before
    publish(open_catalog(own_studio.workspace), "night-9", "m1", "s1", read_table(Path(shard["out"])), tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "b" / "images").iterdir())
    assert names == [f"night-9-{index:06d}.png" for index in range(1, count)]
