"""The training set: what is selected, decoded once, with digests; nothing else."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.core.digests import sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import ModelSettings
from pipeline.core.workspace import Workspace
from pipeline.generators.training_set import prepare_training_set, row_digest, training_set_key

MODEL = ModelSettings(size=16, channels=3)
BACKGROUNDS = {"flags": (10, 20, 30)}


def png(colour: tuple[int, ...], mode: str = "RGB", size: tuple[int, int] = (16, 16)) -> bytes:
    image = Image.new(mode, size, colour)
    image.putpixel((0, 0), (255, 0, 0, 255)[: len(colour)])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.at(tmp_path / "home")


def selection_of(workspace: Workspace, files: list[tuple[bytes, str, bool]]) -> pd.DataFrame:
    """Pack files (bytes, label, selected) into one store of dataset `flags`."""
    store = workspace.dataset("flags") / "store.bin"
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_bytes(b"".join(data for data, _, _ in files))
    rows, offset = [], 0
    for number, (data, label, selected) in enumerate(files):
        row = {"asset": sha256(data), "dataset": "flags", "file": f"{number}.png", "label": label}
        rows.append({**row, "selected": selected, "store": "store.bin", "offset": offset, "length": len(data)})
        offset += len(data)
    return pd.DataFrame(rows)


def test_only_selected_assets_are_decoded_and_each_row_names_its_asset(workspace: Workspace, tmp_path: Path) -> None:
    files = [
        (png((1, 2, 3)), "plain", True),
        (png((9, 9, 9)), "plain", False),
        (png((0, 0, 0, 0), "RGBA"), "clear", True),
    ]
    data = prepare_training_set(workspace, selection_of(workspace, files), BACKGROUNDS, MODEL, tmp_path / "set")
    assert data.pixels.shape == (2, 16, 16, 3) and data.pixels.dtype == np.uint8
    assert data.class_names == ["clear", "plain"]
    assert data.assets == sorted(sha256(files[n][0]) for n in (0, 2))
    colours = {data.class_names[label]: tuple(row[5, 5]) for label, row in zip(data.labels, data.pixels, strict=True)}
    assert colours == {"plain": (1, 2, 3), "clear": (10, 20, 30)}
    assert data.row_digests == [row_digest(row) for row in data.pixels]


def test_it_is_reused_until_something_it_depends_on_changes(workspace: Workspace, tmp_path: Path) -> None:
    selection = selection_of(workspace, [(png((1, 2, 3)), "a", True), (png((4, 5, 6)), "b", True)])
    prepare_training_set(workspace, selection, BACKGROUNDS, MODEL, tmp_path / "set")
    made = (tmp_path / "set" / "pixels.npy").stat().st_mtime_ns
    prepare_training_set(workspace, selection, BACKGROUNDS, MODEL, tmp_path / "set")
    assert (tmp_path / "set" / "pixels.npy").stat().st_mtime_ns == made
    fewer = selection.assign(selected=[True, False])
    assert len(prepare_training_set(workspace, fewer, BACKGROUNDS, MODEL, tmp_path / "set").labels) == 1
    keys = {
        training_set_key(selection, BACKGROUNDS, MODEL),
        training_set_key(fewer, BACKGROUNDS, MODEL),
        training_set_key(selection.assign(label="a"), BACKGROUNDS, MODEL),
        training_set_key(selection, {"flags": (0, 0, 0)}, MODEL),
        training_set_key(selection, BACKGROUNDS, ModelSettings(size=20)),
    }
    assert len(keys) == 5


def test_bytes_that_changed_since_the_audit_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    selection = selection_of(workspace, [(png((1, 2, 3)), "a", True)])
    store = workspace.dataset("flags") / "store.bin"
    store.write_bytes(store.read_bytes()[:-1] + b"!")
    with pytest.raises(ImprimaturError, match="not those of asset"):
        prepare_training_set(workspace, selection, BACKGROUNDS, MODEL, tmp_path / "set")
    assert not (tmp_path / "set" / "pixels.npy").exists()


def test_an_asset_that_no_longer_decodes_is_named(workspace: Workspace, tmp_path: Path) -> None:
    selection = selection_of(workspace, [(b"not an image", "a", True)])
    with pytest.raises(ImprimaturError, match=r"0\.png of dataset 'flags' cannot be decoded"):
        prepare_training_set(workspace, selection, BACKGROUNDS, MODEL, tmp_path / "set")


def test_nothing_selected_is_an_error(workspace: Workspace, tmp_path: Path) -> None:
    selection = selection_of(workspace, [(png((1, 2, 3)), "a", False)])
    with pytest.raises(ImprimaturError, match="nothing may be trained on"):
        prepare_training_set(workspace, selection, BACKGROUNDS, MODEL, tmp_path / "set")


def test_images_of_mixed_sizes_and_shapes_all_come_to_the_models(workspace: Workspace, tmp_path: Path) -> None:
    sizes = [(33, 21), (16, 300), (640, 48), (16, 16)]
    files = [(png((200, 10 * n, 0), size=size), "plain", True) for n, size in enumerate(sizes)]
    data = prepare_training_set(workspace, selection_of(workspace, files), BACKGROUNDS, MODEL, tmp_path / "set")
    assert data.pixels.shape == (4, 16, 16, 3)
    assert (data.pixels.max(axis=(1, 2))[:, 0] >= 190).all()
