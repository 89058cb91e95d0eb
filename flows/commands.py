"""What the command line's single steps do: the rooms called one at a time, without Prefect."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from pipeline.catalog.assets import read_fingerprints, read_inventory
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import append_events, ledger_head, read_events
from pipeline.catalog.records import dataset_licence
from pipeline.core.errors import ImprimaturError
from pipeline.core.moments import now, parse_moment
from pipeline.core.settings import (
    BatchSettings,
    ConsentFile,
    CredentialSettings,
    DatasetSettings,
    DuplicateSettings,
    ModelSettings,
    SomeSettings,
    Use,
    WorkSettings,
    load_job,
    load_mapping,
)
from pipeline.core.shards import read_table, rows_of, write_bytes, write_table
from pipeline.core.workspace import Workspace
from pipeline.rights.findings import Purpose
from pipeline.rights.policy import load_policy

if TYPE_CHECKING:
    from fastapi import FastAPI

    from flows.train import Model
    from pipeline.rights.snapshot import Snapshot

IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".avif"}
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


def import_events(workspace: Workspace, path: Path, mapping: Path | None, dataset: str) -> dict[str, int]:
    """Append the consent events of a file to the ledger."""
    from pipeline.rights.events import read_event_file

    file = validated(ConsentFile, {"file": str(path), **(load_mapping(mapping) if mapping else {})}, mapping)
    events = read_event_file(path, file, dataset, recorded_at=now())
    appended = append_events(open_catalog(workspace), events)
    unreadable = sum(event.action == "unreadable" for event in events)
    return {"imported": appended.imported, "already_known": appended.already_known, "unreadable": unreadable}


def parse_purpose(text: str) -> Purpose:
    """`train_generative:commercial` or `train_generative`."""
    use, _, commercial = text.partition(":")
    if use not in get_args(Use) or commercial not in ("", "commercial"):
        raise ImprimaturError(
            f"--purpose: {text!r} is not a purpose", f"write {', '.join(get_args(Use))}, with :commercial or without"
        )
    return Purpose(use, bool(commercial))  # type: ignore[arg-type]


def decide_dataset(
    workspace: Workspace, dataset: str, purpose: str, policy: Path | None, as_of: str | None, known_at: str | None
) -> Iterator[Row]:
    """The decision on every accepted file of a dataset."""
    decisions = _decisions(workspace, [dataset], parse_purpose(purpose), policy, *_moments(as_of, known_at))
    for row in rows_of(decisions):
        yield {
            "file": row["file"],
            "asset": row["asset"],
            "decision": row["decision"],
            "reasons": list(row["reasons"]),
            "evidence": list(row["evidence"]),
            "licence": row["licence"],
            "obligations": list(row["obligations"]),
        }


def snapshot_datasets(
    workspace: Workspace,
    datasets: list[str],
    purpose: str,
    policy: Path | None,
    as_of: str | None,
    known_at: str | None,
) -> "Snapshot":
    """Decide, select and sign."""
    from pipeline.rights.selection import select
    from pipeline.rights.snapshot import make_snapshot

    wanted, (held, known) = parse_purpose(purpose), _moments(as_of, known_at)
    decisions = _decisions(workspace, datasets, wanted, policy, held, known)
    fingerprints = pd.concat([read_fingerprints(workspace, name) for name in datasets])
    selection = select(_inventories(workspace, datasets), decisions, fingerprints, DuplicateSettings())
    head = ledger_head(open_catalog(workspace), known)
    return make_snapshot(workspace, selection, decisions, wanted, load_policy(policy), held, known, head)


def train_on(
    workspace: Workspace, datasets: list[str], snapshot: str | None, config: Path | None, given: dict[str, Any]
) -> tuple["Model", dict[str, Any]]:
    """Train on a snapshot, or on the one that the datasets give now; returns the model and its metrics."""
    from flows.train import make_model
    from pipeline.credentials.identity import ensure_identity
    from pipeline.generators.record import trained_model
    from pipeline.rights.snapshot import load_snapshot

    if bool(datasets) == bool(snapshot):
        raise ImprimaturError("train: what on?", "give either --dataset or --snapshot")
    job = load_job(config) if config else None
    base = job.model.model_dump() if job else {}
    settings = validated(ModelSettings, {**base, **{key: value for key, value in given.items() if value}}, config)
    if snapshot:
        chosen = load_snapshot(workspace, snapshot)
    else:
        chosen = snapshot_datasets(workspace, datasets, "train_generative:commercial", None, None, None)
    selection = read_table(chosen.folder / "selection.parquet")
    known = {dataset.name: dataset.background for dataset in job.datasets} if job else {}
    backgrounds = {name: known.get(name, (255, 255, 255)) for name in selection.dataset.unique()}
    identity = ensure_identity(_credentials(config), workspace)
    model = make_model(workspace, settings, identity, chosen, selection, backgrounds)
    return model, trained_model(model.folder).metrics


def generate_images(
    workspace: Workspace, model: str, count: int, seed: int, classes: list[str], out: Path
) -> pd.DataFrame:
    """Sample images into `out` with outputs.parquet beside them."""
    from pipeline.catalog.records import model_row
    from pipeline.catalog.tables import GENERATED
    from pipeline.generators.batch import batch_jobs, generate_shard

    row = model_row(open_catalog(workspace), model)
    batch = BatchSettings(count=count, classes=classes)
    with tempfile.TemporaryDirectory() as scratch:
        jobs = batch_jobs(workspace.model(model), row.weights_sha256, batch, seed, Path(scratch))
        for job in jobs:
            generate_shard(job)
        table = pd.concat([read_table(Path(job["out"])) for job in jobs], ignore_index=True)
    for index, image in zip(table["index"], table.image, strict=True):
        write_bytes(out / f"{model}-{seed}-{index:06d}.png", image)
    write_table(out / "outputs.parquet", table, GENERATED)
    return table


def duplicate_files(source: str) -> Iterator[Row]:
    """Near-duplicate groups of a source, read in a scratch workspace."""
    from pipeline.ingest import ingest_dataset
    from pipeline.similarity.fingerprints import thumbnails
    from pipeline.similarity.groups import duplicate_groups

    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(scratch))
        ingest_dataset(DatasetSettings(name="source", source=source, store="reference"), workspace, WorkSettings())
        files = read_inventory(workspace, "source")
        files = files[files.status == "accepted"].merge(read_fingerprints(workspace, "source"), on="asset")
    numbers = duplicate_groups(
        list(files.phash), files.flatness.to_numpy(), thumbnails(list(files.thumbnail)), list(files.pixels),
        DuplicateSettings(),
    )  # fmt: skip
    for number, group in files.assign(group=numbers).query("group >= 0").groupby("group"):
        yield {"group": int(str(number)), "files": list(group.file), "kept": group.file.iloc[0]}


def stamp_paths(workspace: Workspace, paths: list[Path], out: Path, config: Path | None) -> Iterator[Row]:
    """Stamp images into `out`."""
    from pipeline.credentials.stamp_files import stamp_files

    yield from stamp_files(image_files(paths), out, _credentials(config), workspace)


def verify_paths(workspace: Workspace, paths: list[Path], anchors: list[Path], config: Path | None) -> Iterator[Row]:
    """What each file's credential shows, against the given anchors and those of the workspace's identity."""
    from pipeline.credentials.identity import ensure_identity
    from pipeline.credentials.verify import read_anchors, verify

    pems = read_anchors(anchors)
    known, watermark_key = workspace.catalog.exists(), None
    if known:  # verifying alone must not make a workspace or keys
        identity = ensure_identity(_credentials(config), workspace)
        pems, watermark_key = [*pems, identity.anchors_pem], identity.watermark_key
    for path in image_files(paths):
        yield verify(path, pems, workspace if known else None, watermark_key).as_json()


def trace(workspace: Workspace, subject: str) -> Row:
    """Walk the chain from an output's file or id, or from an asset."""
    from pipeline.audit.lineage import trace_asset, trace_output
    from pipeline.core.digests import file_sha256

    path = Path(subject)
    reference = file_sha256(path) if path.is_file() else subject
    try:
        return trace_output(workspace, reference)
    except ImprimaturError:
        return trace_asset(workspace, reference)


