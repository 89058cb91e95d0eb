"""What a source holds: folders, tables in any dialect, paths that lead astray, IDX files."""

import gzip
import json
import os
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest.entries import Item
from pipeline.ingest.places import Array
from pipeline.ingest.reasons import EXPLANATIONS, IngestReason
from pipeline.ingest.sources import open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    for name in ("b.png", "a.png", "sub/c.jpg"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").resize((16, 16)).save(source / name)
    return source


def planned(source: Path, **settings: object) -> dict[str, Item]:
    dataset = DatasetSettings.model_validate({"name": "set", "source": str(source), **settings})
    with open_source(dataset, Workspace(source.parent / "home")) as opened:
        items = list(opened.items())
    assert [item.file for item in items] == sorted(item.file for item in items)
    return {item.file: item for item in items}


def test_a_plain_folder_lists_every_file_in_order(folder: Path) -> None:
    items = planned(folder, values={"licence": "CC0-1.0"})
    assert list(items) == ["a.png", "b.png", "sub/c.jpg"]
    assert items["sub/c.jpg"].fields == {"key": "c", "licence": "CC0-1.0"}


def test_hidden_files_documents_tables_and_sidecars_are_no_items(folder: Path) -> None:
    companions = [
        ".DS_Store",
        ".git/x.png",
        "LICENSE",
        "readme.md",
        "license.txt",
        "exclusions.csv",
        "a.json",
        "b.txt",
    ]
    for name in [*companions, "a.headers.json", "b.png.headers.json"]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    (folder / "stray.txt").write_text("not an image, and beside none")
    items = planned(folder)
    assert list(items) == ["a.png", "b.png", "stray.txt", "sub/c.jpg"]
    (folder / "b.xmp").write_text("")
    items = planned(folder)
    sidecars = {name: [beside for beside, _ in item.sidecars] for name, item in items.items()}
    assert sidecars["a.png"] == ["a.headers.json", "a.json"] and sidecars["b.png"] == ["b.png.headers.json", "b.xmp"]
    assert sidecars["sub/c.jpg"] == []


CSV = 'path;Author;license;note\r\na.png;Ada|Bo;CC-BY-4.0;"x; y"\r\nsub\\c.jpg;;CC0-1.0;\r\n'


def test_csv_with_bom_semicolons_and_foreign_column_names(folder: Path) -> None:
    (folder / "rights.csv").write_bytes(b"\xef\xbb\xbf" + CSV.encode())
    items = planned(folder, table="rights.csv", columns={"file": "path", "holder_id": "Author"})
    assert items["a.png"].fields == {"holder_id": "Ada|Bo", "licence": "CC-BY-4.0", "key": "a"}
    assert items["sub/c.jpg"].fields["licence"] == "CC0-1.0"
    assert items["b.png"].fields == {"key": "b"}  # not in the table: seen, with nothing known


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_three_kinds_of_table_say_the_same(folder: Path, suffix: str) -> None:
    rows = [
        {"file_name": "a.png", "licence": "MIT", "key": "first", "label": "7"},
        {"file_name": "b.png", "licence": "", "key": "", "label": "8"},
    ]
    table = folder / f"metadata.{suffix}"
    if suffix == "csv":
        pd.DataFrame(rows).to_csv(table, index=False)
    elif suffix == "jsonl":
        table.write_text("\n".join(json.dumps(row | {"label": int(row["label"]), "note": "\ud800"}) for row in rows))
    else:
        pd.DataFrame(rows).astype({"label": int}).to_parquet(table)
    items = planned(folder)
    assert items["a.png"].fields == {"licence": "MIT", "key": "first", "label": "7"}
    assert items["b.png"].fields == {"licence": "", "key": "b", "label": "8"}


def test_rows_that_lead_nowhere_or_outside_are_kept_with_a_reason(folder: Path) -> None:
    (folder.parent / "secret.png").write_bytes((folder / "a.png").read_bytes())
    outside = ["../secret.png", "/etc/passwd", "sub/../../secret.png", "C:\\x.png"]
    (folder / "metadata.csv").write_text(
        "file,licence\n" + "".join(f"{name},MIT\n" for name in [*outside, "gone.png", ""])
    )
    items = planned(folder)
    assert {items[name].reason for name in outside} == {IngestReason.PATH_OUTSIDE_SOURCE}
    assert items["gone.png"].reason == items["row 6"].reason == IngestReason.MISSING_FILE


def test_links_out_of_the_source_are_not_followed(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "link.png").symlink_to(outside / "x.png")
    (folder / "folder").symlink_to(outside)
    (folder / "inside.png").symlink_to("a.png")
    (folder / "broken.png").symlink_to("nothing")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe.png")
    (folder / "metadata.csv").write_text("file,licence\nfolder/x.png,MIT\ninside.png,MIT\n")
    items = planned(folder)
    for name in ("link.png", "folder", "folder/x.png"):
        assert items[name].reason == IngestReason.PATH_OUTSIDE_SOURCE and items[name].place is None
    for name in ("broken.png", "circle.png", "pipe.png"):
        assert items[name].reason == IngestReason.UNREADABLE
    assert items["inside.png"].reason == "" and items["inside.png"].fields["licence"] == "MIT"
    assert not any(name.startswith("loop/") for name in items)


def test_two_rows_that_disagree_reject_their_file(folder: Path) -> None:
    rows = ["a.png,CC0-1.0", "a.png,CC-BY-NC-4.0", "a.png,CC-BY-NC-4.0", "b.png,MIT", "b.png,MIT"]
    (folder / "metadata.csv").write_text("file,licence\n" + "\n".join(rows))
    items = planned(folder)
    assert items["a.png"].reason == IngestReason.CONFLICTING_ROWS
    assert items["b.png"].reason == ""


def test_names_that_are_composed_differently_or_hold_odd_bytes(folder: Path) -> None:
    (folder / "e\u0301.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "metadata.csv").write_text("file,licence\n\u00e9.png,MIT\n", encoding="utf-8")
    odd = os.fsencode(folder) + b"/\xff.png"
    Path(os.fsdecode(odd)).write_bytes((folder / "a.png").read_bytes())
    items = planned(folder)
    assert items["e\u0301.png"].fields["licence"] == "MIT"
    assert "\\xff.png" in items


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("file,licence\na.png,MIT,extra\n", {}, "line 2: 3 cells under 2 columns"),
        ("file,file\na.png,MIT\n", {}, "name each column once"),
        ("name,licence\na.png,MIT\n", {}, "no column names the files"),
        ("file,licence\na.png,MIT\n", {"columns": {"licence": "licnse"}}, "has no column 'licnse'"),
        ("file,licence\na.png,MIT\n", {"columns": {"licnce": "licence"}}, "unknown column licnce"),
        ("file,licence\na.png,MIT\n", {"values": {"author": "Ada"}}, "unknown column author"),
        ("file,licence\na.png,MIT\n", {"columns": {"licence": "licence"}, "values": {"licence": "MIT"}}, "both"),
        ("file,licence\na.png,\xff\n", {}, "cannot be read as a table"),
        ("file,licence\na.png,MIT\n", {"table": "other.csv"}, "other.csv is not in"),
    ],
)
def test_faults_of_a_table_are_named(folder: Path, content: str, settings: dict[str, object], message: str) -> None:
    (folder / "metadata.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(ImprimaturError, match=message) as caught:
        planned(folder, **settings)
    assert caught.value.fix


def test_an_empty_source_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImprimaturError, match="empty: holds no files"):
        planned(tmp_path / "empty")


