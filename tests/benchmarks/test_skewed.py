"""An uneven shop has as many rows as the even one, and what it says of itself is so."""

from __future__ import annotations

from datetime import date

import pyarrow.compute as pc
import pytest

from benchmarks.skewed import EVENTS, FESTIVAL_SHARE, HUB_SHARE, with_festival, with_hub
from simulator.shop import Shop, simulate

FESTIVAL = date(2026, 2, 8)


@pytest.fixture(scope="module")
def even() -> Shop:
    return simulate(users=200, days=60, seed=11)


def test_one_member_has_a_tenth_of_all_events(even: Shop) -> None:
    uneven = with_hub(even)
    assert {n: len(f) for n, f in uneven.feeds.items()} == {n: len(f) for n, f in even.feeds.items()}
    of_members = pc.value_counts(uneven.feeds["browse"].rows["member_id"].combine_chunks().dictionary_decode())
    most = max(v["counts"] for v in of_members.to_pylist() if v["values"] is not None)
    assert most >= HUB_SHARE * sum(len(even.feeds[feed]) for feed in EVENTS) - 1


def test_one_day_has_half_of_the_orders_and_every_row_is_there(even: Shop) -> None:
    uneven = with_festival(even, FESTIVAL)
    for name, feed in uneven.feeds.items():
        assert len(feed) == len(even.feeds[name])
        assert (feed.arrived[1:] >= feed.arrived[:-1]).all(), "files hold rows in order of arrival"
    orders = uneven.feeds["orders"].rows
    assert sorted(map(str, orders["order_id"].to_pylist())) == sorted(
        map(str, even.feeds["orders"].rows["order_id"].to_pylist())
    )
    days = dict(zip(orders["order_id"].to_pylist(), orders["ordered_at"].to_pylist(), strict=True))
    on_the_day = sum(at.date() == FESTIVAL for at in days.values())
    assert abs(on_the_day - FESTIVAL_SHARE * len(days)) <= 1
    lines = uneven.feeds["order_lines"].rows
    for order, at in zip(lines["order_id"].to_pylist(), lines["ordered_at"].to_pylist(), strict=True):
        assert at == days[order]
