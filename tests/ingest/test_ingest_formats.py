"""Every format that a dataset may come in: the same pictures, the same rights columns, the same decisions."""

import hashlib
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from pipeline.catalog.assets import read_asset, read_inventory
from pipeline.catalog.database import open_catalog
from pipeline.catalog.tables import datasets
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings, WorkSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest import ingest_dataset
from pipeline.rights.blocks import decide
from pipeline.rights.findings import Purpose
from pipeline.rights.policy import load_policy
from tests.ingest.same_set import (
    DECISIONS,
    WITHOUT_HEADERS,
    csv_text,
    encoded,
    json_lines,
    members,
    rows,
    write_files,
    write_idx,
    write_images_parquet,
    write_shard_table,
    write_tar,
    write_zip,
)

SERIAL = WorkSettings(backend="serial", shard_size=16)
Settings = dict[str, Any]
NOW = "2026-06-01T00:00:00.000000Z"


def ingested(source: Path, home: Path, **settings: Any) -> pd.DataFrame:
    dataset = DatasetSettings.model_validate({"name": "set", "source": str(source), **settings})
    ingest_dataset(dataset, Workspace(home), SERIAL)
    return read_inventory(Workspace(home), "set")


def decisions(inventory: pd.DataFrame, licence: str = "") -> dict[str, tuple[str, list[str]]]:
    decided = decide(
        inventory.assign(dataset="set"), {"set": licence}, [], Purpose("train_generative", True), load_policy(None),
        NOW, NOW,
    )  # fmt: skip
    stems = [Path(file).name.split(".")[0] for file in decided["file"]]
    return {stem: (row.decision, list(row.reasons)) for stem, row in zip(stems, decided.itertuples(), strict=True)}


def plain_folder(place: Path, table: str, content: bytes) -> Path:
    return write_files(place / "photos", members() | {table: content})


GERMAN = {"file_name": "Dateiname", "license": "Lizenz", "author": "Urheberin", "sha256": "Prüfsumme"}
SPREADSHEET = ("sep=;\r\n" + csv_text(";", GERMAN).replace("\n", ";;\r\n")).encode("utf-8-sig")
GERMAN_COLUMNS = {"file": "Dateiname", "licence": "Lizenz", "holder_id": "Urheberin", "sha256": "Prüfsumme"}


def nested_tables(place: Path) -> Path:
    """Hugging Face's imagefolder by split: a metadata table in each folder, names relative to it."""
    files = {f"train/{name}": data for name, data in members().items()}
    return write_files(place / "photos", files | {"train/metadata.jsonl": json_lines()})


def shards(place: Path) -> Path:
    """img2dataset's output: tar, Parquet and statistics side by side."""
    folder = place / "shards"
    folder.mkdir()
    write_tar(folder / "00000.tar", members(with_json=True))
    write_shard_table(folder / "00000.parquet")
    (folder / "00000_stats.json").write_text('{"count": 6}')
    return folder


def shard_without_json(place: Path) -> Path:
    write_shard_table(place / "00000.parquet")
    return write_tar(place / "00000.tar", members())


FORMATS: dict[str, tuple[Callable[[Path], Path], Settings, dict[str, tuple[str, list[str]]]]] = {
    "folder and CSV": (lambda p: plain_folder(p, "metadata.csv", csv_text().encode()), {}, DECISIONS),
    "folder and JSON Lines": (lambda p: plain_folder(p, "metadata.jsonl", json_lines()), {}, DECISIONS),
    "a spreadsheet's CSV in German": (
        lambda p: plain_folder(p, "Bilder.csv", SPREADSHEET),
        {"table": "Bilder.csv", "columns": GERMAN_COLUMNS},
        DECISIONS,
    ),
    "a spreadsheet's text in UTF-16": (
        lambda p: plain_folder(p, "metadata.csv", csv_text("\t").encode("utf-16")), {}, DECISIONS,
    ),
    "the table as source": (
        lambda p: plain_folder(p, "list.csv", csv_text().encode()) / "list.csv", {}, DECISIONS,
    ),
    "imagefolder by split": (nested_tables, {}, DECISIONS),
    "Parquet with images": (lambda p: write_images_parquet(p / "train.parquet"), {}, WITHOUT_HEADERS),
    "a folder of Parquet with images": (
        lambda p: write_images_parquet(write_files(p / "data", {"README.md": b"#"}) / "train-0.parquet").parent,
        {},
        WITHOUT_HEADERS,
    ),
    "img2dataset shards": (shards, {}, DECISIONS),
    "an img2dataset shard without JSON": (shard_without_json, {}, DECISIONS),
    "WebDataset": (lambda p: write_tar(p / "00000.tar", members(with_json=True)), {}, DECISIONS),
    "zip with a table inside": (
        lambda p: write_zip(p / "photos.zip", members() | {"metadata.csv": csv_text().encode()}), {}, DECISIONS,
    ),
    "stored zip": (
        lambda p: write_zip(p / "p.zip", members() | {"metadata.csv": csv_text().encode()}, zipfile.ZIP_STORED),
        {},
        DECISIONS,
    ),
    "tar.gz with a table beside it": (
        lambda p: write_tar(write_files(p, {"list.jsonl": json_lines()}) / "photos.tar.gz", members(), "w:gz"),
        {"table": "list.jsonl"},
        DECISIONS,
    ),
    "tar.bz2": (
        lambda p: write_tar(p / "p.tar.bz2", members() | {"metadata.jsonl": json_lines()}, "w:bz2"), {}, DECISIONS,
    ),
    "tar.xz": (
        lambda p: write_tar(p / "p.tar.xz", members() | {"metadata.jsonl": json_lines()}, "w:xz"), {}, DECISIONS,
    ),
    "tar.zst": (
        lambda p: zstandard(write_tar(p / "p.tar", members() | {"metadata.jsonl": json_lines()})), {}, DECISIONS,
    ),
}  # fmt: skip


