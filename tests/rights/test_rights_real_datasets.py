"""The rights of the real datasets, from their own tables. IMPRIMATUR_MIRROR names the folder that holds them."""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest
from rights_inventory import NOW, decisions, digest, row

from pipeline.catalog.references import key_of
from pipeline.core.settings import ConsentFile, load_job
from pipeline.rights.events import read_event_file, unreadable

MIRROR = Path(os.environ.get("IMPRIMATUR_MIRROR") or "no mirror")
pytestmark = pytest.mark.skipif(
    not MIRROR.is_dir(), reason="IMPRIMATUR_MIRROR does not name a folder with the real datasets"
)


def test_crawl_tiles_exclusions_deny_a_file_under_their_name(pytestconfig: pytest.Config) -> None:
    dataset = load_job(pytestconfig.rootpath / "configs/game-tiles.yaml").datasets[0]
    (consent,) = dataset.consent
    folder = MIRROR / "crawl-tiles"
    events = read_event_file(folder / consent.file, ConsentFile(**consent.model_dump()), dataset.name, NOW)
    assert len(events) == 1264 and len(unreadable(events)) == 0
    with (folder / "metadata.csv").open(newline="") as table:
        own = list(csv.DictReader(table))
    rows = [
        row(key_of(line["path"]), file=line["path"], asset=line["sha256"], pixels=line["sha256"],
            licence=line["licence"], dataset=dataset.name)
        for line in own
    ]  # fmt: skip
    with (folder / consent.file).open(newline="") as table:
        excluded = [line["upstream_path"] for line in csv.DictReader(table)]
    planted = [
        row(key_of(path), file=path, asset=digest(path), pixels=digest(path), licence="CC0-1.0", dataset=dataset.name)
        for path in dict.fromkeys(excluded)
    ]
    keys = Counter(one["key"] for one in rows)
    alone = {key_of(path) for path in excluded if keys[key_of(path)] == 0}
    keys_planted = Counter(one["key"] for one in planted)
    table = decisions(rows + planted, events)
    for one, decision, reasons in zip(rows + planted, table["decision"], table["reasons"], strict=True):
        if one["file"] in excluded and one["key"] in alone and keys_planted[one["key"]] == 1:
            assert (decision, reasons) == ("deny", ["CONSENT_RESTRICTED"]), one["file"]
        elif one["file"] in excluded:
            assert decision == "review", one["file"]
    assert Counter(decisions(rows, events)["decision"]) == {"allow": len(rows)}


def test_game_icons_of_unnamed_authors_end_in_review() -> None:
    with (MIRROR / "game-icons/metadata.csv").open(newline="") as table:
        lines = list(csv.DictReader(table))
    rows = [
        row(
            key_of(line["path"]),
            file=line["path"],
            licence=line["licence"],
            holders=list(filter(None, [line["author"]])),
        )
        for line in lines
    ]
    table = decisions(rows)
    unnamed = [not line["author"] for line in lines]
    assert sum(unnamed) == 66
    assert Counter(table["decision"]) == {"allow": 4163, "review": 66}
    assert (table["decision"] == "review").tolist() == unnamed


def test_fashion_mnist_is_allowed_under_mit_and_owes_its_notice() -> None:
    rows = [row(f"{number:05}") for number in range(10)]
    table = decisions(rows, licences={"d": "MIT"})
    assert set(table["decision"]) == {"allow"} and table.loc[0, "obligations"] == ["notice"]
