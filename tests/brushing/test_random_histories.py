"""Deliveries in any order, late, corrected, taken away and of persons who turn out to be others: tables that grew say what tables made from nothing say."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from features.brushing_settings import BrushingSettings
from jobs.brushing.step import BEFORE_FLAGS, TABLE
from lake.engine import Engine
from lake.publish import publish
from tests.activity.test_random_histories import HISTORIES, History
from tests.brushing.shop import Shop
from tests.silver import at, write_silver

DAYS, ROWS = 3, 24
EASY = BrushingSettings.model_validate(
    {
        "threshold": 0.3,
        "history_days": 14,
        "shared_device": {"buyers": 2, "days": 3, "weight": 0.3},
        "shared_address": {"buyers": 2, "days": 2, "weight": 0.3},
        "shared_ip": {"buyers": 2, "weight": 0.3},
        "one_seller": {"orders": 2, "weight": 0.3, "largest_share": 0.7},
        "no_browse": {"weight": 0.3, "coverage": 0.3},
        "price_outlier": {"lines": 3, "weight": 0.3, "deviations": 1},
        "reciprocal": {"orders": 2, "weight": 0.3},
    }
)
"""One signal is enough, and signals that few rows can show."""


class OrdersAndVisits(History):
    """Silver rows of what brushing looks at."""

    def row(self) -> tuple[str, dict[str, Any]]:
        feed = self.random.choice(["browse", "browse", "orders", "orders", "order_lines", "order_lines", "shares"])
        made: dict[str, Any] = getattr(self, feed)()
        if self.random.random() < 0.5:
            made["source_time"] = self.when()
        return feed, made

    def some(self, prefix: str, most: int = 4) -> str:
        return super().some(prefix, {"o": 12, "v": 20, "l": 2}.get(prefix, most))

    def orders(self) -> dict[str, Any]:
        seller = self.random.choice(["m0", "m1", "shop", None])
        keys = {"address_key": self.some("a", 3), "ip_key": self.some("n", 3), "channel": self.some("c", 2)}
        return {**super().orders(), "seller_id": seller, **keys}

    def order_lines(self) -> dict[str, Any]:
        return {**super().order_lines(), "net_amount_minor": self.random.choice([50, 100, 900])}

    def member(self) -> dict[str, Any]:
        """One who verified a phone that another may have, too."""
        return {
            "member_id": self.some("m"),
            "phone": self.some("1380000000", 3),
            "phone_verified": True,
            "source_time": self.when(),
        }


def contents(shop: Shop, table: str) -> list[tuple[Any, ...]]:
    return sorted(shop.ask(f"select * from {table}"), key=repr)


def take_away(shop: Shop, feed: str, month: int, run_id: str) -> None:
    """What a replaced delivery does to its rows."""
    table = f"silver.{feed}"
    version = shop.lake.version(table)
    slices = [{"event_month": month}]
    publish(shop.lake, table, [], replace=slices, read_version=version, run_id=run_id, key=run_id)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(max(1, HISTORIES // 4)))
def test_flags_that_grew_say_what_flags_made_from_nothing_say(tmp_path: Path, embedded: Engine, seed: int) -> None:
    history, shop = OrdersAndVisits(seed), Shop(tmp_path / "lake", embedded, EASY)
    known = [{"sku_id": f"s{i}", "category": f"k{i % 2}", "source_time": datetime(2025, 1, 1)} for i in range(4)]
    write_silver(shop.lake, "products", [{**k, "source_time": at("2025-01-01 00:00")} for k in known])
    for day in range(DAYS):
        delivered: dict[str, list[dict[str, Any]]] = {}
        for feed, row in (history.row() for _ in range(ROWS)):
            delivered.setdefault(feed, []).append(row)
        if history.random.random() < 0.5:
            delivered["members"] = [history.member() for _ in range(2)]
        for feed, rows in delivered.items():
            write_silver(shop.lake, feed, rows, ingested=f"2026-03-{day * 3 + 10} 06:00", batch=f"b{day}")
        if day and history.random.random() < 0.4:
            feed = history.random.choice(["orders", "browse", "order_lines"])
            take_away(shop, feed, history.random.choice([202601, 202602]), f"taken-{day}")
        shop.run()
    tables = (TABLE, *BEFORE_FLAGS)
    grown = {table: contents(shop, table) for table in tables}
    for table in tables:
        shutil.rmtree(shop.lake.path(table))
    shop.runs += 1
    shop.run()
    assert grown == {table: contents(shop, table) for table in tables}
