"""A run with ``known_at`` leaves rows learned later out of what it says of everybody together, too."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import duckdb
import pyarrow.parquet as pq
import pytest

from jobs.insights import aipl, brushing, value
from jobs.insights.step import InsightRun
from tests.offers.lake_shop import Line
from tests.value.profile_lake import run_of

START = date(2026, 3, 1)
LATE = date(2026, 4, 9)
LINES = [
    *(Line(1, date(2026, 3, day), 10 + day, 1) for day in (5, 6, 7)),
    Line(1, date(2026, 3, 8), 30, 2, known=LATE),
    Line(2, date(2026, 3, 9), 31, 2, known=LATE),
]
THEN = datetime(2026, 3, 31, 17, tzinfo=UTC)
"""In Shanghai the first of April."""


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> InsightRun:
    users = [{"uid": u, "net_amount_365d": 1} for u in (1, 2)]
    return run_of(tmp_path_factory.mktemp("k") / "p", users, LINES, cross_purchase={"min_joint_baskets": 1})


@pytest.fixture(scope="module")
def then(now: InsightRun) -> InsightRun:
    return replace(now, run_id="then", known_at=THEN)


def test_known_at_is_a_business_day_to_map_tasks(now: InsightRun, then: InsightRun) -> None:
    assert (now.known_at_day, then.known_at_day) == (None, "2026-04-01")


def test_the_rates_of_stages_rest_on_orders_known_by_then(now: InsightRun, then: InsightRun) -> None:
    for run, expected in ((now, (2, 2, 5)), (then, (2, 1, 3))):
        with duckdb.connect() as con:
            con.execute("create schema segments; create schema identity")
            con.execute("create table identity.users as select 1 as uid, null::bigint as merged_into_uid")
            con.execute(
                f"create table segments.segments as select uid, 'awareness' as segment, 'stage' as scheme, "
                f"date '{START}' as as_of from (values (1), (2)) t(uid)"
            )
            rates = {r.stage: (r.users, r.buyers, r.orders) for r in aipl.stage_rates(run, con, "stage", START)}
        assert rates["awareness"] == expected


def test_the_comparison_without_brushing_rests_on_orders_known_by_then(now: InsightRun, then: InsightRun) -> None:
    for run, expected in ((now, 5), (then, 3)):
        assert sum(sum(pq.read_table(p)["orders_with_flagged"].to_pylist()) for p in brushing._facts(run)) == expected


def test_categories_bought_together_rest_on_orders_known_by_then(now: InsightRun, then: InsightRun) -> None:
    assert {(r["left_item"], r["right_item"]) for r in value.insight(now).associations} == {("c1", "c2"), ("c2", "c1")}
    assert value.insight(then).associations == []
