"""Flow matching (Lipman et al. 2023; Liu et al. 2023): a U-Net learns the velocity that carries noise to images.

Straight paths x_t = (1 - t) noise + t image, velocity image - noise, logit-normal times (Esser et al. 2024),
classifier-free guidance (Ho & Salimans 2022), Euler steps. Where a patch holds many values for the network's width,
the network's output is the image, and the velocity follows from it (Li & He 2025): it could not carry the noise
through, and would leave it in the picture. Where it holds few, the velocity itself is learnt faster.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.core.settings import ModelSettings
from pipeline.generators.layers import ConditionalMLP, UNet, halvings, multiple_of_eight, start_at
from pipeline.generators.protocol import Generator, Objective, Stage

TIME_SHIFT = -0.4  # towards noise, where the layout is decided: for networks whose output is the image
VALUES = 8  # a network may carry noise through that has an eighth of its width's values
ALWAYS = (0.0, 1.0)
MIDDLE = (0.2, 0.7)  # of the way: guided before, images lose variety; after, it is of little use
LABEL_DROPOUT = 0.1  # share of training examples shown without their class, for guidance


def flow_loss(network: UNet | ConditionalMLP, data: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
    """Mean squared error of the velocity at logit-normal times. Scalar."""
    noise = torch.randn(data.shape, generator=random, device=random.device)
    shift = 0.0 if network.predicts_velocity else TIME_SHIFT
    time = (torch.randn(len(data), generator=random, device=random.device) + shift).sigmoid()
    dropped = torch.rand(len(data), generator=random, device=random.device) < LABEL_DROPOUT
    labels = torch.where(dropped, network.embed.label.num_embeddings - 1, labels)
    column = time.reshape(-1, *[1] * (data.dim() - 1))
    mixed = torch.lerp(noise, data, column)
    if network.predicts_velocity:
        return functional.mse_loss(network(mixed, time, labels).float(), data - noise)
    left = (1 - column).clamp(min=0.05)  # velocity = (image - mixed) / time left
    return functional.mse_loss(network(mixed, time, labels).float() / left, data / left)


def integrate(
    network: UNet | ConditionalMLP, noise: Tensor, labels: Tensor, guidance: float, steps: int,
    solver: str = "euler", start: float = 0.0, guided: tuple[float, float] = ALWAYS,
) -> Tensor:  # fmt: skip
    """Carry x (N, ...) along the learned velocity from t = start to 1 in equal steps, by Euler or midpoint rule.

    Guidance works at times within `guided` (Kynkäänniemi et al. 2024).
    """

    def expected(x: Tensor, time: float) -> Tensor:
        return _guided(network, x, time, labels, guidance if guided[0] <= time < guided[1] else 1.0)

    x, length = noise, (1 - start) / steps
    for step in range(steps):
        time = start + step * length
        image = expected(x, time)
        if solver == "midpoint" and step < steps - 1:  # the last one would ask for the velocity where t is almost 1
            middle = x + (image - x) / (1 - time) * length / 2
            later = time + length / 2
            velocity = (expected(middle, later) - middle) / (1 - later)
            x = x + velocity * length
        else:
            x = x + (image - x) / (steps - step)  # velocity times step length
    return x


def _guided(network: UNet | ConditionalMLP, x: Tensor, time: float, labels: Tensor, guidance: float) -> Tensor:
    """The image that the network expects, drawn on from the one without a class (Ho & Salimans 2022)."""
    if guidance == 1.0:
        return _expected(network, x, time, labels)
    anything = torch.full_like(labels, network.embed.label.num_embeddings - 1)
    towards, free = _expected(network, torch.cat([x, x]), time, torch.cat([labels, anything])).chunk(2)
    return free + guidance * (towards - free)


def _expected(network: UNet | ConditionalMLP, x: Tensor, time: float, labels: Tensor) -> Tensor:
    output: Tensor = network(x, torch.full((len(x),), time, device=x.device), labels).float()
    return x + (1 - time) * output if network.predicts_velocity else output


def vary(
    network: UNet | ConditionalMLP, data: Tensor, noise: Tensor, labels: Tensor, strength: float, guidance: float,
    steps: int,
) -> Tensor:  # fmt: skip
    """Noise data (N, ...) to time 1 - strength and carry it back; the fewer steps, the shorter the way."""
    start = 1 - strength
    mixed = torch.lerp(noise, data, start)
    return integrate(network, mixed, labels, guidance, max(2, round(steps * strength)), start=start)


def patch_side(size: int) -> int:
    """Pixels per patch side: patches make a U-Net 2.4 times faster at 28 px and show no block pattern."""
    return next(patch for patch in (16, 8, 4, 2) if patch == 2 or (size % (2 * patch) == 0 and size // patch >= 16))


class FlowMatching(Generator):
    """Flow matching in pixels, over patches (pixel_unshuffle) of the image."""

    euler_steps = 12
    wider = 1.04  # standard deviation of the noise in sampling, 1 in training: guided steps narrow the variety

    def __init__(self, settings: ModelSettings, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.patch = patch_side(settings.size)
        side = settings.size // self.patch
        self.noise_shape = (settings.channels * self.patch**2, side, side)
        width = multiple_of_eight(settings.width)
        widths = [width] + [2 * width] * halvings(side)
        self.network = UNet(self.noise_shape[0], widths, 1, classes)
        self.network.predicts_velocity = VALUES * self.noise_shape[0] <= width

    def stages(self) -> tuple[Stage, ...]:
        """One stage: the velocity."""
        velocity = Objective("velocity", (self.network,), self._loss, self.settings.learning_rate)
        return (Stage("flow", 1.0, self.settings.batch_size, (velocity,)),)

    def _loss(self, images: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
        return flow_loss(self.network, functional.pixel_unshuffle(images, self.patch), labels, random)

    def start_from(self, mean: Tensor) -> None:
        """See Generator.start_from; the mean velocity is the mean image."""
        start_at(self.network, mean, self.patch)

    def sample(self, noise: Tensor, labels: Tensor, guidance: float) -> Tensor:
        """See Generator.sample."""
        solver = self.settings.solver
        carried = integrate(
            self.network, self.wider * noise, labels, guidance, self.euler_steps, solver, guided=MIDDLE
        )
        return self._images(carried)

    def variations(self, images: Tensor, noise: Tensor, labels: Tensor, strength: float, guidance: float) -> Tensor:
        """See Generator.variations: noised to time 1 - strength and carried back (SDEdit, Meng et al. 2022)."""
        patches = functional.pixel_unshuffle(images, self.patch)
        return self._images(vary(self.network, patches, noise, labels, strength, guidance, self.euler_steps))

    def _images(self, patches: Tensor) -> Tensor:
        return (functional.pixel_shuffle(patches, self.patch) / 2 + 0.5).clamp(0, 1)
