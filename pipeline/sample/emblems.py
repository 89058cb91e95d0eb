"""Emblems: shields and medallions in heraldic tinctures, with one symmetric charge, on a plain ground."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.painting import (
    Canvas,
    Colour,
    Field,
    box,
    colour,
    disc,
    folded,
    length,
    mix,
    petals,
    rotated,
    star,
    varied,
)

# Heraldry's rule of tincture keeps emblems readable: colour on metal, metal on colour.
COLOURS = ("#1d3f8a", "#a4262c", "#1f6b45", "#5a2a6e", "#23242b", "#0f6a75", "#b8541a")
METALS = ("#e8bf4d", "#f1ece0", "#d9c9a3", "#c9d3d8")
GROUNDS = ("#efe7d8", "#dfe6e4", "#e9dccb", "#d7dbe6", "#2a2f3d", "#3b3038", "#233a38", "#e6d3cf", "#cfd8c6")
STAR_POINTS = (4, 5, 7, 8)


def draw_emblem(rng: np.random.Generator, size: int) -> Image.Image:
    """One emblem, size x size RGB."""
    ground = varied(rng, colour(str(rng.choice(GROUNDS))))
    first, second = (varied(rng, colour(str(code))) for code in rng.choice(COLOURS, 2, replace=False))
    metal, trim = (varied(rng, colour(str(code)), 0.025) for code in rng.choice(METALS, 2, replace=False))
    canvas = Canvas(size, ground)
    canvas.shade(1.03 - 0.09 * length(canvas.x + 0.3, canvas.y + 0.4))
    shape = _escutcheon(canvas, rng)
    shadow = np.roll(shape, (4, 3), (0, 1))
    canvas.paint(shadow, ground * 0.45, 0.4, 0.16)
    canvas.paint(shape, trim)
    canvas.paint(shape + 0.05, mix(first, np.zeros(3), 0.35))
    inner = shape + rng.uniform(0.075, 0.11)
    field, charge = (first, metal) if rng.random() < 0.7 else (metal, first)
    canvas.paint(inner, field)
    if rng.random() < 0.6:
        _division(canvas, rng, inner, second if field is first else mix(metal, trim, 0.7))
    _charge(canvas, rng, charge, second if charge is metal else trim)
    light = np.clip(-(canvas.x * 0.5 + canvas.y) * 0.12, -0.1, 0.12)
    canvas.planes += canvas.cover(shape) * light
    return canvas.finished(rng)


def _escutcheon(canvas: Canvas, rng: np.random.Generator) -> Field:
    """The outline: heater shield, Iberian shield, roundel, lozenge, quatrefoil or scalloped medallion."""
    x, y, size = canvas.x, canvas.y - rng.uniform(-0.03, 0.03), rng.uniform(0.7, 0.84)
    kind = int(rng.integers(6))
    if kind == 0:  # heater: two arcs that meet below
        bend = rng.uniform(1.25, 1.6) * size
        sides = length(np.abs(x) + bend - size * 0.92, np.maximum(y + size * 0.25, 0)) - bend
        return np.maximum(sides, -y - size * 0.95)
    if kind == 1:  # round below, square above
        lower = np.maximum(y - size * 0.1, 0)
        return np.maximum(length(x, lower) - size * 0.85, -y - size * 0.95)
    if kind == 2:
        return disc(x, y, size * 0.95)
    if kind == 3:
        turned = rotated(x, y * rng.uniform(0.78, 0.95), math.pi / 4)
        return box(*turned, size * 0.74, size * 0.74, 0.08)
    if kind == 4:
        across, up = folded(x, y, 4)
        return np.minimum(disc(across, up + size * 0.42, size * 0.5), disc(x, y, size * 0.62))
    across, up = folded(x, y, int(rng.integers(8, 13)))
    return disc(x, y, size * 0.9) + 0.05 * (1 - np.cos(across * 4))


def _division(canvas: Canvas, rng: np.random.Generator, inner: Field, tincture: Colour) -> None:
    """Part the field: per pale, per fess, chief, bend, chevron, quarterly, cross or saltire."""
    x, y = canvas.x, canvas.y
    wide = rng.uniform(0.13, 0.2)
    diagonal = (x + y) / math.sqrt(2)
    parts = (
        x,
        -y,
        y + rng.uniform(0.3, 0.42),
        np.abs(diagonal) - wide,
        np.abs(y - np.abs(x) * 0.9 + 0.05) * 0.75 - wide * 0.8,
        np.where(x * y > 0, -1.0, 1.0) * np.minimum(np.abs(x), np.abs(y)),
        np.minimum(np.abs(x), np.abs(y)) - wide * 0.8,
        np.minimum(np.abs(diagonal), np.abs(x - y) / math.sqrt(2)) - wide * 0.75,
    )
    canvas.paint(np.maximum(inner, parts[int(rng.integers(len(parts)))]), tincture)


def _charge(canvas: Canvas, rng: np.random.Generator, tincture: Colour, heart: Colour) -> None:
    """The figure in the middle: star, rosette, sun, crescent, annulet, trefoil or double blossom."""
    x, y, reach = canvas.x, canvas.y + rng.uniform(0.0, 0.06), rng.uniform(0.36, 0.5)
    kind = int(rng.integers(7))
    if kind == 0:
        points = int(rng.choice(STAR_POINTS))
        canvas.paint(star(x, y, points, reach, reach * rng.uniform(0.4, 0.55)), tincture)
        canvas.paint(disc(x, y, reach * 0.2), heart)
    elif kind == 1:
        count = int(rng.integers(5, 9))
        canvas.paint(petals(x, y, count, reach, reach * 1.75 / count), tincture)
        canvas.paint(disc(x, y, reach * 0.3), heart)
        canvas.paint(disc(x, y, reach * 0.15), tincture)
    elif kind == 2:
        canvas.paint(star(x, y, int(rng.integers(10, 15)), reach * 1.05, reach * 0.62), tincture)
        canvas.paint(np.abs(disc(x, y, reach * 0.42)) - 0.025, heart)
    elif kind == 3:
        bite = disc(x, y + reach * 0.34, reach * 0.68)  # horns upwards, as heraldry has it
        canvas.paint(np.maximum(disc(x, y - reach * 0.05, reach * 0.9), -bite), tincture)
        canvas.paint(disc(x, y + reach * 0.4, reach * 0.3), tincture)
    elif kind == 4:
        canvas.paint(np.abs(disc(x, y, reach * 0.75)) - reach * 0.16, tincture)
        canvas.paint(star(x, y, int(rng.choice(STAR_POINTS)), reach * 0.45, reach * 0.2), tincture)
    elif kind == 5:
        across, up = folded(x, y, 3)
        leaf = np.minimum(disc(across, up + reach * 0.52, reach * 0.42), box(across, up, 0.035, reach * 0.5))
        canvas.paint(leaf, tincture)
        canvas.paint(disc(x, y, reach * 0.2), heart)
    else:
        canvas.paint(petals(x, y, 8, reach, reach * 0.13), heart)
        canvas.paint(petals(*rotated(x, y, math.pi / 8), 8, reach * 0.9, reach * 0.16), tincture)
        canvas.paint(disc(x, y, reach * 0.24), tincture)
