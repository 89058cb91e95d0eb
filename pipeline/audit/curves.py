"""Training curves as points for inline SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, MARGIN = 320, 110, 4  # of the view box
_POINTS = 240
_CLOCKS = ("step", "iteration", "epoch", "seconds", "time")
_NOT_LOSSES = ("stage", "stage_number", "steps", "rate", "images_per_second")


@dataclass(frozen=True)
class Curve:
    """One metric over the training: raw and smoothed points in the view box, and the figures to read beside it."""

    name: str
    raw: str
    smooth: str
    first: float
    last: float
    low: float
    high: float
    clock: str
    start: float
    end: float
    not_finite: int


def curves(metrics: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """One curve for each numeric metric of each training stage that has two finite values or more, in order.

    Rows are those of metrics.jsonl: the horizontal axis is `step` where all rows of a stage have one, else the first
    other clock, else the row number. Rates and plan figures (_NOT_LOSSES) are not drawn.
    """
    stages = list(dict.fromkeys(str(row.get("stage", "")) for row in metrics))
    drawn = []
    for stage in stages:
        rows = [row for row in metrics if str(row.get("stage", "")) == stage]
        clock = next((name for name in _CLOCKS if all(_is_number(row.get(name)) for row in rows)), "row")
        names = dict.fromkeys(name for row in rows for name in row if name not in (*_CLOCKS, *_NOT_LOSSES))
        prefix = f"{stage}: " if len(stages) > 1 else ""
        drawn += [_curve(prefix, name, clock, rows) for name in names]
    return [curve for curve in drawn if curve]


def _curve(prefix: str, name: str, clock: str, rows: Sequence[Mapping[str, Any]]) -> Curve | None:
    found = [(row.get(clock, place), row[name]) for place, row in enumerate(rows) if _is_number(row.get(name))]
    points = np.array([point for point in found if math.isfinite(point[1])], dtype=np.float64)
    if len(points) < 2:
        return None
    times, values = _thinned(points[:, 0]), _thinned(points[:, 1])
    low, high = float(values.min()), float(values.max())
    return Curve(
        name=prefix + name,
        raw=_path(times, values, low, high),
        smooth=_path(times, _smoothed(values), low, high),
        first=float(points[0, 1]),
        last=float(points[-1, 1]),
        low=float(points[:, 1].min()),
        high=float(points[:, 1].max()),
        clock=clock,
        start=float(points[0, 0]),
        end=float(points[-1, 0]),
        not_finite=len(found) - len(points),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most _POINTS values: means of equal runs."""
    if len(values) <= _POINTS:
        return values
    return np.array([part.mean() for part in np.array_split(values, _POINTS)])


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred moving mean over a tenth of the curve, with shorter windows at its ends."""
    half = max(1, len(values) // 20)
    return np.array([values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))])


def _path(times: NDArray[np.float64], values: NDArray[np.float64], low: float, high: float) -> str:
    """SVG polyline points; a flat curve runs through the middle."""
    across = (times - times[0]) / ((times[-1] - times[0]) or 1.0)
    up = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    x = MARGIN + across * (WIDTH - 2 * MARGIN)
    y = HEIGHT - MARGIN - up * (HEIGHT - 2 * MARGIN)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
