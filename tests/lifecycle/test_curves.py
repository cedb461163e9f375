"""Curves against published tables and numbers that one can work out by hand; cuts against their definition."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from models.knees import knee
from models.lifecycle import (
    Cut,
    Gaps,
    class_bounds,
    class_names,
    days_to,
    purchase_day_cuts,
    purchase_gap,
    recovery,
    recovery_knee,
    repurchase,
    repurchase_knee,
    silence_cuts,
    survival,
    wilson,
)

RETAIL = Path(os.environ.get("HUAXIANG_ONLINE_RETAIL", Path(__file__).parents[3] / "shared/data/online_retail.parquet"))
TRUST: dict[str, Any] = {"min_at_risk": 1, "min_followed_days": 1}


def counted(*rows: tuple[int, int, bool, int]) -> Gaps:
    columns = list(zip(*rows, strict=True))
    return Gaps(*(np.array(c) for c in columns))  # type: ignore[arg-type]


def ended(days: int, users: int = 1, after: int = 1) -> tuple[int, int, bool, int]:
    return (after, days, True, users)


def still_open(days: int, users: int = 1, after: int = 1) -> tuple[int, int, bool, int]:
    return (after, days, False, users)


# Remission of 21 leukaemia patients under 6-MP (Freireich et al. 1963), the example of every text on Kaplan-Meier.
FREIREICH = counted(
    *(ended(d, n) for d, n in ((6, 3), (7, 1), (10, 1), (13, 1), (16, 1), (22, 1), (23, 1))),
    *(
        still_open(d, n)
        for d, n in ((6, 1), (9, 1), (10, 1), (11, 1), (17, 1), (19, 1), (20, 1), (25, 1), (32, 2), (34, 1), (35, 1))
    ),
)


def test_kaplan_meier_gives_the_published_table() -> None:
    curve = survival(FREIREICH, 35)
    published = {5: 1.0, 6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448, 35: 0.448}
    assert {x: round(float(curve.y[x]), 3) for x in published} == published
    at_risk = {6: 21, 7: 17, 10: 15, 13: 12, 16: 11, 22: 7, 23: 6, 35: 1}
    assert {x: int(curve.sample[x]) for x in at_risk} == at_risk
    assert (curve.low <= curve.y).all() and (curve.y <= curve.high).all()


def test_kaplan_meier_is_the_product_over_days() -> None:
    rng = np.random.default_rng(3)
    keys = [(1, int(d), bool(e)) for d in range(60) for e in (False, True)]
    gaps = counted(*((*k, int(n)) for k, n in zip(keys, rng.integers(0, 9, len(keys)), strict=True) if n))
    left, expected = 1.0, []
    for day in range(60):
        at_risk = gaps.users[gaps.days >= day].sum()
        left *= 1 - gaps.users[(gaps.days == day) & gaps.ended].sum() / at_risk if at_risk else 1
        expected.append(left)
    assert np.allclose(survival(gaps, 59).y, expected, atol=1e-12)


def test_wilson_gives_the_published_intervals() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    low, high = wilson(np.array([81, 15, 0, 1, 0]), np.array([263, 148, 20, 29, 0]))
    assert low.round(4).tolist() == [0.2553, 0.0624, 0.0, 0.0061, 0.0]
    assert high.round(4).tolist() == [0.3662, 0.1605, 0.1611, 0.1718, 1.0]


def test_the_repurchase_curve_is_the_share_of_those_who_came_so_far() -> None:
    gaps = counted(
        ended(3, 6), still_open(9, 4), ended(2, 3, after=2), still_open(1, 3, after=2), still_open(5, 3, after=3)
    )
    curve = repurchase(gaps)
    assert curve.x.tolist() == [1, 2, 3]
    assert curve.y.tolist() == [0.6, 0.5, 0.0]
    assert curve.sample.tolist() == [10, 6, 3]
    low, high = wilson(np.array([6]), np.array([10]))
    assert (curve.low[0], curve.high[0]) == (low[0], high[0])


def test_the_silence_cut_is_where_the_share_of_those_who_come_back_is_reached() -> None:
    # 10 of 20 come back after 1 .. 10 days, the others are watched for 100: F(H) = .5, so F = .4 is 80 % of it
    gaps = counted(*(ended(d) for d in range(1, 11)), still_open(100, 10))
    curve = purchase_gap(gaps, 365, 1)
    assert curve.y[:11].round(9).tolist() == [d / 10 for d in range(11)]
    assert (days_to(curve, 0.8), days_to(curve, 0.9)) == (8, 9)
    options: dict[str, Any] = {"horizon_days": 365, "min_cases": 10, "default": (90.0,), **TRUST}
    found = silence_cuts(gaps, (1, 2, 4), share=0.8, **options)
    assert [c.number for c in found] == [8, 90, 90, 90, 90]
    assert found[0] == Cut(8.0, "curve", 10)
    assert {c.basis for c in found[1:]} == {"default_few_cases"}


def test_open_gaps_push_the_cut_out_where_leaving_them_out_would_not() -> None:
    # half of the users came only lately: without censoring the long gaps would look rarer than they are
    early = [ended(d, 10) for d in range(1, 41)]
    lately = [still_open(d, 10) for d in range(1, 41)]
    whole = days_to(purchase_gap(counted(*early, *lately), 365, 1), 0.9)
    assert whole > days_to(purchase_gap(counted(*early), 365, 1), 0.9) == 36


def test_too_few_gaps_or_too_short_a_time_leave_the_default_and_say_so() -> None:
    gaps = counted(*(ended(d, 5) for d in range(1, 21)), still_open(60, 40))
    common: dict[str, Any] = {"share": 0.8, "horizon_days": 365, "default": (90.0,), "min_at_risk": 30}

    def first(**trust: int) -> tuple[float, str]:
        cut = silence_cuts(gaps, (1, 2, 7), **trust, **common)[0]
        return cut.number, cut.basis

    assert first(min_cases=100, min_followed_days=60) == (16.0, "curve")
    assert first(min_cases=101, min_followed_days=60) == (90.0, "default_few_cases")
    assert first(min_cases=100, min_followed_days=61) == (90.0, "default_short_history")
    # from day 21 on 40 are watched: with 41 asked for the curve ends at day 20, where only half have gone by
    assert purchase_gap(gaps, 365, 41).x[-1] == 20


def test_a_cut_that_the_horizon_decided_says_how_many_come_later_and_which_horizon_to_try() -> None:
    # one in a hundred comes back on each day from 1 to 100: within 60 days 60, of whom 90 % by day 54 and 96 % by day 58
    gaps = counted(*(ended(d, 10) for d in range(1, 101)), still_open(200, 100))
    common: dict[str, Any] = {"min_cases": 100, "default": (90.0,), **TRUST}
    free, *_ = silence_cuts(gaps, (1, 2, 7), share=0.9, horizon_days=60, **common)
    assert (free.number, free.basis, free.share_beyond) == (54, "curve", None)
    bound, *_ = silence_cuts(gaps, (1, 2, 7), share=0.96, horizon_days=60, **common)
    assert (bound.number, bound.basis, bound.sample) == (58, "at_horizon", 1_000)
    assert bound.share_beyond == pytest.approx(0.4)
    # with 90 days the cut lies at 87 of 90, with 120 at 96 of 120
    assert bound.horizon_to_try == 120


def test_a_cut_at_the_end_of_the_history_says_that_the_history_decided_it() -> None:
    gaps = counted(*(ended(d, 10) for d in range(1, 101)), still_open(100, 100))
    cut, *_ = silence_cuts(gaps, (1, 2, 7), share=0.96, horizon_days=365, min_cases=100, default=(90.0,), **TRUST)
    assert (cut.number, cut.basis, cut.share_beyond) == (96, "at_end", None)


def test_a_curve_of_nobody_has_no_points() -> None:
    nobody = counted(ended(1)).of_class(2, None)
    assert [
        len(c) for c in (repurchase(nobody), survival(nobody, 9), purchase_gap(nobody, 9, 1), recovery(nobody, 9, 1))
    ] == [0] * 4
    assert recovery_knee(nobody, horizon_days=9, min_cases=1, min_stability=0.8, **TRUST) == "default_few_cases"


def test_recovery_is_the_share_of_the_silent_who_still_come_back() -> None:
    gaps = counted(ended(10, 60), ended(20, 20), still_open(50, 20))
    curve = recovery(gaps, 365, 1)
    found = {int(x): round(float(y), 6) for x, y in zip(curve.x, curve.y, strict=True)}
    # 80 of 100 come back; of the 40 silent for 11 days 20; of the 20 silent for 21 days nobody
    assert (found[1], found[10], found[11], found[20], found[21]) == (0.8, 0.8, 0.5, 0.5, 0.0)


X = np.arange(1, 366)
STRAIGHT = 0.9 - 0.8 * X / 365
EXPONENTIAL = 0.1 + 0.8 * np.exp(-X / 60)
HOCKEY_STICK = np.where(X < 100, 0.9 - 0.008 * X, 0.1 - 0.0001 * (X - 100))
EVER_FASTER = np.where(X < 250, 0.9 - 0.0005 * X, 0.775 - 0.006 * (X - 250))


@pytest.mark.parametrize("noise", [0.0, 1e-3, 5e-3, 2e-2])
@pytest.mark.parametrize(
    ("curve", "expected", "why"),
    [
        (STRAIGHT, None, "straight"),
        (EXPONENTIAL, None, "exponential"),
        (EVER_FASTER, None, "straight"),
        (0.9 * X**-0.5, None, "exponential"),
        (HOCKEY_STICK, 100, None),
    ],
    ids=["straight", "exponential", "ever faster", "power", "hockey stick"],
)
def test_only_a_curve_that_bends_has_a_knee(
    curve: np.ndarray, expected: int | None, why: str | None, noise: float
) -> None:
    rng = np.random.default_rng(7)
    seen = curve + rng.normal(0, noise, len(X))
    found = knee(X, seen, seen + rng.normal(0, noise, (100, len(X))), rising=False, min_stability=0.8)
    assert found.why_not == why
    assert found.x == expected or (expected is not None and found.x is not None and abs(found.x - expected) <= 3)


def test_a_bend_that_is_chance_is_no_knee() -> None:
    rng = np.random.default_rng(11)
    x = np.arange(1, 9)
    knees = 0
    for _ in range(100):
        line = 0.8 - 0.05 * x + rng.normal(0, 0.05, len(x))
        knees += knee(x, line, line + rng.normal(0, 0.05, (100, len(x))), rising=False, min_stability=0.8).x is not None
    assert knees <= 5


def recovering(curve: np.ndarray, users: int = 20_000) -> Gaps:
    """Gaps whose recovery curve over as many days is this: recovery(N) = 1 - S(H) / S(N - 1)."""
    left = (1 - curve[0]) / (1 - curve)
    went = np.round(users * -np.diff(left)).astype(int)
    rows = [ended(d, int(n)) for d, n in enumerate(went, 1) if n]
    return counted(*rows, still_open(len(curve) + 1, int(users * left[-1])))


def recovery_cut(gaps: Gaps, min_followed_days: int = 90) -> Cut | str:
    options: dict[str, Any] = {"min_cases": 100, "min_at_risk": 30, "min_stability": 0.8}
    return recovery_knee(gaps, horizon_days=365, min_followed_days=min_followed_days, **options)


def test_the_recovery_knee_lies_where_the_fall_ends() -> None:
    gaps = recovering(np.append(np.linspace(0.8, 0.1, 100), np.linspace(0.1, 0.0, 200)))
    cut = recovery_cut(gaps)
    assert isinstance(cut, Cut)
    assert 95 <= cut.number <= 110
    assert (cut.basis, cut.sample) == ("curve", gaps.cases)


def test_a_recovery_that_falls_evenly_has_no_knee_and_says_why() -> None:
    assert recovery_cut(recovering(np.linspace(0.8, 0.0, 300))) == "default_straight"
    assert recovery_cut(recovering(0.8 * np.exp(-np.arange(300) / 60) - 0.8 * np.exp(-5))) == "default_exponential"
    assert recovery_cut(recovering(np.linspace(0.8, 0.0, 80))) == "default_short_history"


def with_rates(rates: list[float], users: int = 100_000) -> Gaps:
    """Gaps of users who go on with these probabilities after each purchase day."""
    rows = []
    for n, rate in enumerate(rates, 1):
        more = round(users * rate)
        rows += [ended(5, more, after=n), still_open(50, users - more, after=n)]
        users = more
    return counted(*[r for r in rows if r[3]])


def test_the_knees_of_the_repurchase_curve_part_the_classes() -> None:
    gaps = with_rates([0.3, 0.45, 0.6, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66])
    found = repurchase_knee(repurchase(gaps))
    assert (found.x, found.stability > 0.9) == (3, True)
    cuts = purchase_day_cuts(gaps, default=(1, 2, 7), min_repeaters=200, min_users=100, min_stability=0.8)
    assert [(c.number, c.basis) for c in cuts] == [(1, "convention"), (3, "curve"), (8, "default_straight")]
    assert [c.sample for c in cuts[:2]] == [100_000, 13_500]


def test_a_repurchase_curve_that_rises_evenly_leaves_the_defaults() -> None:
    exponential = [0.72 - 0.42 * 0.55**n for n in range(9)]
    options: dict[str, Any] = {"default": (1, 2, 7), "min_repeaters": 200, "min_users": 100, "min_stability": 0.8}
    cuts = purchase_day_cuts(with_rates(exponential), **options)
    assert [(c.number, c.basis) for c in cuts[1:]] == [(2, "default_exponential"), (7, "default_exponential")]
    cuts = purchase_day_cuts(with_rates([0.3 + 0.05 * n for n in range(9)]), **options)
    assert [(c.number, c.basis) for c in cuts[1:]] == [(2, "default_straight"), (7, "default_straight")]


def test_few_repeaters_or_a_knee_of_noise_leave_the_defaults() -> None:
    rates = [0.3, 0.5, 0.6, 0.65, 0.68]
    options: dict[str, Any] = {"default": (1, 2, 7), "min_users": 10, "min_stability": 0.8}
    few = purchase_day_cuts(with_rates(rates, 600), min_repeaters=200, **options)
    assert {(c.basis, c.sample) for c in few} == {("default_few_cases", 180)}
    flat = purchase_day_cuts(with_rates([0.5] * 8, 4_000), min_repeaters=200, **options)
    assert [c.number for c in flat] == [1.0, 2.0, 7.0]
    assert {c.basis for c in flat[1:]} <= {"default_straight", "default_unstable", "default_few_points"}


def test_classes_are_named_by_their_purchase_days() -> None:
    assert class_bounds((1, 2, 7)) == [(1, 1), (2, 2), (3, 7), (8, None)]
    assert class_names((1, 2, 7)) == ["1", "2", "3-7", "8+"]
    assert class_names((1, 3, 4)) == ["1", "2-3", "4", "5+"]


def retail() -> Gaps:
    with duckdb.connect() as con:
        rows = con.execute(
            f"""
            with days as (
                select distinct "CustomerID" as customer, cast("InvoiceDate" as date) as day from read_parquet('{RETAIL}')
                where "CustomerID" is not null and "Quantity" > 0 and "UnitPrice" > 0),
            gaps as (
                select row_number() over w as n, day, lead(day) over w as next from days
                window w as (partition by customer order by day))
            select least(n, 100), coalesce(next, ?) - day, next is not null, count(*) from gaps group by all
            """,
            [date(2011, 12, 9)],
        ).fetchall()
    return counted(*rows)


needs_retail = pytest.mark.skipif(
    not RETAIL.is_file(), reason="Online Retail is not there; HUAXIANG_ONLINE_RETAIL names its file"
)


@pytest.mark.slow
@needs_retail
def test_the_repurchase_curve_of_online_retail_begins_with_its_repeat_rate() -> None:
    """UCI Online Retail: 64.3 % of the customers bought on a second day, as counted apart from this code."""
    curve = repurchase(retail())
    assert int(curve.sample[0]) == 4_338
    assert round(float(curve.y[0]), 3) == 0.643


@pytest.mark.slow
@needs_retail
def test_online_retail_has_no_knee() -> None:
    """Both curves bend evenly; the knee of two days that one may find is where a curve begins."""
    gaps = retail()
    assert recovery_cut(gaps) == "default_straight"
    cuts = purchase_day_cuts(gaps, default=(1, 2, 7), min_repeaters=200, min_users=100, min_stability=0.8)
    assert [(c.number, c.basis) for c in cuts[1:]] == [(2, "default_exponential"), (7, "default_straight")]
