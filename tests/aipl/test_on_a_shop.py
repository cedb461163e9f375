"""Rates, FAST and the gap of a simulated shop, counted a second way in SQL."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from jobs.ingest.step import ingest
from jobs.pipeline import run
from lake.engine import Engine
from lake.sql import connect
from project.folder import Project
from queries.flow import flow
from queries.gap import gap
from schemas.behaviours import BEHAVIOURS
from tests.pipeline import shop

pytestmark = pytest.mark.slow
LAST, START = shop.LAST, shop.LAST - timedelta(days=28)
ORACLE = """
with valid as (
    select uid, order_key, sum(case when behaviour_code = $pay then amount_minor else -amount_minor end) as net,
           bool_or(behaviour_code = $pay) as paid
    from activity.activity
    where behaviour_code in ($pay, $back) and day > $start and day <= $last and valid_from_day <= $last
      and coalesce(void_day > $last, true) and coalesce(flagged_day > $last, true)
    group by all
), bought as (select uid, count(*) filter (paid) as orders, sum(net) as net from valid group by all)
select s.segment, count(*), count(*) filter (b.orders > 0), coalesce(sum(b.orders), 0)::bigint,
       coalesce(sum(b.net) filter (b.orders > 0), 0)::bigint
from (
    select coalesce(merged_into_uid, uid) as uid, max_by(segment, case segment when 'loyalty' then 4 when 'purchase' then 3
        when 'interest' then 2 when 'awareness' then 1 else 0 end) as segment
    from segments.segments join identity.users using (uid)
    where scheme = 'aipl_stage' and as_of = $start group by 1
) s left join bought b using (uid)
group by all
"""
WHOLE = "select coalesce(sum(net) filter (orders > 0), 0)::bigint from bought"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Project:
    made = shop.new_project(tmp_path_factory.mktemp("aipl") / "project")
    shop.deliver(made, LAST)
    ingest(made, embedded, received_at=shop.received(made, LAST))
    for day in (START, LAST):
        run(made, embedded, day)
    return made


def figures(project: Project) -> dict[tuple[str, str], Any]:
    with connect(project.lake, None) as con:
        rows = con.execute(
            "select figure, item, number, sample_users from segments.figures where topic = 'aipl' and as_of = ?", [LAST]
        ).fetchall()
    return {(f, i): (n, s) for f, i, n, s in rows}


def test_rates_of_every_stage_equal_sql_over_activity(project: Project) -> None:
    found = figures(project)
    with connect(project.lake, None) as con:
        values = {"pay": BEHAVIOURS["pay"], "back": BEHAVIOURS["refund_of_order"], "start": START, "last": LAST}
        oracle = {row[0]: row[1:] for row in con.execute(ORACLE, values).fetchall()}
        ((whole,),) = con.execute(ORACLE.split("select s.segment")[0] + WHOLE, values).fetchall()
    assert {"awareness", "interest", "purchase"} <= set(oracle)
    for stage, (users, buyers, orders, net) in oracle.items():
        if stage != "none":
            assert found["conversion", stage] == (pytest.approx(buyers / users), users)
            assert found["orders_per_buyer", stage][1] == buyers
            assert found["order_value_minor", stage][1] == orders
            assert found["stage_amount_minor", stage][0] == net
    # who came since stands with those of no stage, so that all of the money is somebody's
    assert sum(n for (figure, _), (n, _) in found.items() if figure == "stage_amount_minor") == whole
    assert found["conversion", "none"][1] > oracle.get("none", (0,))[0]


def test_the_gap_of_a_target_equals_the_formula_on_the_published_rates(project: Project) -> None:
    found = figures(project)
    report = gap(project, Decimal(100_000), LAST, stages=["interest", "purchase"], save=True)
    whole = sum(found["stage_amount_minor", s.stage][0] for s in report.stages)
    for s in report.stages:
        value = found["conversion", s.stage][0] * s.orders_per_buyer * s.order_value_minor
        share = found["stage_amount_minor", s.stage][0] / whole
        assert s.needed_users == pytest.approx(10_000_000 * share / value, abs=1)
        assert s.gap_users - s.surplus_users == s.needed_users - s.users
    fillers = [s.filler for s in report.stages if s.filler]
    assert fillers
    for f in fillers:
        assert f.file is not None
        assert f.users == found["users", f.from_stage][0]
    assert set(Project.load(project.folder).audiences) >= {f.name for f in fillers}


def test_every_user_is_in_the_flow_between_two_days(project: Project) -> None:
    report = flow(project, "aipl_stage", START, LAST)
    with connect(project.lake, None) as con:
        counts = {
            day: dict(
                con.execute(
                    "select segment, count(*) from segments.segments where scheme = 'aipl_stage' and as_of = ? group by 1",
                    [day],
                ).fetchall()
            )
            for day in (START, LAST)
        }
    for s in report.segments:
        assert s.at_start == counts[START].get(s.segment, 0)
        assert s.at_end == counts[LAST].get(s.segment, 0)


def test_stage_shares_are_of_everybody_and_sum_to_one(project: Project) -> None:
    shares = [n for (figure, _), (n, _) in figures(project).items() if figure == "share"]
    assert sum(shares) == pytest.approx(1)
