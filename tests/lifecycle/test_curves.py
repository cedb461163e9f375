"""Curves against published tables and numbers that one can work out by hand; cuts against their definition."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from models.lifecycle import (
    Gaps,
    class_bounds,
    class_names,
    days_to,
    knee,
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
    assert silence_cuts(gaps, (1, 2, 4), share=0.8, **options) == (8.0, 90.0, 90.0, 90.0, 90.0)


def test_open_gaps_push_the_cut_out_where_leaving_them_out_would_not() -> None:
    # half of the users came only lately: without censoring the long gaps would look rarer than they are
    early = [ended(d, 10) for d in range(1, 41)]
    lately = [still_open(d, 10) for d in range(1, 41)]
    whole = days_to(purchase_gap(counted(*early, *lately), 365, 1), 0.9)
    assert whole > days_to(purchase_gap(counted(*early), 365, 1), 0.9) == 36


def test_too_few_gaps_or_too_short_a_time_leave_the_default() -> None:
    gaps = counted(*(ended(d, 5) for d in range(1, 21)), still_open(60, 40))
    common: dict[str, Any] = {"share": 0.8, "horizon_days": 365, "default": (90.0,), "min_at_risk": 30}
    assert silence_cuts(gaps, (1, 2, 7), min_cases=100, min_followed_days=60, **common) is not None
    assert silence_cuts(gaps, (1, 2, 7), min_cases=101, min_followed_days=60, **common) is None
    assert silence_cuts(gaps, (1, 2, 7), min_cases=100, min_followed_days=61, **common) is None
    # from day 21 on 40 are watched: with 41 asked for the curve ends at day 20, where only half have gone by
    assert purchase_gap(gaps, 365, 41).x[-1] == 20


def test_a_curve_of_nobody_has_no_points() -> None:
    nobody = counted(ended(1)).of_class(2, None)
    assert [
        len(c) for c in (repurchase(nobody), survival(nobody, 9), purchase_gap(nobody, 9, 1), recovery(nobody, 9, 1))
    ] == [0] * 4
    assert recovery_knee(nobody, horizon_days=9, min_cases=1, **TRUST) is None


def test_recovery_is_the_share_of_the_silent_who_still_come_back() -> None:
    gaps = counted(ended(10, 60), ended(20, 20), still_open(50, 20))
    curve = recovery(gaps, 365, 1)
    found = {int(x): round(float(y), 6) for x, y in zip(curve.x, curve.y, strict=True)}
    # 80 of 100 come back; of the 40 silent for 11 days 20; of the 20 silent for 21 days nobody
    assert (found[1], found[10], found[11], found[20], found[21]) == (0.8, 0.8, 0.5, 0.5, 0.0)


def test_the_recovery_knee_lies_where_the_fall_ends() -> None:
    # of 1,000 gaps the open ones fall quickly for 30 days, then hardly
    rows = [ended(d, 25) for d in range(1, 31)] + [ended(d, 1) for d in range(31, 131)] + [still_open(131, 150)]
    found = recovery_knee(counted(*rows), horizon_days=365, min_cases=100, min_at_risk=30, min_followed_days=90)
    assert found is not None
    assert 25 <= found[0] <= 45


def with_rates(rates: list[float], users: int = 100_000) -> Gaps:
    """Gaps of users who go on with these probabilities after each purchase day."""
    rows = []
    for n, rate in enumerate(rates, 1):
        more = round(users * rate)
        rows += [ended(5, more, after=n), still_open(50, users - more, after=n)]
        users = more
    return counted(*[r for r in rows if r[3]])


def test_the_knees_of_the_repurchase_curve_part_the_classes() -> None:
    rates = [0.3, 0.5, 0.6, 0.65, 0.68, 0.70, 0.71, 0.715, 0.72]
    gaps = with_rates(rates)
    found, stability = repurchase_knee(repurchase(gaps))
    assert found == 3 and stability > 0.6
    cuts = purchase_day_cuts(gaps, default=(1, 2, 7), min_repeaters=200, min_users=100, min_stability=0.6)
    assert cuts is not None
    assert cuts[:2] == (1.0, 3.0) and cuts[2] > 3


def test_few_repeaters_or_a_knee_of_noise_leave_the_defaults() -> None:
    rates = [0.3, 0.5, 0.6, 0.65, 0.68]
    options: dict[str, Any] = {"default": (1, 2, 7), "min_users": 10, "min_stability": 0.6}
    assert purchase_day_cuts(with_rates(rates, 600), min_repeaters=200, **options) is None
    flat = with_rates([0.5] * 8, 4_000)
    assert purchase_day_cuts(flat, min_repeaters=200, **options) == (1.0, 2.0, 7.0)
    assert knee(np.arange(5), np.full(5, 0.5), rising=True) is None


def test_classes_are_named_by_their_purchase_days() -> None:
    assert class_bounds((1, 2, 7)) == [(1, 1), (2, 2), (3, 7), (8, None)]
    assert class_names((1, 2, 7)) == ["1", "2", "3-7", "8+"]
    assert class_names((1, 3, 4)) == ["1", "2-3", "4", "5+"]


@pytest.mark.slow
@pytest.mark.skipif(not RETAIL.is_file(), reason="Online Retail is not there; HUAXIANG_ONLINE_RETAIL names its file")
def test_the_repurchase_curve_of_online_retail_begins_with_its_repeat_rate() -> None:
    """UCI Online Retail: 64.3 % of the customers bought on a second day, as counted apart from this code."""
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
    curve = repurchase(counted(*rows))
    assert int(curve.sample[0]) == 4_338
    assert round(float(curve.y[0]), 3) == 0.643
