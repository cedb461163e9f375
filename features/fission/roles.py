"""Connector 联络员, maven 内行, salesman 推销员, and seed users (our operationalisation, definitions.md section 7)."""

from __future__ import annotations

import numpy as np

ROLES = ("none", "connector", "maven", "salesman")
"""Codes of the primary role are places in this list."""


def connector(reach: np.ndarray, communities: np.ndarray) -> np.ndarray:
    """People reached times share trees among them: who reaches many, and many who are strangers to each other."""
    return np.asarray(reach * communities, np.float64)


def maven(
    place: np.ndarray, category: np.ndarray, early: np.ndarray, reads: np.ndarray, users: int
) -> tuple[np.ndarray, np.ndarray]:
    """(shares, score) per user: entropy of the categories shared x part of the shares that are early x opens a share.

    ``place``, ``category`` and ``early`` are said per share, ``reads`` per user (how often shares were opened). Nobody
    is an authority after a single share: its entropy is 0.
    """
    shares = np.bincount(place, minlength=users)
    width = int(category.max(initial=0)) + 1
    cells, counts = np.unique(place.astype(np.int64) * width + category, return_counts=True)
    who = cells // width
    part = counts / shares[who]
    entropy = np.bincount(who, weights=-part * np.log(part), minlength=users)
    some = np.maximum(shares, 1)
    early_part = np.bincount(place, weights=early.astype(np.float64), minlength=users) / some
    # what a logarithm leaves of nought is nought
    return shares, np.round(entropy * early_part * (reads / some), 12) + 0.0


def beta_prior(
    converted: np.ndarray, exposed: np.ndarray, *, at_least: int, default: tuple[float, float]
) -> tuple[float, float]:
    """(a, b) of the Beta distribution of converted / exposed among sharers, by moments (Kleinman 1973).

    ``default`` where fewer than ``at_least`` sharers exposed anybody, where all or none converted, and where the
    conversions differ no more between sharers than chance makes them.
    """
    some = exposed > 0
    c, e = converted[some].astype(np.float64), exposed[some].astype(np.float64)
    if len(e) < at_least:
        return default
    n, p = e.sum(), c.sum() / e.sum()
    spread = p * (1 - p)
    free = n - (e * e).sum() / n - (len(e) - 1)
    if spread <= 0 or free <= 0:
        return default
    between = (((c / e - p) ** 2 * e).sum() - spread * (len(e) - 1)) / (spread * free)
    if between <= 0:
        return default
    between = min(between, 0.999)
    strength = (1 - between) / between
    return float(p * strength), float((1 - p) * strength)


def salesman(converted: np.ndarray, exposed: np.ndarray, prior: tuple[float, float]) -> np.ndarray:
    """Converted / exposed shrunk towards the mean of the prior: the mean of the posterior."""
    a, b = prior
    return np.round((converted + a) / (exposed + a + b), 12)


def place_among(among: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Place of each value in [0, 1] among sorted values: the mean of those below and those not above; ties are equal."""
    below = np.searchsorted(among, values, side="left")
    through = np.searchsorted(among, values, side="right")
    return np.round((below + through) / (2 * max(len(among), 1)), 6)


def primary_role(scores: np.ndarray, reached: np.ndarray, *, threshold: float, people: int) -> np.ndarray:
    """The role of the highest score from ``threshold`` on, as a place in ``ROLES``; of equal scores the first.

    ``scores`` has a column for connector, maven and salesman; nan for who shared nothing gives ``none``, and so does
    having reached fewer than ``people``.
    """
    known = np.where(np.isnan(scores), -1.0, scores)
    best = known.argmax(axis=1)
    enough = (known[np.arange(len(known)), best] >= threshold) & (reached >= people)
    return np.where(enough, best + 1, 0).astype(np.int8)


def seed_cuts(reach: np.ndarray, converted: np.ndarray, breadth: float, conversion: float) -> tuple[float, float]:
    """What roots must be above to be seed users: quantiles (type 7) of people reached and of converted / reached.

    Roots who reached nobody have no conversion; without any root both cuts are infinite.
    """
    some = reach > 0
    if not some.any():
        return np.inf, np.inf
    return float(np.quantile(reach, breadth)), float(np.quantile(converted[some] / reach[some], conversion))


def is_seed(reach: np.ndarray, converted: np.ndarray, cuts: tuple[float, float]) -> np.ndarray:
    """Strictly above both cuts."""
    return np.asarray((reach > cuts[0]) & (converted / np.maximum(reach, 1) > cuts[1]))
