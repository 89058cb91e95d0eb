"""The recognition CNN: trained on the snapshot, it labels outputs, and its features are where metrics measure.

Where there is only one class it learns to tell quarter turns apart instead (Gidaris et al. 2018): its features still
say what a picture shows, but it can confirm no class.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.generators.plan import threads

FEATURES = 128
SIDE = 32  # larger pictures are averaged down to it
IMAGES_SEEN = 20_000  # in training: some ten CPU-seconds
EPOCHS = 30  # at most
TURNS = 4
_BATCH = 64
_CHUNK = 256  # images looked at together


class Classifier(nn.Module):
    """Images (N, C, H, W) float32 in [-1, 1] to class logits, by way of 128 features."""

    def __init__(self, channels: int, class_names: list[str]) -> None:
        super().__init__()
        self.class_names = class_names
        self.body = nn.Sequential(
            *_convolution(channels, 32, 2),
            *_convolution(32, 64, 1),
            *_convolution(64, 128, 2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * 128, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, len(class_names) if self.knows_classes else TURNS)

    @property
    def knows_classes(self) -> bool:
        """False when there was only one class to learn from."""
        return len(self.class_names) > 1

    def features(self, images: Tensor) -> Tensor:
        """(N, 128) float32."""
        if max(images.shape[-2:]) > SIDE:
            images = functional.adaptive_avg_pool2d(images, SIDE)
        found: Tensor = self.body(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """(N, classes), or (N, 4) for quarter turns."""
        logits: Tensor = self.head(functional.dropout(self.features(images), 0.3, self.training))
        return logits


def train_classifier(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    class_names: list[str],
    seed: int,
    images_seen: int = IMAGES_SEEN,
) -> Classifier:
    """A classifier of images (N, H, W, C) uint8, mirrored at random; the same on every run with one thread."""
    with torch.random.fork_rng(devices=[]), threads(1):
        torch.manual_seed(seed)
        classifier = Classifier(pixels.shape[-1], class_names)
        steps = math.ceil(min(images_seen, EPOCHS * len(pixels)) / _BATCH)
        optimiser = torch.optim.AdamW(classifier.parameters(), weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=max(steps, 2))
        for _ in range(steps):
            rows = torch.randint(len(pixels), (_BATCH,)).numpy()
            images, wanted = as_tensor(pixels[rows]), torch.from_numpy(labels[rows])
            if classifier.knows_classes:
                images = torch.where(torch.rand(_BATCH, 1, 1, 1) < 0.5, images.flip(3), images)
            else:
                wanted = torch.arange(_BATCH) % TURNS
                turned = [torch.rot90(image, turn % TURNS, (1, 2)) for turn, image in enumerate(images)]
                images = torch.stack(turned)
            loss = functional.cross_entropy(classifier(images), wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return classifier.eval().requires_grad_(False)


def look(classifier: Classifier, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features (N, 128) and class numbers (N,) of images (N, H, W, C) uint8; -1 where it knows no classes."""
    features, numbers = [np.empty((0, FEATURES), np.float32)], [np.empty(0, np.int64)]
    with threads(1), torch.inference_mode():
        for start in range(0, len(pixels), _CHUNK):
            found = classifier.features(as_tensor(pixels[start : start + _CHUNK]))
            features.append(found.numpy())
            numbers.append(classifier.head(found).argmax(dim=1).numpy())
    named = np.concatenate(numbers)
    return np.concatenate(features), named if classifier.knows_classes else np.full_like(named, -1)


def as_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Images (N, H, W, C) uint8 as (N, C, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1


def _convolution(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
