"""The record of a trained model: what it was made from and what it must weigh. Light: does not import torch."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.core.digests import file_sha256, json_digest, source_digest
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import ModelSettings

WEIGHTS, RECORD = "weights.safetensors", "model.json"
CLASSIFIER = "classifier.safetensors"  # the CNN that judged the model


@dataclass(frozen=True)
class TrainedModel:
    """A finished model: its folder, and the SHA-256 of its weights, which is the model's digest everywhere."""

    folder: Path
    kind: str
    weights_sha256: str
    metrics: dict[str, Any]


@cache
def code_version() -> str:
    """Digest of the generators' source, as this process found it."""
    return source_digest([Path(__file__).parent])


def model_key(root: str, settings: ModelSettings, data_key: str) -> str:
    """What a model depends on: snapshot root, settings, training set (training_set_key: labels and rendering,
    which the root does not cover) and the generators' code. A model is reused while its key is unchanged.
    """
    return json_digest(
        {"root": root, "settings": settings.model_dump(mode="json"), "data": data_key, "code": code_version()}
    )


def is_trained(folder: Path) -> bool:
    """True when the folder holds a finished model; its record is written last."""
    return (folder / RECORD).exists()


def read_record(folder: Path) -> dict[str, Any]:
    """model.json of a finished model. Raises ImprimaturError when there is none, or it cannot be read."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise ImprimaturError(
            f"{folder}: holds no finished model ({type(error).__name__} at {RECORD})", "train it again"
        ) from None
    return record


def check_weights(folder: Path) -> dict[str, Any]:
    """The record of a model whose weights are, byte for byte, those that were recorded; else ImprimaturError."""
    record = read_record(folder)
    path = folder / WEIGHTS
    if not path.exists() or file_sha256(path) != record["weights_sha256"]:
        raise ImprimaturError(
            f"{path}: missing, or not the weights that {RECORD} records", "restore the file, or train again"
        )
    return record


def trained_model(folder: Path) -> TrainedModel:
    """The finished model in `folder`, its weights checked. Raises ImprimaturError."""
    record = check_weights(folder)
    return TrainedModel(folder, record["settings"]["kind"], record["weights_sha256"], record["metrics"])
