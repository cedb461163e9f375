"""Whether a curve has a knee: two straight lines that meet, tested against a fall that has none.

The knee is where the hinge of the best two-line fit lies (segmented regression: Hudson, JASA 61, 1966). Every curve has
such a best place, a straight line too, so three things are asked of it (definitions.md section 4):

- it describes the curve: what it leaves unexplained is at most half of what a straight and an exponential fall leave;
- a straight or exponential fall with the curve's own sampling error hardly ever (5 %) looks so;
- curves redrawn with that error bend at the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NoKnee = Literal["few_points", "straight", "exponential", "unstable"]
LEAST_POINTS = 5
"""Two lines and a hinge have four parameters."""
TIMES_BETTER = 2.0
CHANCE = 0.05
SAME_PLACE = 0.05
"""Share of the curve's length within which two hinges are at the same place; one step at least."""
HINGES, RATES = 120, 60
RESOLUTION = 0.005
"""Of a curve's height: a line that is off by less, in the mean, describes it whole."""


@dataclass(frozen=True)
class Knee:
    """``x`` of the knee, or None and why. ``stability``: share of redrawn curves that bend there, too."""

    x: int | None
    why_not: NoKnee | None
    stability: float


def knee(
    x: Floats | Ints,
    y: Floats,
    redrawn: Floats,
    *,
    rising: bool,
    min_stability: float,
    weights: Floats | Ints | None = None,
) -> Knee:
    """The knee of a curve that rises, or falls, ever more slowly.

    ``redrawn`` are curves (rows) at the same x with the sampling error of ``y``. ``weights``: how much each point counts,
    equal if absent.
    """
    if len(x) < LEAST_POINTS or float(np.ptp(y)) <= 0:
        return Knee(None, "few_points" if len(x) < LEAST_POINTS else "straight", 0.0)
    shapes = _Shapes.of(np.asarray(x, np.float64), np.ones(len(x)) if weights is None else np.asarray(weights, float))
    floor = len(x) * float(np.mean(shapes.root)) ** 2 * (RESOLUTION * float(np.ptp(y))) ** 2
    mine = shapes.fitted(y[None, :], floor, rising)
    place = int(x[shapes.hinges[mine.hinge[0]]])
    if mine.straight[0] < TIMES_BETTER:
        return Knee(None, "straight", 0.0)
    if mine.better[0] < TIMES_BETTER:
        return Knee(None, "exponential", 0.0)
    by_chance = shapes.fitted(mine.smooth + (redrawn - y), floor, rising).better >= mine.better[0]
    again = shapes.fitted(redrawn, floor, rising)
    near = max(SAME_PLACE * float(x[-1] - x[0]), float(x[1] - x[0]))
    same = (again.better >= TIMES_BETTER) & (np.abs(x[shapes.hinges[again.hinge]] - place) <= near)
    stability = float(np.mean(same))
    if np.mean(by_chance) > CHANCE:
        return Knee(None, "unstable", stability)
    return Knee(place, None, stability) if stability >= min_stability else Knee(None, "unstable", stability)


@dataclass(frozen=True)
class _Fitted:
    """Of each curve: how many times better two lines are than a straight line, and than the better of the two falls
    without a knee; which hinge is best; the best fall without a knee."""

    straight: Floats
    better: Floats
    hinge: Ints
    smooth: Floats


@dataclass(frozen=True)
class _Shapes:
    """Directions in which a straight line is left: by a hinge at each place, by an exponential of each rate.

    All are of length one and at right angles to straight lines, so the squares that one of them explains are the square
    of a product; ``root`` are the roots of the weights.
    """

    root: Floats
    line: Floats
    bent: Floats
    curved: Floats
    hinges: Ints

    @classmethod
    def of(cls, x: Floats, weights: Floats) -> _Shapes:
        root = np.sqrt(weights)
        along = (x - x[0]) / (x[-1] - x[0])
        line, _ = np.linalg.qr(np.stack([root, root * along], axis=1))
        hinges = np.unique(np.linspace(1, len(x) - 2, min(HINGES, len(x) - 2)).round().astype(np.int64))
        rates = np.geomspace(0.1, 30.0, RATES)

        def directions(shapes: Floats) -> Floats:
            away = shapes * root - (shapes * root) @ line @ line.T
            found: Floats = away / np.linalg.norm(away, axis=1, keepdims=True)
            return found

        bent = directions(np.maximum(along[None, :] - along[hinges][:, None], 0.0))
        return cls(root, line, bent, directions(np.exp(-rates[:, None] * along)), hinges)

    def fitted(self, curves: Floats, floor: float, rising: bool) -> _Fitted:
        """``floor``: squares below which nothing is told from nothing."""
        scaled = curves * self.root
        straight = scaled @ self.line @ self.line.T
        left = np.sum((scaled - straight) ** 2, axis=1) + floor
        sign = -1.0 if rising else 1.0  # a bend in the other direction is no knee
        by_hinge = np.maximum(sign * scaled @ self.bent.T, 0.0)
        by_rate = np.maximum(sign * scaled @ self.curved.T, 0.0)
        hinge, rate = by_hinge.argmax(axis=1), by_rate.argmax(axis=1)
        two_lines = np.maximum(left - by_hinge.max(axis=1) ** 2, floor)
        smooth = np.maximum(left - by_rate.max(axis=1) ** 2, floor)
        curve = straight + sign * by_rate.max(axis=1)[:, None] * self.curved[rate]
        return _Fitted(left / two_lines, smooth / two_lines, hinge.astype(np.int64), curve / self.root)
