"""Training: resumable bit for bit, and proven to have fed exactly the snapshot."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from pipeline.core.digests import file_sha256
from pipeline.core.errors import EnvironmentFault, ImprimaturError
from pipeline.core.merkle import merkle_root
from pipeline.core.settings import ModelSettings
from pipeline.generators import metrics, training
from pipeline.generators.build import build_generator
from pipeline.generators.plan import threads
from pipeline.generators.record import is_trained, model_key, trained_model
from pipeline.generators.sampling import load_model, sample
from pipeline.generators.training import Feeder, train
from pipeline.generators.training_set import TrainingSet, row_digest

KINDS = ["vae", "gan", "pixel_gan", "flow_matching"]


def striped_set(count: int = 24, size: int = 16, channels: int = 3, seed: int = 1) -> TrainingSet:
    """Stripes, horizontal (class 0) or vertical (class 1), of random colours."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((count, size, size, channels), np.uint8)
    labels = np.arange(count, dtype=np.int64) % 2
    for image, label in zip(pixels, labels, strict=True):
        image[:] = random.integers(0, 255, channels)
        stripes = image if label == 0 else image.transpose(1, 0, 2)
        stripes[:: random.integers(2, 5)] = random.integers(0, 255, channels)
    digests = [row_digest(image) for image in pixels]
    return TrainingSet(pixels, labels, ["across", "down"], digests, digests, "striped")


def tiny(kind: str, **changes: object) -> ModelSettings:
    values = {"kind": kind, "size": 16, "steps": 8, "batch_size": 8, "width": 8, **changes}
    return ModelSettings.model_validate(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "channels"), [(16, 3), (20, 1)])
