"""Lorenz curve, Gini and top shares: by their formulas, and on published figures."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.breaks import counted, merged
from features.concentration import Spread, gini, lorenz, spread, top_share

RETAIL = Path(os.environ.get("HUAXIANG_ONLINE_RETAIL", Path(__file__).parents[3] / "shared/data/online_retail.parquet"))


def of(values: list[int]) -> Spread:
    distinct, counts = np.unique(np.array(values, np.int64), return_counts=True)
    return spread(distinct, counts)


def test_all_equal_is_0_and_one_who_has_all_is_1_less_his_share_of_the_users() -> None:
    assert gini(of([5, 5, 5, 5])) == 0
    assert gini(of([0, 0, 0, 8])) == 0.75


def test_users_who_spent_nothing_change_the_figure_when_they_are_in_the_base() -> None:
    assert gini(of([1, 3])) == 0.25
    assert gini(of([0, 0, 1, 3])) == 0.625


def test_nobody_and_nothing_have_no_gini() -> None:
    for s in (of([]), of([0, 0])):
        assert (gini(s), lorenz(s), top_share(s, 0.1)) == (None, [], None)


def test_money_given_back_beyond_what_was_paid_has_no_lorenz_curve() -> None:
    with pytest.raises(ValueError, match="below 0"):
        of([-1, 2])


def test_the_curve_goes_from_nobody_to_everybody_and_takes_fractions_of_a_user() -> None:
    curve = lorenz(of([1, 3]))
    assert (len(curve), curve[0], curve[50], curve[75], curve[-1]) == (101, (0, 0), (0.5, 0.25), (0.75, 0.625), (1, 1))
    assert top_share(of([1, 1, 1, 1, 6]), 0.2) == 0.6


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=60), st.integers(1, 5))
def test_the_figures_are_those_of_the_formulas_however_users_are_grouped(values: list[int], groups: int) -> None:
    parts = [counted(np.array(values[g::groups], np.float64)) for g in range(groups)]
    distinct, counts = merged(parts)
    s = spread(distinct.astype(np.int64), counts)
    x, n = sorted(values), len(values)
    assert (s.users, s.total) == (n, sum(values))
    if not s.total:
        assert gini(s) is None
        return
    assert gini(s) == pytest.approx(sum((2 * i - n - 1) * v for i, v in enumerate(x, 1)) / (n * sum(x)), abs=1e-12)
    running = np.concatenate([[0.0], np.cumsum([v / s.total for v in x])])
    curve = np.array(lorenz(s))
    assert curve[:, 1] == pytest.approx(np.interp(curve[:, 0] * n, np.arange(n + 1), running), abs=1e-9)
    assert (np.diff(curve[:, 1]) >= 0).all()
    # twice the area between the curve through all users and the diagonal
    area = (running[1:] + running[:-1]).sum() / (2 * n)
    assert gini(s) == pytest.approx(1 - 2 * area, abs=1e-9)


@pytest.mark.skipif(not RETAIL.exists(), reason="UCI Online Retail is not there (HUAXIANG_ONLINE_RETAIL names it)")
def test_online_retail_has_the_published_gini_and_top_share() -> None:
    """Customers with quantity and price above 0: Gini .715, the top 20 % have 74.6 %."""
    with duckdb.connect() as con:
        rows = con.execute(
            f"""
            select spent, count(*) from (
                select sum(round(Quantity * UnitPrice * 100)::bigint)::bigint as spent from '{RETAIL}'
                where CustomerID is not null and Quantity > 0 and UnitPrice > 0 group by CustomerID)
            group by 1 order by 1
            """
        ).fetchall()
    s = spread(np.array([v for v, _ in rows]), np.array([n for _, n in rows]))
    number, top = gini(s), top_share(s, 0.2)
    print(f"online retail: {s.users} customers, {s.total / 100:,.2f}, Gini {number:.4f}, top 20 % {top:.4f}")
    assert (s.users, s.total) == (4_338, 891_140_790)
    assert number == pytest.approx(0.715, abs=5e-4)
    assert top == pytest.approx(0.746, abs=5e-4)
