"""Commands on datasets: survey, ingest, dedup."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import Dataset, Home, Json, emit
from pipeline.core.workspace import Workspace

app = typer.Typer()


@app.command()
def survey(
    source: Annotated[str, typer.Argument(help="A folder, file or URL.")],
    mapping: Annotated[Path | None, typer.Option("--mapping", help="YAML: columns, sha256, table, ...")] = None,
    as_json: Json = False,
) -> None:
    """Look at a source without taking it in: digest, size, rights data and hash of every file."""
    from flows.commands.data import surveyed_files

    for row in surveyed_files(source, mapping):
        emit(row, as_json, f"{row['status']:<9} {row['reason'] or '-':<22} {row['file']}")


@app.command()
def ingest(
    source: Annotated[str, typer.Argument(help="A folder, file or URL; or `list`: what was seen of --dataset.")],
    dataset: Dataset,
    mapping: Annotated[
        Path | None, typer.Option("--mapping", help="YAML: columns, values, licence, table, ...")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="The dataset's own licence.")] = None,
    hash_lists: Annotated[
        list[Path] | None, typer.Option("--hash-list", help="A safety hash list: what is on it is rejected.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Ingest a licensed dataset; or list every file that was seen of one."""
    from flows.commands.data import dataset_settings, listed_files
    from pipeline.core.settings import WorkSettings
    from pipeline.ingest import ingest_dataset

    workspace = Workspace.at(home)
    if source == "list":
        for row in listed_files(workspace, dataset):
            emit(row, as_json, f"{row['status']:<9} {row['reason'] or '-':<22} {row['file']}")
        return
    totals = ingest_dataset(
        dataset_settings(dataset, source, mapping, licence), workspace, WorkSettings(), hash_lists or ()
    )
    value = {name: getattr(totals, name) for name in ("dataset", "seen", "accepted", "rejected", "duplicates")}
    text = ", ".join(f"{count:,} {name}" for name, count in list(value.items())[1:])
    emit(value, as_json, f"{dataset}: {text}")


@app.command()
def dedup(
    source: Annotated[str, typer.Argument(help="A folder of images.")],
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Write a page here that shows each group and why it is one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find groups of copies in a folder, turned and cropped ones too; nothing is changed."""
    from flows.commands.data import duplicate_files

    for group in duplicate_files(source, sheet):
        emit(group, as_json, f"group {group['group']}: kept {group['kept']}; " + ", ".join(group["files"]))
