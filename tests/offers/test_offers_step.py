"""Step ``offers`` on a lake of its own, held against SQL."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from features.kernel.rows import USERS_PER_BUCKET
from jobs.offers.step import TABLE, associations, run_offers
from lake.engine import Engine
from lake.sql import connect
from project.folder import Project
from tests.ingest.shop import InProcess
from tests.offers.lake_shop import LAST, Line, by_sql, project_of, random_lines

HERE: Any = InProcess()
SETTINGS = {"promotion": {"window": 90}, "cross_purchase": {"window": 60, "min_joint_baskets": 5}}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    lines, retired = random_lines()
    return project_of(tmp_path_factory.mktemp("offers") / "p", lines, retired, **SETTINGS)


def stored(project: Project, day: date) -> list[tuple[Any, ...]]:
    with connect(project.lake, None) as con:
        return con.execute(
            """
            select uid, promotion_orders, promotion_order_ratio, discount_depth_ratio, discount_amount_ratio,
                   next_category from profile.offers where as_of = ? order by uid
            """,
            [day],
        ).fetchall()


def assert_same(mine: list[tuple[Any, ...]], yours: list[tuple[Any, ...]]) -> None:
    assert [(*row[:2], row[5]) for row in mine] == [(*row[:2], row[5]) for row in yours]
    for a, b in zip(mine, yours, strict=True):
        assert a[2:5] == pytest.approx(b[2:5], rel=1e-4, abs=1e-5), a[0]


def test_the_rows_and_the_rules_are_those_of_sql(shop: Project) -> None:
    made = run_offers(shop, HERE, LAST, run_id="r1")
    offers, rules = by_sql(shop.lake, LAST, promotion=90, basket=60, joint=5)
    assert made == len(offers) > 100
    assert {uid // USERS_PER_BUCKET for uid, *_ in offers} == {0, 1}
    assert 7 not in {uid for uid, *_ in offers}, "a retired uid has no row of its own"
    assert_same(stored(shop, LAST), offers)
    found = associations(shop, HERE, LAST, run_id="r1").to_pylist()
    mine = sorted(tuple(row.values()) for row in found)
    assert [row[:6] for row in mine] == [row[:6] for row in rules]
    for a, b in zip(mine, rules, strict=True):
        assert a[6:] == pytest.approx(b[6:], abs=1e-6)
    assert len(rules) > 20
    assert sum(row[5] is not None for row in offers) > 20


def test_what_was_learned_later_is_left_out_of_a_run_for_what_was_known(shop: Project) -> None:
    known = LAST - timedelta(days=10)
    run_offers(shop, HERE, LAST, run_id="r2", known_at=datetime(known.year, known.month, known.day, 4, tzinfo=UTC))
    # products were learned after that day, so nothing is known of categories
    with connect(shop.lake, None) as con:
        rows = con.execute("select count(*), count(next_category) from profile.offers where as_of = ?", [LAST])
        users, recommended = rows.fetchall()[0]
    assert users > 0
    assert recommended == 0
    before = {row[0] for row in by_sql(shop.lake, LAST, promotion=90, basket=60, known=known)[0]}
    assert {row[0] for row in stored(shop, LAST)} == before


def test_a_second_run_changes_nothing_and_rules_are_counted_anew_for_who_asks_alone(shop: Project) -> None:
    day = LAST - timedelta(days=3)
    run_offers(shop, HERE, day, run_id="r3")
    first, rules = stored(shop, day), associations(shop, HERE, day, run_id="r3")
    run_offers(shop, HERE, day, run_id="r4")
    assert stored(shop, day) == first
    assert associations(shop, HERE, day, run_id="another").equals(rules)


def test_days_before_the_kept_ones_leave_the_table_and_month_ends_stay(tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", [Line(1, date(2026, 1, 5), 1, 1), Line(2, date(2026, 1, 5), 2, 1)])
    days = [date(2026, 1, 31), date(2026, 2, 10), date(2026, 3, 30)]
    for day in days:
        run_offers(project, HERE, day, run_id=f"r{day}")
    assert sorted({f.partition["as_of"] for f in project.lake.files(TABLE)}) == [days[0], days[2]]


def test_a_shop_without_orders_has_no_rows_and_no_rules(tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", [Line(1, LAST + timedelta(days=1), 1, 1)])
    assert run_offers(project, HERE, LAST, run_id="r") == 0
    assert stored(project, LAST) == []
    assert associations(project, HERE, LAST, run_id="r").num_rows == 0


@pytest.mark.slow
def test_an_engine_makes_the_same_rows(shop: Project, engine: Engine) -> None:
    day = LAST - timedelta(days=5)
    run_offers(shop, HERE, day, run_id="alone")
    alone = stored(shop, day)
    run_offers(shop, engine, day, run_id=f"by-{engine.name}")
    assert stored(shop, day) == alone
