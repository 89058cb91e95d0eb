"""A class-conditional GAN in pixels after R3GAN (Huang et al. 2024): the recipe for a GPU.

Residual blocks without normalisation, each silent at the start; bilinear resampling; relativistic loss with R1 + R2;
real and made images are augmented alike (Zhao et al. 2020), so that few images do not overfit the critic. On a CPU
such a GAN shows smears after minutes: take `gan`, which learns over a VAE's latents.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.settings import ModelSettings
from pipeline.generators.adversarial import critic_loss, maker_loss
from pipeline.generators.layers import halvings, multiple_of_eight, start_at, zero
from pipeline.generators.protocol import Generator, Objective, Stage

NOISE = 64
FURTHEST = 1 / 8  # of the side: by how much an image is shifted
SLOPE = 0.2  # of leaky ReLU


class Block(nn.Module):
    """Inverted bottleneck, residual: 1x1, leaky ReLU, grouped 3x3, leaky ReLU, 1x1 that starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 2 * width
        self.layers = nn.Sequential(
            nn.Conv2d(width, inner, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner // 8),
            nn.LeakyReLU(SLOPE),
            zero(nn.Conv2d(inner, width, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        out: Tensor = x + self.layers(x)
        return out


class Maker(nn.Module):
    """Image from noise and class: a learned start, then blocks between bilinear doublings."""

    def __init__(self, widths: list[int], side: int, channels: int, classes: int) -> None:
        super().__init__()
        self.label = nn.Embedding(classes, NOISE)
        self.start = nn.Sequential(
            nn.Linear(2 * NOISE, widths[0] * side**2), nn.Unflatten(1, (widths[0], side, side))
        )
        self.stages = nn.ModuleList(nn.Sequential(Block(width), Block(width)) for width in widths)
        self.grow = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], channels, 1)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """(N, 64) -> (N, channels, H, W)."""
        x = self.stages[0](self.start(torch.cat([noise, self.label(labels)], dim=1)))
        for grow, stage in zip(self.grow, list(self.stages)[1:], strict=True):
            x = stage(functional.interpolate(grow(x), scale_factor=2, mode="bilinear"))
        image: Tensor = self.last(x)
        return image


class Critic(nn.Module):
    """Realness of an image of a class: blocks between halvings, a scalar plus a class projection."""

    def __init__(self, widths: list[int], side: int, channels: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, widths[0], 1)
        self.stages = nn.ModuleList(nn.Sequential(Block(width), Block(width)) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        self.end = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * side**2, widths[-1]), nn.LeakyReLU(SLOPE))
        self.score = nn.Linear(widths[-1], 1)
        self.projection = nn.Embedding(classes, widths[-1])
        nn.init.normal_(self.projection.weight, std=0.03)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N,)."""
        x = self.stages[0](self.first(images))
        for shrink, stage in zip(self.shrink, list(self.stages)[1:], strict=True):
            x = stage(shrink(functional.avg_pool2d(x, 2)))
        h = self.end(x)
        score: Tensor = self.score(h)[:, 0] + (h * self.projection(labels)).sum(dim=1) / h.shape[1] ** 0.5
        return score


class PixelGAN(Generator):
    """Generator against discriminator, in pixels."""

    training_only = ("discriminator",)
    noise_shape = (NOISE,)

    def __init__(self, settings: ModelSettings, classes: int) -> None:
        super().__init__()
        self.settings = settings
        count = halvings(settings.size, smallest=4)
        side = settings.size >> count
        widths = [multiple_of_eight(settings.width * min(2 ** (count - level), 8)) for level in range(count + 1)]
        self.generator = Maker(widths, side, settings.channels, classes)
        self.discriminator = Critic(widths[::-1], side, settings.channels, classes)
        self.gamma = 2 * (settings.size / 64) ** 2  # published: 0.5 at 32 px, 2 at 64, 150 at 256

    def stages(self) -> tuple[Stage, ...]:
        """One stage: the two players."""
        rate = self.settings.learning_rate / 10
        critic = Objective("discriminator", (self.discriminator,), self._critic_loss, rate, (0.0, 0.99), 0.0)
        maker = Objective("generator", (self.generator,), self._maker_loss, rate, (0.0, 0.99), 0.0)
        players = (critic, maker)
        return (Stage("adversarial", 1.0, self.settings.batch_size, players, anneal_from=0.4, last_rate=0.25),)

    def _pair(self, images: Tensor, labels: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Real and made images of the same classes, both augmented."""
        noise = torch.randn(len(images), NOISE, generator=random, device=random.device)
        made = self.generator(noise, labels).float()
        return augmented(images, random), augmented(made, random)

    def _critic_loss(self, images: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
        with torch.no_grad():
            real, fake = self._pair(images, labels, random)
        return critic_loss(self.discriminator, real, fake, labels, self.gamma)

    def _maker_loss(self, images: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
        real, fake = self._pair(images, labels, random)
        return maker_loss(self.discriminator, real, fake, labels)

    def start_from(self, mean: Tensor) -> None:
        """See Generator.start_from."""
        start_at(self.generator, mean, 1)

    def sample(self, noise: Tensor, labels: Tensor, guidance: float) -> Tensor:
        """See Generator.sample; a GAN has no guidance."""
        image: Tensor = self.generator(noise, labels).float()
        return (image / 2 + 0.5).clamp(0, 1)


def augmented(images: Tensor, random: torch.Generator) -> Tensor:
    """Images (N, C, H, W) in [-1, 1], each shifted by up to an eighth of its side and a little lighter or darker."""
    count, device = len(images), random.device
    shift = (2 * torch.rand(count, 2, generator=random, device=device) - 1) * 2 * FURTHEST  # a side is 2 long here
    still = torch.eye(2, device=device).expand(count, 2, 2)
    grid = functional.affine_grid(
        torch.cat([still, shift[:, :, None]], dim=2), list(images.shape), align_corners=False
    )
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved + (torch.rand(count, 1, 1, 1, generator=random, device=device) - 0.5) / 2
