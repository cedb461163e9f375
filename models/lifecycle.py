"""The curves of a customer's life and the cuts that are read from them (definitions.md section 4).

A gap runs from one purchase day of a user to the next; the last one is open, censored at ``as_of``. Everything here
comes from counted gaps: how many gaps began with a user's n-th purchase day, lasted so many days, and ended or not.

- repurchase: of the users who reached n purchase days the share who reached n + 1, with Wilson's interval;
- purchase gaps: Kaplan-Meier per class of purchase days, as F(t)/F(H): the share of all who will come back that is back;
- recovery: of the gaps that lasted N days the share that ended within H, by the same estimator over all gaps.

lifelines is imported where a curve is made: it takes a second, and most runs make none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from models.knees import Knee, knee

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Z95 = 1.959963984540054
REDRAWN, SEED = 100, 20_260_301
"""How often a curve is drawn anew with its sampling error, and from which seed: the same data, the same answer."""
NEAR_THE_END = 0.05
"""A cut within this share of the horizon was decided by the horizon."""
Basis = Literal[
    "curve",
    "at_horizon",
    "at_end",
    "convention",
    "users",
    "default_few_cases",
    "default_short_history",
    "default_few_points",
    "default_straight",
    "default_exponential",
    "default_unstable",
]
"""What a number rests on: a curve; a curve, but the horizon or the end of the history decided; what is so by convention;
users' values; or a default, and why."""


@dataclass(frozen=True)
class Gaps:
    """Counted gaps: ``users`` of them began with the ``purchase_days``-th day, lasted ``days``, and ``ended`` or not.

    From ``most`` purchase days on they are counted together (features/gaps.py).
    """

    purchase_days: Ints
    days: Ints
    ended: NDArray[np.bool_]
    users: Ints
    most: int = 100

    @property
    def cases(self) -> int:
        """Gaps that ended."""
        return int(self.users[self.ended].sum())

    def of_class(self, first: int, last: int | None) -> Gaps:
        """Those that began with the ``first`` to ``last`` purchase day; no end for None."""
        inside = self.purchase_days >= first
        if last is not None:
            inside &= self.purchase_days <= last
        return Gaps(self.purchase_days[inside], self.days[inside], self.ended[inside], self.users[inside], self.most)


@dataclass(frozen=True)
class Curve:
    """Points of a curve with a 95 % interval and how many cases each rests on."""

    x: Ints
    y: Floats
    low: Floats
    high: Floats
    sample: Ints

    def __len__(self) -> int:
        return len(self.x)

    def upto(self, last: int) -> Curve:
        return self._of(self.x <= last)

    def beyond(self, first: int) -> Curve:
        return self._of(self.x > first)

    def _of(self, inside: NDArray[np.bool_]) -> Curve:
        return Curve(self.x[inside], self.y[inside], self.low[inside], self.high[inside], self.sample[inside])


def wilson(successes: Floats | Ints, trials: Floats | Ints, z: float = Z95) -> tuple[Floats, Floats]:
    """Wilson's score interval of a share (E. B. Wilson, JASA 22, 1927); (0, 1) without trials."""
    n = np.maximum(np.asarray(trials, dtype=np.float64), 1e-300)
    p = np.asarray(successes, dtype=np.float64) / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    empty = np.asarray(trials) == 0
    return np.where(empty, 0.0, np.maximum(middle - half, 0.0)), np.where(empty, 1.0, np.minimum(middle + half, 1.0))


def repurchase(gaps: Gaps) -> Curve:
    """x = n, y = share of the users with n purchase days who had another by ``as_of``; whose last gap is open counts too.

    ``most`` purchase days are left out: several gaps of one user are counted there.
    """
    most = min(int(gaps.purchase_days.max(initial=0)), gaps.most - 1)
    n = np.arange(1, most + 1)
    began = np.bincount(gaps.purchase_days, gaps.users, most + 2)[1 : most + 1]
    ended = np.bincount(gaps.purchase_days[gaps.ended], gaps.users[gaps.ended], most + 2)[1 : most + 1]
    low, high = wilson(ended, began)
    return Curve(n, ended / np.maximum(began, 1), low, high, began.astype(np.int64))


