"""What a campaign's figures allow to be said, and when they allow nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from campaigns.lift import ALPHA, Lift, Moments, absolute_lift, always_valid, spread_of
from campaigns.power import POWER, smallest_difference

Word = Literal["success", "harm", "undecided", "sample_ratio", "too_small"]
WORDS: dict[Word, tuple[str, str]] = {
    "success": ("有提升", "it lifted"),
    "harm": ("有损害", "it did harm"),
    "undecided": ("尚不能判断", "cannot be told yet"),
    "sample_ratio": (
        "各组人数与设定比例不符，不作结论",
        "no verdict: the arms do not have the users that their weights say",
    ),
    "too_small": ("人数太少，不作结论", "no verdict: an arm has too few users"),
}
"""Every verdict in both languages."""
SAMPLE_RATIO_P = 0.001
"""Below, the arms are not what was assigned, and no verdict is given."""


@dataclass(frozen=True)
class Asked:
    """What a verdict must be able to stand on: users of each arm, and the smallest relative lift to be seen, with its power."""

    arm_users: int
    smallest_lift: float | None = None
    power: float = POWER
    alpha: float = ALPHA


def visible_lift(held: Moments, arm: Moments, asked: Asked) -> float | None:
    """The smallest relative lift that these arms see; None where nobody is held out or the held out brought nothing."""
    found = smallest_difference(spread_of((held, arm)), held.users, arm.users, power=asked.power, alpha=asked.alpha)
    return None if found is None or not held.total else found / held.mean


def is_too_small(held: Moments, arm: Moments, asked: Asked) -> bool:
    """Whether one of the arms lacks users, or both together cannot see the lift that was asked for."""
    if min(held.users, arm.users) < asked.arm_users:
        return True
    if asked.smallest_lift is None:
        return False
    found = visible_lift(held, arm, asked)
    return found is None or found > asked.smallest_lift


def verdict(
    held: Moments,
    arm: Moments,
    asked: Asked,
    *,
    ratio_p: float | None,
    is_over: bool = True,
    tuning: int | None = None,
) -> Word:
    """What may be said of one arm against the held out. While the window runs (``is_over`` false) the always-valid interval decides."""
    if ratio_p is not None and ratio_p < SAMPLE_RATIO_P:
        return "sample_ratio"
    if is_too_small(held, arm, asked):
        return "too_small"
    effect = absolute_lift(held, arm, asked.alpha)
    if effect is None:
        return "undecided"
    low, high = effect.low, effect.high
    if not is_over:
        low, high = sequential(effect, held.users + arm.users, tuning, asked.alpha)
    return "success" if low > 0 else "harm" if high < 0 else "undecided"


def sequential(effect: Lift, users: int, tuning: int | None, alpha: float = ALPHA) -> tuple[float, float]:
    """The always-valid interval; ``tuning`` absent: narrowest at the users there are."""
    return always_valid(effect, users, tuning or users, alpha)
