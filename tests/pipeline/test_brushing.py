"""Brushing over the whole way: against the simulator's truth, against SQL over silver, and in the reported figures."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from features.brushing_settings import BrushingSettings
from jobs.brushing.step import TABLE
from lake.engine import Engine
from lake.sql import connect
from project.folder import Project
from tests.brushing.shop import judged
from tests.pipeline import shop

LAST = shop.LAST
ZONE = "Asia/Shanghai"
pytestmark = pytest.mark.slow
LATEST = """
select * from silver.{feed} qualify row_number() over (
    partition by {key} order by source_time desc nulls last, _ingested_at desc, _file desc, _row desc) = 1
"""


@pytest.fixture(scope="module")
def con(three_days: Project, embedded: Engine) -> duckdb.DuckDBPyConnection:
    """The lake, the truth as ``truth_<table>``, and every order's signals as ``scores``."""
    settings = three_days.method("brushing", BrushingSettings)
    scores = judged(three_days.lake, three_days.zone, embedded, settings, "brushing-test")
    found = connect(three_days.lake, None)
    for name, table in shop.simulated().truth.items():
        found.register(f"truth_{name}", table)
    found.register("scores", scores)
    found.execute(f"create view latest_orders as {LATEST.format(feed='orders', key='order_id')}")
    found.execute(
        f"""
        create view paid as
        select *, timezone('{ZONE}', paid_at)::date as paid_day, i.uid
        from latest_orders o join identity.identifiers i on i.id_kind = 'member' and i.id_value = o.member_id
        where paid_at is not null and i.until_day is null
        """
    )
    return found


