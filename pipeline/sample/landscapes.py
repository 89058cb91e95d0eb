"""Landscapes: layered hills in the haze, a sun or moon, water that mirrors them, trees on the nearest ridge."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.painting import Canvas, Colour, Field, colour, disc, mix, smooth_line, varied

# sky above, sky at the horizon, sun or moon, far hills, near hills
HOURS: dict[str, tuple[str, str, str, str, str]] = {
    "dawn": ("#7d9cc9", "#fbd3b4", "#fff3d6", "#c79fae", "#4a3f63"),
    "morning": ("#6fb4dd", "#e6f2e4", "#fffbe8", "#9cc3c4", "#2f6b5a"),
    "noon": ("#3d8fd1", "#cfe9f2", "#fffdf0", "#8fb7d0", "#3b7d3f"),
    "harvest": ("#8cb8c9", "#fbe6b0", "#fff6d8", "#d8b673", "#8a4b2a"),
    "dusk": ("#3a3f7d", "#f5976b", "#ffd98a", "#a0627f", "#2b2347"),
    "ember": ("#5b2a52", "#f26a4b", "#ffc86b", "#a83f4f", "#31162f"),
    "moonlight": ("#0f1d44", "#4f76a8", "#f4f2dc", "#3d5b8c", "#0b1530"),
    "mist": ("#a9bcc2", "#e9ebe3", "#fdfcf4", "#b5c4c2", "#4f6d70"),
    "violet": ("#54489c", "#e7a9c4", "#ffeccb", "#8f74b0", "#2d2a5c"),
}


def draw_landscape(rng: np.random.Generator, size: int) -> Image.Image:
    """One landscape, size x size RGB."""
    hour = HOURS[str(rng.choice(list(HOURS)))]
    above, horizon, light, far, near = (varied(rng, colour(code), 0.03) for code in hour)
    canvas = Canvas(size, above)
    level = rng.uniform(-0.02, 0.3)  # of the horizon
    _sky(canvas, rng, above, horizon, light, level)
    water = rng.random() < 0.45
    shore = rng.uniform(0.32, 0.56) if water else 2.0
    ridge = _hills(canvas, rng, far, near, horizon, level, shore)
    if water:
        _water(canvas, rng, mix(above, near, 0.35), shore)
    else:
        _trees(canvas, rng, mix(near, colour("#0a0f14"), 0.28), ridge)
    return canvas.finished(rng)


def _sky(
    canvas: Canvas, rng: np.random.Generator, above: Colour, horizon: Colour, light: Colour, level: float
) -> None:
    """A gradient, the glow around the sun, its disc, and a long thin cloud or two."""
    height = np.clip((canvas.y[:, :1] + 1) / (level + 1), 0, 1) ** rng.uniform(0.8, 1.5)
    canvas.glaze(height, horizon)
    across, up = rng.uniform(-0.7, 0.7), rng.uniform(-0.72, level - 0.1)
    radius = rng.uniform(0.11, 0.22)
    sun = disc(canvas.x - across, canvas.y - up, radius)
    canvas.glaze(0.55 * np.exp(-np.maximum(sun, 0) * rng.uniform(2.5, 5.0)), mix(horizon, light, 0.6))
    canvas.paint(sun, light)
    for _ in range(rng.integers(0, 3)):
        left, top = rng.uniform(-0.9, 0.9), rng.uniform(-0.85, level - 0.2)
        long, thick = rng.uniform(0.3, 0.65), rng.uniform(0.035, 0.06)
        cloud = np.exp(-(((canvas.x - left) / long) ** 2) * 1.5 - ((canvas.y - top) / thick) ** 2)
        canvas.glaze(0.65 * cloud, mix(horizon, light, 0.5))


def _hills(
    canvas: Canvas,
    rng: np.random.Generator,
    far: Colour,
    near: Colour,
    horizon: Colour,
    level: float,
    shore: float,
) -> Field:
    """Ridge behind ridge, darker towards us; returns the height of the nearest one for every x."""
    layers = int(rng.integers(3, 5))
    peaks = rng.random() < 0.45
    ridge: Field = np.zeros_like(canvas.x[0])
    bottom = min(0.85, shore + 0.02)
    for layer in range(layers):
        depth = layer / (layers - 1)
        middle = level + (bottom - level) * depth * 0.85
        height = rng.uniform(0.12, 0.24) * (1 - 0.35 * depth)
        if peaks and layer < 2:
            ridge = middle - height * (1.9 * _peaks(rng, canvas.x[0]) - 0.6)
        else:
            ridge = middle - height * smooth_line(rng, canvas.x[0], 2)
        tone = mix(far, near, depth**0.9)
        hill = canvas.y - ridge[None, :]
        canvas.paint(-hill, tone)
        foot = np.clip(hill / 0.55, 0, 1) * canvas.cover(-hill)  # haze gathers in the valleys
        canvas.glaze(0.45 * (1 - depth) * foot, horizon)
    return ridge


def _peaks(rng: np.random.Generator, x: Field) -> Field:
    """A mountain range, 0..1: a few peaks with straight flanks."""
    heights = [
        1 - np.abs(x - (place + rng.uniform(-0.25, 0.25))) * rng.uniform(1.1, 1.9) - rng.uniform(0, 0.4)
        for place in (-0.75, 0.0, 0.75)
    ]
    skyline: Field = np.clip(np.max(heights, axis=0), 0, 1)
    return skyline


def _water(canvas: Canvas, rng: np.random.Generator, tint: Colour, shore: float) -> None:
    """Mirror everything above the shore line into the water, with gentle ripples."""
    side = len(canvas.x)
    line = int((shore + 1) / 2 * side)
    rows = np.arange(line, side)
    mirrored = np.clip(line - 1 - ((rows - line) * rng.uniform(1.1, 1.5)).astype(int), 0, side - 1)
    ripple = np.sin((rows - line) ** 0.8 * rng.uniform(0.7, 1.0) + rng.uniform(0, 6)) * (rows - line) * 0.07
    columns = np.clip(np.arange(side)[None, :] + np.rint(ripple).astype(int)[:, None], 0, side - 1)
    canvas.planes[:, line:] = canvas.planes[:, mirrored[:, None], columns]
    below = canvas.cover(shore - canvas.y)
    canvas.glaze(below * np.clip(0.22 + (canvas.y - shore) * 0.5, 0, 1), tint)
    canvas.glaze(0.35 * np.exp(-(((canvas.y[:, :1] - shore) / 0.025) ** 2)), np.ones(3))


def _trees(canvas: Canvas, rng: np.random.Generator, tone: Colour, ridge: Field) -> None:
    """Firs or round trees on the nearest ridge, in a loose group."""
    firs = rng.random() < 0.55
    middle, spread = rng.uniform(-0.7, 0.7), rng.uniform(0.2, 0.5)
    for _ in range(rng.integers(0, 7)):
        at = float(np.clip(rng.normal(middle, spread), -0.98, 0.98))
        foot = float(np.interp(at, canvas.x[0], ridge)) + 0.04
        tall = rng.uniform(0.22, 0.42)
        across, up = canvas.x - at, canvas.y - foot
        if firs:
            flank = np.abs(across) - (up + tall) * 0.27
            canvas.paint(np.maximum(np.maximum(flank, up), -up - tall) * 0.96, tone)
        else:
            canvas.paint(np.maximum(np.abs(across) - 0.018, np.abs(up + tall / 4) - tall / 3), tone)
            crown = disc(across, (up + tall * 0.72) * 0.85, tall * 0.33)
            canvas.paint(crown, mix(tone, np.array([0.35, 0.5, 0.3]), 0.12 + 0.1 * math.sin(at * 5)))