def find_report(workspace: Workspace, run: str | None) -> Row:
    """Path and summary of a run's report."""
    accounts = sorted(workspace.home.glob("batches/*/account.json"), key=lambda path: path.stat().st_mtime)
    found = [path for path in accounts if run is None or path.parent.name == run]
    if not found:
        raise ImprimaturError(
            f"no report of {run or 'any run'} in {workspace.home}", "imprimatur nightly --config configs/nightly.yaml"
        )
    folder = found[-1].parent
    summary = json.loads(found[-1].read_text())["summary"]
    return {"run": folder.name, "report": str(folder / "report" / "report.html"), "summary": summary}


def web_app(workspace: Workspace, config: Path | None) -> "FastAPI":
    """The web server's application."""
    from pipeline.credentials.identity import ensure_identity
    from pipeline.web.app import create_app

    identity = ensure_identity(_credentials(config), workspace)
    return create_app(workspace, [identity.anchors_pem], identity.watermark_key)


def image_files(paths: list[Path]) -> Iterator[Path]:
    """The files given, and the images below the folders given. Raises ImprimaturError for a missing path."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGES and file.is_file())
        elif path.exists():
            yield path
        else:
            raise ImprimaturError(f"{path}: no such file or folder", "name an existing one")


def validated(model: type[SomeSettings], value: dict[str, Any], source: Path | None) -> SomeSettings:
    """Settings from the command line, with the same messages as from a file."""
    from pydantic import ValidationError

    from pipeline.core.settings import explained

    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise explained(source or Path("command line"), model, error) from None


def _credentials(config: Path | None) -> CredentialSettings:
    return load_job(config).credentials if config else CredentialSettings()


def _moments(as_of: str | None, known_at: str | None) -> tuple[str, str]:
    moment = now()
    return (
        parse_moment(as_of, "--as-of") if as_of else moment,
        parse_moment(known_at, "--known-at") if known_at else moment,
    )


def _inventories(workspace: Workspace, datasets: list[str]) -> pd.DataFrame:
    return pd.concat([read_inventory(workspace, name).assign(dataset=name) for name in datasets])


def _decisions(
    workspace: Workspace, datasets: list[str], purpose: Purpose, policy: Path | None, as_of: str, known_at: str
) -> pd.DataFrame:
    from pipeline.rights.decision import decide

    catalog = open_catalog(workspace)
    licences = {name: dataset_licence(catalog, name) for name in datasets}
    events = read_events(catalog, known_at)
    inventories = _inventories(workspace, datasets)
    return decide(inventories, licences, events, purpose, load_policy(policy), as_of, known_at)