def survival(gaps: Gaps, last: int) -> Curve:
    """Kaplan-Meier: x = 0 .. ``last`` days, y = share of gaps longer than x, sample = gaps at risk on day x.

    A gap that is open after d days was watched on day d, so it is at risk there. Interval: Greenwood's on the log-log
    scale. Empty for no gaps.
    """
    if not len(gaps.days):
        none = np.empty(0)
        return Curve(none.astype(np.int64), none, none, none, none.astype(np.int64))
    from lifelines import KaplanMeierFitter

    x = np.arange(last + 1)
    fitted = KaplanMeierFitter().fit(gaps.days, gaps.ended, timeline=x, weights=gaps.users)
    bounds = fitted.confidence_interval_.to_numpy()
    y = fitted.survival_function_.to_numpy()[:, 0]
    # before the first event and after all have ended the interval is not defined: the curve itself stands there
    bounds = np.where(np.isnan(bounds), y[:, None], bounds)
    lasting = np.bincount(np.minimum(gaps.days, last + 1), gaps.users, last + 2)
    at_risk = lasting[::-1].cumsum()[::-1][: last + 1]
    return Curve(x, y, bounds[:, 0], bounds[:, 1], at_risk.astype(np.int64))


def followed(curve: Curve, min_at_risk: int) -> int:
    """The last day of a survival curve on which enough gaps are at risk for its value to mean something; 0 for none.

    Beyond it one gap that ends moves the curve by more than 1 / ``min_at_risk``, in the extreme to zero, and every
    share of F(H) with it.
    """
    enough = np.flatnonzero(curve.sample >= min_at_risk)
    return int(curve.x[enough[-1]]) if len(enough) else 0


def purchase_gap(gaps: Gaps, horizon_days: int, min_at_risk: int) -> Curve:
    """x = days, y = F(t)/F(H): of those who come back within H the share that is back after x days.

    H is ``horizon_days``, or the last day that the curve can be followed to. The interval is that of F(t), divided by
    the same F(H).
    """
    s = survival(gaps, horizon_days)
    s = s.upto(followed(s, min_at_risk))
    whole = 1 - s.y[-1] if len(s) else 0.0
    if whole <= 0:
        return s.upto(-1)
    share = [np.clip((1 - v) / whole, 0.0, 1.0) for v in (s.y, s.high, s.low)]
    return Curve(s.x, share[0], share[1], share[2], s.sample)


def recovery(gaps: Gaps, horizon_days: int, min_at_risk: int) -> Curve:
    """x = N silent days, y = 1 - S(H)/S(N - 1): of the gaps that lasted N days the share that ended within H.

    H as in ``purchase_gap``; the interval is that of S(N - 1) with the same S(H).
    """
    s = survival(gaps, horizon_days)
    last = followed(s, min_at_risk)
    s = s.upto(last)
    if last < 1:
        return s.upto(-1)
    end = s.y[-1]

    def share(before: Floats) -> Floats:
        return np.clip(1 - end / np.maximum(before[:-1], 1e-12), 0.0, 1.0)

    return Curve(s.x[1:], share(s.y), share(s.low), share(s.high), s.sample[1:])


# --- cuts ---


def class_bounds(cuts: Sequence[float]) -> list[tuple[int, int | None]]:
    """First and last purchase day of every class; (1, 2, 7) gives 1, 2, 3-7, 8 and more."""
    ends = [0, *(round(c) for c in cuts)]
    return [(low + 1, high) for low, high in pairwise(ends)] + [(ends[-1] + 1, None)]


