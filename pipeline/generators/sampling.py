"""Sampling: image k depends only on (model digest, seed, k), bit for bit.

Two things make that so (diffusers issue 2659 shows what happens without them): every batch has the same shape, the
last one padded, and the thread count is one. More processes, not more threads, make it faster.
"""

import difflib
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import ModelSettings
from pipeline.core.shards import write_bytes
from pipeline.generators.build import build_generator
from pipeline.generators.plan import threads
from pipeline.generators.protocol import Generator
from pipeline.generators.record import WEIGHTS, check_weights

BATCH = 16  # images computed together, always


@dataclass(frozen=True)
class Sampler:
    """A trained model, ready to draw images."""

    generator: Generator
    settings: ModelSettings
    class_names: list[str]
    weights_sha256: str  # the model's digest
    dtype: str  # bfloat16 (autocast) or float32, as in training


def load_model(folder: Path) -> Sampler:
    """Load a finished model. Raises ImprimaturError when its weights are not those that model.json records."""
    record = check_weights(folder)
    settings = ModelSettings.model_validate(record["settings"])
    generator = build_generator(settings, len(record["class_names"]))
    tensors = load_file(folder / WEIGHTS)
    missing, unexpected = generator.load_state_dict(tensors, strict=False)
    if unexpected or any(name.split(".")[0] not in generator.training_only for name in missing):
        raise ImprimaturError(
            f"{folder / WEIGHTS}: its tensors are not those of a {settings.kind} of this version", "train it again"
        )
    generator.eval().requires_grad_(False)
    dtype = record["plan"]["stages"][0]["dtype"]
    return Sampler(generator, settings, record["class_names"], record["weights_sha256"], dtype)


@dataclass(frozen=True)
class Sampled:
    """Images and the class that each was asked to be."""

    pixels: NDArray[np.uint8]  # (N, size, size, channels)
    labels: list[str]


def labels_of(model: Sampler, indices: Sequence[int], classes: Sequence[str] = ()) -> NDArray[np.int64]:
    """The label number of each image k: `classes` in turn (all classes when empty). (len(indices),) int64.

    Raises ImprimaturError for a class that the model does not know.
    """
    names = list(classes) or model.class_names
    for name in names:
        if name not in model.class_names:
            close = difflib.get_close_matches(name, model.class_names, n=1)
            raise ImprimaturError(
                f"classes: the model knows no class {name!r}",
                f"did you mean {close[0]!r}?" if close else f"known classes: {', '.join(model.class_names)}",
            )
    numbers = [model.class_names.index(name) for name in names]
    return np.array([numbers[k % len(numbers)] for k in indices], np.int64)


def sample(
    model: Sampler, seed: int, indices: Sequence[int], classes: Sequence[str] = (), guidance: float = 1.0
) -> Sampled:
    """Image k for each k of `indices`; it depends only on (model digest, seed, k), `classes` and `guidance`.

    The class of image k is number k of `classes` in turn (of all classes when empty). Raises ImprimaturError for a
    class that the model does not know.
    """
    labels = labels_of(model, indices, classes)
    return Sampled(draw(model, seed, indices, labels, guidance), [model.class_names[label] for label in labels])


def draw(
    model: Sampler, seed: int, indices: Sequence[int], labels: NDArray[np.int64], guidance: float
) -> NDArray[np.uint8]:
    """Images (N, size, size, channels) uint8: image k of `indices`, of the class number given for it."""
    settings = model.settings
    images = np.empty((len(indices), settings.size, settings.size, settings.channels), np.uint8)
    with threads(1), torch.inference_mode():
        for start in range(0, len(indices), BATCH):
            rows = slice(start, min(start + BATCH, len(indices)))
            images[rows] = _batch(model, seed, indices[rows], labels[rows], guidance)
    return images


def sample_grid(model: Sampler, path: Path, columns: int = 8, rows: int = 10) -> Path:
    """Write a PNG of samples, a row a class (the first ten classes)."""
    shown = model.class_names[:rows]
    labels = np.repeat(labels_of(model, range(len(shown)), shown), columns)
    images = draw(model, 0, range(len(labels)), labels, 1.5)
    return write_bytes(path, grid_png(images, columns))


def grid_png(images: NDArray[np.uint8], columns: int) -> bytes:
    """PNG of images (N, size, size, C), `columns` to a row, with two pixels between them."""
    count, size, _, channels = images.shape
    step = size + 2
    canvas = np.full((-(-count // columns) * step + 2, columns * step + 2, channels), 255, np.uint8)
    for k, image in enumerate(images):
        top, left = 2 + k // columns * step, 2 + k % columns * step
        canvas[top : top + size, left : left + size] = image
    stream = io.BytesIO()
    Image.fromarray(canvas.squeeze()).save(stream, "PNG")
    return stream.getvalue()


def _batch(
    model: Sampler, seed: int, indices: Sequence[int], labels: NDArray[np.int64], guidance: float
) -> NDArray[np.uint8]:
    """One batch, padded to BATCH by repeating its last image."""
    padded = [*indices, *[indices[-1]] * (BATCH - len(indices))]
    wanted = np.concatenate([labels, np.repeat(labels[-1:], BATCH - len(labels))])
    noise = torch.stack([_noise(model, seed, k) for k in padded])
    with torch.autocast("cpu", torch.bfloat16, enabled=model.dtype == "bfloat16"):
        images = model.generator.sample(noise, torch.from_numpy(wanted), guidance)
    levels = (images.float() * 255).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).numpy()[: len(indices)]


def _noise(model: Sampler, seed: int, k: int) -> torch.Tensor:
    """Standard normal noise of image k. A hash, not seed + k: overlapping batches share no image."""
    digest = hashlib.blake2b(f"{model.weights_sha256}:{seed}:{k}".encode(), digest_size=8).digest()
    random = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    return torch.randn(model.generator.noise_shape, generator=random)
