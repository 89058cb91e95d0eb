"""A look at a training while it runs: a grid of samples, and whether they begin to be copies of the training set."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from pipeline.core.errors import EnvironmentFault
from pipeline.core.settings import ModelSettings
from pipeline.core.shards import write_bytes
from pipeline.generators.metrics import Figure, NearCopies, share_figure
from pipeline.generators.protocol import Generator
from pipeline.generators.sampling import Sampler, class_grid, grid_png
from pipeline.generators.training_set import TrainingSet

LOOKS = 4  # at the last stage: after each quarter but the last, which the evaluation judges


def looks_at(steps: int) -> set[int]:
    """The steps before which the last stage is looked at."""
    return {steps * part // LOOKS for part in range(1, LOOKS)} - {0}


def near_copies(
    model: Generator, averaged: dict[str, Tensor], settings: ModelSettings, data: TrainingSet, dtype: str, path: Path
) -> Figure:
    """Write a grid drawn from `model` with its averaged weights to `path`; the share of it that are near copies."""
    candidate = copy.deepcopy(model)
    candidate.load_state_dict(averaged, strict=False)
    candidate.eval().requires_grad_(False)
    images = class_grid(Sampler(candidate, settings, data.class_names, path.stem, dtype))
    write_bytes(path, grid_png(images, 8))
    copies = NearCopies.fit(data.pixels, settings.seed)
    return share_figure(copies.among(images), copies.expected, settings.seed)


@contextmanager
def out_of_memory_named(batch_size: int) -> Iterator[None]:
    """Say what to do when the memory does not suffice."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise EnvironmentFault(
            f"out of memory at a batch of {batch_size} images ({str(error).splitlines()[0]})",
            f"set model.batch_size to {max(2, batch_size // 2)} or less, or model.width lower",
        ) from None
