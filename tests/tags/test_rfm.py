"""RFM segments and scores (definitions.md section 2)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.breaks import counted, mean, merged, quantiles
from features.rfm import CODES, EIGHT, ELEVEN, score, segment_of

SIZES = {
    "champions": 7,
    "loyal": 8,
    "potential_loyalist": 24,
    "new": 7,
    "promising": 16,
    "need_attention": 8,
    "about_to_sleep": 8,
    "at_risk": 22,
    "cannot_lose": 8,
    "hibernating": 11,
    "lost": 6,
}


def test_eleven_segments_are_a_partition_of_the_125_codes() -> None:
    listed = Counter(code for codes in ELEVEN.values() for code in codes)
    assert set(listed) == set(CODES)
    assert len(CODES) == 125
    assert set(listed.values()) == {1}


def test_segments_have_the_defined_sizes() -> None:
    assert {name: len(codes) for name, codes in ELEVEN.items()} == SIZES


def test_best_and_worst_scores_have_the_names_that_all_expect() -> None:
    assert segment_of(5, 5, 5) == "champions"
    assert segment_of(1, 1, 1) == "lost"
    assert segment_of(1, 5, 5) == "cannot_lose"
    assert segment_of(5, 1, 1) == "new"


def test_eight_segments_cover_every_combination_once() -> None:
    assert len(EIGHT) == 8
    assert len(set(EIGHT.values())) == 8
    assert EIGHT[(False, False, True)] == "important_retain"


def test_one_time_buyers_score_one_when_breaks_are_tied() -> None:
    purchase_days = np.array([1] * 60 + [2] * 25 + [3] * 15)
    breaks = quantiles(counted(purchase_days.astype(float)), (0.2, 0.4, 0.6, 0.8))
    assert breaks == (1.0, 1.0, 1.4, 2.0)
    assert Counter(score(purchase_days, breaks).tolist()) == {1: 60, 4: 25, 5: 15}


def test_fewer_days_since_the_purchase_score_higher() -> None:
    assert score([0, 10, 11, 99], (10.0, 20.0, 30.0, 40.0), descending=True).tolist() == [5, 5, 4, 1]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_equal_values_get_equal_scores_and_more_never_scores_less(values: list[int]) -> None:
    numbers = np.array(values, dtype=float)
    scores = score(numbers, quantiles(counted(numbers), (0.2, 0.4, 0.6, 0.8)))
    order = np.argsort(numbers, kind="stable")
    assert (np.diff(scores[order]) >= 0).all()
    assert (scores[order][1:][np.diff(numbers[order]) == 0] == scores[order][:-1][np.diff(numbers[order]) == 0]).all()
    assert set(scores.tolist()) <= {1, 2, 3, 4, 5}


numbers = st.one_of(st.integers(-1000, 10**12).map(float), st.floats(-1e9, 1e9))


@given(st.lists(st.lists(numbers, max_size=30), min_size=1, max_size=4), st.lists(st.floats(0.01, 0.99), max_size=5))
def test_breaks_of_many_buckets_equal_numpy_over_all_values(buckets: list[list[float]], shares: list[float]) -> None:
    whole = np.array([v for b in buckets for v in b])
    values = merged([counted(np.array(b, dtype=float)) for b in buckets])
    if len(whole) == 0:
        assert quantiles(values, shares) == ()
        assert mean(values) == ()
        return
    assert list(quantiles(values, shares)) == pytest.approx(np.quantile(whole, shares).tolist(), rel=1e-9, abs=1e-6)
    assert mean(values)[0] == pytest.approx(whole.mean(), rel=1e-9, abs=1e-6)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=80), st.integers(1, 5))
def test_breaks_do_not_depend_on_how_users_fall_into_buckets(values: list[int], buckets: int) -> None:
    whole = np.array(values, dtype=float)
    together = counted(whole)
    apart = merged([counted(whole[i::buckets]) for i in range(buckets)])
    shares = (0.2, 0.5, 0.8)
    assert quantiles(together, shares) == quantiles(apart, shares)
    assert mean(together) == mean(apart)


def test_a_break_on_a_whole_number_is_that_number() -> None:
    values = counted(np.array([0.0, 47920.0, 47920.0, 408930.0, 408931.0]))
    assert quantiles(values, (0.25, 0.4, 0.75)) == (47920.0, 47920.0, 408930.0)


def test_unknowns_are_no_values() -> None:
    assert quantiles(counted(np.array([np.nan, 1.0, 3.0])), (0.5,)) == (2.0,)
