"""Roles, seeds, K factor, distributors: by hand, by published figures, and by simulated truth of the prior."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.fission import roles
from features.fission.distributors import turned_self_buyer
from features.fission.growth import active_within, k_factor, share_of_open
from features.fission.settings import FissionSettings
from schemas.configuration import read_settings
from schemas.errors import ConfigurationError


def test_the_k_factor_is_as_published() -> None:
    assert k_factor(2_000, 5_000, 500) == pytest.approx(0.25)
    assert k_factor(0, 5, 1) is None
    assert k_factor(10, 0, 0) == 0


def test_a_percentile_gives_equal_values_equal_places() -> None:
    among = np.array([0.0, 0.0, 0.0, 1.0, 2.0])
    assert roles.place_among(among, among).tolist() == [0.3, 0.3, 0.3, 0.7, 0.9]
    assert roles.place_among(among, np.array([-1.0, 3.0])).tolist() == [0.0, 1.0]


def test_the_maven_shares_many_categories_early_and_is_read() -> None:
    place = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    category = np.array([1, 2, 1, 1, 1, 2, 1, 2])
    early = np.array([1, 1, 1, 1, 0, 0, 1, 1], np.bool_)
    shares, score = roles.maven(place, category, early, np.array([4, 4, 4, 0]), 4)
    assert shares.tolist() == [2, 2, 2, 2]
    assert score[0] == pytest.approx(np.log(2) * 1 * 2)
    assert score[1:].tolist() == [0, 0, 0], "one category, never early, never opened"


def test_the_connector_reaches_people_of_several_trees() -> None:
    assert roles.connector(np.array([10, 10, 0]), np.array([1, 4, 0])).tolist() == [10, 40, 0]


def test_a_single_conversion_of_one_does_not_beat_twenty_of_forty() -> None:
    one, many, none = roles.salesman(np.array([1, 20, 0]), np.array([1, 40, 10]), (1.0, 9.0))
    assert many > one > 0.1 > none


def test_the_prior_is_found_again_from_what_it_made() -> None:
    rng = np.random.default_rng(4)
    exposed = rng.integers(1, 60, 20_000)
    converted = rng.binomial(exposed, rng.beta(2, 14, 20_000))
    a, b = roles.beta_prior(converted, exposed, at_least=50, default=(1, 9))
    assert a == pytest.approx(2, rel=0.05)
    assert b == pytest.approx(14, rel=0.05)


def test_too_few_or_too_equal_sharers_have_the_default_prior() -> None:
    default = (1.0, 9.0)
    few = roles.beta_prior(np.array([1, 2]), np.array([3, 4]), at_least=50, default=default)
    nobody = roles.beta_prior(np.zeros(80), np.full(80, 9), at_least=50, default=default)
    equal = roles.beta_prior(np.full(80, 1), np.full(80, 10), at_least=50, default=default)
    assert few == nobody == equal == default


def test_a_user_has_one_role_or_none() -> None:
    scores = np.array([[0.95, 0.99, 0.9], [0.89, 0.1, 0.2], [np.nan] * 3, [0.93, 0.93, 0.1], [0.1, 0.2, 0.99]])
    found = roles.primary_role(scores, np.array([9, 9, 9, 9, 2]), threshold=0.9, people=3)
    assert [roles.ROLES[r] for r in found] == ["maven", "none", "none", "connector", "none"]


def test_seed_users_are_above_both_cuts_of_the_roots() -> None:
    reach = np.array([1] * 8 + [10, 20])
    converted = np.array([0] * 8 + [0, 5])
    cuts = roles.seed_cuts(reach, converted, 0.9, 0.5)
    assert cuts == (pytest.approx(11), 0.0)
    assert np.flatnonzero(roles.is_seed(reach, converted, cuts)).tolist() == [9]
    assert not roles.is_seed(reach, converted, roles.seed_cuts(np.zeros(0), np.zeros(0), 0.9, 0.5)).any()


def test_a_distributor_turns_self_buyer_after_ninety_days_without_a_sale() -> None:
    as_of, never = 1_000, -(2**31) + 1
    last_sale = np.array([910, 911, never, 910, never])
    last_purchase = np.array([1_000, 1_000, 950, 910, never])
    assert turned_self_buyer(last_sale, last_purchase, as_of, 90).tolist() == [True, False, True, False, False]


def test_an_open_comes_from_the_sharers_last_share_of_the_product() -> None:
    share = (np.array([1, 1, 1, 2]), np.array([5, 5, 6, 5]), np.array([10, 20, 15, 11]))
    opened = (np.array([1, 1, 1, 2, 1, 3]), np.array([5, 5, 6, 5, 7, 5]), np.array([19, 20, 99, 10, 50, 50]))
    assert share_of_open(share, opened).tolist() == [0, 1, 2, -1, -1, -1]


def test_active_users_of_a_window_are_counted_once() -> None:
    rng = np.random.default_rng(1)
    seen = rng.random((12, 40)) < 0.1
    wanted = [int(seen[d - 4 : d + 1].any(axis=0).sum()) for d in range(4, 12)]
    assert active_within(seen, 5).tolist() == wanted


def test_three_paid_levels_are_refused_and_the_error_says_why(tmp_path: Path) -> None:
    path = tmp_path / "fission.yaml"
    path.write_text("paid_levels: 3\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"ban on pyramid selling.*analysis_only: true"):
        read_settings(path, FissionSettings)
    path.write_text("paid_levels: 3\nanalysis_only: true\n", encoding="utf-8")
    assert read_settings(path, FissionSettings).paid_levels == 3
    assert read_settings(Path(__file__).parents[2] / "conf/methods/fission.yaml", FissionSettings) == FissionSettings()
