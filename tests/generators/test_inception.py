"""Inception's features from a local weights file stand beside the CNN's; another file is refused before training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_training import striped_set, tiny

from pipeline.core.errors import ImprimaturError
from pipeline.core.merkle import merkle_root
from pipeline.generators.inception import Inception, inception_features, load_inception
from pipeline.generators.training import train


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under the names, and of the shapes, of those of 2015-12-05, which have no step counters."""
    torch.manual_seed(0)
    state = {name: tensor for name, tensor in Inception().state_dict().items() if "num_batches" not in name}
    for tensor in state.values():
        if tensor.dim() == 4:
            torch.nn.init.kaiming_normal_(tensor)  # else nothing arrives at the end
    state |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    path = tmp_path_factory.mktemp("inception") / "inception.safetensors"
    save_file(state, path)
    return path


def test_the_network_has_the_published_number_of_weights(weights: Path) -> None:
    learnt = [tensor for name, tensor in load_file(weights).items() if "running" not in name]
    assert sum(tensor.numel() for tensor in learnt) == 23_850_960  # pytorch-fid's FID Inception, fc of 1008


def test_grey_images_have_the_features_of_the_same_in_colour(weights: Path) -> None:
    network = load_inception(weights)
    grey = np.random.default_rng(0).integers(0, 256, (1, 28, 28, 1), dtype=np.uint8)
    features = inception_features(network, grey)
    assert features.shape == (1, 2048) and features.dtype == np.float32 and features.std() > 0
    assert np.allclose(features, inception_features(network, grey.repeat(3, axis=3)), rtol=1e-3, atol=1e-4)


@pytest.mark.slow  # some 30 pictures of 299 x 299
def test_a_training_measures_with_it(weights: Path, tmp_path: Path) -> None:
    data = striped_set(50)
    settings = tiny("vae", steps=20, inception=weights)
    trained = train(settings, data, merkle_root(data.assets), tmp_path)
    evaluation = trained.metrics["evaluation"]
    distance = evaluation["figures"]["Inception distance"]
    assert distance["low"] <= distance["value"] <= distance["high"] and distance["value"] > distance["real"] > 0
    assert {"Inception precision", "Inception recall"} <= set(evaluation["figures"])
    assert any("50,000 images" in warning for warning in evaluation["warnings"])


def test_other_files_are_refused_before_training(weights: Path, tmp_path: Path) -> None:
    data, good = striped_set(20), load_file(weights)
    torchvision = good | {"fc.weight": torch.zeros(1000, 2048)}
    lacking = {name: tensor for name, tensor in good.items() if name != "Mixed_7c.branch_pool.bn.bias"}
    wrong = good | {"Conv2d_1a_3x3.conv.weight": torch.zeros(32, 1, 3, 3)}
    cases = [
        (torchvision, r"\(1000, 2048\), not \(1008, 2048\)"),
        (lacking, "lacks Mixed_7c.branch_pool.bn.bias"),
        (wrong, "size mismatch for Conv2d_1a_3x3"),
    ]
    for number, (state, message) in enumerate(cases):
        save_file(state, tmp_path / f"{number}.safetensors")
        with pytest.raises(ImprimaturError, match=message):
            load_inception(tmp_path / f"{number}.safetensors")
    (tmp_path / "pickle.pth").write_bytes(b"\x80\x02}q\x00.")
    for name in ("pickle.pth", "none.safetensors"):
        settings = tiny("vae", inception=tmp_path / name)
        with pytest.raises(ImprimaturError, match=r"model\.inception.*cannot be read"):
            train(settings, data, merkle_root(data.assets), tmp_path / "model")
    assert not (tmp_path / "model").exists()
