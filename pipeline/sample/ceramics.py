"""Ceramics: turned vessels with a glaze, painted bands, a highlight and a soft shadow on a table."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.painting import Canvas, Colour, Field, colour, disc, ellipse, mix, varied

# glaze, second glaze, painted ornament
GLAZES = (
    ("#2f6f8f", "#d8e3dc", "#12304f"),
    ("#b5522f", "#e9c9a0", "#4a2318"),
    ("#7fa08a", "#dfe6d2", "#33503f"),
    ("#e9e2d2", "#c7b590", "#27478f"),
    ("#c98f2e", "#f0dba5", "#6b3413"),
    ("#39424e", "#9aa5a8", "#d9b26a"),
    ("#8e3b46", "#ecc8b8", "#3a1a2b"),
    ("#4f8a8b", "#f2e6c8", "#a4432e"),
    ("#d6a99a", "#f3e3d8", "#7a4a4a"),
    ("#5a4a7c", "#cdbfd9", "#e0b663"),
)
WALLS = ("#d9d2c3", "#b9c4c2", "#c9b7a6", "#8f9fa6", "#5b6672", "#a59a8c", "#d3c0b0", "#46525a", "#c3cbb8")
# half widths at foot, belly, shoulder, neck, lip
FORMS = (
    (0.26, 0.52, 0.44, 0.17, 0.24),
    (0.22, 0.36, 0.56, 0.20, 0.26),
    (0.30, 0.58, 0.52, 0.30, 0.34),
    (0.20, 0.44, 0.24, 0.12, 0.17),
    (0.24, 0.34, 0.42, 0.46, 0.54),
    (0.34, 0.40, 0.42, 0.40, 0.44),
)


def draw_ceramic(rng: np.random.Generator, size: int) -> Image.Image:
    """One vessel, size x size RGB."""
    wall = varied(rng, colour(str(rng.choice(WALLS))), 0.05)
    body, second, ornament = (varied(rng, colour(code)) for code in GLAZES[int(rng.integers(len(GLAZES)))])
    canvas = Canvas(size, wall)
    lamp = -1.0 if rng.random() < 0.5 else 1.0  # where the light comes from
    foot = rng.uniform(0.66, 0.8)
    _room(canvas, rng, wall, lamp, foot)
    canvas.x = canvas.x - rng.uniform(-0.1, 0.1)  # it rarely stands in the very middle
    top = rng.uniform(-0.82, -0.5)
    width = _profile(canvas, rng, top, foot)
    base = float(width[np.searchsorted(canvas.y[:, 0], foot - 0.03), 0])
    rim = 0.05 * np.sqrt(np.clip(1 - (canvas.x / base) ** 2, 0, 1))  # we look slightly down on the foot
    shape = np.maximum(np.abs(canvas.x) - width, np.maximum(canvas.y - foot - rim, top - canvas.y))
    canvas.paint(ellipse(canvas.x + lamp * 0.22, canvas.y - foot - 0.03, base + 0.3, 0.1), wall * 0.3, 0.5, 0.12)
    if rng.random() < 0.35:
        _handles(canvas, rng, body, width, top, foot)
    canvas.paint(shape, body)
    _paint_bands(canvas, rng, shape, width, (second, ornament), top, foot)
    _light(canvas, shape, width, lamp, rng.uniform(0.5, 0.85))
    lip = float(width[np.searchsorted(canvas.y[:, 0], top + 0.01), 0])
    canvas.paint(ellipse(canvas.x, canvas.y - top, lip, 0.055), mix(body, second, 0.4))
    canvas.paint(ellipse(canvas.x, canvas.y - top, lip - 0.035, 0.036), body * 0.3)
    return canvas.finished(rng)


def _room(canvas: Canvas, rng: np.random.Generator, wall: Colour, lamp: float, foot: float) -> None:
    """A wall that is lit from one side, and the table's edge."""
    canvas.shade(1.0 + 0.12 * lamp * canvas.x - 0.08 * canvas.y)
    table = mix(wall, colour(str(rng.choice(["#6b4a35", "#e8dfd0", "#3c4148", "#9c7a58"]))), 0.65)
    edge = canvas.y - foot + rng.uniform(0.1, 0.28)
    canvas.paint(-edge, table)
    canvas.shade(1.0 - 0.1 * np.clip(edge, 0, 1))


