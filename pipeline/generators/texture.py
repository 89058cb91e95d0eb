"""Texture for a decoder that blurs: it is tuned until its pictures look right to a CNN, and not in each pixel only.

Mean squared error asks for the mean of all pictures that are possible; a loss over the feature maps of a CNN asks for
a picture with the same edges and weave (Dosovitskiy & Brox 2016; Johnson et al. 2016). The CNN learns the classes of
the same snapshot first, and is not the one that judges the model afterwards.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.generators.classifier import SIDE, TURNS, Classifier
from pipeline.generators.protocol import Objective, Stage

LAYERS = (2, 5, 8)  # of the CNN's body, after its three convolutions
WEIGHT = 2.0  # of the features beside the pixels
LOOKING = 0.25  # of the time, for the CNN


def texture_stages(
    classifier: Classifier, encode: nn.Module, decode: nn.Module, share: float, batch_size: int, rate: float
) -> tuple[Stage, Stage]:
    """The CNN learns to tell the classes apart; then `decode`, alone, is tuned on the latents that `encode` gives.

    Both take a `share` of the budget.
    """

    def recognise(images: Tensor, labels: Tensor, _random: torch.Generator) -> Tensor:
        if not classifier.knows_classes:  # then quarter turns
            labels = torch.arange(len(images), device=images.device) % TURNS
            images = torch.stack([image.rot90(turn % TURNS, (1, 2)) for turn, image in enumerate(images)])
        classifier.train()
        return functional.cross_entropy(classifier.head(classifier.features(images)).float(), labels)

    def tune(images: Tensor, _labels: Tensor, random: torch.Generator) -> Tensor:
        classifier.eval()
        with torch.no_grad():
            mean, log_variance = encode(images).float().chunk(2, dim=1)
            noise = torch.randn(mean.shape, generator=random, device=random.device)
            latents = mean + (log_variance.clamp(-12, 4) / 2).exp() * noise
            wanted = _maps(classifier, images)
        made = decode(latents).float()
        seen = [
            functional.mse_loss(ours, theirs) / (theirs.var() + 1e-6)
            for ours, theirs in zip(_maps(classifier, made), wanted, strict=True)
        ]
        pixels = (functional.mse_loss(made, images) + 1e-5).log() / 2
        return pixels + WEIGHT * torch.stack(seen).sum()

    recognition = Objective("recognition", (classifier,), recognise, rate)
    texture = Objective("texture", (decode,), tune, rate / 2)
    return (
        Stage("recognition", LOOKING * share, batch_size, (recognition,)),
        Stage("texture", (1 - LOOKING) * share, batch_size, (texture,)),
    )


def statistics(classifier: Classifier, images: Tensor) -> Tensor:
    """What a CNN sees in each image, (N, D) float32: its features, and mean and deviation of each channel before."""
    maps = _maps(classifier, images)
    x = maps[-1]
    for layer in list(classifier.body)[LAYERS[-1] + 1 :]:
        x = layer(x)
    of_maps = [figure for each in maps for figure in (each.mean(dim=(2, 3)), each.std(dim=(2, 3)))]
    return torch.cat([x.float(), *of_maps], dim=1)


def _maps(classifier: Classifier, images: Tensor) -> list[Tensor]:
    """Feature maps float32 after each convolution, of images averaged down to what the CNN looks at."""
    x, maps = images, []
    if max(images.shape[-2:]) > SIDE:
        x = functional.adaptive_avg_pool2d(x, SIDE)
    for number, layer in enumerate(list(classifier.body)[: LAYERS[-1] + 1]):
        x = layer(x)
        if number in LAYERS:
            maps.append(x.float())
    return maps
