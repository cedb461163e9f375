"""What a campaign taught: where its lift was above its own, value by value of every tag.

Lifts of values are shrunk towards the campaign's own by how far values differ at all (empirical Bayes with normal errors:
Efron and Morris, "Data analysis using Stein's estimator", JASA 70, 1975). Each value is held against everybody else of its
tag, one-sided, and the many looks are paid for by Benjamini and Hochberg (JRSS B 57, 1995).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr

from campaigns.lift import NOBODY, Moments, absolute_lift

FALSE_SHARE = 0.05
"""Of what is found the share that may be nothing; of a campaign without any difference, the chance that something is found."""
LEAST_USERS = 50
"""Users held out, and users who got something, that a value and everybody else of its tag need to be looked at."""


@dataclass(frozen=True)
class ValueCell:
    """Outcomes of the users with one value of one tag: held out, and given something."""

    tag: str
    value: str
    held: Moments
    treated: Moments


@dataclass(frozen=True)
class ValueLift:
    """One value: what its users brought, its lift, the lift shrunk, and how surely it is above everybody else's.

    ``q_value`` is the least share of false finds at which it would be found; ``is_found`` compares it with what was allowed.
    """

    tag: str
    value: str
    users: int
    held_users: int
    response: float
    held_mean: float
    difference: float
    difference_low: float
    difference_high: float
    shrunk_lift: float
    shrunk_low: float
    shrunk_high: float
    p_value: float
    q_value: float
    is_found: bool


def learnt(
    cells: Sequence[ValueCell],
    held: Moments,
    treated: Moments,
    *,
    false_share: float = FALSE_SHARE,
    least_users: int = LEAST_USERS,
) -> list[ValueLift]:
    """Every value with enough users, the surest first; ``held`` and ``treated`` are those of the whole campaign.

    A value is found where its lift is above everybody else's and above 0. Empty where the campaign itself cannot be judged.
    """
    own = absolute_lift(held, treated)
    if own is None:
        return []
    whole: dict[str, tuple[Moments, Moments]] = {}
    for c in cells:
        h, t = whole.get(c.tag, (NOBODY, NOBODY))
        whole[c.tag] = h + c.held, t + c.treated
    looked = []
    for c in cells:
        rest = whole[c.tag][0] - c.held, whole[c.tag][1] - c.treated
        if min(c.held.users, c.treated.users, rest[0].users, rest[1].users) < least_users:
            continue
        mine, others = absolute_lift(c.held, c.treated), absolute_lift(*rest)
        if mine is not None and others is not None:
            looked.append((c, mine, _above((c.held, c.treated), rest, mine.estimate - others.estimate)))
    if not looked:
        return []
    estimate = np.array([mine.estimate for _, mine, _ in looked])
    error = np.array([mine.standard_error for _, mine, _ in looked])
    shrunk, spread = shrunk_towards(own.estimate, own.standard_error, estimate, error)
    q = false_discovery([p for _, _, p in looked])
    half = -float(ndtri(0.025)) * spread
    found = [
        ValueLift(
            tag=c.tag,
            value=c.value,
            users=c.treated.users,
            held_users=c.held.users,
            response=c.treated.mean,
            held_mean=c.held.mean,
            difference=mine.estimate,
            difference_low=mine.low,
            difference_high=mine.high,
            shrunk_lift=float(shrunk[i]),
            shrunk_low=float(shrunk[i] - half[i]),
            shrunk_high=float(shrunk[i] + half[i]),
            p_value=p,
            q_value=float(q[i]),
            is_found=bool(q[i] <= false_share and shrunk[i] > max(0.0, own.estimate)),
        )
        for i, (c, mine, p) in enumerate(looked)
    ]
    return sorted(found, key=lambda v: (v.p_value, v.tag, v.value))


def _above(mine: tuple[Moments, Moments], rest: tuple[Moments, Moments], difference: float) -> float:
    """One-sided p that the value's lift is no greater than the rest's (Welch and Satterthwaite over the four groups)."""
    parts = [(m.variance / m.users, m.users - 1) for m in (*mine, *rest)]
    variance = sum(v for v, _ in parts)
    degrees = variance**2 / sum(v**2 / n for v, n in parts)
    return float(stdtr(degrees, -difference / math.sqrt(variance)))


def shrunk_towards(
    own: float, own_error: float, estimate: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Estimates drawn towards ``own``, and their standard errors, by the variance that there is beyond the errors."""
    weight = 1 / error**2
    beyond = max(0.0, float((weight * (estimate - own) ** 2).sum() - len(estimate)) / float(weight.sum()))
    keep = beyond / (beyond + error**2)
    return own + keep * (estimate - own), np.sqrt(keep * error**2 + (1 - keep) ** 2 * own_error**2)


def false_discovery(p: Sequence[float]) -> np.ndarray:
    """The q of each p by Benjamini and Hochberg, in the order given."""
    order = np.argsort(p)
    ranked = np.asarray(p, np.float64)[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(1, np.minimum.accumulate(ranked[::-1])[::-1])
    return q


def cells_of(tag: str, by_value: Mapping[str, tuple[Moments, Moments]], most: int) -> list[ValueCell]:
    """The cells of one tag; none of a tag with more than ``most`` values, which tells people apart and not kinds of people."""
    if len(by_value) > most:
        return []
    return [ValueCell(tag, value, held, treated) for value, (held, treated) in sorted(by_value.items())]
