"""Ingest and list datasets, find duplicates."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.commands.given import validated
from pipeline.catalog.assets import read_fingerprints, read_inventory
from pipeline.core.settings import DatasetSettings, DuplicateSettings, WorkSettings, load_mapping
from pipeline.core.shards import rows_of
from pipeline.core.workspace import Workspace

Row = dict[str, Any]


def dataset_settings(name: str, source: str, mapping: Path | None, licence: str | None) -> DatasetSettings:
    """A dataset named on the command line; `mapping` holds whatever else DatasetSettings knows."""
    given = load_mapping(mapping) if mapping else {}
    if licence is not None:
        given["licence"] = licence
    return validated(DatasetSettings, {"name": name, "source": source, **given}, mapping)


def listed_files(workspace: Workspace, dataset: str) -> Iterator[Row]:
    """Every file that was seen of a dataset, accepted or not."""
    columns = ["file", "asset", "status", "reason", "sha256", "pixels", "duplicate_of"]
    yield from rows_of(read_inventory(workspace, dataset, columns)[columns])


def surveyed_files(source: str, mapping: Path | None) -> Iterator[Row]:
    """A row a file of a source, read in a scratch workspace."""
    from pipeline.ingest.survey import survey

    with tempfile.TemporaryDirectory() as scratch:
        yield from survey(dataset_settings("source", source, mapping, None), Workspace(Path(scratch)), WorkSettings())


def duplicate_files(source: str, sheet: Path | None = None) -> Iterator[Row]:
    """Groups of copies in a source, read in a scratch workspace; `sheet` is the contact sheet to write."""
    from pipeline.audit.contact_sheet import write_sheet
    from pipeline.catalog.assets import read_asset
    from pipeline.ingest import ingest_dataset
    from pipeline.similarity.fingerprints import thumbnails
    from pipeline.similarity.groups import Prints, find_copies
    from pipeline.similarity.shard_join import join_with

    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(scratch))
        ingest_dataset(DatasetSettings(name="source", source=source, store="reference"), workspace, WorkSettings())
        files = read_inventory(workspace, "source")
        files = files[files.status == "accepted"].merge(read_fingerprints(workspace, "source"), on="asset")
        prints = Prints(
            list(files.phash), files.flatness.to_numpy(), thumbnails(list(files.thumbnail)), list(files.pixels)
        )
        copies = find_copies(prints, DuplicateSettings(), join_with(WorkSettings(), Path(scratch)))
        if sheet:
            places = list(zip(files.asset, files.store, files.offset, files.length, strict=True))
            write_sheet(
                sheet, source, list(files.file), prints, copies,
                lambda row: read_asset(workspace, "source", *places[row]),
            )  # fmt: skip
    for number, group in files.assign(group=copies.groups()).query("group >= 0").groupby("group"):
        yield {"group": int(str(number)), "files": list(group.file), "kept": group.file.iloc[0]}
