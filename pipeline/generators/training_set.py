"""The training set: each selected asset decoded once into a uint8 memory map, with digests of what went in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from pipeline.catalog import decode
from pipeline.catalog.assets import read_asset
from pipeline.core.digests import file_sha256, json_digest, pixel_digest
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import ModelSettings
from pipeline.core.shards import finish, is_finished, machine_faults_named, read_table, write_table
from pipeline.core.workspace import Workspace

Backgrounds = dict[str, tuple[int, int, int]]

COLUMNS = ["dataset", "file", "asset", "store", "offset", "length"]
ROWS = pa.schema(
    [
        ("asset", pa.string()),  # sha256 of the file's bytes
        ("label", pa.string()),
        ("pixels", pa.string()),  # pixel digest of this row of the memory map
    ]
)


@dataclass(frozen=True)
class TrainingSet:
    """Images (N, size, size, channels) uint8 as a read-only memory map, with what each row is."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]  # index into class_names
    class_names: list[str]
    assets: list[str]  # sha256 of each row's file
    row_digests: list[str]  # pixel digest of each row, taken when it was decoded
    key: str  # digest of everything that the rows depend on


def training_set_key(selection: pd.DataFrame, backgrounds: Backgrounds, model: ModelSettings) -> str:
    """Digest of everything that a training set depends on; cheap, for asking whether a model can be reused."""
    rows = _selected(selection)
    return json_digest(
        {
            "rows": rows[["asset", "label", "dataset"]].to_numpy().tolist(),
            "backgrounds": {name: list(backgrounds[name]) for name in sorted(rows["dataset"].unique())},
            "size": model.size,
            "channels": model.channels,
            "decoder": file_sha256(Path(decode.__file__)),
        }
    )


def prepare_training_set(
    workspace: Workspace, selection: pd.DataFrame, backgrounds: Backgrounds, model: ModelSettings, folder: Path
) -> TrainingSet:
    """Decode the selected rows of `selection` (tables.SELECTION) into `folder`; reused when nothing changed.

    `backgrounds` gives the colour behind transparent pixels by dataset. Bytes are checked against the asset's digest
    as they are read. Raises ImprimaturError when nothing is selected, or an asset is gone, altered or unreadable.
    """
    rows = _selected(selection)
    key = training_set_key(selection, backgrounds, model)
    if not is_finished(folder / "pixels.npy", key):
        _decode_all(workspace, rows, backgrounds, model, folder)
        finish(folder / "pixels.npy", key, rows=len(rows))
    return open_training_set(folder, key)


def _selected(selection: pd.DataFrame) -> pd.DataFrame:
    rows = selection[selection["selected"]].sort_values("asset", kind="stable")
    if rows.empty:
        raise ImprimaturError(
            "nothing may be trained on: no asset of the snapshot is selected",
            "look at the reasons with `imprimatur audit decisions`",
        )
    return rows


def _decode_all(
    workspace: Workspace, rows: pd.DataFrame, backgrounds: Backgrounds, model: ModelSettings, folder: Path
) -> None:
    temporary, digests = folder / ".pixels.tmp", []
    with machine_faults_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        shape = (len(rows), model.size, model.size, model.channels)
        pixels = open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        for i, row in enumerate(rows[COLUMNS].itertuples(index=False, name=None)):
            dataset, file, *where = row
            data = read_asset(workspace, dataset, *where)
            try:
                pixels[i] = decode.render(data, model.size, model.channels, backgrounds[dataset])
            except decode.BadImage as error:
                raise ImprimaturError(
                    f"{file} of dataset {dataset!r} cannot be decoded any more ({error})",
                    f"ingest dataset {dataset!r} again",
                ) from None
            digests.append(row_digest(pixels[i]))
        pixels.flush()
        del pixels
        temporary.replace(folder / "pixels.npy")
    table = rows[["asset", "label"]].assign(pixels=digests)
    write_table(folder / "rows.parquet", table, ROWS)


def row_digest(image: NDArray[np.uint8]) -> str:
    """Digest of one row (size, size, channels) of the memory map."""
    return pixel_digest(image)


def open_training_set(folder: Path, key: str) -> TrainingSet:
    """A training set that has been prepared in `folder`; `key` is its training_set_key."""
    rows = read_table(folder / "rows.parquet")
    names = sorted(rows["label"].unique())
    numbers = {name: number for number, name in enumerate(names)}
    return TrainingSet(
        pixels=np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False),
        labels=rows["label"].map(numbers).to_numpy(np.int64),
        class_names=names,
        assets=rows["asset"].tolist(),
        row_digests=rows["pixels"].tolist(),
        key=key,
    )
