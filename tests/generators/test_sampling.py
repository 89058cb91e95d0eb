"""Sampling: image k is the same alone, in any batch, after any restart, in any process."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_training import KINDS, striped_set, tiny

from pipeline.core.errors import ImprimaturError
from pipeline.core.merkle import merkle_root
from pipeline.generators.plan import threads
from pipeline.generators.sampling import draw, interpolate, labels_of, load_model, sample, vary
from pipeline.generators.training import train


@pytest.fixture(scope="module", params=[kind for kind in KINDS if kind != "pixel_gan"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny trained model of each kind."""
    data = striped_set()
    path = tmp_path_factory.mktemp(request.param)
    return train(tiny(request.param, steps=80), data, merkle_root(data.assets), path).folder


def drawn_in_process(folder: Path, indices: list[int]) -> NDArray[np.uint8]:
    return sample(load_model(folder), 7, indices, [], 1.5).pixels


def test_image_k_does_not_depend_on_its_company(folder: Path) -> None:
    model = load_model(folder)
    together = sample(model, 7, range(21), [], 1.5).pixels
    assert np.array_equal(sample(model, 7, [18], [], 1.5).pixels[0], together[18])
    assert np.array_equal(sample(model, 7, [20, 3, 18, 0], [], 1.5).pixels, together[[20, 3, 18, 0]])
    with threads(2):
        assert np.array_equal(sample(model, 7, range(16, 21), [], 1.5).pixels, together[16:])


def test_image_k_is_the_same_from_two_worker_processes(folder: Path) -> None:
    here = sample(load_model(folder), 7, range(12), [], 1.5).pixels
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        halves = pool.map(drawn_in_process, [folder, folder], [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11]])
        assert np.array_equal(np.concatenate(list(halves)), here)


def test_seed_and_index_change_the_image(folder: Path) -> None:
    model = load_model(folder)
    first = sample(model, 0, [0, 2], [], 1.5).pixels
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(sample(model, 1, [0], [], 1.5).pixels[0], first[0])


def test_classes_take_turns(folder: Path) -> None:
    model = load_model(folder)
    assert sample(model, 0, [0, 1, 2, 3]).labels == ["across", "down", "across", "down"]
    assert sample(model, 0, [5, 6], ["down"]).labels == ["down", "down"]


def test_an_unknown_class_is_refused_with_the_nearest_known(folder: Path) -> None:
    with pytest.raises(ImprimaturError, match="did you mean 'across'"):
        sample(load_model(folder), 0, [0], ["acros"])


def test_altered_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("weights.safetensors", "model.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    weights = bytearray((tmp_path / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(weights)
    with pytest.raises(ImprimaturError, match=r"not the weights that model\.json records"):
        load_model(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImprimaturError, match="holds no finished model"):
        load_model(tmp_path)


def test_classes_by_share_are_spread_evenly_and_depend_on_k_alone(folder: Path) -> None:
    model = load_model(folder)
    mix = {"across": 3.0, "down": 1.0}
    labels = labels_of(model, range(400), mix)
    assert abs((labels == 0).mean() - 0.75) < 0.01
    assert abs((labels[100:140] == 0).mean() - 0.75) < 0.1
    assert np.array_equal(labels_of(model, [7, 300], mix), labels[[7, 300]])
    assert (labels_of(model, range(50), {"down": 1, "across": 0}) == 1).all()
    with pytest.raises(ImprimaturError, match="shares must be positive"):
        labels_of(model, [0], {"down": -1.0})


def test_a_gan_in_pixels_says_that_it_cannot_vary(tmp_path: Path) -> None:
    data = striped_set()
    model = load_model(train(tiny("pixel_gan"), data, merkle_root(data.assets), tmp_path).folder)
    with pytest.raises(ImprimaturError, match="pixel_gan cannot vary"):
        vary(model, data.pixels[:1], 0.5, 0, [0], np.ones(1, np.int64), 1.0)


def test_variations_keep_more_of_the_picture_the_weaker_they_are(folder: Path) -> None:
    model, sources = load_model(folder), np.repeat(striped_set().pixels[3:4], 20, axis=0)
    labels = np.ones(20, np.int64)
    weak, strong = (vary(model, sources, strength, 0, range(20), labels, 1.0) for strength in (0.2, 1.0))
    assert weak.shape == (20, 16, 16, 3)
    anchor = vary(model, sources[:1], 0.01, 0, [0], labels[:1], 1.0).astype(
        float
    )  # what the model makes of it at least
    assert np.abs(weak - anchor).mean() < np.abs(strong - anchor).mean()
    assert weak[:5].std(axis=0).mean() < strong[:5].std(axis=0).mean()


def test_variation_k_does_not_depend_on_its_company(folder: Path) -> None:
    model, sources = load_model(folder), np.repeat(striped_set().pixels[3:4], 20, axis=0)
    together = vary(model, sources, 0.5, 7, range(20), np.ones(20, np.int64), 1.5)
    assert np.array_equal(vary(model, sources[:1], 0.5, 7, [18], np.ones(1, np.int64), 1.5)[0], together[18])
    with pytest.raises(ImprimaturError, match=r"strength: 1\.5 is not in"):
        vary(model, sources[:1], 1.5, 7, [0], np.ones(1, np.int64), 1.5)


def test_an_interpolation_starts_and_ends_at_its_images(folder: Path) -> None:
    model = load_model(folder)
    way = interpolate(model, 7, (3, 8), 9, 1, 1.0).astype(int)
    ends = draw(model, 7, [3, 8], np.ones(2, np.int64), 1.0).astype(int)
    assert np.abs(way[[0, -1]] - ends).max() <= 1
    steps = np.abs(np.diff(way, axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() <= np.abs(ends[1] - ends[0]).mean() + 1
