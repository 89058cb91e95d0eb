"""Sampling: image k depends only on (model digest, seed, k), bit for bit.

Two things make that so (diffusers issue 2659 shows what happens without them): every batch has the same shape, the
last one padded, and the thread count is one. More processes, not more threads, make it faster.
"""

import difflib
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import ModelSettings
from pipeline.generators.build import build_generator
from pipeline.generators.classifier import Classifier, as_tensor
from pipeline.generators.plan import device_of, threads
from pipeline.generators.protocol import Generator
from pipeline.generators.record import CLASSIFIER, WEIGHTS, check_weights, read_record

BATCH = 16  # images computed together, always


@dataclass(frozen=True)
class Sampler:
    """A trained model, ready to draw images."""

    generator: Generator
    settings: ModelSettings
    class_names: list[str]
    weights_sha256: str  # the model's digest
    dtype: str  # bfloat16 (autocast) or float32, as in training

    @property
    def device(self) -> torch.device:
        """Where it draws; noise is drawn on the CPU whatever that is."""
        return next(self.generator.parameters()).device


def load_model(folder: Path) -> Sampler:
    """Load a finished model. Raises ImprimaturError when its weights are not those that model.json records."""
    record = check_weights(folder)
    settings = ModelSettings.model_validate(record["settings"])
    generator = build_generator(settings, len(record["class_names"])).to(device_of(settings))
    tensors = load_file(folder / WEIGHTS)
    missing, unexpected = generator.load_state_dict(tensors, strict=False)
    if unexpected or any(name.split(".")[0] not in generator.training_only for name in missing):
        raise ImprimaturError(
            f"{folder / WEIGHTS}: its tensors are not those of a {settings.kind} of this version", "train it again"
        )
    generator.eval().requires_grad_(False)
    dtype = record["plan"]["stages"][0]["dtype"]
    return Sampler(generator, settings, record["class_names"], record["weights_sha256"], dtype)


def load_classifier(folder: Path) -> Classifier:
    """The recognition CNN that was trained beside a model. Raises ImprimaturError when it is missing or damaged."""
    about = read_record(folder)
    classifier = Classifier(about["settings"]["channels"], about["class_names"])
    try:
        classifier.load_state_dict(load_file(folder / CLASSIFIER))
    except (OSError, SafetensorError, RuntimeError):
        raise ImprimaturError(f"{folder / CLASSIFIER}: missing or damaged", "restore it, or train again") from None
    return classifier.eval().requires_grad_(False)


@dataclass(frozen=True)
class Sampled:
    """Images and the class that each was asked to be."""

    pixels: NDArray[np.uint8]  # (N, size, size, channels)
    labels: list[str]


Mix = Sequence[str] | Mapping[str, float]


def labels_of(model: Sampler, indices: Sequence[int], classes: Mix = ()) -> NDArray[np.int64]:
    """The label number of each image k, (len(indices),) int64: `classes` in turn (all classes when empty), or each
    with its share, spread evenly. It depends on k and `classes` alone.

    Raises ImprimaturError for a class that the model does not know, or shares that are none.
    """
    names = list(classes) or model.class_names
    for name in names:
        if name not in model.class_names:
            close = difflib.get_close_matches(name, model.class_names, n=1)
            raise ImprimaturError(
                f"classes: the model knows no class {name!r}",
                f"did you mean {close[0]!r}?" if close else f"known classes: {', '.join(model.class_names)}",
            )
    numbers = np.array([model.class_names.index(name) for name in names], np.int64)
    if not isinstance(classes, Mapping) or not classes:
        in_turn: NDArray[np.int64] = numbers[np.array(indices, np.int64) % len(numbers)]
        return in_turn
    shares = np.array(list(classes.values()), np.float64)
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise ImprimaturError("classes: the shares must be positive numbers", "write for example {Bag: 2, Shirt: 1}")
    golden = (np.array(indices, np.float64) + 0.5) * 0.6180339887498949 % 1  # fills [0, 1) evenly, in any order
    places = np.searchsorted(np.cumsum(shares) / shares.sum(), golden, side="right")
    mixed: NDArray[np.int64] = numbers[places.clip(max=len(numbers) - 1)]
    return mixed


def sample(model: Sampler, seed: int, indices: Sequence[int], classes: Mix = (), guidance: float = 1.0) -> Sampled:
    """Image k for each k of `indices`; it depends only on (model digest, seed, k), `classes` and `guidance`.

    Its class is that of `labels_of`, which see for what is raised.
    """
    labels = labels_of(model, indices, classes)
    return Sampled(draw(model, seed, indices, labels, guidance), [model.class_names[label] for label in labels])


