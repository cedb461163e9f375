"""Lift, power, sample ratio and attribution against published figures: GrowthBook's test vectors, R, Markov."""

from __future__ import annotations

import numpy as np
import pytest

from campaigns.attribution import journeys, markov_shares, moves_of, removal_effects
from campaigns.lift import Converted, Lift, Moments, absolute_lift, always_valid, proportion_lift, relative_lift
from campaigns.power import smallest_share_difference, users_per_arm
from campaigns.sample_ratio import sample_ratio_p

A = Moments(3407, 1396.87, 52377.9767)
B = Moments(3461, 2422.7, 134698.29)


def said(effect: Lift | None) -> list[float]:
    assert effect is not None
    return [round(x, 5) for x in (effect.estimate, effect.low, effect.high, effect.standard_error, effect.p_value)]


def test_welch_of_means() -> None:
    assert said(absolute_lift(A, B)) == [0.29, 0.04538, 0.53462, 0.12478, 0.02016]


def test_the_relative_difference_by_the_delta_method() -> None:
    assert said(relative_lift(A, B)) == [0.70732, -0.03526, 1.44989, 0.37879, 0.06191]


def test_shares() -> None:
    found = said(proportion_lift(Converted(28, 14), Converted(30, 16)))
    assert [*found[:3], found[4]] == [0.06667, -0.47767, 0.61101, 0.80707]


def test_a_flat_prior_and_the_chance_to_win() -> None:
    found = proportion_lift(Converted(100, 49), Converted(100, 51), flat_prior=True)
    assert found is not None
    assert said(found)[:3] == [0.04082, -0.24779, 0.32943]
    assert round(found.chance_to_win, 5) == 0.60918


def test_the_always_valid_interval() -> None:
    effect = relative_lift(Moments(3000, A.total, A.squares), B)
    assert effect is not None
    low, high = always_valid(effect, 3000 + B.users, tuning=1000)
    assert [round(x, 5) for x in (effect.estimate, low, high)] == [0.50336, -0.55844, 1.56516]


@pytest.mark.parametrize(
    ("users", "weights", "p"),
    [
        ([1000, 1200], [0.5, 0.5], 0.000020079),
        ([135, 115], [0.5, 0.5], 0.205903211),
        ([310, 98], [0.75, 0.25], 0.647434186),
        ([0, 10, 10], [0.34, 0.33, 0.33], 0.005790624),
        ([500, 500, 600], [0.34, 0.33, 0.33], 0.000592638),
        ([1000, 1200, 900], [0.5, 0.5, 0], 0.000020079),
    ],
)
def test_the_sample_ratio(users: list[int], weights: list[float], p: float) -> None:
    assert sample_ratio_p(users, weights) == pytest.approx(p, abs=5e-10)


@pytest.mark.parametrize(
    ("lift", "users"), [(0.1, [163_100, 80_700, 31_200, 14_700]), (0.2, [42_700, 21_100, 8_200, 3_800])]
)
def test_users_per_arm(lift: float, users: list[int]) -> None:
    found = [users_per_arm(base, lift) for base in (0.01, 0.02, 0.05, 0.1)]
    assert [round(n, -2) for n in found] == users
    for base, n in zip((0.01, 0.02, 0.05, 0.1), found, strict=True):
        back = smallest_share_difference(base, round(n), round(n))
        assert back == pytest.approx(base * lift, rel=1e-4)


def test_power_of_two_shares_as_r_has_it() -> None:
    assert round(users_per_arm(0.5, 0.5, power=0.9, pooled=True), 1) == 76.7


def test_markov_removal() -> None:
    paths = moves_of(journeys([((0, 1, 2), 1), ((0,), 0), ((1, 2), 0)]), 3)
    assert np.allclose(removal_effects(paths), [0.5, 1, 1])
    assert np.allclose(markov_shares(paths), [0.2, 0.4, 0.4])
