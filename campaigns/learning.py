"""What a campaign taught: where its lift was above its own, value by value of every tag.

Lifts of values are shrunk towards the campaign's own by how far values differ at all (empirical Bayes with normal errors:
Efron and Morris, "Data analysis using Stein's estimator", JASA 70, 1975). Each value is held against everybody else of its
tag, one-sided, and the many looks are paid for by Benjamini and Hochberg (JRSS B 57, 1995).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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


# --- pairs of values ---


@dataclass(frozen=True)
class PairTable:
    """Two tags and their values; ``sums`` are users, total and squares of the outcome by value, value and arm (held out, given)."""

    tags: tuple[str, str]
    values: tuple[tuple[str, ...], tuple[str, ...]]
    sums: np.ndarray


@dataclass(frozen=True)
class PairLift:
    """A value of one tag with a value of another: the lift of who has both, and how far it lies beyond what the two add up to.

    ``interaction`` is the lift of both less that of each without the other, plus that of neither; its shrunk form is drawn
    towards none by how far interactions differ at all.
    """

    tag: str
    value: str
    other_tag: str
    other_value: str
    users: int
    held_users: int
    response: float
    held_mean: float
    difference: float
    interaction: float
    shrunk_interaction: float
    shrunk_low: float
    shrunk_high: float
    p_value: float
    q_value: float
    is_found: bool


def tags_to_pair(values: Sequence[ValueLift], most_pairs: int) -> tuple[str, ...]:
    """Tags to pair with each other in at most so many pairs: those in which the lift of a value differs most surely.

    Where a lift differs for two values together, that of each alone differs as well, though less.
    """
    surest: dict[str, float] = {}
    for v in values:
        p = min(v.p_value, 1 - v.p_value)
        surest[v.tag] = min(p, surest.get(v.tag, 1.0))
    most = (1 + math.isqrt(1 + 8 * most_pairs)) // 2
    return tuple(sorted(surest, key=lambda t: (surest[t], t))[:most])


def pair_table(
    tags: tuple[str, str],
    values: tuple[tuple[str, ...], tuple[str, ...]],
    codes: tuple[np.ndarray, np.ndarray],
    outcome: np.ndarray,
    is_held: np.ndarray,
) -> PairTable:
    """One pass over the users; ``codes`` are places among the values, below 0 of who has none of them."""
    shape = (len(values[0]), len(values[1]), 2)
    known = (codes[0] >= 0) & (codes[1] >= 0)
    place = (codes[0] * shape[1] + codes[1]) * 2 + ~is_held
    place, y = place[known], np.asarray(outcome, np.float64)[known]
    size = math.prod(shape)
    sums = [np.bincount(place, weights, size).reshape(shape) for weights in (None, y, y * y)]
    return PairTable(tags, values, np.stack(sums).astype(np.float64))


def pair_lifts(tables: Sequence[PairTable], *, least_users: int = LEAST_USERS) -> list[PairLift]:
    """Every pair of values with enough users held out and given something, who have both, either and neither.

    p is the greater of two, one-sided: that the interaction is none, and that the lift is no greater than everybody else's.
    By the first alone a planted pair is seen again in the pairs that share neither of its values. q and what is found are
    for ``corrected`` to say. No group's variance is taken to be below that of all its arm's users: a group of few users in
    which by chance hardly anybody bought would seem surer than it is.
    """
    looked = [one for t in tables for one in _looked_at(t, max(2, least_users))]
    if not looked:
        return []
    shrunk, spread = shrunk_towards(
        0.0, 0.0, np.array([v.interaction for v, _ in looked]), np.array([error for _, error in looked])
    )
    half = -float(ndtri(0.025)) * spread
    found = [
        replace(v, shrunk_interaction=float(one), shrunk_low=float(one - h), shrunk_high=float(one + h))
        for (v, _), one, h in zip(looked, shrunk, half, strict=True)
    ]
    return sorted(found, key=lambda v: (v.p_value, v.tag, v.value, v.other_tag, v.other_value))


def _looked_at(t: PairTable, least_users: int) -> list[tuple[PairLift, float]]:
    """The pairs of one table with enough users, each with the standard error of its interaction; not shrunk yet."""
    n, total, squares = t.sums
    if not n.size:
        return []
    groups = [_both_either_neither(x) for x in (n, total, squares)]
    floor = _variance(*(x.sum(axis=(0, 1)) for x in (n, total, squares)))
    mean, variance = _mean_and_variance(groups, floor)
    # Everybody without both values, as one group.
    mean_else, variance_else = _mean_and_variance([x[1:].sum(axis=0) for x in groups], floor)
    lift = mean[..., 1] - mean[..., 0]
    interaction = lift[0] - lift[1] - lift[2] + lift[3]
    error = np.sqrt(variance.sum(axis=(0, 3)))
    above = lift[0] - (mean_else[..., 1] - mean_else[..., 0])
    error_above = np.sqrt((variance[0] + variance_else).sum(axis=2))
    enough = (groups[0] >= least_users).all(axis=(0, 3)) & (error > 0)
    found = []
    for i, j in np.argwhere(enough).tolist():
        users = groups[0][:, i, j, :]
        p = max(
            _chance(interaction[i, j], error[i, j], variance[:, i, j, :].ravel(), users.ravel()),
            _chance(
                above[i, j],
                error_above[i, j],
                np.concatenate([variance[0, i, j], variance_else[i, j]]),
                np.concatenate([users[0], users[1:].sum(axis=0)]),
            ),
        )
        one = PairLift(
            tag=t.tags[0],
            value=t.values[0][i],
            other_tag=t.tags[1],
            other_value=t.values[1][j],
            users=int(users[0, 1]),
            held_users=int(users[0, 0]),
            response=float(mean[0, i, j, 1]),
            held_mean=float(mean[0, i, j, 0]),
            difference=float(lift[0, i, j]),
            interaction=float(interaction[i, j]),
            shrunk_interaction=0.0,
            shrunk_low=0.0,
            shrunk_high=0.0,
            p_value=p,
            q_value=1.0,
            is_found=False,
        )
        found.append((one, float(error[i, j])))
    return found


def corrected(
    values: Sequence[ValueLift], pairs: Sequence[PairLift], own: float, false_share: float = FALSE_SHARE
) -> tuple[list[ValueLift], list[PairLift]]:
    """Values and pairs with the q of all looks together, and what is found by it: above others, above ``own`` and above 0."""
    looks = [*(v.p_value for v in values), *(v.p_value for v in pairs)]
    q = false_discovery(looks).tolist() if looks else []
    least = max(0.0, own)
    of_values = [
        replace(v, q_value=one, is_found=one <= false_share and v.shrunk_lift > least)
        for v, one in zip(values, q[: len(values)], strict=True)
    ]
    of_pairs = [
        replace(v, q_value=one, is_found=one <= false_share and v.difference > least)
        for v, one in zip(pairs, q[len(values) :], strict=True)
    ]
    return of_values, of_pairs


def _both_either_neither(x: np.ndarray) -> np.ndarray:
    """Sums by (value, value, arm) as those of who has both values, the first alone, the second alone, and neither."""
    first, second, whole = x.sum(axis=1, keepdims=True), x.sum(axis=0, keepdims=True), x.sum(axis=(0, 1), keepdims=True)
    return np.stack([x, first - x, second - x, whole - first - second + x])


def _mean_and_variance(sums: Sequence[np.ndarray], floor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of groups by users, total and squares their means, and the variance of each mean, of a user at least ``floor``; of nobody as if there were two users."""
    n, total, squares = sums
    users = np.maximum(n, 2)
    return total / users, np.maximum(_variance(n, total, squares), floor) / users


def _chance(estimate: float, error: float, variances: np.ndarray, users: np.ndarray) -> float:
    """One-sided p of a sum of differences (Welch and Satterthwaite over its groups)."""
    degrees = float(variances.sum() ** 2 / (variances**2 / (users - 1)).sum())
    return float(stdtr(degrees, -estimate / error))


def _variance(n: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    users = np.maximum(n, 2)
    return np.maximum(0.0, squares - total**2 / users) / (users - 1)
