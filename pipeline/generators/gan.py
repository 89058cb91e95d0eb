"""A class-conditional GAN over the latents of a VAE, with the relativistic loss and R1 + R2 of R3GAN (Huang et al.
2024).

In pixels a GAN needs GPU hours; over latents it learns in CPU seconds, and its sharpness is the VAE decoder's. The
generator starts as the identity on the VAE's own prior, at full diversity. What the critic cannot see, how a latent
looks once it is decoded, generator and decoder learn last: what a CNN sees in their pictures is to have the moments
of what it sees in real ones.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.settings import ModelSettings
from pipeline.generators.adversarial import critic_loss, maker_loss
from pipeline.generators.protocol import Generator, Objective, Stage
from pipeline.generators.texture import statistics
from pipeline.generators.vae import Autoencoder, looker

TEXTURE_SHARE = 0.2  # of the budget
ADVERSARIAL_SHARE = 0.2  # the players take far longer to settle than a flow does
MATCHING_SHARE = 0.15
GAMMA = 1.0  # weight of the gradient penalties
WIDER = 1.2  # standard deviation of the noise in sampling, 1 in training


class Maker(nn.Module):
    """Latent from noise of the same shape: the noise plus a learned residual."""

    def __init__(self, latent: int, width: int, classes: int, depth: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(latent, width)
        self.labels = nn.ModuleList(nn.Embedding(classes, width) for _ in range(depth + 1))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(depth)
        )
        self.last = nn.Linear(width, latent)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """(N, latent) -> (N, latent)."""
        h = self.first(noise) + self.labels[0](labels)
        for block, label in zip(self.blocks, list(self.labels)[1:], strict=True):
            h = h + block(h + label(labels))
        made: Tensor = noise + self.last(h)
        return made


class Critic(nn.Module):
    """Realness of a latent of a class: a scalar plus a class projection (Miyato & Koyama 2018); no normalisation."""

    def __init__(self, latent: int, width: int, classes: int, depth: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(latent, width)
        self.label = nn.Embedding(classes, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(depth)
        )
        self.score = nn.Linear(width, 1)
        self.projection = nn.Embedding(classes, width)
        nn.init.normal_(self.projection.weight, std=0.03)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(N, latent) -> (N,)."""
        h = self.first(latents) + self.label(labels)
        for block in self.blocks:
            h = h + block(h)
        score: Tensor = self.score(h)[:, 0] + (h * self.projection(labels)).sum(dim=1) / h.shape[1] ** 0.5
        return score


class LatentGAN(Generator):
    """Autoencoder, then generator against discriminator over its latents, then by the looks of its pictures."""

    training_only = ("discriminator", "looker")

    def __init__(self, settings: ModelSettings, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.classes = classes
        self.autoencoder = Autoencoder(settings)
        self.looker = looker(settings, classes)
        self.noise_shape = (self.autoencoder.latent,)
        size = self.autoencoder.latent
        self.generator = Maker(size, 4 * settings.width, classes)
        self.discriminator = Critic(size, 4 * settings.width, classes)

    def stages(self) -> tuple[Stage, ...]:
        """The autoencoder with its texture, the two players over its latents, and the matching of features."""
        rate = self.settings.learning_rate / 2
        critic = Objective("discriminator", (self.discriminator,), self._critic_loss, rate, (0.0, 0.95), 0.0)
        maker = Objective("generator", (self.generator,), self._maker_loss, rate, (0.0, 0.95), 0.0)
        players = Stage(
            "adversarial",
            ADVERSARIAL_SHARE,
            2 * self.settings.batch_size,
            (critic, maker),
            self.autoencoder.encode_all,
            anneal_from=0.4,
            last_rate=0.02,
            mixed_precision=False,
        )
        moments = Objective(
            "moments", (self.generator, self.autoencoder.decoder), self._moments_loss, rate / 4, (0.5, 0.99), 0.0
        )
        matching = Stage("matching", MATCHING_SHARE, 4 * self.settings.batch_size, (moments,))
        share = 1 - TEXTURE_SHARE - ADVERSARIAL_SHARE - MATCHING_SHARE
        return (*self.autoencoder.stages(self.looker, share, TEXTURE_SHARE), players, matching)

    def _pair(self, codes: Tensor, labels: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        real = self.autoencoder.draw(codes, random)
        noise = torch.randn(real.shape, generator=random, device=random.device)
        fake: Tensor = self.generator(noise, labels)
        return real, fake

    def _critic_loss(self, codes: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
        with torch.no_grad():
            real, fake = self._pair(codes, labels, random)
        return critic_loss(self.discriminator, real, fake, labels, GAMMA)

    def _maker_loss(self, codes: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
        real, fake = self._pair(codes, labels, random)
        return maker_loss(self.discriminator, real, fake, labels)

    def _moments_loss(self, images: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
        """How far means, of all and of each class, and covariances of what a CNN sees are from those of real images.

        Feature matching (Salimans et al. 2016), of two moments and at the noise of sampling.
        """
        self.looker.eval()
        noise = torch.randn(len(images), *self.noise_shape, generator=random, device=random.device)
        pictures = self.autoencoder.decode(self.generator(WIDER * noise, labels)) * 2 - 1
        with torch.no_grad():
            real = statistics(self.looker, images)
            spread = real.std(dim=0) + 0.05 * real.std()
        made, real = statistics(self.looker, pictures) / spread, real / spread
        of_class = functional.one_hot(labels, self.classes).float()
        of_class = of_class / of_class.sum(dim=0).clamp(min=1)
        covariance = (made.T.cov() - real.T.cov()).square().mean()
        by_class = (of_class.T @ (made - real)).square().mean()
        return (made - real).mean(dim=0).square().mean() + by_class / 4 + 8 * covariance

    def start_from(self, mean: Tensor) -> None:
        """See Generator.start_from."""
        self.autoencoder.start_from(mean)

    def sample(self, noise: Tensor, labels: Tensor, guidance: float) -> Tensor:
        """See Generator.sample; a GAN has no guidance.

        Wider noise, the truncation trick (Brock et al. 2019) turned round, gives up some likeness to the class for
        variety: of a smooth decoder's pictures it is the most usual ones that are near copies of training images.
        """
        return self.autoencoder.decode(self.generator(WIDER * noise, labels))

    def variations(self, images: Tensor, noise: Tensor, labels: Tensor, strength: float, guidance: float) -> Tensor:
        """See Generator.variations: the image's latent turned towards a generated one, at equal length."""
        turn = torch.tensor(strength * torch.pi / 2)
        made = self.generator(noise, labels)
        return self.autoencoder.decode(self.autoencoder.latents(images) * turn.cos() + made * turn.sin())
