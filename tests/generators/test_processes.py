"""Two processes train one model together: gloo on the CPU, started by torchrun."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_training import striped_set, tiny

from pipeline.core.errors import ImprimaturError
from pipeline.core.merkle import merkle_root
from pipeline.core.shards import write_table
from pipeline.generators.record import read_record
from pipeline.generators.sampling import load_model, sample
from pipeline.generators.torchrun import train_in_processes
from pipeline.generators.training_set import ROWS, TrainingSet, open_training_set

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path: Path) -> TrainingSet:
    made = striped_set()
    rows = {
        "asset": made.assets,
        "label": [made.class_names[label] for label in made.labels],
        "pixels": made.row_digests,
    }
    np.save(tmp_path / "pixels.npy", made.pixels)
    write_table(tmp_path / "rows.parquet", pd.DataFrame(rows), ROWS)
    return open_training_set(tmp_path, made.key)


@pytest.mark.parametrize("kind", ["gan", "flow_matching"])
def test_two_processes_feed_the_whole_snapshot_and_release_one_model(
    kind: str, data: TrainingSet, tmp_path: Path
) -> None:
    settings, root = tiny(kind, processes=2, steps=12), merkle_root(data.assets)
    said: list[tuple[int, int, str]] = []
    model = train_in_processes(settings, tmp_path, data, root, tmp_path / "a", lambda *at: said.append(at))
    assert said[-1][0] == said[-1][1]
    assert read_record(model.folder)["plan"]["threads"] == 1
    assert sample(load_model(model.folder), 0, range(2)).pixels.std() > 1
    again = train_in_processes(settings, tmp_path, data, root, tmp_path / "b", lambda *at: None)
    assert again.weights_sha256 == model.weights_sha256


def test_what_goes_wrong_in_a_process_is_said_by_the_one_that_started_it(data: TrainingSet, tmp_path: Path) -> None:
    settings = tiny("vae", processes=2, learning_rate=1e18, steps=60)
    with pytest.raises(ImprimaturError, match="diverged") as raised:
        train_in_processes(settings, tmp_path, data, merkle_root(data.assets), tmp_path / "a", lambda *at: None)
    assert "learning_rate" in raised.value.fix
    with pytest.raises(ImprimaturError, match="Merkle root"):
        train_in_processes(tiny("vae", processes=2), tmp_path, data, "00", tmp_path / "b", lambda *at: None)
