"""What intervals and verdicts are worth: over simulated campaigns whose truth is known, and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.attribution import Journeys, attributed, credits_by_rule, moves_of, paths_of
from campaigns.lift import (
    NOBODY,
    Converted,
    Moments,
    absolute_lift,
    cuped,
    moments,
    proportion_lift,
    relative_lift,
)
from campaigns.power import power_of, smallest_difference, smallest_share_difference, users_for_mean, users_per_arm
from campaigns.sample_ratio import sample_ratio_p
from campaigns.verdict import Asked, sequential, verdict, visible_lift

CAMPAIGNS, HELD, TREATED = 2_000, 400, 1_600
MEAN = np.exp(4 + 0.3**2 / 2) * np.exp(0.6**2 / 2)
"""Of an order's money."""


@dataclass(frozen=True)
class People:
    """How often and how dearly each user likes to buy: the same before and after an assignment."""

    often: np.ndarray
    dearly: np.ndarray

    def bought(self, rng: np.random.Generator, share: float) -> np.ndarray:
        """Money per user: most bring nothing, and who buys spends by a long-tailed law."""
        buys = rng.random(len(self.often)) < share * self.often
        return np.where(buys, rng.lognormal(4, 0.3, len(self.often)) * self.dearly, 0.0)


def campaigns(lift: float, seed: int) -> Iterator[tuple[Moments, Moments]]:
    """Held out and treated of many campaigns; before the assignment all spent as the held out do after it."""
    rng = np.random.default_rng(seed)
    for _ in range(CAMPAIGNS):
        found = []
        for users, share in ((HELD, 0.3), (TREATED, 0.3 * (1 + lift))):
            people = People(rng.choice([0.2, 1.8], users), rng.lognormal(0, 0.6, users))
            found.append(moments(people.bought(rng, share), people.bought(rng, 0.3)))
        yield found[0], found[1]


@pytest.mark.parametrize("lift", [0.0, 0.25])
def test_intervals_hold_the_truth_as_often_as_they_say(lift: float) -> None:
    covered = dict.fromkeys(("absolute", "relative", "cuped"), 0)
    less = []
    for held, arm in campaigns(lift, seed=7):
        adjusted = cuped(held, arm)
        assert adjusted is not None
        found = {
            "absolute": (absolute_lift(held, arm), 0.3 * lift * MEAN),
            "relative": (relative_lift(held, arm), lift),
            "cuped": (adjusted.absolute, 0.3 * lift * MEAN),
        }
        for name, (effect, truth) in found.items():
            assert effect is not None
            covered[name] += bool(effect.low <= truth <= effect.high)
        less.append(adjusted.variance_reduction)
    shares = {name: n / CAMPAIGNS for name, n in covered.items()}
    print(f"lift {lift}: covered {shares}, variance less by {np.mean(less):.3f}")
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares
    assert 0.02 < np.mean(less) < 0.2


def test_a_campaign_that_does_nothing_is_seldom_called_a_success() -> None:
    asked = Asked(arm_users=100)
    said = [verdict(held, arm, asked, ratio_p=0.5) for held, arm in campaigns(0.0, seed=11)]
    share = {word: said.count(word) / CAMPAIGNS for word in ("success", "harm")}
    print(f"null campaigns: {share}")
    assert share["success"] <= 0.05 and share["harm"] <= 0.05
    assert share["success"] > 0, "a test that never errs would see nothing either"


def test_looking_every_day_does_not_make_a_success_of_nothing() -> None:
    """Somebody who stops at the first of 20 looks that says yes errs often by Welch, and seldom by the always-valid interval."""
    rng = np.random.default_rng(5)
    looks, each, runs = 20, 100, 400
    plain = valid = 0
    for _ in range(runs):
        y = rng.lognormal(0, 1, (2, looks * each))
        ever = {"plain": False, "valid": False}
        for n in range(each, looks * each + 1, each):
            effect = absolute_lift(moments(y[0, :n]), moments(y[1, :n]))
            assert effect is not None
            low, high = sequential(effect, 2 * n, tuning=2 * looks * each)
            ever["plain"] |= not effect.low <= 0 <= effect.high
            ever["valid"] |= not low <= 0 <= high
        plain, valid = plain + ever["plain"], valid + ever["valid"]
    assert valid / runs <= 0.05 < 0.15 < plain / runs


