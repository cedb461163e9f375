"""AIPL arithmetic by hand: rates, gap, advancing, benchmark files."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import duckdb
import pytest

from features.aipl import (
    RANK,
    AiplSettings,
    StageRates,
    advancing,
    asset_value_minor,
    gmv_gap,
    unexplained_share,
)
from jobs.insights.aipl import RATES as RATES_BY_STAGE
from jobs.insights.aipl import read_peers
from queries.flow import balance
from schemas.errors import HuaxiangError, InputError

RATES = [
    StageRates("awareness", users=1_000, buyers=10, orders=10, net_amount_minor=100_000),
    StageRates("interest", users=500, buyers=50, orders=60, net_amount_minor=900_000),
    StageRates("purchase", users=200, buyers=40, orders=80, net_amount_minor=2_000_000),
    StageRates("loyalty", users=100, buyers=50, orders=150, net_amount_minor=7_000_000),
]


def test_money_per_user_is_conversion_times_orders_times_value() -> None:
    for r in RATES:
        assert r.conversion is not None and r.orders_per_buyer is not None and r.order_value_minor is not None
        assert r.value_per_user_minor == pytest.approx(r.conversion * r.orders_per_buyer * r.order_value_minor)


def test_who_was_merged_since_is_one_person_who_bought_as_the_elder() -> None:
    with duckdb.connect() as con:
        con.execute("create schema segments; create schema identity")
        con.execute(
            "create table identity.users as select * from (values (1, null), (2, null), (3, 1)) u(uid, merged_into_uid)"
        )
        con.execute(
            "create table segments.segments as select 'aipl_stage' as scheme, date '2026-03-01' as as_of, * "
            "from (values (1, 'awareness'), (2, 'interest'), (3, 'interest'), (4, 'none')) s(uid, segment)"
        )
        con.execute(
            "insert into segments.segments select 'aipl_stage', date '2026-03-31', * "
            "from (values (1, 'loyalty'), (2, 'interest'), (5, 'purchase'), (6, 'none')) s(uid, segment)"
        )
        con.execute(
            "create table facts as select * from (values (1, 2, 500), (2, 0, 0), (5, 1, 90)) f(uid, orders, net_amount)"
        )
        values = {"scheme": "aipl_stage", "day": "2026-03-01", "last": "2026-03-31", "stages": list(RANK)}
        found = con.execute(RATES_BY_STAGE, values).fetchall()
        # 4 stood in no stage, 5 and 6 came since
        assert sorted(found) == [("interest", 2, 1, 2, 500), ("none", 3, 1, 1, 90)]


def test_the_interval_of_a_rate_is_wilsons() -> None:
    p, n, z = 0.1, 500, 1.959963984540054
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert RATES[1].interval == pytest.approx((centre - half, centre + half))


def test_the_gap_is_what_the_share_of_the_target_needs_beyond_who_is_there() -> None:
    users = {"awareness": 5_000, "interest": 500, "purchase": 200, "loyalty": 90}
    found = {g.rates.stage: g for g in gmv_gap(20_000_000, users, RATES)}
    # shares as in the period: 1 %, 9 %, 20 %, 70 % of 10,000,000; 20,000,000 asks twice as much of each
    assert [g.target_share for g in found.values()] == pytest.approx([0.01, 0.09, 0.2, 0.7])
    assert [g.needed_users for g in found.values()] == [2_000, 1_000, 400, 200]
    assert [g.gap for g in found.values()] == [0, 500, 200, 110]
    assert [g.surplus for g in found.values()] == [3_000, 0, 0, 0]


def test_declared_shares_divide_the_target() -> None:
    found = gmv_gap(1_000_000, {}, RATES, {"awareness": 0.5, "interest": 0.5, "purchase": 0.0, "loyalty": 0.0})
    assert [g.needed_users for g in found] == [5_000, 278, 0, 0]


def test_a_stage_without_history_or_conversion_is_an_error_that_names_it() -> None:
    with pytest.raises(HuaxiangError, match="'loyalty' has no history"):
        gmv_gap(100, {}, [*RATES[:3], StageRates("loyalty", 0, 0, 0, 0)])
    with pytest.raises(HuaxiangError, match="'awareness' has no conversion: none of its 7 users"):
        gmv_gap(100, {}, [StageRates("awareness", 7, 0, 0, 0), *RATES[1:]])


def test_what_no_stage_explains_is_not_put_onto_the_stages() -> None:
    rates = [*RATES, StageRates("none", users=2_000, buyers=400, orders=400, net_amount_minor=10_000_000)]
    assert unexplained_share(rates) == 0.5
    found = {g.rates.stage: g for g in gmv_gap(20_000_000, {"none": 500}, rates)}
    assert [g.target_share for g in found.values()] == pytest.approx([0.005, 0.045, 0.1, 0.35, 0.5])
    # the target is the period's money: each stage needs who was there, none those who came from nowhere
    assert [g.needed_users for g in found.values()] == [1_000, 500, 200, 100, 2_000]
    assert found["none"].gap == 1_500
    assert unexplained_share(RATES) is None


def test_asset_value_is_users_now_times_money_expected_of_one() -> None:
    value = asset_value_minor({"awareness": 10, "loyalty": 3}, RATES)
    assert value["awareness"] == pytest.approx(1_000)
    assert value["loyalty"] == pytest.approx(210_000)
    assert value["interest"] == 0


def test_advancing_counts_moves_upward_of_who_stood_in_a_i_or_p() -> None:
    flows = {
        ("awareness", "interest"): 5,
        ("awareness", "none"): 3,
        ("interest", "loyalty"): 2,
        ("purchase", "purchase"): 9,
        ("interest", "LOST"): 1,
        ("NEW", "loyalty"): 50,
        ("none", "awareness"): 70,
        ("loyalty", "purchase"): 4,
    }
    found = advancing(flows)
    assert (found.at_start, found.upward) == (20, 7)


def test_the_balance_of_a_segment_adds_up() -> None:
    flows = {("a", "a"): 3, ("a", "b"): 2, ("a", "LOST"): 1, ("b", "a"): 4, ("NEW", "a"): 5}
    b = balance(flows, "a")
    assert (b.at_start, b.stayed, b.moved_out, b.lost, b.moved_in, b.new, b.at_end) == (6, 3, 2, 1, 4, 5, 12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stage,share\ninterest,1.2\n", "row 1: share '1.2' is no number from 0 to 1"),
        ("stage,share\nintrest,0.2\n", "row 1: stage 'intrest' is none of"),
        ("stage,share\ninterest,0.2\ninterest,0.3\n", "row 2: stage 'interest' is there twice"),
        ("stage,part\ninterest,0.2\n", "the header needs the columns stage and share"),
        ("stage,share\ninterest,\n", "row 1: share is empty"),
    ],
)
def test_a_bad_file_of_peers_names_row_field_value_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "peers.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_peers(tmp_path, "peers.csv")


def test_a_file_of_peers_outside_the_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "peers.csv").write_text("stage,share\n", encoding="utf-8")
    with pytest.raises(InputError, match="outside the project folder"):
        read_peers(tmp_path / "project", "../peers.csv")


def test_shares_of_a_target_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 0"):
        AiplSettings(gmv_share={"interest": 0.5, "loyalty": 0.4})
