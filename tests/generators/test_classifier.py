"""The recognition CNN: it learns the snapshot's classes, and a model's figures stand beside those of real images."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from test_training import striped_set, tiny

from pipeline.core.merkle import merkle_root
from pipeline.generators.classifier import Classifier, look, train_classifier
from pipeline.generators.training import train


def test_it_learns_to_tell_stripes_apart_and_repeats_itself() -> None:
    data, fresh = striped_set(240), striped_set(60, seed=9)
    classifier = train_classifier(data.pixels, data.labels, data.class_names, 0, images_seen=1_800)
    features, named = look(classifier, fresh.pixels)
    assert (named == fresh.labels).mean() > 0.9
    assert features.shape == (60, 128) and features.dtype == np.float32
    again = train_classifier(data.pixels, data.labels, data.class_names, 0, images_seen=1_800)
    assert all(torch.equal(a, b) for a, b in zip(classifier.parameters(), again.parameters(), strict=True))


def test_with_one_class_it_learns_quarter_turns_and_names_nothing() -> None:
    whole = striped_set(40)
    classifier = train_classifier(whole.pixels, np.zeros(40, np.int64), ["only"], 0, images_seen=500)
    features, named = look(classifier, whole.pixels)
    assert not classifier.knows_classes and (named == -1).all() and features.std() > 0


def test_a_models_record_shows_its_figures_beside_real_ones(tmp_path: Path) -> None:
    data = striped_set(80)
    model = train(tiny("vae", steps=20), data, merkle_root(data.assets), tmp_path)
    evaluation = model.metrics["evaluation"]
    assert json.loads((tmp_path / "model.json").read_text())["metrics"]["evaluation"] == evaluation
    assert evaluation["images"] == 16
    assert set(evaluation["figures"]) == {"distance", "precision", "recall", "near copies", "agreement"}
    for figure in evaluation["figures"].values():
        assert figure["low"] <= figure["high"] and figure["real"] >= 0
    assert any("16 images" in warning for warning in evaluation["warnings"])
    classifier = Classifier(3, data.class_names)
    classifier.load_state_dict(load_file(tmp_path / "classifier.safetensors"))


def test_too_few_images_and_classes_are_said_plainly(tmp_path: Path) -> None:
    few = striped_set(20)
    model = train(tiny("vae"), few, merkle_root(few.assets), tmp_path / "few")
    assert model.metrics["evaluation"]["figures"] == {}
    assert "too few to measure" in model.metrics["evaluation"]["warnings"][0]
    data = striped_set(60)
    one = dataclasses.replace(data, labels=np.zeros(60, np.int64), class_names=["only"])
    model = train(tiny("vae"), one, merkle_root(data.assets), tmp_path / "one")
    assert "agreement" not in model.metrics["evaluation"]["figures"]
    assert any(warning.startswith("one class") for warning in model.metrics["evaluation"]["warnings"])
