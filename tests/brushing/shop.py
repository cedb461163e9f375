"""A lake of hand-made orders and visits, and what brushing makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pyspark.sql import functions as F

from features.brushing_settings import SIGNALS, BrushingSettings
from jobs.activity.inputs import Inputs
from jobs.activity.step import ActivityReport, run_activity
from jobs.brushing.step import OrderJudge, run_brushing, versions
from jobs.identity.step import update_identity
from lake.engine import Engine
from lake.lake import Lake
from lake.sql import connect
from tests.silver import at, write_silver

M = TypeVar("M")
AS_OF = date(2026, 3, 31)


@dataclass
class Rows:
    """Orders with their line and, unless told otherwise, a view ten minutes before."""

    orders: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    browse: list[dict[str, Any]] = field(default_factory=list)

    def order(
        self,
        order_id: str,
        member: str | None,
        when: str,
        *,
        view: bool = True,
        waits: int = 60,
        unit: int = 1_000,
        sku: str = "s0",
        quantity: int = 1,
        **more: Any,
    ) -> None:
        """Paid ``waits`` seconds after ``when`` (local time)."""
        placed = at(when)
        self.orders.append(
            {
                "order_id": order_id,
                "ordered_at": placed,
                "paid_at": placed + timedelta(seconds=waits),
                "member_id": member,
                "channel": "app",
                "seller_id": f"shop-of-{order_id}",
                **more,
            }
        )
        self.lines.append(
            {
                "order_id": order_id,
                "line_id": "1",
                "ordered_at": placed,
                "sku_id": sku,
                "quantity": quantity,
                "net_amount_minor": unit * quantity,
            }
        )
        if view:
            self.view(member, placed - timedelta(minutes=10))

    def view(self, member: str | None, when: datetime | str) -> None:
        stamp = at(when) if isinstance(when, str) else when
        self.browse.append(
            {"event_id": f"e{len(self.browse)}", "behaviour": "view", "member_id": member, "occurred_at": stamp}
        )

    def crowd(self, days: range = range(1, 32), of_day: int = 2) -> None:
        """Ordinary buyers on every day, so that there is somebody to compare with."""
        for day in days:
            for i in range(of_day):
                self.order(f"crowd-{day}-{i}", f"c{day}-{i}", f"2026-03-{day:02d} 09:{10 + i}", sku="crowd")


class Shop:
    """As a project to the step: a lake, a zone and settings."""

    def __init__(self, folder: Path, engine: Engine, settings: BrushingSettings | None = None):
        self.lake = Lake(folder, "Asia/Shanghai")
        self.zone = "Asia/Shanghai"
        self.engine = engine
        self.settings = settings or BrushingSettings()
        self.runs = 0

    def method(self, _name: str, kind: type[M]) -> M:
        return self.settings if kind is BrushingSettings else kind()  # type: ignore[return-value]

    def write(self, rows: Rows, ingested: str = "2026-04-01 06:00") -> None:
        """What of the rows is there, as one delivery."""
        self.runs += 1
        for feed in ("orders", "order_lines", "browse"):
            if found := getattr(rows, "lines" if feed == "order_lines" else feed):
                write_silver(self.lake, feed, found, ingested=ingested, batch=f"b{self.runs}")

    def identify(self) -> None:
        self.runs += 1
        update_identity(self.lake, self.engine, AS_OF, f"i{self.runs}", "salt")

    def run(self) -> int:
        """Rows that the step wrote."""
        self.identify()
        return run_brushing(self, self.engine, f"r{self.runs}")  # type: ignore[arg-type]

    def activity(self) -> ActivityReport:
        return run_activity(self, self.engine, f"a{self.runs}")  # type: ignore[arg-type]

    def scores(self) -> dict[str, dict[str, Any]]:
        """Every judged order: its score and reasons."""
        self.run()
        shown = judged(self.lake, self.zone, self.engine, self.settings, f"scores-{self.runs}")
        return {r["order_id"]: r for r in shown.to_pylist()}

    def flags(self) -> dict[str, tuple[date, float, str]]:
        rows = self.ask("select order_id, flagged_day, score, reasons from activity.order_flags")
        return {order_id: (day, score, reasons) for order_id, day, score, reasons in rows}

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with connect(self.lake, None) as con:
            return con.execute(sql).fetchall()


def ring(rows: Rows, day: str, name: str = "r", members: int = 4) -> list[str]:
    """Buyers who order one after the other on one device and address, without a visit, and pay at once."""
    made = []
    for i in range(members):
        made.append(f"{name}-{i}")
        rows.order(
            f"{name}-{i}",
            f"{name}m{i}",
            f"{day} 15:{10 + i}",
            view=False,
            waits=5,
            sku="pushed",
            device_id=f"{name}-device",
            address_key=f"{name}-address",
        )
    return made


def judged(lake: Lake, zone: str, engine: Engine, settings: BrushingSettings, run_id: str) -> pa.Table:
    """Every paid order of a known person, as published, with the signals that are on, score and reasons, of whatever score."""
    scratch = lake.scratch(run_id)
    silver = Inputs(engine, lake, zone, versions(lake), {}, lambda df, name: engine.kept(df, scratch / name))
    signals = [s for s in SIGNALS if s in settings.weights()]
    shown = OrderJudge(engine, silver, settings).held(least=0).select("order_id", "score", "reasons", *signals)
    paid = engine.table(lake, "activity.paid_orders").filter("uid is not null")
    clear = {"score": F.lit(0.0), "reasons": F.lit(""), **dict.fromkeys(signals, F.lit(False))}
    rows = paid.select("order_id", "uid", "paid_day").join(shown, "order_id", "left")
    return rows.select(
        "order_id", "uid", "paid_day", *(F.coalesce(F.col(n), other).alias(n) for n, other in clear.items())
    ).toArrow()
