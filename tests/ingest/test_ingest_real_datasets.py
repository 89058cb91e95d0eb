"""Three real datasets, found below IMPRIMATUR_MIRROR: what they hold is known, and must come out."""

import os
from pathlib import Path

import pytest

from pipeline.catalog.assets import read_inventory
from pipeline.core.settings import DatasetSettings, WorkSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest import ingest_dataset
from pipeline.ingest.sources import open_source

FASHION = {
    "source": "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/t10k-images-idx3-ubyte.gz",
    "sha256": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "labels": "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/t10k-labels-idx1-ubyte.gz",
    "labels_sha256": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}


def held(name: str) -> pytest.MarkDecorator:
    """Skip where the mirror does not hold the dataset."""
    mirror = os.environ.get("IMPRIMATUR_MIRROR")
    there = bool(mirror) and (Path(str(mirror)) / name).is_dir()
    return pytest.mark.skipif(not there, reason=f"needs the dataset {name} below IMPRIMATUR_MIRROR")


@held("crawl-tiles")
def test_crawl_tiles_come_in_whole(tmp_path: Path) -> None:
    settings = DatasetSettings(
        name="crawl-tiles", source="crawl-tiles", columns={"file": "path", "licence": "licence", "label": "category"}
    )
    workspace = Workspace(tmp_path)
    totals = ingest_dataset(settings, workspace, WorkSettings(workers=2, shard_size=2200))
    assert (totals.seen, totals.accepted, totals.rejected, totals.duplicates) == (4357, 4348, 9, 53)
    inventory = read_inventory(workspace, "crawl-tiles")
    assert inventory.reason.value_counts().to_dict() == {"": 4348, "FLAT": 8, "TOO_SMALL": 1}
    assert set(inventory.licence) == {"CC0-1.0"}
    assert inventory.label.value_counts().loc["mon"] == 772


@held("game-icons")
def test_game_icons_keep_their_authors_and_the_gaps(tmp_path: Path) -> None:
    settings = DatasetSettings(
        name="game-icons", source="game-icons", columns={"file": "path", "licence": "licence", "holder_id": "author"}
    )
    with open_source(settings, Workspace(tmp_path)) as source:
        fields = [item.fields for item in source.items()]
    assert len(fields) == 4229
    assert sum(not field["holder_id"] for field in fields) == 66
    assert sum(field["licence"] == "CC0-1.0" for field in fields) == 123


@held("fashion-mnist")
def test_fashion_mnist_is_found_by_digest_though_its_mirror_compressed_it_anew(tmp_path: Path) -> None:
    settings = DatasetSettings(name="fashion-mnist", **FASHION, class_names=[f"class {n}" for n in range(10)])
    with open_source(settings, Workspace(tmp_path)) as source:
        items = list(source.items())
    assert len(items) == 10_000
    assert items[-1].file == "t10k-images-idx3-ubyte.gz#09999"
    assert all(sum(item.fields["label"] == f"class {n}" for item in items) == 1000 for n in range(10))
