"""Network blocks that the models share."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def multiple_of_eight(width: float) -> int:
    """`width` rounded to what GroupNorm(8) and vectorised convolutions need."""
    return max(8, 8 * round(width / 8))


def halvings(side: int, smallest: int = 8) -> int:
    """How often a square of `side` can be halved exactly while it is larger than `smallest`."""
    count = 0
    while side > smallest and side % 2 == 0:
        side //= 2
        count += 1
    return count


def zero(module: nn.Module) -> nn.Module:
    """`module` with all weights zero: a residual branch that starts silent."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


@torch.no_grad()
def start_at(network: nn.Module, mean: Tensor, patch: int) -> None:
    """Let the last convolution, whose values are patches of an image, begin with those of the `mean` (C, H, W)."""
    last = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)][-1]
    if last.bias is None:
        raise TypeError("the last convolution has no bias: the images would have no part in the model by their mean")
    last.bias.copy_(functional.pixel_unshuffle(mean, patch).mean(dim=(1, 2)))


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice, with an optional FiLM condition (Perez et al. 2018) in between."""

    def __init__(self, inputs: int, outputs: int, condition: int = 0) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, outputs)
        self.conv2 = zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.film = zero(nn.Linear(condition, 2 * outputs)) if condition else None
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W); `condition` is (N, condition)."""
        h = self.norm2(self.conv1(functional.silu(self.norm1(x))))
        if self.film is not None and condition is not None:
            scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        out: Tensor = self.skip(x) + self.conv2(functional.silu(h))
        return out


class Attention(nn.Module):
    """Multi-head self-attention over the positions of a feature map, residual."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = zero(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        n, c, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, height * width)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        h = functional.scaled_dot_product_attention(q, k, v)
        mixed: Tensor = self.out(h.transpose(-1, -2).reshape(n, c, height, width))
        return x + mixed


class TimeAndClass(nn.Module):
    """Embedding of a time in [0, 1] (sinusoids, MLP) plus one of a class; class number `classes` means "any"."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width)
        self.register_buffer("frequencies", torch.exp(torch.linspace(0, math.log(1000), 32)), persistent=False)
        self.frequencies: Tensor

    def forward(self, time: Tensor, labels: Tensor) -> Tensor:
        """Times (N,) and labels (N,) -> (N, width)."""
        angles = time[:, None] * self.frequencies
        embedded: Tensor = self.mlp(torch.cat([angles.sin(), angles.cos()], dim=1))
        return functional.silu(embedded + self.label(labels))


class ConditionalMLP(nn.Module):
    """Residual blocks over a vector, modulated by time and class (FiLM)."""

    predicts_velocity = False

    def __init__(self, size: int, width: int, depth: int, classes: int) -> None:
        super().__init__()
        self.embed = TimeAndClass(classes, width)
        self.first = nn.Linear(size, width)
        self.films = nn.ModuleList(zero(nn.Linear(width, 2 * width)) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(depth))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), zero(nn.Linear(2 * width, width)))
            for _ in range(depth)
        )
        self.last = nn.Sequential(nn.LayerNorm(width), zero(nn.Linear(width, size)))

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """(N, size) -> (N, size)."""
        condition = self.embed(time, labels)
        x = self.first(x)
        for film, norm, block in zip(self.films, self.norms, self.blocks, strict=True):
            scale, shift = film(condition).chunk(2, dim=1)
            x = x + block(norm(x) * (1 + scale) + shift)
        result: Tensor = self.last(x)
        return result


class UNet(nn.Module):
    """A small class- and time-conditional U-Net with attention at its lowest resolution."""

    predicts_velocity = False  # else its output is the image itself

    def __init__(self, channels: int, widths: list[int], depth: int, classes: int) -> None:
        super().__init__()
        condition = 2 * widths[0] if len(widths) > 1 else widths[0]
        self.embed = TimeAndClass(classes, condition)
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for width, lower in pairwise(widths):
            self.down.append(nn.ModuleList(ResidualBlock(width, width, condition) for _ in range(depth)))
            self.shrink.append(nn.Conv2d(width, lower, 3, stride=2, padding=1))
            self.grow.append(nn.Conv2d(lower, 4 * width, 1))
            up = [ResidualBlock(2 * width if i == 0 else width, width, condition) for i in range(depth)]
            self.up.append(nn.ModuleList(up))
        self.middle = nn.ModuleList()
        for _ in range(depth + 1):
            self.middle.append(ResidualBlock(widths[-1], widths[-1], condition))
            self.middle.append(Attention(widths[-1]))
        self.last = nn.Sequential(
            nn.GroupNorm(8, widths[0]), nn.SiLU(), zero(nn.Conv2d(widths[0], channels, 3, padding=1))
        )

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape; H and W are divisible by 2 to the number of levels less one."""
        condition = self.embed(time, labels)
        x = self.first(x)
        skips = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, condition)
            skips.append(x)
            x = shrink(x)
        for layer in self.middle:
            x = layer(x, condition) if isinstance(layer, ResidualBlock) else layer(x)
        for blocks, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x = torch.cat([functional.pixel_shuffle(grow(x), 2), skips.pop()], dim=1)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, condition)
        result: Tensor = self.last(x)
        return result