def class_names(cuts: Sequence[float]) -> list[str]:
    """What the classes are called: ``1``, ``2``, ``3-7``, ``8+``."""
    return [f"{a}+" if b is None else str(a) if a == b else f"{a}-{b}" for a, b in class_bounds(cuts)]


@dataclass(frozen=True)
class Cut:
    """One cut, what it rests on, and on how many cases.

    ``share_beyond``: of those who come back within the time that can be followed the share that does so after the
    horizon; ``horizon_to_try``: the shortest that would not decide the cut. Both absent where it did not, or where
    nothing is known beyond it.
    """

    number: float
    basis: Basis
    sample: int
    share_beyond: float | None = None
    horizon_to_try: int | None = None


def purchase_day_cuts(
    gaps: Gaps, *, default: Sequence[float], min_repeaters: int, min_users: int, min_stability: float
) -> tuple[Cut, ...]:
    """Last purchase day of each class but the highest: 1 (first purchase), then a knee of the repurchase curve for each.

    The first knee ends ``growing``; the next, of what is left of the curve, ends ``mature``: from there on another
    purchase makes the next one hardly more likely. A knee that is not there is the default's distance further on. The
    curve ends with the last n that ``min_users`` reached. All by default with fewer than ``min_repeaters`` users of two
    purchase days.
    """
    curve = repurchase(gaps)
    repeaters = int(gaps.users[(gaps.purchase_days == 1) & gaps.ended].sum())
    if repeaters < min_repeaters:
        return tuple(Cut(float(n), "default_few_cases", repeaters) for n in default)
    curve = curve.upto(int(curve.x[curve.sample >= min_users].max(initial=1)))
    reached = dict(zip(curve.x.tolist(), curve.sample.tolist(), strict=True))
    cuts = [Cut(1.0, "convention", reached.get(1, 0))]
    for before, after in pairwise(default):
        last = round(cuts[-1].number)
        found = repurchase_knee(curve, after=0 if len(cuts) == 1 else last, min_stability=min_stability)
        if found.x is not None and found.x > last:
            cuts.append(Cut(float(found.x), "curve", reached[found.x]))
        else:
            n = cuts[-1].number + (after - before)
            why = found.why_not if found.x is None else "unstable"
            cuts.append(Cut(n, _default(why), reached.get(round(n), 0)))
    return tuple(cuts)


def _default(why: str | None) -> Basis:
    return cast(Basis, f"default_{why}")


def repurchase_knee(curve: Curve, *, after: int = 0, min_stability: float = 0.8) -> Knee:
    """The knee of the repurchase curve beyond ``after`` purchase days; redrawn with each point's binomial error."""
    curve = curve.beyond(after)
    rng = np.random.default_rng(SEED)
    tried = np.maximum(curve.sample, 1)
    redrawn = rng.binomial(tried, curve.y, (REDRAWN, len(curve))) / tried
    # a share of nearly one is known better than its number of users says; without users nothing is known
    weights = tried / np.maximum(curve.y * (1 - curve.y), 1 / tried)
    return knee(curve.x, curve.y, redrawn, rising=True, min_stability=min_stability, weights=weights)


def silence_cuts(
    gaps: Gaps,
    cuts: Sequence[float],
    *,
    share: float,
    horizon_days: int,
    min_cases: int,
    default: Sequence[float],
    min_at_risk: int,
    min_followed_days: int,
) -> tuple[Cut, ...]:
    """Days of silence after which ``share`` of those who come back are back, by number of purchase days.

    The first number is for one purchase day, the second for two ...; the last for more. A class with fewer than
    ``min_cases`` gaps that ended has its ``default`` (its last number for further classes). All have it if all gaps
    together cannot be followed for ``min_followed_days``: F(H) of a shop that is younger cannot be read.
    (Not asked of each class: who has eight purchase days got there late, and comes back or does not within weeks.)
    """
    young = followed(survival(gaps, horizon_days), min_at_risk) < min_followed_days
    found: list[Cut] = []
    for i, (first, last) in enumerate(class_bounds(cuts)):
        inside = gaps.of_class(first, last)
        given = float(default[min(i, len(default) - 1)])
        if inside.cases < min_cases:
            cut = Cut(given, "default_few_cases", inside.cases)
        elif young:
            cut = Cut(given, "default_short_history", inside.cases)
        else:
            cut = _silence_cut(inside, given, share, horizon_days, min_at_risk)
        found += [cut] * (1 if last is None else last - first + 1)
    return tuple(found)