def test_cuped_takes_out_what_was_there_before_and_says_by_how_much() -> None:
    rng = np.random.default_rng(3)
    before = rng.normal(100, 30, 4_000)
    after = before + rng.normal(0, 10, 4_000)
    after[2_000:] += 2
    found = cuped(moments(after[:2_000], before[:2_000]), moments(after[2_000:], before[2_000:]))
    assert found is not None
    # The correlation of before and after is .9487, and CUPED leaves 1 - r^2 of the variance.
    assert found.variance_reduction == pytest.approx(0.9, abs=0.01)
    assert found.absolute.low < 2 < found.absolute.high
    assert found.theta == pytest.approx(1, abs=0.02)


def test_cuped_equals_a_regression_by_hand() -> None:
    held = moments(np.array([0.0, 10, 20, 0]), np.array([0.0, 8, 25, 1]))
    arm = moments(np.array([5.0, 30, 10]), np.array([2.0, 20, 9]))
    found = cuped(held, arm)
    assert found is not None
    xs = [np.array([0.0, 8, 25, 1]), np.array([2.0, 20, 9])]
    ys = [np.array([0.0, 10, 20, 0]), np.array([5.0, 30, 10])]
    theta = sum((x - x.mean()) @ (y - y.mean()) for x, y in zip(xs, ys, strict=True)) / sum(
        (x - x.mean()) @ (x - x.mean()) for x in xs
    )
    left = [y - theta * (x - np.concatenate(xs).mean()) for x, y in zip(xs, ys, strict=True)]
    assert found.theta == pytest.approx(theta)
    plain = absolute_lift(moments(left[0]), moments(left[1]))
    assert plain is not None
    assert (found.absolute.estimate, found.absolute.low) == pytest.approx((plain.estimate, plain.low))


def test_what_cannot_be_told_is_none() -> None:
    nothing, some = moments(np.zeros(10)), moments(np.array([0.0, 1, 0, 1]))
    assert absolute_lift(NOBODY, some) is None
    assert absolute_lift(nothing, nothing) is None
    assert relative_lift(nothing, some) is None
    assert absolute_lift(nothing, some) is not None
    assert relative_lift(some, nothing) is None, "an arm that brought nothing has no spread as a share"
    assert proportion_lift(Converted(10, 3), Converted(10, 0)) is None
    assert cuped(nothing, some) is None
    assert proportion_lift(Converted(10, 0), Converted(10, 3)) is None
    assert sample_ratio_p([10], [1]) is None
    assert sample_ratio_p([0, 0], [1, 1]) is None
    assert smallest_difference(1, 0, 10) is None
    assert smallest_share_difference(0.9, 5, 5) is None
    assert power_of(1, 1, 0, 3) is None
    with pytest.raises(ValueError, match="no lift that can be seen"):
        users_per_arm(0.6, 1.0)


def test_no_verdict_is_given_where_none_can_be() -> None:
    rng = np.random.default_rng(2)
    held, arm = moments(rng.normal(10, 3, 500)), moments(rng.normal(12, 3, 500))
    assert verdict(held, arm, Asked(100), ratio_p=0.2) == "success"
    assert verdict(arm, held, Asked(100), ratio_p=0.2) == "harm"
    assert verdict(held, arm, Asked(100), ratio_p=0.0009) == "sample_ratio"
    assert verdict(held, arm, Asked(501), ratio_p=0.2) == "too_small"
    assert verdict(held, arm, Asked(100, smallest_lift=0.01), ratio_p=0.2) == "too_small"
    assert verdict(held, arm, Asked(100, smallest_lift=0.1), ratio_p=0.2) == "success"
    assert verdict(held, held, Asked(100), ratio_p=0.2) == "undecided"
    assert visible_lift(held, arm, Asked(100)) == pytest.approx(0.053, abs=0.003)