def test_each_kind_trains_and_samples_images_of_its_size(kind: str, size: int, channels: int, tmp_path: Path) -> None:
    data = striped_set(size=size, channels=channels)
    done: list[tuple[int, int, str]] = []
    model = train(
        tiny(kind, size=size, channels=channels),
        data,
        merkle_root(data.assets),
        tmp_path,
        lambda *at: done.append(at),
    )
    assert is_trained(tmp_path) and trained_model(tmp_path) == model
    drawn = sample(load_model(tmp_path), 0, range(3), [], 1.5)
    assert drawn.pixels.shape == (3, size, size, channels) and drawn.pixels.dtype == np.uint8
    assert drawn.labels == ["across", "down", "across"]
    assert drawn.pixels.std() > 1
    assert done[-1][0] == done[-1][1]
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {stage["name"] for stage in _plan(tmp_path)["stages"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_resumes_to_the_very_same_weights(kind: str, tmp_path: Path) -> None:
    data, settings = striped_set(), tiny(kind, steps=12)
    root = merkle_root(data.assets)
    whole = train(settings, data, root, tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    (folder / "plan.json").write_bytes((tmp_path / "whole" / "plan.json").read_bytes())
    for stop in (5, 10):  # in the first stage, and in the second where there is one
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
            train(settings, data, root, folder, interrupt_at(stop))
        assert (folder / "checkpoint.safetensors").exists() and not is_trained(folder)
    assert train(settings, data, root, folder).weights_sha256 == whole.weights_sha256
    assert not (folder / "checkpoint.safetensors").exists()
    steps = [(line["stage"], line["step"]) for line in map(json.loads, (folder / "metrics.jsonl").open())]
    assert len(steps) == len(set(steps)) == sum(stage["steps"] for stage in _plan(folder)["stages"])


def test_a_training_of_the_same_inputs_gives_the_same_file(tmp_path: Path) -> None:
    data, settings = striped_set(), tiny("flow_matching", steps=4)
    first = train(settings, data, merkle_root(data.assets), tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "plan.json").write_bytes((tmp_path / "a" / "plan.json").read_bytes())
    with threads(1):  # the plan's count holds, whatever the process came with
        second = train(settings, data, merkle_root(data.assets), tmp_path / "b")
    assert first.weights_sha256 == second.weights_sha256


def test_a_model_fed_with_another_set_than_the_snapshot_is_not_released(tmp_path: Path) -> None:
    data = striped_set()
    with pytest.raises(ImprimaturError, match="Merkle root"):
        train(tiny("flow_matching", steps=4), data, merkle_root(data.assets[1:]), tmp_path)
    assert not is_trained(tmp_path)


def test_even_the_shortest_training_looks_at_every_image_and_says_how_few_it_learnt_from(tmp_path: Path) -> None:
    data = striped_set(count=30)
    model = train(tiny("flow_matching", steps=1), data, merkle_root(data.assets), tmp_path)
    assert _plan(tmp_path)["stages"][0]["steps"] == 1
    assert "within the first epoch, after 8 of 30 images" in model.metrics["evaluation"]["warnings"][-1]
    longer = train(tiny("flow_matching", steps=4), data, merkle_root(data.assets), tmp_path / "longer")
    assert "epoch" not in " ".join(longer.metrics["evaluation"]["warnings"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_starts_from_the_mean_image(kind: str) -> None:
    data = striped_set(count=300)
    feeder = Feeder(data, torch.zeros(300, dtype=torch.bool), np.zeros(300, np.bool_), torch.device("cpu"))
    mean = feeder.mean_image()
    wanted = torch.from_numpy(data.pixels.mean(axis=0)).permute(2, 0, 1).float() / 127.5 - 1
    assert torch.allclose(mean, wanted, atol=1e-5)
    assert feeder.root() == merkle_root(data.assets)
    first, other = (build_generator(tiny(kind), 2) for _ in range(2))
    other.start_from(mean)
    moved = [a - b for a, b in zip(other.parameters(), first.parameters(), strict=True) if not a.equal(b)]
    assert [tuple(difference.shape) for difference in moved] == [(3 if kind == "pixel_gan" else 12,)]


def test_an_altered_row_of_the_memory_map_stops_the_training(tmp_path: Path) -> None:
    data = striped_set()
    data.pixels[17, 3, 3, 0] ^= 1
    with pytest.raises(ImprimaturError, match=f"row 17 .* asset {data.assets[17]}"):
        train(tiny("flow_matching", steps=4), data, merkle_root(data.assets), tmp_path)


def test_a_diverged_training_is_reported_and_not_released(tmp_path: Path) -> None:
    data = striped_set()
    with pytest.raises(ImprimaturError, match="diverged"):
        train(tiny("vae", steps=60, learning_rate=1e18), data, merkle_root(data.assets), tmp_path)
    assert not is_trained(tmp_path)


def test_a_loss_that_is_not_a_number_ends_the_training_at_that_step(tmp_path: Path) -> None:
    data, lines = striped_set(), []
    with pytest.raises(ImprimaturError, match=r"step [1-9]\d* of stage flow.*nan.*not released"):
        settings = tiny("flow_matching", steps=60, learning_rate=1e30)
        train(settings, data, merkle_root(data.assets), tmp_path, lambda *at: lines.append(at))
    assert not is_trained(tmp_path) and len(lines) < 60


def test_a_budget_in_seconds_becomes_a_plan_of_steps_that_is_kept(tmp_path: Path) -> None:
    data, settings = striped_set(), tiny("flow_matching", steps=None, seconds=1.0)
    with pytest.raises(KeyboardInterrupt):
        train(settings, data, merkle_root(data.assets), tmp_path, interrupt_at(2))
    plan = _plan(tmp_path)
    assert plan["threads"] == 2 and plan["stages"][0]["steps"] >= 3
    train(settings, data, merkle_root(data.assets), tmp_path)
    assert _plan(tmp_path) == plan


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    data = striped_set()
    with pytest.raises(KeyboardInterrupt):
        train(tiny("flow_matching"), data, merkle_root(data.assets), tmp_path, interrupt_at(2))
    with pytest.raises(ImprimaturError, match="belongs to another training"):
        train(tiny("flow_matching", seed=1), data, merkle_root(data.assets), tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    data, settings = striped_set(), tiny("flow_matching", steps=4)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
        train(settings, data, merkle_root(data.assets), tmp_path, interrupt_at(3))
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ImprimaturError, match=r"checkpoint\.safetensors: damaged"):
        train(settings, data, merkle_root(data.assets), tmp_path)


def test_weights_are_plain_safetensors_that_name_their_snapshot(tmp_path: Path) -> None:
    data, settings = striped_set(), tiny("gan")
    root = merkle_root(data.assets)
    model = train(settings, data, root, tmp_path)
    path = tmp_path / "weights.safetensors"
    assert file_sha256(path) == model.weights_sha256
    with safe_open(path, "np") as file:
        about = json.loads(file.metadata()["imprimatur"])
        names = list(file.keys())
    assert about["root"] == root and about["kind"] == "gan"
    assert about["class_names"] == data.class_names
    assert ModelSettings.model_validate(about["settings"]) == settings
    assert not any(name.startswith("discriminator") for name in names)


def test_the_model_key_changes_with_root_settings_and_data() -> None:
    settings = tiny("vae")
    keys = {
        model_key("aa", settings, "d"),
        model_key("bb", settings, "d"),
        model_key("aa", tiny("vae", seed=1), "d"),
        model_key("aa", settings, "e"),
    }
    assert len(keys) == 4
    assert model_key("aa", tiny("vae"), "d") in keys


def test_sigkill_during_training_loses_nothing(tmp_path: Path) -> None:
    """A real process, killed for real, between any two steps."""
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from test_training import striped_set, tiny\n"
        "from pipeline.core.merkle import merkle_root\n"
        "from pipeline.generators import training\n"
        "training.CHECKPOINT_SECONDS = 0.0\n"
        "data = striped_set()\n"
        "say = lambda *at: print(*at, flush=True)\n"
        "training.train(tiny('flow_matching', steps=40), data, merkle_root(data.assets), Path(sys.argv[2]), say)\n"
    )
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(Path(__file__).parent), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("6 "):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    assert not is_trained(folder)
    data = striped_set()
    resumed = train(tiny("flow_matching", steps=40), data, merkle_root(data.assets), folder)
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "plan.json").write_bytes((folder / "plan.json").read_bytes())
    undisturbed = train(tiny("flow_matching", steps=40), data, merkle_root(data.assets), whole)
    assert resumed.weights_sha256 == undisturbed.weights_sha256


def test_one_class_and_fewer_images_than_a_batch_train(tmp_path: Path) -> None:
    whole = striped_set(count=5)
    data = dataclasses.replace(whole, labels=np.zeros(5, np.int64), class_names=["only"])
    model = train(tiny("vae"), data, merkle_root(data.assets), tmp_path)
    assert sample(load_model(model.folder), 0, [0], ["only"]).labels == ["only"]


def _plan(folder: Path) -> dict[str, object]:
    plan: dict[str, object] = json.loads((folder / "plan.json").read_text())
    return plan


def interrupt_at(stop: int):  # type: ignore[no-untyped-def]
    def progress(done: int, total: int, note: str) -> None:
        if done >= stop:
            raise KeyboardInterrupt

    return progress


def test_too_large_a_batch_proposes_a_smaller_one(tmp_path: Path) -> None:
    data = striped_set()
    with pytest.raises(EnvironmentFault, match=r"out of memory at a batch of 1000000000000 images") as raised:
        train(tiny("vae", batch_size=10**12), data, merkle_root(data.assets), tmp_path)
    assert "model.batch_size to 500000000000" in raised.value.fix
    assert not is_trained(tmp_path)


def test_a_checkpoint_without_its_tensors_is_named(tmp_path: Path) -> None:
    data, settings = striped_set(), tiny("flow_matching", steps=6)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
        train(settings, data, merkle_root(data.assets), tmp_path, interrupt_at(5))
    checkpoint = tmp_path / "checkpoint.safetensors"
    with safe_open(checkpoint, "np") as file:
        position, fed = file.metadata(), file.get_tensor("fed")
    save_file({"fed": fed}, checkpoint, position)
    with pytest.raises(ImprimaturError, match=r"checkpoint\.safetensors: damaged"):
        train(settings, data, merkle_root(data.assets), tmp_path)


def test_a_training_that_copies_its_images_stops_early_and_says_so(tmp_path: Path) -> None:
    data, settings = striped_set(), tiny("vae", steps=80)
    root = merkle_root(data.assets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "MANY", -1)  # a tiny model copies nothing: take any share for too much
        stopped = train(settings, data, root, tmp_path / "stopped")
    assert stopped.metrics["stopped_early"] == "0% of the samples were near copies of training images at step 4"
    whole = train(settings, data, root, tmp_path / "whole")
    assert whole.metrics["stopped_early"] == "" and whole.weights_sha256 != stopped.weights_sha256
    assert len(list((tmp_path / "whole").glob("samples-*.png"))) == 3


def test_ten_images_train_and_say_how_little_that_means(tmp_path: Path) -> None:
    data = striped_set(count=10)
    model = train(tiny("gan"), data, merkle_root(data.assets), tmp_path)
    assert "too few to measure" in model.metrics["evaluation"]["warnings"][0]


def test_a_collapsed_gan_is_refused(tmp_path: Path) -> None:
    """A GAN in pixels that has hardly learnt anything draws one blob a class."""
    data = striped_set(count=600)
    with pytest.raises(ImprimaturError, match="the GAN collapsed"):
        train(tiny("pixel_gan", steps=1, batch_size=64), data, merkle_root(data.assets), tmp_path)
    assert not is_trained(tmp_path)


def test_losses_are_also_curves_for_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data = striped_set()
    train(tiny("flow_matching"), data, merkle_root(data.assets), tmp_path)
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    drawn = [(event.step, event.value) for event in curves.Scalars("flow/velocity")]
    assert drawn == [(line["step"], pytest.approx(line["velocity"], rel=1e-6)) for line in logged]


def test_a_checkpoint_of_another_config_is_refused(tmp_path: Path) -> None:
    data = striped_set()
    root = merkle_root(data.assets)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
        train(tiny("flow_matching"), data, root, tmp_path / "one", interrupt_at(3))
    (tmp_path / "other").mkdir()
    (tmp_path / "one" / "checkpoint.safetensors").rename(tmp_path / "other" / "checkpoint.safetensors")
    with pytest.raises(ImprimaturError, match=r"checkpoint\.safetensors: belongs to another training"):
        train(tiny("flow_matching", width=16), data, root, tmp_path / "other")
    assert not is_trained(tmp_path / "other")
