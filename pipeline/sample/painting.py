"""Painting with signed distances: smooth shapes on a small canvas, drawn large and scaled down.

A shape is a signed distance field: an array over the canvas, negative inside, in canvas units. Coordinates run
from -1 to 1, x to the right and y downwards. Everything is float64, so that rounding to bytes hides the last-digit
differences between processors.
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float64]
Colour = NDArray[np.float64]  # (3,), sRGB, 0..1

UNEVENNESS = 0.008
OVERSAMPLING = 2  # on top of the analytic edge smoothing of `cover`


@functools.cache
def grid(size: int) -> tuple[Field, Field]:
    """x and y of every pixel centre, each (size, size), read-only."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(axis, axis)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


class Canvas:
    """A square canvas: `planes` is (3, side, side) float64, sRGB in 0..1; `x` and `y` are its coordinates."""

    def __init__(self, size: int, ground: Colour) -> None:
        side = size * OVERSAMPLING
        self.x, self.y = grid(side)
        self.edge = 2 / side  # one pixel in canvas units
        self.planes: Field = np.broadcast_to(ground[:, None, None], (3, side, side)).copy()
        self._scratch = np.empty((side, side))

    def cover(self, distance: Field, softness: float = 0.0) -> Field:
        """How much of each pixel a shape covers, 0..1; `softness` widens the edge, in canvas units."""
        return np.clip(0.5 - distance / (self.edge + softness), 0.0, 1.0)

    def paint(self, distance: Field, colour: Colour, opacity: float = 1.0, softness: float = 0.0) -> None:
        """Lay `colour` over the inside of a shape."""
        self.glaze(self.cover(distance, softness) * opacity, colour)

    def glaze(self, amount: Field, colour: Colour) -> None:
        """Mix in `colour` by `amount` (0..1 for each pixel)."""
        for plane, value in zip(self.planes, colour, strict=True):  # plane by plane: in the cache, no new memory
            np.subtract(value, plane, out=self._scratch)
            self._scratch *= amount
            plane += self._scratch

    def shade(self, factor: Field) -> None:
        """Multiply the light."""
        self.planes *= factor

    def finished(self, rng: np.random.Generator) -> Image.Image:
        """The picture at its own size, on a ground that is never quite even, as paper, cloth and clay are not.

        The unevenness is hardly seen (2 grey levels). Without it half the frequencies of a symmetric picture would
        be rounding noise, and a perceptual hash of it would say nothing.
        """
        blotches = Image.fromarray(rng.normal(0, UNEVENNESS, (16, 16)).astype(np.float32))
        side = len(self.x)
        self.planes += np.asarray(blotches.resize((side, side), Image.Resampling.BICUBIC))
        return self._reduced()

    def _reduced(self) -> Image.Image:
        side = len(self.x) // OVERSAMPLING
        reduced = self.planes.reshape(3, side, OVERSAMPLING, side, OVERSAMPLING).mean(axis=(2, 4))
        pixels = np.rint(np.clip(reduced, 0, 1) * 255).astype(np.uint8)
        return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def colour(code: str) -> Colour:
    """`"#rrggbb"` as an array."""
    return np.array([int(code[index : index + 2], 16) / 255 for index in (1, 3, 5)])


def mix(first: Colour, second: Colour, amount: float) -> Colour:
    """A colour between two."""
    return first + (second - first) * amount


def varied(rng: np.random.Generator, base: Colour, spread: float = 0.035) -> Colour:
    """A near neighbour of a colour: each dyeing, firing or evening comes out a little different."""
    return np.clip(base + rng.normal(0, spread * 0.6) + rng.normal(0, spread * 0.6, 3), 0.02, 0.98)


def length(x: Field, y: Field) -> Field:
    """Distance from the origin (several times as fast as np.hypot; nothing here overflows)."""
    return np.sqrt(x * x + y * y)


def rotated(x: Field, y: Field, angle: float) -> tuple[Field, Field]:
    """Coordinates in a frame that is turned by `angle` radians."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * x + sine * y, cosine * y - sine * x


def folded(x: Field, y: Field, count: int) -> tuple[Field, Field]:
    """Coordinates folded into one of `count` mirror-symmetric sectors around the vertical: draw one, get all."""
    angle = np.arctan2(x, -y)
    sector = 2 * math.pi / count
    angle = np.abs(angle - sector * np.round(angle / sector))
    radius = length(x, y)
    return radius * np.sin(angle), -radius * np.cos(angle)


def disc(x: Field, y: Field, radius: float) -> Field:
    """A disc around the origin."""
    return length(x, y) - radius


def ellipse(x: Field, y: Field, width: float, height: float) -> Field:
    """An ellipse with half axes `width` and `height` (distance to first order)."""
    scaled = length(x / width, y / height)
    return (scaled - 1) * scaled / np.maximum(length(x / width**2, y / height**2), 1e-9)


def box(x: Field, y: Field, width: float, height: float, rounding: float = 0.0) -> Field:
    """A rectangle with half sides `width` and `height`."""
    across, down = np.abs(x) - width + rounding, np.abs(y) - height + rounding
    outside = length(np.maximum(across, 0), np.maximum(down, 0))
    return outside + np.minimum(np.maximum(across, down), 0) - rounding


def star(x: Field, y: Field, points: int, radius: float, inner: float) -> Field:
    """A star with `points` tips at `radius` and notches at `inner`, one tip upwards."""
    across, up = folded(x, y, points)
    sector = math.pi / points
    aside, down = inner * math.sin(sector), radius - inner * math.cos(sector)  # from the tip to the next notch
    return (across * down - (up + radius) * aside) / math.hypot(aside, down)


def petals(x: Field, y: Field, count: int, reach: float, width: float) -> Field:
    """A rosette of `count` elliptical petals that end at `reach`."""
    across, up = folded(x, y, count)
    return ellipse(across, up + reach * 0.55, width, reach * 0.45)


def smooth_line(rng: np.random.Generator, x: Field, waves: int, roughness: float = 0.55) -> Field:
    """A gentle random line over `x`, about -1..1: a few sines, the finer the weaker."""
    total: Field = np.zeros_like(x)
    for octave in range(waves):
        frequency = (1.1 + rng.uniform(0, 0.9)) * 1.8**octave
        wave = np.sin(frequency * x * math.pi / 2 + rng.uniform(0, 2 * math.pi))
        total += roughness**octave / (1 + roughness) * wave
    return total
