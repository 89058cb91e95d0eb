"""The plain DCGAN and VAE of pytorch/examples, re-typed from the published scripts in torch alone."""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Pixels = NDArray[np.uint8]
Made = Iterator[tuple[float, Pixels]]  # CPU-seconds spent in training, images drawn then

EVERY = 20  # steps between two looks at the clock


def dcgan(pixels: Pixels, budgets: Sequence[float], count: int) -> Made:
    """pytorch/examples dcgan: transposed convolutions, BCE, Adam 2e-4, beta1 0.5, batch 64; 32 pixels, width 64."""
    noise, width = 100, 64
    generator = nn.Sequential(
        nn.ConvTranspose2d(noise, 4 * width, 4, 1, 0, bias=False), nn.BatchNorm2d(4 * width), nn.ReLU(True),
        nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(True),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
        nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True),
        nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2, True),
        nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(4 * width), nn.LeakyReLU(0.2, True),
        nn.Conv2d(4 * width, 1, 4, 1, 0, bias=False), nn.Flatten(0),
    )  # fmt: skip
    for module in [*generator, *discriminator]:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    optimisers = [
        torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (discriminator, generator)
    ]

    def step(number: int) -> None:
        real = functional.pad(batch_of(pixels, number, 64) * 2 - 1, (2, 2, 2, 2), value=-1.0)
        fake = generator(torch.randn(len(real), noise, 1, 1))
        optimisers[0].zero_grad()
        towards(discriminator(real), 1).backward()
        towards(discriminator(fake.detach()), 0).backward()
        optimisers[0].step()
        optimisers[1].zero_grad()
        towards(discriminator(fake), 1).backward()
        optimisers[1].step()

    def images() -> Pixels:
        made = torch.cat([generator(torch.randn(100, noise, 1, 1)) for _ in range(count // 100)])
        return levels(made[:, :, 2:-2, 2:-2] / 2 + 0.5)

    yield from trained(step, images, budgets)


def towards(logits: Tensor, wanted: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))


def mlp_vae(pixels: Pixels, budgets: Sequence[float], count: int) -> Made:
    """pytorch/examples vae: 784-400-20-400-784, summed BCE + KL, Adam 1e-3, batch 128; samples from N(0, 1)."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
    decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)

    def step(number: int) -> None:
        images = batch_of(pixels, number, 128)
        mean, log_variance = encoder(images).chunk(2, dim=1)
        made = decoder(mean + (log_variance / 2).exp() * torch.randn(mean.shape))
        error = functional.binary_cross_entropy(made, images.flatten(1), reduction="sum")
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
        optimiser.zero_grad()
        (error + divergence).backward()
        optimiser.step()

    yield from trained(step, lambda: levels(decoder(torch.randn(count, 20)).reshape(-1, 1, 28, 28)), budgets)


def trained(step: Callable[[int], None], images: Callable[[], Pixels], budgets: Sequence[float]) -> Made:
    """Take steps; whenever a budget is spent, draw images. Their rate is constant: a budget is a stop on the way."""
    number, spent, started = 0, 0.0, time.process_time()
    for budget in sorted(budgets):
        while spent + time.process_time() - started < budget:
            for _ in range(EVERY):
                step(number)
                number += 1
        spent += time.process_time() - started
        print(f"{spent:.0f} CPU-s: {number} steps", flush=True)
        with torch.inference_mode():
            yield spent, images()
        started = time.process_time()


_ORDER: dict[int, NDArray[np.int64]] = {}


def batch_of(pixels: Pixels, step: int, size: int) -> Tensor:
    """Images (size, 1, 28, 28) in [0, 1], by shuffled epochs."""
    epoch, within = divmod(step, len(pixels) // size)
    if epoch not in _ORDER:
        _ORDER.clear()
        _ORDER[epoch] = np.random.default_rng(epoch).permutation(len(pixels))
    rows = _ORDER[epoch][within * size : (within + 1) * size]
    return torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2).float() / 255


def levels(images: Tensor) -> Pixels:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
