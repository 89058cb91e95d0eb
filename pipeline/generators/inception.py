"""The Inception network that published Frechet distances are measured with, from a local weights file.

Inception v3 (Szegedy et al. 2015) as its TensorFlow weights of 2015-12-05 want it (Heusel et al. 2017): averages
leave the padding out, and the last block pools by maximum. Weights bear the names of torchvision and pytorch-fid,
whose `pt_inception-2015-12-05` is read once it has been saved as safetensors; a pickle is not.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.errors import ImprimaturError
from pipeline.generators.plan import threads

FEATURES = 2048
SIDE = 299
LABELS = 1008  # that the weights of 2015-12-05 tell apart; torchvision's own know 1000
_CHUNK = 32

Kernel = tuple[int, int]
Layer = tuple[int, Kernel, int]  # width, kernel, stride


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU; padded to the same size, or not at all."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, same: bool = True) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if same and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H', W')."""
        made: Tensor = functional.relu(self.bn(self.conv(x)))
        return made


class Mixed(nn.Module):
    """Branches side by side over one input; their outputs are laid behind each other.

    `branches` name chains of layers; those of a `fork` part into a 1x3 and a 3x1 at their end. A branch called
    branch_pool starts from an average (or, as `pool_by_maximum` says, a maximum) over 3x3; a block that halves the
    picture also hands on its input's maxima.
    """

    def __init__(
        self,
        inputs: int,
        branches: dict[str, list[Layer]],
        fork: tuple[str, ...] = (),
        pool_by_maximum: bool = False,
    ) -> None:
        super().__init__()
        self.chains: list[list[tuple[str, ...]]] = []  # names of layers, side by side where they fork
        self.pool_by_maximum = pool_by_maximum
        for branch, layers in branches.items():
            chain: list[tuple[str, ...]] = []
            width = inputs
            for number, (outputs, kernel, stride) in enumerate(layers, 1):
                name = branch if len(layers) == 1 and branch not in fork else f"{branch}_{number}"
                self.add_module(name, Convolution(width, outputs, kernel, stride))
                chain.append((name,))
                width = outputs
            if branch in fork:
                ends = f"{branch}_{len(layers) + 1}a", f"{branch}_{len(layers) + 1}b"
                for name, kernel in zip(ends, ((1, 3), (3, 1)), strict=True):
                    self.add_module(name, Convolution(width, width, kernel))
                chain.append(ends)
            self.chains.append(chain)
        self.halves = "branch_pool" not in branches

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, widths of all branches, H', W')."""
        made = []
        for chain in self.chains:
            h = self._pooled(x) if chain[0][0] == "branch_pool" else x
            for names in chain:
                h = torch.cat([self.get_submodule(name)(h) for name in names], dim=1)
            made.append(h)
        if self.halves:
            made.append(functional.max_pool2d(x, 3, 2))
        return torch.cat(made, dim=1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool_by_maximum:
            return functional.max_pool2d(x, 3, 1, 1)
        return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _a(inputs: int, pool: int) -> Mixed:
    double = [_layer(64), _layer(96, 3, 3), _layer(96, 3, 3)]
    five = [_layer(48), _layer(64, 5, 5)]
    return Mixed(
        inputs,
        {"branch1x1": [_layer(64)], "branch5x5": five, "branch3x3dbl": double, "branch_pool": [_layer(pool)]},
    )


def _b(inputs: int) -> Mixed:
    double = [_layer(64), _layer(96, 3, 3), _layer(96, 3, 3, 2)]
    return Mixed(inputs, {"branch3x3": [_layer(384, 3, 3, 2)], "branch3x3dbl": double})


def _c(inputs: int, width: int) -> Mixed:
    seven = [_layer(width), _layer(width, 1, 7), _layer(192, 7, 1)]
    double = [_layer(width), _layer(width, 7, 1), _layer(width, 1, 7), _layer(width, 7, 1), _layer(192, 1, 7)]
    return Mixed(
        inputs,
        {"branch1x1": [_layer(192)], "branch7x7": seven, "branch7x7dbl": double, "branch_pool": [_layer(192)]},
    )


def _d(inputs: int) -> Mixed:
    seven = [_layer(192), _layer(192, 1, 7), _layer(192, 7, 1), _layer(192, 3, 3, 2)]
    return Mixed(inputs, {"branch3x3": [_layer(192), _layer(320, 3, 3, 2)], "branch7x7x3": seven})


def _e(inputs: int, pool_by_maximum: bool) -> Mixed:
    branches = {
        "branch1x1": [_layer(320)],
        "branch3x3": [_layer(384)],
        "branch3x3dbl": [_layer(448), _layer(384, 3, 3)],
        "branch_pool": [_layer(192)],
    }
    return Mixed(inputs, branches, ("branch3x3", "branch3x3dbl"), pool_by_maximum)


def _layer(width: int, height: int = 1, across: int = 1, stride: int = 1) -> Layer:
    return width, (height, across), stride


class Inception(nn.Module):
    """Images (N, 3, 299, 299) float32 in [-1, 1] to 2048 features."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, (3, 3), stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, (3, 3), same=False)
        self.Conv2d_2b_3x3 = Convolution(32, 64, (3, 3))
        self.Conv2d_3b_1x1 = Convolution(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = Convolution(80, 192, (3, 3), same=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _a(192, 32), _a(256, 64), _a(288, 64)
        self.Mixed_6a = _b(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (
            _c(768, 128),
            _c(768, 160),
            _c(768, 160),
            _c(768, 192),
        )
        self.Mixed_7a = _d(768)
        self.Mixed_7b, self.Mixed_7c = _e(1280, False), _e(2048, True)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 2048)."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(x, 3, 2)))
        x = functional.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        features: Tensor = x.mean(dim=(2, 3))
        return features


def load_inception(path: Path) -> Inception:
    """The network with the weights in `path`. Raises ImprimaturError where they are not those of 2015-12-05."""
    fix = "save the state_dict of pytorch-fid's pt_inception-2015-12-05 as safetensors"
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ImprimaturError(f"model.inception: {path} cannot be read as safetensors ({error})", fix) from None
    labels = tensors.pop("fc.weight", torch.empty(0)).shape
    if labels != (LABELS, FEATURES):
        raise ImprimaturError(f"model.inception: {path}: fc.weight is {tuple(labels)}, not {(LABELS, FEATURES)}", fix)
    tensors.pop("fc.bias", None)
    network = Inception()
    try:
        found = network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise ImprimaturError(f"model.inception: {path}: {str(error).splitlines()[-1].strip()}", fix) from None
    missing = [name for name in found.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or found.unexpected_keys:
        wrong = (
            f"lacks {missing[0]}" if missing else f"holds {found.unexpected_keys[0]}, which is not of this network"
        )
        raise ImprimaturError(f"model.inception: {path} {wrong}", fix)
    return network.eval().requires_grad_(False)


def inception_features(network: Inception, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features (N, 2048) of images (N, H, W, C) uint8, grey or colour, enlarged to 299 x 299."""
    found = [np.empty((0, FEATURES), np.float32)]
    with threads(1), torch.inference_mode():
        for start in range(0, len(pixels), _CHUNK):
            images = (
                torch.from_numpy(np.array(pixels[start : start + _CHUNK])).permute(0, 3, 1, 2).float() / 127.5 - 1
            )
            sized = functional.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False)
            found.append(network(sized.expand(-1, 3, -1, -1)).numpy())
    return np.concatenate(found)
