"""A lake that deliveries of hand-made silver rows come to, and what a run of identity and activity makes of it."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from jobs.activity.step import run_activity
from jobs.identity.step import update_identity
from lake.engine import Engine
from lake.lake import Lake
from lake.sql import connect
from schemas.behaviours import BEHAVIOURS
from tests.silver import at, write_silver

M = TypeVar("M")
NAMES = {number: name for name, number in BEHAVIOURS.items()}


class Shop:
    """A lake and what a run of identity and activity makes of it."""

    def __init__(self, folder: Path, engine: Engine):
        self.lake = Lake(folder, "Asia/Shanghai")
        self.zone = "Asia/Shanghai"
        self.engine = engine
        self.runs = 0
        self.settings: dict[str, dict[str, Any]] = {}

    def write(self, feed: str, *rows: dict[str, Any], ingested: str = "2026-03-31 06:00") -> None:
        write_silver(self.lake, feed, rows, ingested=ingested, batch=f"b{self.runs}")

    def method(self, name: str, kind: type[M]) -> M:
        return kind(**self.settings.get(name, {}))

    def run(self, as_of: str = "2026-03-31") -> Any:
        self.runs += 1
        update_identity(self.lake, self.engine, date.fromisoformat(as_of), f"i{self.runs}", "salt")
        return run_activity(self, self.engine, f"a{self.runs}")  # type: ignore[arg-type]

    def rows(self, *behaviours: str) -> list[dict[str, Any]]:
        with connect(self.lake, None) as con:
            cursor = con.execute("select * from activity.activity order by uid, occurred_at, behaviour_code, sku_code")
            names = [d[0] for d in cursor.description]
            found = [dict(zip(names, r, strict=True)) for r in cursor.fetchall()]
        for r in found:
            r["behaviour"] = NAMES[r["behaviour_code"]]
        return [r for r in found if not behaviours or r["behaviour"] in behaviours]

    def uid(self, kind: str, value: str) -> int:
        with connect(self.lake, None) as con:
            return con.execute(
                "select max(uid) from identity.identifiers where id_kind = ? and id_value = ?", [kind, value]
            ).fetchall()[0][0]


def order(order_id: str = "o1", **more: Any) -> dict[str, Any]:
    return {"order_id": order_id, "ordered_at": at("2026-03-05 23:50"), "member_id": "m1", **more}


def line(order_id: str = "o1", line_id: str = "1", net: int = 100, **more: Any) -> dict[str, Any]:
    row = {"order_id": order_id, "line_id": line_id, "ordered_at": at("2026-03-05 23:50"), "sku_id": "s1"}
    return {**row, "quantity": 1, "net_amount_minor": net, **more}


def counted(shop: Shop) -> list[dict[str, Any]]:
    """Rows of the people there are, in one order."""
    with connect(shop.lake, None) as con:
        retired = con.execute("select uid from identity.users where merged_into_uid is not null").fetchall()
    gone = {uid for (uid,) in retired}
    return sorted((r for r in shop.rows() if r["uid"] not in gone), key=repr)


def assert_as_rebuilt(shop: Shop) -> None:
    """The table that grew with the deliveries says what one says that is made from nothing now."""
    grown = counted(shop)
    shutil.rmtree(shop.lake.path("activity.activity"))
    run_activity(shop, shop.engine, "anew")  # type: ignore[arg-type]
    assert grown == counted(shop)
