"""Variations of a given picture: only of one licensed as generator input, which becomes the image's parent."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from test_training import striped_set

from flows.commands.models import Asked, class_mix, generate_images, train_on
from flows.sources import chosen, decided_inputs, lay_out
from pipeline.catalog.tables import VERDICTS
from pipeline.core.digests import file_sha256
from pipeline.core.errors import ImprimaturError, NeedsPerson
from pipeline.core.moments import now
from pipeline.core.settings import (
    BatchSettings,
    CredentialSettings,
    DatasetSettings,
    DuplicateSettings,
    ScreeningSettings,
    WorkSettings,
)
from pipeline.core.shards import read_table, write_table
from pipeline.core.workspace import Workspace
from pipeline.credentials.batch import stamp_shard, stamping_jobs
from pipeline.credentials.identity import ensure_identity
from pipeline.credentials.sdk import read
from pipeline.generators.batch import batch_jobs, generate_shard
from pipeline.generators.record import WEIGHTS
from pipeline.ingest import ingest_dataset
from pipeline.rights.policy import load_policy
from pipeline.screening.gate import screen
from pipeline.similarity.fingerprints import fingerprint


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str, Path]:
    """A workspace with free stripes and reserved ones, and a tiny model of the free ones."""
    folder = tmp_path_factory.mktemp("studio")
    data, rows = striped_set(40, size=48), ["path,licence,label"]
    (folder / "pictures").mkdir()
    for number, (image, label) in enumerate(zip(data.pixels, data.labels, strict=True)):
        Image.fromarray(image).save(folder / "pictures" / f"{number:02d}.png")
        rows.append(f"{number:02d}.png,{'CC0-1.0' if number < 32 else 'CC-BY-NC-ND-4.0'},{data.class_names[label]}")
    (folder / "pictures" / "metadata.csv").write_text("\n".join(rows))
    workspace = Workspace(folder / "home")
    columns = {"file": "path", "licence": "licence", "label": "label"}
    settings = DatasetSettings(name="stripes", source=str(folder / "pictures"), table="metadata.csv", columns=columns)
    ingest_dataset(settings, workspace, WorkSettings(backend="serial"))
    config = folder / "job.yaml"
    dataset = {"name": "stripes", "source": str(folder / "pictures")}
    model = {"size": 48, "steps": 30, "batch_size": 8, "width": 8}
    config.write_text(yaml.safe_dump({"name": "job", "datasets": [dataset], "model": model}))
    trained, _ = train_on(workspace, ["stripes"], None, config, {})
    return workspace, trained.id, folder / "pictures"


def asked(source: Path, **changes: object) -> Asked:
    values: dict[str, object] = {
        "count": 3,
        "seed": 0,
        "classes": [],
        "guidance": 1.0,
        "source": source,
        "strength": 0.3,
    }
    return Asked(**values | changes)  # type: ignore[arg-type]


def test_a_licensed_picture_is_varied_and_named_as_the_source(
    studio: tuple[Workspace, str, Path], tmp_path: Path
) -> None:
    workspace, model, pictures = studio
    table = generate_images(workspace, model, asked(pictures / "05.png"), tmp_path)
    assert set(table.source) == {file_sha256(pictures / "05.png")}
    assert set(table.label) == {"down"} and set(table.recognised) <= {"across", "down"}
    assert table.pixels.nunique() == 3
    assert read_table(tmp_path / "outputs.parquet").equals(table)
    again = generate_images(workspace, model, asked(pictures / "05.png"), tmp_path / "again")
    assert again.pixels.tolist() == table.pixels.tolist()


def test_a_picture_without_the_licence_is_not_varied(studio: tuple[Workspace, str, Path], tmp_path: Path) -> None:
    workspace, model, pictures = studio
    with pytest.raises(NeedsPerson, match=r"39\.png: deny as generator input \(LICENCE_"):
        generate_images(workspace, model, asked(pictures / "39.png"), tmp_path / "out")
    stranger = tmp_path / "stranger.png"
    Image.fromarray(np.full((48, 48, 3), 9, np.uint8)).save(stranger)
    with pytest.raises(ImprimaturError, match="nothing is known of its rights"):
        generate_images(workspace, model, asked(stranger), tmp_path / "out")
    with pytest.raises(ImprimaturError, match="strength"):
        generate_images(workspace, model, asked(pictures / "05.png", strength=2.0), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_batch_of_variations_is_stamped_with_its_sources_as_parents(
    studio: tuple[Workspace, str, Path], tmp_path: Path
) -> None:
    workspace, model, _ = studio
    inputs = decided_inputs(workspace, "stripes", True, load_policy(None), now())
    assert set(inputs[inputs.decision == "allow"].file) == {f"{number:02d}.png" for number in range(32)}
    sources = lay_out(workspace, chosen(inputs, ["down"], 4, 1), (255, 255, 255), tmp_path / "generated")
    assert len({source.asset for source in sources}) == 4 and {source.label for source in sources} == {"down"}
    folder = workspace.model(model)
    batch = BatchSettings(count=5, guidance=1.0)
    (job,) = batch_jobs(folder, "", batch, 3, tmp_path / "generated", sources, 0.3)
    generate_shard(job)
    table = read_table(Path(job["out"]))
    assert table.source.tolist() == [sources[k % 4].asset for k in range(5)]
    passed = {"verdict": "pass", "reasons": [], "flatness": 0.0, "nearest": []}
    verdicts = [{"index": k, **passed, "phash": bytes(32), "thumbnail": bytes(3072)} for k in range(5)]
    write_table(tmp_path / "verdicts.parquet", pd.DataFrame(verdicts), VERDICTS)
    settings = CredentialSettings()
    identity = ensure_identity(settings, workspace)
    facts = {"batch": "b-1", "seed": 3, "model": model, "model_sha256": "", "snapshot": "", "snapshot_root": ""}
    (stamping,) = stamping_jobs(
        workspace, [Path(job["out"])], tmp_path / "verdicts.parquet", facts, settings, identity, folder / WEIGHTS,
        "png", tmp_path,
    )  # fmt: skip
    stamp_shard(stamping)
    stamped = read_table(Path(stamping["out"]))
    assert set(stamped.state) == {"published"}
    report = read((tmp_path / "staging" / stamped.file[0]).read_bytes(), "image/png", identity.anchors_pem)
    assert report is not None
    active = report["manifests"][report["active_manifest"]]
    assert {ingredient["relationship"] for ingredient in active["ingredients"]} == {"parentOf", "inputTo"}


def test_a_variation_may_look_like_its_source_and_like_nothing_else() -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 255, (60, 8, 8, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    prints = [fingerprint(picture) for picture in pictures]
    known = pd.DataFrame([one.__dict__ for one in prints]).assign(
        asset=[f"{number:064x}" for number in range(60)], decision="allow", trained=True
    )
    nearly = np.clip(pictures[:2] + random.normal(0, 2, pictures[:2].shape), 0, 255).astype(np.uint8)
    stream = [io.BytesIO(), io.BytesIO()]
    for picture, file in zip(nearly, stream, strict=True):
        Image.fromarray(picture).save(file, "PNG")
    generated = pd.DataFrame(
        {
            "index": [0, 1],
            "pixels": ["a", "b"],
            "image": [file.getvalue() for file in stream],
            "source": [f"{0:064x}", f"{5:064x}"],
        }
    )
    earlier = pd.DataFrame(columns=["output", "phash", "flatness", "thumbnail", "pixels"])
    verdicts = screen(generated, known, earlier, DuplicateSettings(), ScreeningSettings()).verdicts
    assert verdicts.reasons.tolist() == [[], ["NEAR_COPY_OF_TRAINING"]]


def test_class_options_are_names_or_shares() -> None:
    assert class_mix(["Bag", "Shirt"]) == ["Bag", "Shirt"]
    assert class_mix(["Bag=2", "Shirt=1"]) == {"Bag": 2.0, "Shirt": 1.0}
    assert class_mix(["a=b"]) == ["a=b"]
    with pytest.raises(ImprimaturError, match="some have a share"):
        class_mix(["Bag=2", "Shirt"])


def test_an_interpolation_is_drawn_from_the_command(studio: tuple[Workspace, str, Path], tmp_path: Path) -> None:
    workspace, model, _ = studio
    table = generate_images(workspace, model, Asked(5, 0, [], 1.0, between=[2, 9]), tmp_path)
    assert len(table) == 5 and set(table.source) == {""}
