"""A diffusion model of one's own: a local folder is sampled, its files are recorded, and none of its code runs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from flows.cli import app
from pipeline.core.digests import file_sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import read_table
from pipeline.generators.external import check_pipeline, draw_external


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline with random weights, as diffusers itself saves it."""
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"), norm_num_groups=4,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("own") / "pipeline"
    DDIMPipeline(unet, DDIMScheduler(num_train_timesteps=20)).save_pretrained(path)
    return path


def test_a_local_pipeline_is_sampled_and_its_files_are_recorded(folder: Path, tmp_path: Path) -> None:
    command = [
        "generate",
        "--model",
        str(folder),
        "--count",
        "4",
        "--seed",
        "3",
        "--steps",
        "2",
        "--out",
        str(tmp_path),
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "pipeline.json").read_text())
    assert set(record["files"]) == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    }
    assert all(file_sha256(folder / name) == digest for name, digest in record["files"].items())
    table = read_table(tmp_path / "outputs.parquet")
    assert table.pixels.nunique() == 4 and len(list(tmp_path.glob("*.png"))) == 4


def test_image_k_depends_on_model_seed_and_k_alone(folder: Path) -> None:
    model = check_pipeline(folder)
    together = draw_external(model, 7, range(3), [], 2)
    assert (draw_external(model, 7, [2], [], 2)[0] == together[2]).all()
    assert (draw_external(model, 8, [2], [], 2)[0] != together[2]).any()
    assert together[0].shape == (16, 16, 3)


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.bin", "pipeline.py", "unet/weights.pt", "run"])
def test_a_folder_with_anything_that_may_run_is_refused(folder: Path, name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / name).write_bytes(b"x")
    with pytest.raises(ImprimaturError, match="may hold code"):
        check_pipeline(copy)


def test_a_component_from_elsewhere_a_link_and_broken_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"unet": ["my_code", "UNet"]}))
    with pytest.raises(ImprimaturError, match="unet comes from 'my_code'"):
        check_pipeline(copy)
    (copy / "model_index.json").unlink()
    (copy / "model_index.json").symlink_to(folder / "model_index.json")
    with pytest.raises(ImprimaturError, match="is a link"):
        check_pipeline(copy)
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ImprimaturError, match="the pipeline fails"):
        draw_external(check_pipeline(broken), 0, [0], [], 2)
