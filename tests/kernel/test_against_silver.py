"""From silver logs through identity, activity and the kernel, against SQL over the same silver logs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow.parquet as pq
import pytest

from features.facts import Fact
from jobs.activity.facts import facts_of_bucket
from jobs.activity.step import run_activity
from jobs.identity.step import update_identity
from lake.engine import Engine
from lake.lake import Lake
from lake.sql import connect
from schemas.behaviours import ACTIVE_FEEDS
from tests.kernel.silver_oracle import prepare, silver_oracle
from tests.silver import at, write_silver

ZONE = "Asia/Shanghai"
DAYS = (date(2026, 2, 10), date(2026, 2, 28), date(2026, 3, 20))
BROWSED = ("view", "click", "cart", "search", "review")


M = TypeVar("M")


def declared() -> list[Fact]:
    """The main facts of the catalogue's kinds over every log, in four windows."""
    plain: list[dict[str, Any]] = [
        {"from": ["pay"], "measure": "orders", "agg": "count"},
        {"from": ["pay"], "measure": "orders", "agg": "count", "view": "cash"},
        {"from": ["pay"], "measure": "rows", "agg": "count", "where": {"on_promotion": True}},
        {"from": ["pay"], "measure": "amount", "agg": "sum"},
        {"from": ["pay"], "measure": "amount", "agg": "sum", "view": "cash"},
        {"from": ["pay"], "measure": "amount", "agg": "max"},
        {"from": ["pay"], "measure": "list_amount", "agg": "sum"},
        {"from": ["pay"], "measure": "discount", "agg": "mean"},
        {"from": ["pay"], "measure": "net_amount", "agg": "sum"},
        {"from": ["pay"], "measure": "net_amount", "agg": "sum", "view": "cash"},
        {"from": ["pay"], "measure": "quantity", "agg": "sum"},
        {"from": ["pay"], "measure": "days", "agg": "count"},
        {"from": ["pay"], "measure": "day", "agg": "first"},
        {"from": ["pay"], "measure": "day", "agg": "last"},
        {"from": ["pay"], "measure": "gap_days", "agg": "mean"},
        {"from": ["pay"], "measure": "category", "agg": "distinct"},
        {"from": ["pay"], "measure": "brand", "agg": "mode"},
        {"from": ["pay"], "measure": "seller", "agg": "last"},
        {"from": ["pay"], "measure": "orders", "agg": "count", "where": {"brand": ["B1", "B2"], "channel": ["app"]}},
        {"from": ["pay"], "measure": "orders", "agg": "count", "where": {"detail": ["by_promotion"]}},
        {"from": ["pay"], "measure": "day", "agg": "first", "where": {"detail": ["by_share"]}},
        {"from": ["order"], "measure": "rows", "agg": "count", "where": {"detail": ["by_coupon", "direct"]}},
        {"from": ["order"], "measure": "orders", "agg": "count"},
        {"from": ["order"], "measure": "hour", "agg": "mode"},
        {"from": ["refund"], "measure": "amount", "agg": "sum"},
        {"from": ["refund"], "measure": "rows", "agg": "count"},
        {"from": BROWSED, "measure": "rows", "agg": "count"},
        {"from": BROWSED, "measure": "days", "agg": "count"},
        {"from": BROWSED, "measure": "visits", "agg": "count"},
        {"from": ["view", "click"], "measure": "visits", "agg": "count", "where": {"category": ["C1"]}},
        {"from": ["view"], "measure": "sku", "agg": "distinct"},
        {"from": ["view"], "measure": "category", "agg": "distinct"},
        {"from": ["view"], "measure": "category_parent", "agg": "mode"},
        {"from": ["view"], "measure": "brand", "agg": "distinct"},
        {"from": ["view", "cart", "pay"], "measure": "brand", "agg": "preferred"},
        {"from": ["search"], "measure": "rows", "agg": "count", "where": {"detail": ["brand_search"]}},
        {"from": ["review"], "measure": "rows", "agg": "count", "where": {"detail": ["positive", "append"]}},
        {"from": BROWSED, "measure": "hour", "agg": "mode", "where": {"channel": ["app", "web"]}},
        {"from": BROWSED, "measure": "day", "agg": "returned", "min_gap": 4},
        {"from": ["share"], "measure": "rows", "agg": "count"},
        {"from": ["share"], "measure": "sku", "agg": "distinct"},
        {"from": ["coupon_get"], "measure": "rows", "agg": "count"},
        {"from": ["coupon_use"], "measure": "list_amount", "agg": "sum"},
    ]
    return [
        Fact.model_validate(fact | {"window": window, "id": f"f{n}_{window or 'ever'}"})
        for n, fact in enumerate(plain)
        for window in (None, 1, 7, 30)
    ]


