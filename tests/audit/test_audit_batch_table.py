"""The batch table: nothing generated is left out, and nothing unscreened is released."""

from pathlib import Path

import audit_sample
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.audit.batch_table import BATCH, batch_path, batch_table, write_batch_table
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace

ROWS = audit_sample.asset_rows(10)


def joined(generated: pd.DataFrame, verdicts: pd.DataFrame, stamped: pd.DataFrame) -> pd.DataFrame:
    return batch_table(generated, verdicts, stamped, batch="nightly-1", model="m", snapshot="s", seed=3)


def parts(images: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    return audit_sample.generated(images), audit_sample.verdicts(ROWS, images), audit_sample.stamped(images)


def test_every_generated_image_has_one_row_in_order() -> None:
    generated, verdicts, stamped = parts(12)
    table = joined(generated.sample(frac=1, random_state=1), verdicts[::-1], stamped.sample(frac=1, random_state=2))
    assert table["index"].tolist() == list(range(12))
    assert table["generated_pixels"].tolist() == generated["pixels"].tolist()
    assert table.loc[3, "watermark"] == f"{3:016x}" and table.loc[3, "state"] == "published"


def test_what_screening_held_back_is_quarantined_with_its_reasons_and_its_file() -> None:
    row = joined(*parts(6)).iloc[4]
    assert (row["state"], row["reasons"], row["output"]) == ("quarantined", ["NEAR_COPY"], "")
    assert row["file"].startswith("quarantine/") and len(row["file_sha256"]) == 64
    assert pd.isna(row["psnr"])


def test_an_image_that_stamping_has_not_reached_is_quarantined() -> None:
    generated, verdicts, stamped = parts(3)
    row = joined(generated, verdicts, stamped[:2]).iloc[2]
    assert (row["state"], row["verdict"], row["file"], row["watermark"]) == ("quarantined", "pass", "", "")


def test_reasons_of_screening_and_stamping_are_joined_once_each() -> None:
    generated, verdicts, stamped = parts(2)
    verdicts.at[0, "verdict"] = "quarantine"
    verdicts.at[0, "reasons"] = ["BLANK", "NEAR_COPY"]
    stamped.at[0, "state"] = "quarantined"
    stamped.at[0, "reasons"] = ["NEAR_COPY", "NOT_TRUSTED"]
    assert joined(generated, verdicts, stamped).loc[0, "reasons"] == ["BLANK", "NEAR_COPY", "NOT_TRUSTED"]


def test_an_unscreened_image_stops_the_table() -> None:
    generated, verdicts, stamped = parts(3)
    with pytest.raises(ImprimaturError, match="image 2 was never screened"):
        joined(generated, verdicts[:2], stamped)


def test_an_image_published_against_its_verdict_stops_the_table() -> None:
    generated, verdicts, stamped = parts(3)
    verdicts.at[1, "verdict"] = "quarantine"
    with pytest.raises(ImprimaturError, match="image 1 is published although"):
        joined(generated, verdicts, stamped)


def test_equal_batches_give_equal_bytes_with_the_fixed_schema(tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        workspace = Workspace.at(tmp_path / name)
        path = write_batch_table(workspace, joined(*parts(12)))
        assert path == batch_path(workspace, "nightly-1")
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert pq.read_schema(path).equals(BATCH)
    assert pq.read_table(path).column("psnr").null_count == 1  # the image that was not stamped
