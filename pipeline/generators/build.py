"""From settings to an untrained model."""

import torch

from pipeline.core.settings import ModelSettings
from pipeline.generators.flow_matching import FlowMatching
from pipeline.generators.gan import LatentGAN
from pipeline.generators.pixel_gan import PixelGAN
from pipeline.generators.protocol import Generator
from pipeline.generators.vae import VAE

KINDS: dict[str, type[Generator]] = {
    "vae": VAE,
    "gan": LatentGAN,
    "pixel_gan": PixelGAN,
    "flow_matching": FlowMatching,
}


def build_generator(settings: ModelSettings, classes: int) -> Generator:
    """The untrained model that `settings` name; its first weights come from settings.seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return KINDS[settings.kind](settings, classes)
