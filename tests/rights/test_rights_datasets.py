"""One dataset's files are judged with their relatives in every other."""

from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin
from rights_inventory import GC, NOW, event

from pipeline.catalog.assets import read_inventory
from pipeline.core.settings import DatasetSettings, WorkSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest import ingest_dataset
from pipeline.rights.datasets import decide_among_all
from pipeline.rights.findings import parse_purpose
from pipeline.rights.policy import Policy


def test_a_withdrawn_picture_of_another_dataset_bars_its_twin(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    pixels = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "the same picture in another file")
    for name, info in (("ours", None), ("theirs", note)):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / f"{name}.png", pnginfo=info)
        settings = DatasetSettings(name=name, source=str(tmp_path / name), licence="CC-BY-4.0")
        ingest_dataset(settings, workspace, WorkSettings(backend="serial"))
    ours = read_inventory(workspace, "ours").assign(dataset="ours")
    asked = parse_purpose(GC), Policy(), NOW, NOW
    assert decide_among_all(workspace, ours, [], *asked)["decision"].tolist() == ["allow"]
    gone = event("1", "withdraw", subject_type="asset", subject_id="theirs:theirs")
    (row,) = decide_among_all(workspace, ours, [gone], *asked).to_dict("records")
    assert (row["dataset"], row["decision"], row["reasons"]) == ("ours", "deny", ["RELATIVE_WITHDRAWN"])
    assert row["evidence"] == ["relative:theirs:theirs.png", "event:1"]
