"""Frozen global numbers: exact quantiles (type 7), means and extremes over values that lie in many buckets.

A bucket gives its values as distinct values with their counts; merged they are the same whatever the buckets and the
engine were, so breaks are equal bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Counted = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Distinct values in ascending order, and how many users have each."""


def counted(values: NDArray[np.float64]) -> Counted:
    """Distinct values with counts; unknowns (NaN) are left out."""
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    return distinct, counts.astype(np.int64)


def merged(parts: Iterable[Counted]) -> Counted:
    """The counted values of all parts together."""
    parts = list(parts)
    if not parts:
        return np.empty(0), np.empty(0, dtype=np.int64)
    distinct, where = np.unique(np.concatenate([v for v, _ in parts]), return_inverse=True)
    counts = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(counts, where, np.concatenate([c for _, c in parts]))
    return distinct, counts


def quantiles(values: Counted, shares: Sequence[float]) -> tuple[float, ...]:
    """Type-7 quantiles at ``shares`` (0..1), each rounded once from the exact rational; none of nobody.

    ``numpy.quantile`` (linear) gives the same to within its rounding: where a break is a whole number this is that
    number, there it may be a hair off, and who lies exactly on the break would score otherwise.
    """
    distinct, counts = values
    n = int(counts.sum())
    if n == 0:
        return ()
    last_rank = np.cumsum(counts)

    def of_rank(rank: int) -> Fraction:
        return Fraction(float(distinct[np.searchsorted(last_rank, rank, side="right")]))

    found = []
    for share in shares:
        # the decimal that was written (0.2), not its nearest binary fraction
        at = (n - 1) * Fraction(str(share))
        below = math.floor(at)
        low, high = of_rank(below), of_rank(min(below + 1, n - 1))
        found.append(float(low + (high - low) * (at - below)))
    return tuple(found)


def statistic(values: Counted, name: str) -> tuple[float, ...]:
    """``mean``, ``median``, ``min`` or ``max``; none of nobody."""
    distinct, _ = values
    if name == "mean":
        return mean(values)
    if name == "median":
        return quantiles(values, (0.5,))
    return () if not len(distinct) else (float(distinct[0] if name == "min" else distinct[-1]),)


def mean(values: Counted) -> tuple[float, ...]:
    """The mean; none of nobody."""
    distinct, counts = values
    n = int(counts.sum())
    return () if n == 0 else (math.fsum(v * c for v, c in zip(distinct.tolist(), counts.tolist(), strict=True)) / n,)
