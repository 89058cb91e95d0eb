"""What the training loop and the sampler ask of a generative model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# examples (N, ...) float32, labels (N,) int64, randomness of this step -> scalar loss
Loss = Callable[[Tensor, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Objective:
    """One loss and the modules whose weights it moves, with its AdamW settings."""

    name: str
    modules: tuple[nn.Module, ...]
    loss: Loss
    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-4
    largest_gradient: float = 50.0  # gradient norm is clipped here

    def parameters(self) -> list[nn.Parameter]:
        """Every weight that this objective moves."""
        return [parameter for module in self.modules for parameter in module.parameters()]


@dataclass(frozen=True)
class Stage:
    """One part of a training: its share of the budget, and its objectives, which take turns within a step.

    `examples` turns batches of images into what this stage learns from, once, at its beginning (latents, say);
    without it the stage learns from images, float32 (N, C, H, W) in [-1, 1].
    """

    name: str
    share: float
    batch_size: int
    objectives: tuple[Objective, ...]
    examples: Callable[[Iterable[Tensor]], Tensor] | None = None
    anneal_from: float = 0.6  # fraction of the steps after which the learning rate falls in a line ...
    last_rate: float = 0.0  # ... to this fraction of its peak
    mixed_precision: bool = True  # whether bfloat16 may be tried


class Generator(nn.Module, ABC):
    """A class-conditional image model, built from (settings, class count)."""

    noise_shape: tuple[int, ...]  # of one image's noise, standard normal
    training_only: tuple[str, ...] = ()  # modules that sampling never uses; they are not released

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The stages of training, in order; earlier modules are fixed at their averaged weights in later stages."""

    @abstractmethod
    def start_from(self, mean: Tensor) -> None:
        """Take the mean image (C, H, W) of the training set, in [-1, 1], as the first guess."""

    @abstractmethod
    def sample(self, noise: Tensor, labels: Tensor, guidance: float) -> Tensor:
        """Images (N, C, H, W) float32 in [0, 1] from noise (N, *noise_shape) and labels (N,) int64.

        `guidance` >= 1 sharpens towards the class where the model knows how; nothing else is random.
        """

    def variations(self, images: Tensor, noise: Tensor, labels: Tensor, strength: float, guidance: float) -> Tensor:
        """Variations (N, C, H, W) in [0, 1] of images in [-1, 1], from noise and labels as in `sample`.

        `strength` in (0, 1]: near 0 the image itself, 1 another one of its class. Raises NotImplementedError where a
        model cannot.
        """
        raise NotImplementedError
