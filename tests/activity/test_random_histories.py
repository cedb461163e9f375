"""Deliveries in any order, late, corrected and of persons who turn out to be others: what grew says what is made from nothing."""

from __future__ import annotations

import os
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.activity import inputs
from lake.engine import Engine
from tests.activity.shop import Shop, assert_as_rebuilt
from tests.silver import at

HISTORIES = int(os.environ.get("HUAXIANG_HISTORIES", "4"))
"""How many are tried; the release check tries two hundred."""
DAYS, ROWS = 3, 14
FIRST = datetime(2026, 1, 25, 10)
KINDS = {"member_id": "m", "openid": "w", "device_id": "d", "cookie_id": "k"}


class History:
    """Silver rows about few persons, orders and cards, so that most of them meet."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def when(self) -> datetime:
        return at(f"{FIRST + timedelta(hours=self.random.randrange(24 * 40)):%Y-%m-%d %H:%M}")

    def who(self, prefix: str = "", most: int = 2) -> dict[str, str]:
        kinds = self.random.sample(list(KINDS), self.random.randint(1 if not prefix else 0, most))
        named = {"member_id", "openid"} if prefix else set(KINDS)
        return {f"{prefix}{k}": f"{KINDS[k]}{self.random.randrange(4)}" for k in kinds if k in named}

    def some(self, prefix: str, most: int = 4) -> str:
        return f"{prefix}{self.random.randrange(most)}"

    def row(self) -> tuple[str, dict[str, Any]]:
        feed = self.random.choice(
            ["browse", "browse", "orders", "orders", "order_lines", "refunds", "shares", "shares"]
        )
        made: dict[str, Any] = getattr(self, feed)()
        if self.random.random() < 0.5:
            made["source_time"] = self.when()
        return feed, made

    def browse(self) -> dict[str, Any]:
        return {"event_id": self.some("v", 8), "behaviour": "view", "occurred_at": self.when(), **self.who()}

    def orders(self) -> dict[str, Any]:
        placed = self.when()
        paid = placed + timedelta(hours=self.random.randrange(72)) if self.random.random() < 0.8 else None
        ended = placed + timedelta(days=4) if self.random.random() < 0.15 else None
        return {"order_id": self.some("o"), "ordered_at": placed, "paid_at": paid, "cancelled_at": ended, **self.who()}

    def order_lines(self) -> dict[str, Any]:
        line = {
            "order_id": self.some("o"),
            "line_id": self.some("l", 2),
            "ordered_at": self.when(),
            "sku_id": self.some("s"),
        }
        return {**line, "quantity": 1, "net_amount_minor": self.random.randrange(3) * 50}

    def refunds(self) -> dict[str, Any]:
        order = self.some("o") if self.random.random() < 0.8 else None
        refund = {"refund_id": self.some("r"), "order_id": order, "refunded_at": self.when()}
        return {**refund, "refund_amount_minor": 50, **(self.who() if self.random.random() < 0.5 else {})}

    def shares(self) -> dict[str, Any]:
        behaviour = self.random.choice(["share", "share_open", "register", "order"])
        share = {
            "event_id": self.some("e", 10),
            "behaviour": behaviour,
            "share_id": self.some("c"),
            "occurred_at": self.when(),
        }
        if behaviour == "order" and self.random.random() < 0.8:
            share["order_id"] = self.some("o")
        sharer = self.who("sharer_") if behaviour != "share" and self.random.random() < 0.4 else {}
        return {**share, **self.who(), **sharer}


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_a_table_that_grew_says_what_one_made_from_nothing_says(
    tmp_path: Path, embedded: Engine, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    if seed % 2:  # as where persons have so many ids that no query names them
        monkeypatch.setattr(inputs, "MOST_IDS_NAMED", 0)
    history, shop = History(seed), Shop(tmp_path / "lake", embedded)
    for day in range(DAYS):
        delivered: dict[str, list[dict[str, Any]]] = {}
        for feed, row in (history.row() for _ in range(ROWS)):
            delivered.setdefault(feed, []).append(row)
        for feed, rows in delivered.items():
            shop.write(feed, *rows, ingested=f"2026-03-{day * 3 + 10} 06:00")
        shop.run(f"2026-03-{day * 3 + 9:02}")
    assert_as_rebuilt(shop)