def zstandard(path: Path) -> Path:
    with pa.output_stream(str(path) + ".zst", compression="zstd") as stream:
        stream.write(path.read_bytes())
    return Path(f"{path}.zst")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("store", ["copy", "reference"])
def test_each_format_brings_its_pictures_rights_and_signals(tmp_path: Path, name: str, store: str) -> None:
    build, settings, expected = FORMATS[name]
    source = build(tmp_path)
    inventory = ingested(source, tmp_path / "home", store=store, **settings)
    accepted = inventory[inventory.status == "accepted"]
    assert decisions(inventory) == expected
    assert sorted(accepted.sha256) == sorted(row["sha256"].lower() for row in rows())
    holders = {Path(row.file).name.split(".")[0]: list(row.holders) for row in accepted.itertuples()}
    assert holders["0001"] == ["Ada"] and holders["0005"] == ["Di", "Ed"]
    for row in accepted.itertuples():
        data = read_asset(Workspace(tmp_path / "home"), "set", row.asset, row.store, row.offset, row.length)
        assert data == encoded(int(row.key) - 1)
    assert not list((tmp_path / "home/datasets").rglob(".*")), "nothing temporary is left"


def test_names_are_those_of_the_source(tmp_path: Path) -> None:
    assert list(ingested(write_tar(tmp_path / "a.tar", members()), tmp_path / "1").file) == [
        f"{stem}.jpg" for stem in DECISIONS
    ]
    in_shards = ingested(shards(tmp_path), tmp_path / "2")
    assert list(in_shards[in_shards.status == "accepted"].file) == [f"00000.tar/{stem}.jpg" for stem in DECISIONS]


def test_a_failed_download_of_img2dataset_is_accounted_for(tmp_path: Path) -> None:
    inventory = ingested(shards(tmp_path), tmp_path / "home")
    (row,) = inventory[inventory.status == "rejected"].itertuples()
    assert (row.file, row.reason, row.detail) == (
        "00000.tar/0009", "MISSING_FILE", "failed_to_download HTTP Error 404",
    )  # fmt: skip


def test_a_shard_whose_json_and_table_disagree_about_the_licence_is_not_guessed_at(tmp_path: Path) -> None:
    files = members(with_json=True)
    record = json.loads(files["0001.json"]) | {"license": "CC-BY-NC-4.0"}
    write_shard_table(tmp_path / "00000.parquet")
    write_tar(tmp_path / "00000.tar", files | {"0001.json": json.dumps(record).encode()})
    inventory = ingested(tmp_path / "00000.tar", tmp_path / "home").set_index("file")
    assert inventory.loc["0001.jpg"].reason == "CONFLICTING_ROWS"
    assert inventory.loc["0002.jpg"].status == "accepted"


def test_header_sidecars_that_are_far_from_their_image_in_the_tar_still_count(tmp_path: Path) -> None:
    files = members(with_json=True)
    apart = {name: files[name] for name in sorted(files, key=lambda name: (name.split(".", 1)[1], name))}
    assert next(iter(apart)).endswith("headers.json")
    assert decisions(ingested(write_tar(tmp_path / "a.tar", apart), tmp_path / "home")) == DECISIONS


def test_facts_beside_no_image_are_told(tmp_path: Path) -> None:
    files = members() | {"0008.headers.json": b'{"X-Robots-Tag": "noai"}', "stray.json": b"{}"}
    inventory = ingested(write_tar(tmp_path / "a.tar", files), tmp_path / "home").set_index("file")
    assert inventory.loc["0008.headers.json"].reason == "ORPHAN_SIDECAR"
    assert inventory.loc["stray.json"].reason == "NOT_AN_IMAGE"


