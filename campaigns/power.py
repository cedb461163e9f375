"""How many users a lift needs to be seen, and the smallest lift that so many can see (two-sided, normal approximation)."""

from __future__ import annotations

import math

from scipy.special import ndtr, ndtri

POWER = 0.8
"""Chance to see a lift that is there, where nothing else is asked for."""


def _asked(power: float, alpha: float) -> tuple[float, float]:
    return -float(ndtri(alpha / 2)), float(ndtri(power))


def users_per_arm(
    base: float, lift: float, *, power: float = POWER, alpha: float = 0.05, pooled: bool = False
) -> float:
    """Users of each of two equal arms that see a share ``base`` rise by ``lift`` (relative).

    ``pooled``: with the variance of both arms together under the null, as R's power.prop.test has it (Fleiss, Levin and
    Paik, "Statistical Methods for Rates and Proportions"). ValueError where a share leaves 0..1 or does not move.
    """
    p, q = base, base * (1 + lift)
    if not (0 < p < 1 and 0 <= q <= 1 and q != p):
        raise ValueError(f"a share of {p} that becomes {q} is no lift that can be seen")
    null, seen = _asked(power, alpha)
    spread = p * (1 - p) + q * (1 - q)
    if pooled:
        middle = (p + q) / 2
        return (null * math.sqrt(2 * middle * (1 - middle)) + seen * math.sqrt(spread)) ** 2 / (q - p) ** 2
    return (null + seen) ** 2 * spread / (q - p) ** 2


def users_for_mean(variance: float, difference: float, *, power: float = POWER, alpha: float = 0.05) -> float:
    """Users of each of two equal arms that see a mean differ by ``difference``; ``variance`` is of a user."""
    null, seen = _asked(power, alpha)
    return (null + seen) ** 2 * 2 * variance / difference**2


def smallest_difference(
    variance: float, held: int, arm: int, *, power: float = POWER, alpha: float = 0.05
) -> float | None:
    """The smallest difference of two means that arms of these sizes see; None where one has nobody."""
    if not held or not arm:
        return None
    null, seen = _asked(power, alpha)
    return (null + seen) * math.sqrt(variance * (1 / held + 1 / arm))


def smallest_share_difference(
    base: float, held: int, arm: int, *, power: float = POWER, alpha: float = 0.05
) -> float | None:
    """The smallest rise of a share that arms of these sizes see, with the variance that the risen share has.

    None where an arm has nobody, or even a rise to 1 would not be seen.
    """
    if not held or not arm:
        return None
    null, seen = _asked(power, alpha)
    z2, own = (null + seen) ** 2, base * (1 - base) / held
    # d^2 = z^2 (own + (base + d)(1 - base - d) / arm), solved for d
    a, b, c = 1 + z2 / arm, -z2 * (1 - 2 * base) / arm, -z2 * (own + base * (1 - base) / arm)
    found = (-b + math.sqrt(b * b - 4 * a * c)) / (2 * a)
    return found if base + found <= 1 else None


def power_of(difference: float, variance: float, held: int, arm: int, *, alpha: float = 0.05) -> float | None:
    """The chance that arms of these sizes see a difference of means that is there; None where one has nobody."""
    if not held or not arm or not variance:
        return None
    null = -float(ndtri(alpha / 2))
    z = abs(difference) / math.sqrt(variance * (1 / held + 1 / arm))
    return float(ndtr(z - null) + ndtr(-z - null))