def one(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    return tuple(con.execute(sql).fetchall()[0])


def test_precision_and_recall_at_every_threshold(con: duckdb.DuckDBPyConnection) -> None:
    paid, brushed = one(con, "select (select count(*) from scores), (select count(*) from truth_brushing_orders)")
    print(
        f"brushing: {brushed} of {paid} paid orders are brushed; holding orders by chance is right {brushed / paid:.3f}"
    )
    print("threshold  held  precision  recall")
    curve = {}
    for step in range(1, 10):
        held, right = one(
            con,
            f"""
            select count(*), count(t.order_id) from scores s left join truth_brushing_orders t using (order_id)
            where round(s.score * 100) >= {step * 10}
            """,
        )
        curve[step] = (right / held if held else 1.0, right / brushed)
        print(f"      {step / 10:.1f}  {held:4d}      {curve[step][0]:.3f}   {curve[step][1]:.3f}")
    assert all(curve[s][1] >= curve[s + 1][1] for s in range(1, 9)), "a higher threshold finds no more"
    precision, recall = curve[round(BrushingSettings().threshold * 10)]
    assert precision >= 0.95
    assert recall >= 0.9


def test_users_at_risk_are_the_members_of_the_rings(con: duckdb.DuckDBPyConnection) -> None:
    right, said, true, users = one(
        con,
        f"""
        with true_users as (
            select distinct i.uid from truth_brushing_users b
            join truth_person_ids p on p.person_id = b.person_id and p.id_kind = 'member'
            join identity.identifiers i on i.id_kind = 'member' and i.id_value = p.id_value and i.until_day is null),
        said as (select uid from profile.profile where as_of = '{LAST}' and brushing_risk <> 'none')
        select (select count(*) from said semi join true_users using (uid)), (select count(*) from said),
               (select count(*) from true_users), (select count(*) from profile.profile where as_of = '{LAST}')
        """,
    )
    print(f"brushing: {right} of {said} users at risk are in a ring, which has {true} (chance {true / users:.4f})")
    assert right >= 0.9 * said
    assert right >= 0.9 * true


def test_what_is_held_is_what_reaches_the_threshold(con: duckdb.DuckDBPyConnection) -> None:
    """Three days, run one after the other, hold what one look at everything does."""
    threshold = BrushingSettings().threshold
    apart = con.execute(
        f"""
        with wanted as (select order_id, uid, paid_day, score, reasons from scores where score >= {threshold}),
        there as (select order_id, uid, paid_day, score, reasons from {TABLE})
        (from wanted except from there) union all (from there except from wanted)
        """
    ).fetchall()
    assert apart == []
    assert one(con, f"select count(*) > 0, bool_and(flagged_day = paid_day) from {TABLE}") == (True, True)


@pytest.mark.parametrize(("signal", "key"), [("shared_device", "device_id"), ("shared_address", "address_key")])
def test_bursts_agree_with_sql_over_silver(con: duckdb.DuckDBPyConnection, signal: str, key: str) -> None:
    buyers = getattr(BrushingSettings(), signal).buyers
    found = con.execute(
        f"""
        with crowded as (select {key}, paid_day from paid group by all having count(distinct uid) >= {buyers})
        select s.{signal}, c.paid_day is not null, count(*) from paid p join scores s using (order_id)
        left join crowded c on c.{key} = p.{key} and c.paid_day = p.paid_day group by all order by all
        """
    ).fetchall()
    assert [(mine, yours) for mine, yours, _ in found] == [(False, False), (True, True)], found


def test_orders_without_a_visit_agree_with_sql_over_silver(con: duckdb.DuckDBPyConnection) -> None:
    """A member's visits by any of its ids; the days and channels of this shop are all covered."""
    rule = BrushingSettings().no_browse
    kinds = {
        "member": "member_id",
        "unionid": "unionid",
        "openid": "openid",
        "device": "device_id",
        "cookie": "cookie_id",
    }
    union = " union all ".join(
        f"""
        select i.uid, b.{stamp} as seen_at from (select *, timezone('{ZONE}', occurred_at)::date as day from silver.{feed}) b
        join identity.identifiers i on i.id_kind = '{kind}' and i.id_value = b.{column}
            and (i.from_day is null or b.day >= i.from_day) and (i.until_day is null or b.day < i.until_day)
        where behaviour in ({behaviours})
        and coalesce({", ".join(kinds.values())}) = b.{column} and {" and ".join(f"{c} is null" for c in stronger) or "true"}
        """
        for feed, behaviours, stamp in (
            (
                "browse",
                "'exposure', 'click', 'view', 'search', 'favourite', 'cart', 'sample', 'video', 'live'",
                "occurred_at",
            ),
            ("shares", "'share_open', 'join_group'", "occurred_at"),
        )
        for n, (kind, column) in enumerate(kinds.items())
        for stronger in [list(kinds.values())[:n]]
    )
    found = con.execute(
        f"""
        with seen as ({union}),
        blind as (
            select p.order_id, count(v.uid) = 0 as unseen from paid p left join seen v
            on v.uid = p.uid and v.seen_at <= p.paid_at
            and timezone('{ZONE}', v.seen_at)::date > p.paid_day - {rule.days} group by all)
        select s.no_browse, b.unseen, count(*) from blind b join scores s using (order_id) group by all order by all
        """
    ).fetchall()
    assert [(mine, yours) for mine, yours, _ in found] == [(False, False), (True, True)], found


def test_figures_with_and_without_differ_by_the_held_orders(con: duckdb.DuckDBPyConnection) -> None:
    rows = con.execute(
        f"select figure, item, number from segments.figures where as_of = '{LAST}' and topic = 'brushing'"
    ).fetchall()
    figures = {(figure, item): number for figure, item, number in rows}
    for figure in ("orders", "buyers", "net_amount_minor", "mean_order_minor"):
        whole, clean = figures[figure, "with_flagged"], figures[figure, "without_flagged"]
        print(f"brushing: {figure} {whole:,.0f} with held orders, {clean:,.0f} without")
        assert figures[figure, "difference"] == pytest.approx(whole - clean)
    held, users, net, without = one(
        con,
        f"""
        select (select count(*) from {TABLE}), (select count(distinct uid) from {TABLE}),
               sum(net_amount_365d_with_flagged), sum(net_amount_365d) from profile.profile where as_of = '{LAST}'
        """,
    )
    assert (figures["flagged_orders", ""], figures["flagged_users", ""]) == (held, users)
    assert figures["orders", "difference"] == held > 0
    assert (figures["net_amount_minor", "with_flagged"], figures["net_amount_minor", "without_flagged"]) == (
        net,
        without,
    )
    by_reason = {item: n for (figure, item), n in figures.items() if figure == "flags_by_reason"}
    print("brushing: held orders by reason", by_reason)
    assert max(by_reason.values()) <= held <= sum(by_reason.values())
