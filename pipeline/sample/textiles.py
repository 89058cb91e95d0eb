"""Textiles: stripes, tartans, argyles, chevrons, ikats and printed rosettes in harmonious dyes, softly draped."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.painting import Canvas, Colour, Field, colour, disc, petals, rotated, varied

# ground first, then figure colours, the lightest last
DYES: tuple[tuple[str, ...], ...] = (
    ("#1f3a5f", "#c8553d", "#588b8b", "#f2e3c6"),  # indigo, madder, celadon, linen
    ("#7b2d26", "#d9a441", "#2e4057", "#f0ddc0"),  # madder, saffron, slate
    ("#2d4739", "#b5651d", "#8fae8b", "#efe6d2"),  # fir, copper, sage
    ("#f1e4d1", "#bf4e30", "#3c6e71", "#284b63"),  # linen with rust and sea
    ("#3b1f4a", "#c06c84", "#f3b195", "#f8e9d6"),  # plum, rose, apricot
    ("#e7d8c4", "#8a5a44", "#c89f73", "#4a3728"),  # undyed wools
    ("#0f4c5c", "#e36414", "#9a8c5a", "#fbe8c9"),  # petrol, marigold
    ("#222e50", "#439a86", "#bcd8c1", "#e9d985"),  # ink, jade, lemon
    ("#94a89a", "#34403a", "#d3b88c", "#f4efe3"),  # lichen, bark
    ("#a63d40", "#151e3f", "#e9b872", "#f6ead7"),  # crimson, midnight, honey
    ("#dde5e0", "#5b7db1", "#2f4b7c", "#e39b7b"),  # chalk blue
    ("#5c2751", "#6494aa", "#e2c391", "#f3eee3"),  # mulberry, sky
)


def draw_textile(rng: np.random.Generator, size: int) -> Image.Image:
    """One piece of cloth, size x size RGB."""
    codes = DYES[int(rng.integers(len(DYES)))]
    ground, *figures = (varied(rng, colour(code)) for code in codes)
    order = rng.permutation(len(figures))
    figures = [figures[index] for index in order]
    canvas = Canvas(size, ground)
    weave = (_stripes, _tartan, _argyle, _chevrons, _ikat, _rosettes)[int(rng.integers(6))]
    weave(canvas, rng, figures)
    _drape(canvas, rng)
    return canvas.finished(rng)


def _wave(position: Field, period: float, phase: float) -> Field:
    """Distance from the middle of the nearest repeat, in units of the position."""
    turns = position / period + phase
    return np.abs(turns - np.round(turns)) * period


def _shifted(position: Field, period: float, phase: float | Field) -> Field:
    """Position within the nearest repeat, -period/2..period/2."""
    turns = position / period + phase
    return (turns - np.round(turns)) * period


def _stripes(canvas: Canvas, rng: np.random.Generator, figures: list[Colour]) -> None:
    """A wide, a middle and a fine stripe in each repeat, at any of eight angles."""
    along, _ = rotated(canvas.x, canvas.y, math.pi / 8 * rng.integers(0, 8))
    period, phase = rng.uniform(0.5, 0.95), rng.random()
    widths = (rng.uniform(0.14, 0.24), rng.uniform(0.07, 0.13), rng.uniform(0.05, 0.07))
    offsets = (0.0, rng.uniform(0.28, 0.4), -rng.uniform(0.28, 0.4))
    for dye, width, offset in zip(figures, widths, offsets, strict=True):
        canvas.paint(_wave(along, period, phase + offset) - width * period, dye, 0.95)


def _tartan(canvas: Canvas, rng: np.random.Generator, figures: list[Colour]) -> None:
    """The same sett in warp and weft; where they cross, the dyes mix."""
    period = rng.uniform(0.6, 1.1)
    phases = rng.random(2)
    widths = (rng.uniform(0.2, 0.28), rng.uniform(0.07, 0.12), 0.05)
    offsets = (0.0, rng.uniform(0.3, 0.5), 0.5 if rng.random() < 0.5 else 0.0)
    for axis, phase in zip((canvas.x, canvas.y), phases, strict=True):
        for dye, width, offset in zip(figures, widths, offsets, strict=True):
            canvas.paint(_wave(axis, period, phase + offset) - width * period, dye, 0.52)


def _argyle(canvas: Canvas, rng: np.random.Generator, figures: list[Colour]) -> None:
    """Lozenges in two dyes with a fine lattice over them."""
    width, stretch = rng.uniform(0.62, 1.0), rng.uniform(1.2, 1.6)
    x, y = canvas.x / width + rng.random(), canvas.y / (width * stretch) + rng.random()
    u, v = x + y, x - y
    odd = np.floor(u) % 2 == np.floor(v) % 2
    inside = np.maximum(np.abs(u % 1 - 0.5), np.abs(v % 1 - 0.5)) - 0.5
    for dye, chosen in zip(figures, (odd & (np.floor(u) % 2 == 0), odd & (np.floor(u) % 2 == 1)), strict=False):
        canvas.paint(np.where(chosen, inside, 1.0) * width * 0.6, dye)
    lattice = np.minimum(_wave(u, 1.0, 0.5), _wave(v, 1.0, 0.5)) * width * 0.6 - 0.018
    canvas.paint(lattice, figures[2], 0.85)


def _chevrons(canvas: Canvas, rng: np.random.Generator, figures: list[Colour]) -> None:
    """Zigzag bands, upright or lying."""
    across, down = (canvas.x, canvas.y) if rng.random() < 0.7 else (canvas.y, canvas.x)
    pitch, period, phase = rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.9), rng.random()
    zigzag = down + _wave(across, pitch, rng.random()) * rng.uniform(0.7, 1.3)
    widths = (rng.uniform(0.13, 0.2), rng.uniform(0.07, 0.11), 0.06)
    for dye, width, offset in zip(figures, widths, (0.0, 0.33, -0.3), strict=True):
        canvas.paint((_wave(zigzag, period, phase + offset) - width * period) * 0.75, dye)


def _ikat(canvas: Canvas, rng: np.random.Generator, figures: list[Colour]) -> None:
    """Nested lozenges whose edges bleed along the warp, as resist-dyed yarn does."""
    width, height = rng.uniform(0.55, 0.85), rng.uniform(0.8, 1.2)
    column = np.round(canvas.x / width + 0.25)
    x = canvas.x - (column - 0.25) * width
    bleed = 0.05 * np.sin(canvas.x * rng.uniform(17, 21) + rng.uniform(0, 6))
    y = _shifted(canvas.y + bleed, height, rng.random() + 0.5 * (column % 2))
    lozenge = np.abs(x) / width + np.abs(y) / height
    reach = rng.uniform(0.4, 0.48)
    for dye, scale in zip(figures, (1.0, rng.uniform(0.6, 0.7), rng.uniform(0.25, 0.35)), strict=True):
        canvas.paint((lozenge - reach * scale) * width * 0.7, dye, 1.0, 0.05)


def _rosettes(canvas: Canvas, rng: np.random.Generator, figures: list[Colour]) -> None:
    """Block-printed blossoms on a half-drop lattice."""
    pitch = rng.uniform(0.72, 1.0)
    count, start = int(rng.integers(5, 9)), rng.random(2)
    column = np.round(canvas.x / pitch + start[0])
    x = canvas.x - (column - start[0]) * pitch
    y = _shifted(canvas.y, pitch, start[1] + 0.5 * (column % 2))
    reach = pitch * rng.uniform(0.4, 0.47)
    canvas.paint(petals(x, y, count, reach, reach * 1.5 / count), figures[0])
    canvas.paint(disc(x, y, reach * rng.uniform(0.26, 0.36)), figures[1])
    canvas.paint(disc(x, y, reach * 0.14), figures[2])


def _drape(canvas: Canvas, rng: np.random.Generator) -> None:
    """Soft folds: light that comes and goes across the cloth."""
    along, across = rotated(canvas.x, canvas.y, rng.uniform(-0.6, 0.6))
    fold = np.sin(along * rng.uniform(1.6, 3.0) + 0.5 * np.sin(across * 1.5) + rng.uniform(0, 2 * math.pi))
    canvas.shade(0.95 + rng.uniform(0.04, 0.1) * fold)