def _profile(canvas: Canvas, rng: np.random.Generator, top: float, foot: float) -> Field:
    """Half width of the vessel for every row, (H, 1): a smooth curve through a potter's five measures."""
    form = np.array(FORMS[int(rng.integers(len(FORMS)))]) * rng.uniform(0.88, 1.1) + rng.normal(0, 0.025, 5)
    heights = np.array([0.0, rng.uniform(0.28, 0.42), rng.uniform(0.58, 0.7), rng.uniform(0.82, 0.88), 1.0])
    rows = np.clip((foot - canvas.y[:, 0]) / (foot - top), 0, 1)
    index = np.clip(np.searchsorted(heights, rows, side="right") - 1, 0, 3)
    step = (rows - heights[index]) / (heights[index + 1] - heights[index])
    slopes = np.gradient(form, heights) * np.array([1, 1, 1, 0.6, 1])
    span = heights[index + 1] - heights[index]
    h00, h10 = 2 * step**3 - 3 * step**2 + 1, step**3 - 2 * step**2 + step  # cubic Hermite basis
    curve = h00 * form[index] + h10 * span * slopes[index]
    curve += (1 - h00) * form[index + 1] + (step**3 - step**2) * span * slopes[index + 1]
    widths: Field = np.maximum(curve, 0.06)[:, None]
    return widths


def _handles(canvas: Canvas, rng: np.random.Generator, body: Colour, width: Field, top: float, foot: float) -> None:
    """Two ears at the shoulder."""
    height = top + (foot - top) * rng.uniform(0.25, 0.36)
    out = float(width[np.searchsorted(canvas.y[:, 0], height), 0])
    ear = np.abs(ellipse(np.abs(canvas.x) - out, canvas.y - height, 0.15, rng.uniform(0.14, 0.2))) - 0.045
    canvas.paint(ear, body * 0.82)


def _paint_bands(
    canvas: Canvas,
    rng: np.random.Generator,
    shape: Field,
    width: Field,
    glazes: tuple[Colour, Colour],
    top: float,
    foot: float,
) -> None:
    """Dip the shoulder in the second glaze, and paint a band, waves, dots or petals around the belly."""
    second, ornament = glazes
    around = np.arcsin(np.clip(canvas.x / width, -1, 1)) + rng.uniform(-0.4, 0.4)
    height = (foot - canvas.y) / (foot - top) + 0.03 * (canvas.x / 0.5) ** 2
    if rng.random() < 0.6:
        dip = rng.uniform(0.5, 0.8) + rng.uniform(0, 0.06) * np.sin(around * rng.integers(3, 6) + rng.uniform(0, 6))
        canvas.paint(np.maximum(shape, (dip - height) * 0.9), second)
    middle, reach = rng.uniform(0.3, 0.55), rng.uniform(0.08, 0.14)
    offset = (height - middle) * (foot - top)
    kind = int(rng.integers(5))
    if kind == 0:
        canvas.paint(np.maximum(shape, np.abs(offset) - reach), ornament)
        canvas.paint(np.maximum(shape, np.abs(np.abs(offset) - reach * 0.5) - 0.022), second)
    elif kind == 1:
        wave = np.abs(offset - 0.07 * np.sin(around * rng.integers(4, 7))) - 0.042
        canvas.paint(np.maximum(shape, wave), ornament)
    elif kind == 2:
        pitch = math.pi / rng.integers(5, 8)
        dots = disc((around - pitch * np.round(around / pitch)) * width, offset, rng.uniform(0.055, 0.075))
        canvas.paint(np.maximum(shape, dots), ornament)
        canvas.paint(np.maximum(shape, np.abs(np.abs(offset) - 0.12) - 0.018), ornament)
    elif kind == 3:
        flutes = np.cos(around * 2 * rng.integers(4, 7))
        canvas.glaze(canvas.cover(np.maximum(shape, height - 0.62)) * np.clip(flutes * 2, 0, 1) * 0.75, second)


def _light(canvas: Canvas, shape: Field, width: Field, lamp: float, gloss: float) -> None:
    """Round the body: dark towards the far side, a soft highlight towards the lamp."""
    turn = np.clip(canvas.x / width, -1, 1) * lamp
    inside = canvas.cover(shape)
    canvas.shade(1 + inside * (0.2 * turn - 0.42 * np.abs(turn - 0.25) ** 2 + 0.04))
    shine = np.exp(-(((turn - 0.45) / 0.16) ** 2) - ((canvas.y + 0.05) / 0.42) ** 2)
    canvas.glaze(inside * shine * gloss * 0.6, np.ones(3))
