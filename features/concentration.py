"""How unevenly something is spread: Lorenz curve, Gini coefficient and top shares (definitions.md section 8).

All from distinct values with their counts (``features/breaks.py``): what groups of users give adds up, nobody is
listed, and sums are of whole numbers, so the result does not depend on how the users were grouped. Values are whole
numbers (minor units) and at least 0. Who is in the base decides the result: with users of value 0 it is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.configuration import Settings

Ints = NDArray[np.int64]
POINTS = 101
"""Of a Lorenz curve: 0 % to 100 % of users."""


class ValueSettings(Settings):
    """``methods/value.yaml``. ``top_shares`` of users whose share of all spend is reported."""

    top_shares: tuple[float, ...] = Field(default=(0.01, 0.10, 0.20), min_length=1)


@dataclass(frozen=True)
class Spread:
    """Distinct values ascending, how many users have each, and both running: users and their sum, exact."""

    values: Ints
    counts: Ints
    users_to: tuple[int, ...]
    sum_to: tuple[int, ...]

    @property
    def users(self) -> int:
        return self.users_to[-1] if self.users_to else 0

    @property
    def total(self) -> int:
        return self.sum_to[-1] if self.sum_to else 0


def spread(values: Ints, counts: Ints) -> Spread:
    """From distinct ascending values and their counts; ValueError for values below 0 (no Lorenz curve is defined)."""
    if len(values) and values[0] < 0:
        raise ValueError(f"value {values[0]} is below 0: concentration is defined for values of at least 0")
    users, total = 0, 0
    users_to, sum_to = [], []
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        users += count
        total += value * count
        users_to.append(users)
        sum_to.append(total)
    return Spread(values, counts, tuple(users_to), tuple(sum_to))


def gini(s: Spread) -> float | None:
    """sum((2i - n - 1) x_i) / (n sum x) over ranks i of ascending x; 0 is all equal, (n - 1) / n one has all.

    None of nobody, or where all have nothing.
    """
    if not s.total:
        return None
    n = s.users
    above = sum(
        # the ranks of one value run from b + 1 to b + c, so their (2i - n - 1) add up to c (2b + c - n)
        value * count * (2 * (to - count) + count - n)
        for value, count, to in zip(s.values.tolist(), s.counts.tolist(), s.users_to, strict=True)
    )
    return float(Fraction(above, n * s.total))


def lorenz(s: Spread, points: int = POINTS) -> list[tuple[float, float]]:
    """(share of users, share of the total that the poorest such share has), ``points`` of them from 0 to 1.

    A share of users that is no whole number of users takes the fraction of the next one. Empty where ``gini`` is None.
    """
    if not s.total:
        return []
    shares = [Fraction(i, points - 1) for i in range(points)]
    return [(float(x), float(held / s.total)) for x, held in zip(shares, _held(s, shares), strict=True)]


def top_share(s: Spread, share: float) -> float | None:
    """Share of the total that the richest ``share`` of users has: 1 - Lorenz(1 - share). None where ``gini`` is."""
    if not s.total:
        return None
    # the decimal that was written (0.2), not its nearest binary fraction
    return float(1 - _held(s, [1 - Fraction(str(share))])[0] / s.total)


def _held(s: Spread, shares: Sequence[Fraction]) -> list[Fraction]:
    """What the poorest ``share`` of users have together."""
    ranks = np.array(s.users_to)
    found = []
    for share in shares:
        users = share * s.users
        at = int(np.searchsorted(ranks, int(users), side="right"))
        before = (s.users_to[at - 1], s.sum_to[at - 1]) if at else (0, 0)
        more = (users - before[0]) * int(s.values[at]) if at < len(ranks) else Fraction(0)
        found.append(before[1] + more)
    return found