def test_power_and_users_and_smallest_difference_say_the_same() -> None:
    n = round(users_for_mean(variance=9, difference=0.5))
    assert n == 565
    assert power_of(0.5, 9, n, n) == pytest.approx(0.8, abs=0.001)
    assert smallest_difference(9, n, n) == pytest.approx(0.5, abs=0.001)


PATHS = st.lists(
    st.tuples(st.lists(st.integers(0, 3), max_size=6), st.integers(0, 3), st.floats(0, 40)), min_size=1, max_size=12
)


@given(PATHS)
def test_every_way_of_attribution_gives_away_exactly_the_orders(paths: list[tuple[list[int], int, float]]) -> None:
    channel = np.array([c for path, _, _ in paths for c in path], np.int64)
    age = np.array([start + len(path) - i for path, _, start in paths for i in range(len(path))], np.float64)
    begin = np.cumsum([0, *(len(path) for path, _, _ in paths)])
    j = Journeys(channel, age, begin, np.array([n for _, n, _ in paths], np.float64))
    for name, credit in attributed(j).items():
        assert (credit >= -1e-9).all(), name
        assert credit.sum() == pytest.approx(j.attributed_orders), name


def test_each_way_of_attribution_by_hand() -> None:
    j = Journeys(np.array([0, 1, 2, 1]), np.array([14.0, 7, 0, 3]), np.array([0, 3, 3, 4]), np.array([1.0, 5, 2]))
    found = {name: [round(float(x), 4) for x in credit] for name, credit in attributed(j).items()}
    assert j.attributed_orders == 3
    assert found["first"] == [1, 2, 0]
    assert found["last"] == [0, 2, 1]
    assert found["linear"] == [0.3333, 2.3333, 0.3333]
    assert found["time_decay"] == [0.1429, 2.2857, 0.5714]
    assert found["position"] == [0.4, 2.2, 0.4]


def test_touches_belong_to_the_next_order_and_the_rest_to_none() -> None:
    """Person 1: touch, touch, order, order, touch; person 2: touch at the moment of the order; person 3 only a touch."""
    day = 86_400_000_000
    person, at, channel = np.array([3, 1, 1, 1, 2]), np.array([1, 5, 1, 9, 4]) * day, np.array([2, 1, 0, 0, 1])
    j = paths_of(person, at, channel, np.array([2, 1, 1]), np.array([4, 8, 6]) * day)
    assert j.channel.tolist() == [0, 1, 0, 1, 2]
    assert j.begin.tolist() == [0, 2, 2, 3, 4, 5] and j.orders.tolist() == [1, 1, 0, 1, 0]
    assert j.age_days.tolist() == [5, 1, 0, 0, 0]
    assert j.attributed_orders == 2, "the second order of person 1 had no touch of its own"


def test_credits_and_moves_of_parts_add_up_to_those_of_the_whole() -> None:
    rng = np.random.default_rng(1)
    person, at = rng.integers(0, 40, 300), rng.integers(0, 10**12, 300)
    channel, buyer, when = rng.integers(0, 4, 300), rng.integers(0, 40, 60), rng.integers(0, 10**12, 60)
    whole = paths_of(person, at, channel, buyer, when)
    parts = [
        paths_of(person[p], at[p], channel[p], buyer[b], when[b])
        for p, b in ((person % 2 == i, buyer % 2 == i) for i in (0, 1, 2))
    ]
    assert np.array_equal(moves_of(whole, 4), sum(moves_of(j, 4) for j in parts))
    for name, credit in credits_by_rule(whole, 4).items():
        assert np.allclose(credit, sum(credits_by_rule(j, 4)[name] for j in parts)), name