def test_columns_of_json_files_may_be_mapped(tmp_path: Path) -> None:
    files = {"a.jpg": encoded(0), "a.json": json.dumps({"rights": "CC0-1.0", "by": ["Ada", "Bo"]}).encode()}
    files["a.cls"] = b"7"
    columns = {"licence": "rights", "holder_id": "by"}
    (row,) = ingested(write_tar(tmp_path / "a.tar", files), tmp_path / "home", columns=columns).itertuples()
    assert (row.licence, list(row.holders), row.label) == ("CC0-1.0", ["Ada", "Bo"], "7")


def test_parquet_with_a_plain_binary_column_and_names_that_repeat_or_lack(tmp_path: Path) -> None:
    names = ["a.jpg", "a.jpg", None, "sub/b.jpg"]
    table = {"jpg": [encoded(seed) for seed in range(3)] + [None], "name": names, "licence": ["CC0-1.0"] * 4}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    inventory = ingested(tmp_path / "t.parquet", tmp_path / "home", columns={"file": "name"})
    assert list(inventory.file) == ["a.jpg", "a.jpg#1", "t.parquet#00002", "sub/b.jpg"]
    assert list(inventory.reason) == ["", "", "", "MISSING_FILE"]
    other = ingested(tmp_path / "t.parquet", tmp_path / "other", columns={"image": "jpg"})
    assert list(other.sha256)[:3] == list(inventory.sha256)[:3]


@pytest.mark.parametrize(
    ("columns", "words"), [({"licence": "rights"}, "has no column 'rights'"), ({"image": "x"}, "no column holds")]
)
def test_faults_of_a_parquet_file_are_named(tmp_path: Path, columns: dict[str, str], words: str) -> None:
    with pytest.raises(ImprimaturError, match=words):
        ingested(write_images_parquet(tmp_path / "t.parquet"), tmp_path / "home", columns=columns)


def test_idx_with_one_licence_for_all(tmp_path: Path) -> None:
    arrays = np.random.default_rng(0).integers(0, 255, (5, 28, 28), dtype=np.uint8)
    images = write_idx(tmp_path / "images.gz", arrays)
    inventory = ingested(images, tmp_path / "home", licence="MIT", values={"holder_id": "Zalando SE"})
    assert {decision for decision, _ in decisions(inventory, "MIT").values()} == {"allow"}


