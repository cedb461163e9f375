"""What an arm brought more than the held out: difference, relative difference, chance to win, always-valid interval, CUPED.

An arm is its moments (``Moments``): sums over all users who were assigned to it, whoever was reached, so that the
comparison is by assignment. Sources: Welch, "The generalization of Student's problem", Biometrika 34 (1947); delta method
as in Deng, Knoblich and Lu, "Applying the delta method in metric analytics" (KDD 2018); Waudby-Smith et al., "Time-uniform
central limit theory and asymptotic confidence sequences" (2021); Deng, Xu, Kohavi and Walker, "Improving the sensitivity of
online controlled experiments by utilizing pre-experiment data" (CUPED, WSDM 2013). Figures are held against GrowthBook's
published test vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

ALPHA = 0.05
"""1 less the confidence of intervals where nothing else is asked for."""
SEQUENTIAL_USERS = 5_000
"""Users of both arms at which the always-valid interval is narrowest, unless the shop's settings say another number."""


@dataclass(frozen=True)
class Moments:
    """An arm's users and the sums of their outcomes, of the squares, and of the same outcome before the assignment.

    ``before``, ``before_squares`` and ``crossed`` (outcome x outcome before) serve CUPED; 0 where nothing is known of before.
    Moments of parts are added.
    """

    users: int
    total: float
    squares: float
    before: float = 0.0
    before_squares: float = 0.0
    crossed: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Moments) -> Moments:
        return Moments(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    @property
    def mean(self) -> float:
        return self.total / self.users

    @property
    def variance(self) -> float:
        """Of a user, with n - 1."""
        return max(0.0, self.squares - self.total**2 / self.users) / (self.users - 1)

    @property
    def before_variance(self) -> float:
        return max(0.0, self.before_squares - self.before**2 / self.users) / (self.users - 1)

    @property
    def covariance(self) -> float:
        """Of the outcome with the same outcome before."""
        return (self.crossed - self.total * self.before / self.users) / (self.users - 1)


NOBODY = Moments(0, 0.0, 0.0)


def moments(outcome: np.ndarray, before: np.ndarray | None = None) -> Moments:
    """The moments of an arm from a number per user (and the same number before the assignment)."""
    y = np.asarray(outcome, np.float64)
    x = np.zeros_like(y) if before is None else np.asarray(before, np.float64)
    return Moments(len(y), float(y.sum()), float(y @ y), float(x.sum()), float(x @ x), float(x @ y))


@dataclass(frozen=True)
class Lift:
    """An estimated difference with its interval; ``degrees`` of freedom are infinite where the normal is used."""

    estimate: float
    low: float
    high: float
    standard_error: float
    p_value: float
    degrees: float

    @property
    def chance_to_win(self) -> float:
        """Probability that the difference is above 0 under a flat prior, with the normal approximation."""
        return float(ndtr(self.estimate / self.standard_error))


def absolute_lift(held: Moments, arm: Moments, alpha: float = ALPHA) -> Lift | None:
    """Mean of the arm less mean of the held out, by Welch; None where an arm has fewer than two users or nothing varies."""
    if not _judged(held, arm):
        return None
    parts = (held.variance / held.users, arm.variance / arm.users)
    return _effect(arm.mean - held.mean, sum(parts), _welch_degrees(held, arm), alpha)


def relative_lift(held: Moments, arm: Moments, alpha: float = ALPHA) -> Lift | None:
    """The difference as a share of the held out's mean, by the delta method.

    None also where that mean is 0, of which nothing can be a share, or where its variance is, as of an arm that brought nothing.
    """
    if not _judged(held, arm) or not held.mean or not (variance := _relative(held, arm)):
        return None
    return _effect((arm.mean - held.mean) / held.mean, variance, _welch_degrees(held, arm), alpha)


def _judged(held: Moments, arm: Moments) -> bool:
    return min(held.users, arm.users) > 1 and held.variance + arm.variance > 0


def _welch_degrees(a: Moments, b: Moments) -> float:
    va, vb = a.variance / a.users, b.variance / b.users
    return (va + vb) ** 2 / (va**2 / (a.users - 1) + vb**2 / (b.users - 1))


def _relative(held: Moments, arm: Moments) -> float:
    """Variance of the relative difference."""
    own = arm.variance / (arm.users * held.mean**2)
    return own + arm.mean**2 * held.variance / (held.users * held.mean**4)


def _effect(estimate: float, variance: float, degrees: float, alpha: float) -> Lift:
    error = math.sqrt(variance)
    if math.isinf(degrees):
        half, p = -float(ndtri(alpha / 2)) * error, 2 * float(ndtr(-abs(estimate) / error))
    else:
        half, p = -float(stdtrit(degrees, alpha / 2)) * error, 2 * float(stdtr(degrees, -abs(estimate) / error))
    return Lift(estimate, estimate - half, estimate + half, error, p, degrees)


@dataclass(frozen=True)
class Converted:
    """Users of an arm, and how many of them did it."""

    users: int
    converted: int

    @property
    def share(self) -> float:
        return self.converted / self.users

    @property
    def as_moments(self) -> Moments:
        """The same as moments whose variance is p q, without the correction by n - 1."""
        q = self.share * (1 - self.share)
        squares = q * (self.users - 1) + self.converted**2 / self.users
        return Moments(self.users, float(self.converted), squares)


def proportion_lift(held: Converted, arm: Converted, alpha: float = ALPHA, *, flat_prior: bool = False) -> Lift | None:
    """The relative difference of two shares; by Student's distribution, or by the normal under a flat prior.

    None where an arm has fewer than two users, nobody held out converted, or nothing varies.
    """
    if min(held.users, arm.users) < 2:
        return None
    a, b = held.as_moments, arm.as_moments
    if not a.mean or not (variance := _relative(a, b)):
        return None
    return _effect((b.mean - a.mean) / a.mean, variance, math.inf if flat_prior else _welch_degrees(a, b), alpha)


def always_valid(effect: Lift, users: int, tuning: int = SEQUENTIAL_USERS, alpha: float = ALPHA) -> tuple[float, float]:
    """An interval that holds at all times together, however often somebody looks while the campaign runs.

    ``users`` of both arms; ``tuning`` is the number of them at which it is narrowest.
    """
    n = users
    logs = -2 * math.log(alpha)
    rho = math.sqrt((logs + math.log(logs + 1)) / tuning)
    spread = n * rho**2 + 1
    width = math.sqrt(2 * spread * math.log(math.sqrt(spread) / alpha)) / (n * rho)
    half = effect.standard_error * math.sqrt(n) * width
    return effect.estimate - half, effect.estimate + half


@dataclass(frozen=True)
class Adjusted:
    """The lift with what users did before the assignment taken out (CUPED), beside the plain one.

    ``variance_reduction`` is the real one: 1 less the ratio of both variances of the difference; below 0 it made things worse.
    """

    theta: float
    absolute: Lift
    relative: Lift | None
    variance_reduction: float


def cuped(held: Moments, arm: Moments, alpha: float = ALPHA) -> Adjusted | None:
    """CUPED with one theta for both arms; None where the outcome before says nothing, since nobody had any."""
    plain = absolute_lift(held, arm, alpha)
    both = (held, arm)
    spread = sum(m.before_variance * (m.users - 1) for m in both) if plain else 0.0
    if plain is None or not spread:
        return None
    theta = sum(m.covariance * (m.users - 1) for m in both) / spread
    everybody = (held.before + arm.before) / (held.users + arm.users)
    held, arm = (_less_before(m, theta, everybody) for m in both)
    absolute = absolute_lift(held, arm, alpha)
    if absolute is None:
        return None
    reduction = 1 - (absolute.standard_error / plain.standard_error) ** 2
    return Adjusted(theta, absolute, relative_lift(held, arm, alpha), reduction)


def _less_before(m: Moments, theta: float, everybody: float) -> Moments:
    """Moments of ``y - theta (x - mean of x over both arms)``."""
    total = m.total - theta * (m.before - m.users * everybody)
    variance = max(0.0, m.variance + theta**2 * m.before_variance - 2 * theta * m.covariance)
    return replace(m, total=total, squares=variance * (m.users - 1) + total**2 / m.users)


def spread_of(arms: Sequence[Moments]) -> float:
    """Variance of a user within arms, all arms together; 0 where no arm has two users."""
    degrees = sum(m.users - 1 for m in arms if m.users > 1)
    return sum(m.variance * (m.users - 1) for m in arms if m.users > 1) / degrees if degrees else 0.0