def write_shop(lake: Lake, seed: int = 7) -> None:
    """A small shop with what goes wrong: several versions, cancelled, refunded in parts and twice, guests, devices."""
    r = random.Random(seed)
    members = [f"m{n}" for n in range(9)]
    sku_ids = [f"s{n}" for n in range(8)]

    def moment() -> datetime:
        start = at("2026-01-20 00:00")
        return start + timedelta(days=r.randrange(58), seconds=r.choice([0, 59, 3600 * r.randrange(24), 86_399]))

    def person() -> dict[str, Any]:
        who = r.random()
        if who < 0.6:
            return {"member_id": r.choice(members)}
        if who < 0.75:
            return {"member_id": r.choice(members[:3]), "device_id": "d-" + r.choice(members[:3])}
        return {"device_id": "d-" + r.choice(members)}

    write_silver(lake, "members", [{"member_id": m, "device_id": f"d-{m}" if m < "m5" else None} for m in members])
    for letter, since in (("b", "2025-12-01 00:00"), ("B", "2026-02-15 00:00")):
        products = [
            {
                "sku_id": s,
                "brand": f"{letter}{n % 3}".upper() if n else None,
                "category": f"C{n % 4}" if letter == "b" else f"C{n % 2}",
                "category_parent": f"P{n % 2}",
                "source_time": at(since),
            }
            for n, s in enumerate(sku_ids[:-1])
        ]
        write_silver(lake, "products", products, batch=letter)
    orders, later, lines, refunds = [], [], [], []
    ways = random.Random(seed + 1)
    for n in range(90):
        ordered = moment()
        paid = ordered + timedelta(minutes=r.choice([1, 40, 60 * 30])) if r.random() < 0.85 else None
        row = {
            "order_id": f"o{n}",
            "ordered_at": ordered,
            "channel": r.choice(["app", "web", None]),
            "seller_id": r.choice(["店一", "店二", None]),
            "promotion_id": r.choice(["p1", None, None]),
            "group_id": ways.choice(["g1", None, None, None]),
            "share_id": ways.choice(["h1", None, None]),
            "coupon_id": ways.choice(["c1", None, None]),
            **(person() if r.random() < 0.9 else {}),
        }
        cancelled = ordered + timedelta(days=r.randrange(12)) if r.random() < 0.15 else None
        orders.append(row)
        later.append({**row, "paid_at": paid, "cancelled_at": cancelled, "source_time": ordered + timedelta(days=1)})
        worth = 0
        for k in range(r.choice([1, 1, 2, 3])):
            net = r.choice([0, 1, 250, 9_900])
            worth += net
            listed = r.choice([None, net, net + 100])
            lines.append(
                {
                    "order_id": f"o{n}",
                    "line_id": str(k),
                    "ordered_at": ordered,
                    "sku_id": r.choice([*sku_ids, None]),
                    "quantity": r.choice([1, 2, 5]),
                    "net_amount_minor": net,
                    "list_amount_minor": listed,
                    "discount_amount_minor": r.choice([None, 0, 100]),
                    "promotion_id": ways.choice(["p2", None, None, None, None]),
                }
            )
        if paid and r.random() < 0.4:
            for k, share in enumerate(r.choice([(1.0,), (0.3,), (0.5, 0.5), (0.4, 0.8)])):
                refunds.append(
                    {
                        "refund_id": f"r{n}-{k}",
                        "order_id": f"o{n}" if r.random() < 0.9 else None,
                        "refunded_at": paid + timedelta(days=r.randrange(20), hours=r.randrange(24)),
                        "refund_amount_minor": int(worth * share),
                        "member_id": r.choice([None, r.choice(members)]),
                    }
                )
    write_silver(lake, "orders", orders)
    write_silver(lake, "orders", later, ingested="2026-04-01 06:00", batch="later")
    write_silver(lake, "order_lines", lines)
    write_silver(lake, "refunds", refunds)
    common = {"browse": 500, "shares": 60, "coupons": 60}
    for feed, count in common.items():
        rows = []
        for n in range(count):
            row = {"event_id": f"{feed}{n}", "occurred_at": moment(), "sku_id": r.choice([*sku_ids, None]), **person()}
            if feed == "browse":
                row |= {
                    "behaviour": r.choice(BROWSED),
                    "channel": r.choice(["app", "web", "mini"]),
                    "seller_id": r.choice(["店一", None]),
                    "is_brand_search": r.choice([True, False, None]),
                    "review_kind": r.choice(["positive", "neutral", "negative", "append", None]),
                }
            elif feed == "shares":
                row |= {"behaviour": "share", "channel": r.choice(["app", None])}
            else:
                row |= {"behaviour": r.choice(["coupon_get", "coupon_use"]), "face_value_minor": r.choice([None, 500])}
                row.pop("device_id", None)
                row.setdefault("member_id", "m1")
            rows.append(row)
        write_silver(lake, feed, rows)
    for feed in ACTIVE_FEEDS:
        lake.ensure(f"silver.{feed}")


