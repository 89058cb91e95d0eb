"""A convolutional VAE with the analytic decoder variance of sigma-VAE (Rybkin et al. 2021) and a learned prior.

A plain VAE's weakness is its prior, not its decoder (Dai & Wipf 2019): a second stage learns the latents' true
distribution, class by class, by flow matching. What the decoder blurs, it is taught to draw by a CNN (texture.py).
"""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.settings import ModelSettings
from pipeline.generators.classifier import Classifier
from pipeline.generators.flow_matching import flow_loss, integrate, patch_side, vary
from pipeline.generators.layers import ConditionalMLP, ResidualBlock, halvings, multiple_of_eight, start_at
from pipeline.generators.protocol import Generator, Objective, Stage
from pipeline.generators.texture import texture_stages

TEXTURE_SHARE, PRIOR_SHARE = 0.2, 0.22  # of the budget


class Autoencoder(nn.Module):
    """Encoder to a Gaussian over a latent vector, decoder back to the image."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.latent = 32 if settings.size < 48 else 128
        patch = patch_side(settings.size)
        count = halvings(settings.size // patch)
        side = settings.size // patch >> count
        widths = [multiple_of_eight(settings.width * min(level + 1, 2)) for level in range(count + 1)]
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(patch), _encoder(patch**2 * settings.channels, widths, side, 2 * self.latent)
        )
        self.decoder = nn.Sequential(
            _decoder(self.latent, widths[::-1], side, patch**2 * settings.channels), nn.PixelShuffle(patch)
        )
        # statistics of the training set's latents, set when the second stage begins
        self.register_buffer("mean", torch.zeros(self.latent))
        self.register_buffer("scale", torch.ones(self.latent))
        self.mean: Tensor
        self.scale: Tensor

    def stages(self, looker: Classifier, share: float, texture_share: float) -> tuple[Stage, ...]:
        """The evidence lower bound for a `share` of the budget, then texture by the eyes of `looker`."""
        rate, batch = self.settings.learning_rate, self.settings.batch_size
        bound = Objective("elbo", (self.encoder, self.decoder), self._loss, rate)
        texture = texture_stages(looker, self.encoder, self.decoder, texture_share, batch, rate)
        return (Stage("autoencoder", share, batch, (bound,)), *texture)

    def _loss(self, images: Tensor, _labels: Tensor, random: torch.Generator) -> Tensor:
        """Negative evidence lower bound per pixel, with the decoder variance at its optimum, the mean error."""
        mean, log_variance = self.encode(images)
        latents = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=random, device=random.device)
        error = functional.mse_loss(self.decoder(latents).float(), images)
        divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2 / len(images)
        return (error + 1e-5).log() / 2 + divergence / images[0].numel()

    def start_from(self, mean: Tensor) -> None:
        """See Generator.start_from."""
        start_at(self.decoder, mean, patch_side(self.settings.size))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (N, latent) of the latents of images (N, C, H, W) in [-1, 1]."""
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)

    def encode_all(self, batches: Iterable[Tensor]) -> Tensor:
        """Means and log variances (N, 2, latent) of all images; their statistics are kept for decoding."""
        codes = torch.cat([torch.stack(self.encode(images), dim=1) for images in batches])
        mean, log_variance = codes.unbind(1)
        self.mean.copy_(mean.mean(dim=0))
        self.scale.copy_((mean.var(dim=0, correction=0) + log_variance.exp().mean(dim=0)).sqrt())
        return codes

    def draw(self, codes: Tensor, random: torch.Generator) -> Tensor:
        """Standardised latents drawn from codes (N, 2, latent)."""
        mean, log_variance = codes.unbind(1)
        latents = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=random, device=random.device)
        return (latents - self.mean) / self.scale

    def latents(self, images: Tensor) -> Tensor:
        """Standardised latents (N, latent) of images (N, C, H, W) in [-1, 1]: their means."""
        return (self.encode(images)[0] - self.mean) / self.scale

    def decode(self, standardised: Tensor) -> Tensor:
        """Images in [0, 1] from standardised latents (N, latent)."""
        images: Tensor = self.decoder(standardised * self.scale + self.mean).float()
        return (images / 2 + 0.5).clamp(0, 1)


def looker(settings: ModelSettings, classes: int) -> Classifier:
    """The CNN by whose eyes the decoder is tuned; its class names do not matter."""
    return Classifier(settings.channels, [str(number) for number in range(classes)])


class VAE(Generator):
    """Autoencoder, then a class-conditional flow over its latents as the prior."""

    euler_steps = 24
    wider = 1.1  # standard deviation of the noise in sampling: more variety, which guidance narrows again
    training_only = ("looker",)

    def __init__(self, settings: ModelSettings, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.autoencoder = Autoencoder(settings)
        self.noise_shape = (self.autoencoder.latent,)
        self.looker = looker(settings, classes)
        self.prior = ConditionalMLP(self.autoencoder.latent, 5 * multiple_of_eight(settings.width), 4, classes)

    def stages(self) -> tuple[Stage, ...]:
        """The autoencoder with its texture, then the prior over its latents."""
        prior = Objective("prior", (self.prior,), self._prior_loss, self.settings.learning_rate)
        over_latents = Stage(
            "prior", PRIOR_SHARE, 2 * self.settings.batch_size, (prior,), self.autoencoder.encode_all
        )
        share = 1 - TEXTURE_SHARE - PRIOR_SHARE
        return (*self.autoencoder.stages(self.looker, share, TEXTURE_SHARE), over_latents)

    def _prior_loss(self, codes: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
        return flow_loss(self.prior, self.autoencoder.draw(codes, random), labels, random)

    def start_from(self, mean: Tensor) -> None:
        """See Generator.start_from."""
        self.autoencoder.start_from(mean)

    def sample(self, noise: Tensor, labels: Tensor, guidance: float) -> Tensor:
        """See Generator.sample."""
        latents = integrate(self.prior, self.wider * noise, labels, guidance, self.euler_steps, self.settings.solver)
        return self.autoencoder.decode(latents)

    def variations(self, images: Tensor, noise: Tensor, labels: Tensor, strength: float, guidance: float) -> Tensor:
        """See Generator.variations: as in flow matching, but over latents; keeps outline and tone, not the grain."""
        latents = self.autoencoder.latents(images)
        return self.autoencoder.decode(vary(self.prior, latents, noise, labels, strength, guidance, self.euler_steps))


def _encoder(channels: int, widths: list[int], side: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 3, padding=1), ResidualBlock(widths[0], widths[0])]
    for width, lower in pairwise(widths):
        layers += [nn.SiLU(), nn.Conv2d(width, lower, 4, stride=2, padding=1), ResidualBlock(lower, lower)]
    layers += [nn.GroupNorm(8, widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], 32, 1), nn.Flatten()]
    return nn.Sequential(*layers, nn.SiLU(), nn.Linear(32 * side**2, outputs))


def _decoder(inputs: int, widths: list[int], side: int, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(inputs, 32 * side**2), nn.Unflatten(1, (32, side, side))]
    layers += [nn.Conv2d(32, widths[0], 3, padding=1), ResidualBlock(widths[0], widths[0])]
    for lower, width in pairwise(widths):
        layers += [nn.Conv2d(lower, 4 * width, 1), nn.PixelShuffle(2), ResidualBlock(width, width)]
    last = nn.Conv2d(widths[-1], channels, 3, padding=1)
    return nn.Sequential(*layers, nn.GroupNorm(8, widths[-1]), nn.SiLU(), last)