def _silence_cut(gaps: Gaps, default: float, share: float, horizon_days: int, min_at_risk: int) -> Cut:
    curve = purchase_gap(gaps, horizon_days, min_at_risk)
    if not len(curve):
        return Cut(default, "default_short_history", gaps.cases)
    number, end = float(max(2, days_to(curve, share))), int(curve.x[-1])
    if number < (1 - NEAR_THE_END) * end:
        return Cut(number, "curve", gaps.cases)
    if end < horizon_days:
        return Cut(number, "at_end", gaps.cases)
    whole = survival(gaps, int(gaps.days.max()))
    back = 1 - whole.upto(followed(whole, min_at_risk)).y
    if len(back) - 1 <= horizon_days:
        return Cut(number, "at_horizon", gaps.cases)
    beyond = 1 - float(back[horizon_days] / back[-1])
    return Cut(number, "at_horizon", gaps.cases, beyond, _long_enough(back, share, horizon_days))


def _long_enough(back: Floats, share: float, horizon_days: int) -> int:
    """The shortest horizon, in steps of 30 days, that leaves the cut free; the longest that can be seen if none does."""
    longest = len(back) - 1
    for days in range(horizon_days + 30, longest + 1, 30):
        if np.argmax(back >= share * back[days] - 1e-9) < (1 - NEAR_THE_END) * days:
            return days
    return longest


def days_to(curve: Curve, share: float) -> int:
    """The first day on which a rising curve reaches ``share``; the 1e-9 is for shares that were multiplied up."""
    return int(curve.x[np.argmax(curve.y >= share - 1e-9)])


def recovery_knee(
    gaps: Gaps, *, horizon_days: int, min_cases: int, min_at_risk: int, min_followed_days: int, min_stability: float
) -> Cut | Basis:
    """Silent days from which on recovery hardly falls further; or why there is none.

    The curve is redrawn from gaps drawn anew. (Gaps of one user are not independent; drawing users would need them.)
    """
    if gaps.cases < min_cases:
        return "default_few_cases"
    curve = recovery(gaps, horizon_days, min_at_risk)
    if not len(curve) or curve.x[-1] < min_followed_days:
        return "default_short_history"
    found = knee(curve.x, curve.y, _redrawn_recovery(gaps, len(curve)), rising=False, min_stability=min_stability)
    if found.x is None:
        return _default(found.why_not)
    return Cut(float(max(2, found.x)), "curve", gaps.cases)


def _redrawn_recovery(gaps: Gaps, last: int) -> Floats:
    """Recovery curves of ``last`` days, one a row, of gaps drawn anew from those there are."""
    rng = np.random.default_rng(SEED)
    days = np.minimum(gaps.days, last + 1)
    shape = (2, last + 2)
    counts = np.zeros(shape)
    np.add.at(counts, (gaps.ended.astype(np.int64), days), gaps.users)
    total = int(counts.sum())
    drawn = rng.multinomial(total, (counts / total).ravel(), REDRAWN).reshape(REDRAWN, *shape)
    at_risk = drawn.sum(axis=1)[:, ::-1].cumsum(axis=1)[:, ::-1]
    left = np.cumprod(1 - drawn[:, 1] / np.maximum(at_risk, 1), axis=1)[:, : last + 1]
    found: Floats = np.clip(1 - left[:, -1:] / np.maximum(left[:, :-1], 1e-12), 0.0, 1.0)
    return found