class Shop:
    """The lake after identity and activity, with what the facts task needs."""

    def __init__(self, folder: Path, engine: Engine):
        self.lake, self.zone, self.engine = Lake(folder / "lake", ZONE), ZONE, engine
        self.folder = folder
        write_shop(self.lake)
        update_identity(self.lake, engine, date(2026, 3, 31), "i1", "salt")
        run_activity(self, engine, "a1")  # type: ignore[arg-type]

    def method(self, _name: str, kind: type[M]) -> M:
        """The method's own defaults."""
        return kind()

    def facts(self, facts: list[Fact], as_of: date) -> dict[str, dict[int, Any]]:
        products = self.folder / f"products-{as_of}.parquet"
        with connect(self.lake, None) as con:
            found = con.sql(
                """
                SELECT c.code AS sku_code, arg_max(p.brand, source_time) AS brand,
                       arg_max(p.category, source_time) AS category,
                       arg_max(p.category_parent, source_time) AS category_parent
                FROM activity.codes c JOIN silver.products p ON c.code_kind = 'sku' AND c.code_value = p.sku_id
                WHERE CAST(timezone(?, source_time) AS DATE) <= ? GROUP BY c.code""",
                params=[ZONE, as_of],
            ).to_arrow_table()
        pq.write_table(found, products)
        done = facts_of_bucket(
            {
                "bucket": 0,
                "files": sorted(f.path for f in self.lake.files("activity.activity")),
                "facts": [f.model_dump(mode="json", by_alias=True, exclude_none=True) for f in facts],
                "as_of": as_of.isoformat(),
                "zone": ZONE,
                "users": 60,
                "products": str(products),
                "codes": [f.path for f in self.lake.files("activity.codes")],
                "out": str(self.folder / f"facts-{as_of}.parquet"),
            }
        )
        table = pq.read_table(done["path"])
        uids = table["uid"].to_pylist()
        return {f.column: dict(zip(uids, table[f.column].to_pylist(), strict=True)) for f in facts}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"), embedded)


@pytest.fixture(scope="module")
def con(shop: Shop) -> Iterator[duckdb.DuckDBPyConnection]:
    """The oracle's tables in memory: hundreds of statements read them."""
    tables = [f"silver.{feed}" for feed in (*ACTIVE_FEEDS, "products")] + ["identity.identifiers"]
    with connect(shop.lake, None) as lake, duckdb.connect() as found:
        found.execute("SET TimeZone = 'UTC'; CREATE SCHEMA silver; CREATE SCHEMA identity")
        for table in tables:
            found.register("rows", lake.sql(f"SELECT * FROM {table}").to_arrow_table())
            found.execute(f"CREATE TABLE {table} AS SELECT * FROM rows")
            found.unregister("rows")
        prepare(found, ZONE)
        yield found


@pytest.mark.parametrize("as_of", [DAYS[0], *(pytest.param(d, marks=pytest.mark.slow) for d in DAYS[1:])], ids=str)
def test_every_windowed_fact_equals_sql_over_silver(shop: Shop, con: duckdb.DuckDBPyConnection, as_of: date) -> None:
    facts = declared()
    found = shop.facts(facts, as_of)
    different, seen = [], 0
    for fact in facts:
        expected = silver_oracle(con, fact, as_of, zone=ZONE)
        seen += len(expected)
        for uid, value in found[fact.column].items():
            wanted = expected.get(uid, fact.absent)
            if value != wanted:
                different.append(f"{fact.key} uid {uid}: {value!r}, silver says {wanted!r}")
        assert set(expected) <= set(found[fact.column])
    assert different == []
    assert seen > 500