def write_idx(path: Path, array: np.ndarray) -> Path:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_idx_arrays_are_items_with_number_and_class_name(tmp_path: Path) -> None:
    images = write_idx(tmp_path / "images.gz", np.zeros((3, 28, 20)))
    labels = write_idx(tmp_path / "labels", np.array([1, 0, 1]))
    items = planned(images, labels=str(labels), class_names=["shirt", "shoe"], values={"holder_id": "Z"})
    assert list(items) == ["images.gz#00000", "images.gz#00001", "images.gz#00002"]
    assert items["images.gz#00002"].fields == {"key": "00002", "label": "shoe", "holder_id": "Z"}
    assert items["images.gz#00002"].place == Array(ANY, 560, ANY, 16 + 2 * 560, (28, 20))
    assert planned(images)["images.gz#00000"].fields["label"] == ""


def test_faults_of_idx_files_are_named(tmp_path: Path) -> None:
    images = write_idx(tmp_path / "images", np.zeros((3, 28, 20)))
    labels = write_idx(tmp_path / "labels", np.array([1, 0]))
    with pytest.raises(ImprimaturError, match="3 images, 2 labels"):
        planned(images, labels=str(labels))
    with pytest.raises(ImprimaturError, match="label 1 has no name"):
        planned(images, labels=str(labels), class_names=["only"])
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(ImprimaturError, match="does not fit its header"):
        planned(images)
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"x" * 5000)[:-20])
    with pytest.raises(ImprimaturError, match="cannot be unpacked whole"):
        planned(tmp_path / "x.gz")
    with pytest.raises(ImprimaturError, match="neither a folder nor a file of images"):
        planned(write_text(tmp_path / "notes.txt"))


def write_text(path: Path) -> Path:
    path.write_text("no arrays here")
    return path


def test_every_reason_is_explained() -> None:
    assert all(EXPLANATIONS[reason] for reason in IngestReason)