def test_a_tar_that_is_cut_or_moved_gives_the_same_bytes_whatever_the_shards(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", members(with_json=True))
    one = ingested(tar, tmp_path / "one")
    (tmp_path / "elsewhere").mkdir()
    two = ingested(tar.rename(tmp_path / "elsewhere/a.tar"), tmp_path / "two")
    pd.testing.assert_frame_equal(one, two)


def test_a_tar_of_tars_is_not_opened_twice(tmp_path: Path) -> None:
    inner = write_tar(tmp_path / "inner.tar", members())
    outer = write_tar(tmp_path / "outer.tar", {"inner.tar": inner.read_bytes(), "a.jpg": encoded(0)})
    inventory = ingested(outer, tmp_path / "home").set_index("file")
    assert inventory.loc["inner.tar"].reason == "NOT_AN_IMAGE" and inventory.loc["a.jpg"].status == "accepted"


def test_a_compressed_tar_is_unpacked_once(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar.gz", members(), "w:gz")
    ingested(tar, tmp_path / "home")
    (cached,) = (tmp_path / "home/cache").rglob("a.tar")
    before = cached.stat().st_mtime_ns
    ingested(tar, tmp_path / "home")
    assert cached.stat().st_mtime_ns == before and tarfile.is_tarfile(cached)


def croissant(licence: Any = "https://creativecommons.org/licenses/by/4.0/", **more: Any) -> dict[str, Any]:
    """Images in a zip, their facts in a CSV beside it, joined by file name: Croissant's own example of the kind."""
    images = {"fileSet": {"@id": "image-files"}}
    table = {"fileObject": {"@id": "facts"}}
    return {
        "@context": {"@vocab": "https://schema.org/", "cr": "http://mlcommons.org/croissant/"},
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": "photos",
        "license": licence,
        "distribution": [
            {
                "@type": "cr:FileObject", "@id": "archive", "contentUrl": "photos.zip",
                "encodingFormat": "application/zip", "sha256": more.pop("sha256", None),
            },
            {
                "@type": "cr:FileSet", "@id": "image-files", "containedIn": {"@id": "archive"},
                "encodingFormat": "image/jpeg", "includes": "images/*.jpg",
            },
            {"@type": "cr:FileObject", "@id": "facts", "contentUrl": "facts.csv", "encodingFormat": "text/csv"},
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet", "@id": "photos",
                "field": [
                    {"@id": "photos/name", "source": {**images, "extract": {"fileProperty": "filename"}}},
                    {"@id": "photos/pixels", "dataType": "sc:ImageObject",
                     "source": {**images, "extract": {"fileProperty": "content"}}},
                    {"@id": "photos/file", "references": {"field": {"@id": "photos/name"}},
                     "source": {**table, "extract": {"column": "picture"}}},
                    {"@id": "photos/rights", "equivalentProperty": "sc:license",
                     "source": {**table, "extract": {"column": "terms"}}},
                    {"@id": "photos/author", "source": {**table, "extract": {"column": "made_by"}}},
                ],
            }
        ],
        **more,
    }  # fmt: skip


def described(place: Path, **more: Any) -> Path:
    files = {f"images/{name}": data for name, data in members().items()}
    archive = write_zip(place / "photos.zip", files | {"masks/0001.jpg": encoded(7), "README.txt": b"hello"})
    names = {"file_name": "picture", "license": "terms", "author": "made_by"}
    (place / "facts.csv").write_text(csv_text(names=names))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (place / "croissant.json").write_text(json.dumps(croissant(**{"sha256": digest, **more})))
    return place / "croissant.json"


def test_croissant_with_images_in_a_zip_and_facts_in_a_table(tmp_path: Path) -> None:
    inventory = ingested(described(tmp_path), tmp_path / "home")
    assert sorted(inventory.file) == [f"images/{stem}.jpg" for stem in DECISIONS], (
        "masks are not the dataset's images"
    )
    assert decisions(inventory) == DECISIONS
    whole = decisions(inventory, croissant()["license"])
    assert whole["0004"] == ("allow", ["LICENCE_ALLOWS"]) and "LICENCE_CONFLICT" in whole["0002"][1]
    assert list(inventory.set_index("file").loc["images/0005.jpg"].holders) == ["Di", "Ed"]


def test_croissant_gives_the_dataset_its_licence(tmp_path: Path) -> None:
    ingested(described(tmp_path), tmp_path / "home")
    with open_catalog(Workspace(tmp_path / "home")).connect() as connection:
        assert connection.execute(select(datasets.c.licence)).scalar() == croissant()["license"]


def test_terms_in_odrl_go_to_a_person(tmp_path: Path) -> None:
    terms = {"@type": "odrl:Offer", "odrl:permission": {"odrl:action": "DUO:0000042"}}
    decided = decisions(ingested(described(tmp_path, usageInfo=terms), tmp_path / "home"))
    assert decided["0001"] == ("review", ["METADATA_UNREADABLE"])
    assert decided["0002"][0] == "deny"


def test_croissant_over_parquet_as_hugging_face_writes_it(tmp_path: Path) -> None:
    (tmp_path / "data/default/train").mkdir(parents=True)
    write_images_parquet(tmp_path / "data/default/train/0000.parquet")
    source = {"fileSet": {"@id": "parquet-files"}}
    description = {
        "@context": {"cr": "http://mlcommons.org/croissant/"},
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "distribution": [
            {"@type": "cr:FileObject", "@id": "repo", "contentUrl": "https://huggingface.co/datasets/x/y",
             "encodingFormat": "git+https", "sha256": "https://github.com/mlcommons/croissant/issues/80"},
            {"@type": "cr:FileSet", "@id": "parquet-files", "containedIn": {"@id": "repo"},
             "encodingFormat": "application/x-parquet", "includes": "default/*/*.parquet"},
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "default", "field": [
            {"@id": "default/image", "dataType": "sc:ImageObject",
             "source": {**source, "extract": {"column": "image"}, "transform": {"jsonPath": "bytes"}}},
            {"@id": "default/licence", "source": {**source, "extract": {"column": "license"}}},
        ]}],
    }  # fmt: skip
    (tmp_path / "data/croissant.json").write_text(json.dumps(description))
    inventory = ingested(tmp_path / "data/croissant.json", tmp_path / "home")
    assert decisions(inventory) == WITHOUT_HEADERS
    assert next(iter(inventory.file)) == "default/train/0000.parquet/0001.jpg"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"sha256": "0" * 64}, "does not have the SHA-256"),
        ({"distribution": "none"}, "it has no distribution"),
        ({"distribution": []}, "describes no files of images"),
        (
            {"distribution": [{"@type": "cr:FileObject", "@id": "a", "contentUrl": "../../x.png",
                               "encodingFormat": "image/png"}]},
            "is not a file of the dataset",
        ),
        (
            {"distribution": [{"@type": "cr:FileObject", "@id": "a", "contentUrl": "https://example.com/x.png",
                               "encodingFormat": "image/png"}]},
            "a URL needs its sha256",
        ),
    ],
)  # fmt: skip
def test_faults_of_a_croissant_description_are_named(tmp_path: Path, more: Settings, words: str) -> None:
    with pytest.raises(ImprimaturError, match=words):
        ingested(described(tmp_path, **more), tmp_path / "home")