def draw(
    model: Sampler, seed: int, indices: Sequence[int], labels: NDArray[np.int64], guidance: float
) -> NDArray[np.uint8]:
    """Images (N, size, size, channels) uint8: image k of `indices`, of the class number given for it."""

    def make(noise: Tensor, wanted: Tensor, _rows: Tensor) -> Tensor:
        return model.generator.sample(noise, wanted, guidance)

    return _in_batches(model, [_noise(model, seed, k) for k in indices], labels, make)


def vary(
    model: Sampler, sources: NDArray[np.uint8], strength: float, seed: int, indices: Sequence[int],
    labels: NDArray[np.int64], guidance: float,
) -> NDArray[np.uint8]:  # fmt: skip
    """Variations (N, size, size, channels) uint8 of one image each, the same shape; their noise is that of `draw`.

    Raises ImprimaturError when the model cannot vary images, or for a strength outside (0, 1].
    """
    if not 0 < strength <= 1:
        raise ImprimaturError(f"strength: {strength} is not in (0, 1]", "0.4 keeps most of a picture, 0.8 little")
    images = as_tensor(sources).to(model.device)

    def make(noise: Tensor, wanted: Tensor, rows: Tensor) -> Tensor:
        return model.generator.variations(images[rows], noise, wanted, strength, guidance)

    try:
        return _in_batches(model, [_noise(model, seed, k) for k in indices], labels, make)
    except NotImplementedError:
        raise ImprimaturError(
            f"a model of kind {model.settings.kind} cannot vary a picture", "use flow_matching, vae or gan"
        ) from None


def interpolate(
    model: Sampler, seed: int, ends: tuple[int, int], count: int, label: int, guidance: float
) -> NDArray[np.uint8]:
    """`count` images (N, size, size, channels) uint8 on the great circle from the noise of one image to another's."""
    first, last = (_noise(model, seed, k) for k in ends)
    cosine = torch.cosine_similarity(first.flatten(), last.flatten(), dim=0)
    angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
    ways = torch.linspace(0, 1, count) * angle
    noise = [((angle - way).sin() * first + way.sin() * last) / angle.sin() for way in ways]

    def make(noise: Tensor, wanted: Tensor, _rows: Tensor) -> Tensor:
        return model.generator.sample(noise, wanted, guidance)

    return _in_batches(model, noise, np.full(count, label, np.int64), make)


def class_grid(model: Sampler, columns: int = 8, rows: int = 10) -> NDArray[np.uint8]:
    """Samples (rows x columns, size, size, channels) uint8, a row a class (the first ten classes)."""
    shown = model.class_names[:rows]
    labels = np.repeat(labels_of(model, range(len(shown)), shown), columns)
    return draw(model, 0, range(len(labels)), labels, 1.5)


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


def _in_batches(
    model: Sampler, noise: list[Tensor], labels: NDArray[np.int64], make: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> NDArray[np.uint8]:
    """Images as uint8, in batches of one shape: the last is padded by repeating its last image."""
    settings = model.settings
    images = np.empty((len(noise), settings.size, settings.size, settings.channels), np.uint8)
    autocast = torch.autocast(model.device.type, torch.bfloat16, enabled=model.dtype == "bfloat16")
    with threads(1), torch.inference_mode(), autocast:
        for start in range(0, len(noise), BATCH):
            rows = np.arange(start, start + BATCH).clip(max=len(noise) - 1)
            stacked = (
                torch.stack([noise[row] for row in rows]),
                torch.from_numpy(labels[rows]),
                torch.from_numpy(rows),
            )
            made = make(*(part.to(model.device) for part in stacked))
            levels = (made.float() * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
            images[start : start + BATCH] = levels[: len(noise) - start]
    return images


def _noise(model: Sampler, seed: int, k: int) -> Tensor:
    """Standard normal noise of image k."""
    return torch.randn(model.generator.noise_shape, generator=random_of(model.weights_sha256, seed, k))


def random_of(digest: str, seed: int, k: int) -> torch.Generator:
    """The random numbers of image k of a model. A hash, not seed + k: overlapping batches share no image."""
    name = hashlib.blake2b(f"{digest}:{seed}:{k}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(name, "big") >> 1)
