"""Earlier outputs that a batch repeats are found through the stored index, whatever became of it."""

import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.catalog.tables import VERDICTS
from pipeline.core.digests import pixel_digest
from pipeline.core.settings import DuplicateSettings, ScreeningSettings
from pipeline.core.shards import read_table, write_table
from pipeline.screening.earlier import earlier_rows
from pipeline.screening.gate import screen
from pipeline.similarity.fingerprints import fingerprint

DISTANCE = 40


def picture(seed: int) -> NDArray[np.uint8]:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC))


def png(rgb: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return stream.getvalue()


def verdicts(path: Path, seeds: range) -> Path:
    prints = [fingerprint(picture(seed)) for seed in seeds]
    rows = {
        "index": range(len(prints)),
        "verdict": "pass",
        "reasons": [[]] * len(prints),
        "nearest": [[]] * len(prints),
    }
    looks = {name: [getattr(one, name) for one in prints] for name in ("phash", "flatness", "thumbnail")}
    return write_table(path, pd.DataFrame({**rows, **looks}), VERDICTS)


@pytest.fixture
def earlier(tmp_path: Path) -> dict[str, Path]:
    return {f"night-{n}": verdicts(tmp_path / f"{n}.parquet", range(10 * n, 10 * n + 10)) for n in range(3)}


def test_repeats_are_found_upright_turned_and_mirrored(tmp_path: Path, earlier: dict[str, Path]) -> None:
    repeats = [picture(3), np.rot90(picture(14)), picture(19)[:, ::-1], picture(500)]
    found = earlier_rows(tmp_path / "looks", earlier, [png(np.ascontiguousarray(rgb)) for rgb in repeats], DISTANCE)
    assert found == {"night-0": [3], "night-1": [4, 9]}


@pytest.mark.parametrize("step", [1, -1])
def test_cropped_repeats_of_earlier_outputs_are_found_and_quarantined(
    tmp_path: Path, earlier: dict[str, Path], step: int
) -> None:
    """Whichever of the two is the part, mirrored or not; a new picture passes."""
    part, stranger, framed = picture(7)[:60, 3:63], picture(500), np.pad(picture(22), ((2, 2), (2, 2), (0, 0)))
    images = [np.ascontiguousarray(rgb[:, ::step]) for rgb in (part, stranger, framed)]
    found = earlier_rows(tmp_path / "looks", earlier, [png(rgb) for rgb in images], DISTANCE)
    assert found == {"night-0": [7], "night-2": [2]}
    rows = [read_table(earlier[batch]).iloc[some] for batch, some in found.items()]
    known = pd.concat(rows).assign(output=["seven", "twenty-two"], pixels=["7", "22"])
    batch = pd.DataFrame(
        {
            "index": range(3),
            "pixels": [pixel_digest(rgb) for rgb in images],
            "image": [png(rgb) for rgb in images],
        }
    )
    screened = screen(batch, pd.DataFrame(), known, DuplicateSettings(), ScreeningSettings())
    assert screened.verdicts["reasons"].tolist() == [["DUPLICATE_OF_EARLIER"], [], ["DUPLICATE_OF_EARLIER"]]


def test_batches_come_in_one_by_one_and_some_are_not_asked_for(tmp_path: Path, earlier: dict[str, Path]) -> None:
    image = [png(picture(25)), png(picture(1)), b"no picture"]
    first = {"night-0": earlier["night-0"]}
    assert earlier_rows(tmp_path / "looks", first, image, DISTANCE) == {"night-0": [1]}
    assert earlier_rows(tmp_path / "looks", earlier, image, DISTANCE) == {"night-0": [1], "night-2": [5]}
    last = {"night-2": earlier["night-2"]}  # nothing of night-0 is published any more
    assert earlier_rows(tmp_path / "looks", last, image, DISTANCE) == {"night-2": [5]}


@pytest.mark.parametrize("lost", ["batches.json", "hashes/0", "crops/windows", "crops/fine.u64"])
def test_an_index_that_lost_a_part_is_made_anew(tmp_path: Path, earlier: dict[str, Path], lost: str) -> None:
    image = [png(picture(25))]
    earlier_rows(tmp_path / "looks", earlier, image, DISTANCE)
    part = tmp_path / "looks" / str(DISTANCE) / lost
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    assert earlier_rows(tmp_path / "looks", earlier, image, DISTANCE) == {"night-2": [5]}


def test_a_first_batch_and_an_empty_one_have_no_earlier(tmp_path: Path, earlier: dict[str, Path]) -> None:
    assert earlier_rows(tmp_path / "looks", {}, [png(picture(1))], DISTANCE) == {}
    assert earlier_rows(tmp_path / "looks", earlier, [], DISTANCE) == {}
