"""Step ``brushing``: keep ``activity.order_flags`` current: orders held for brushing, with score and reasons (definitions.md section 9).

What is dear to find of an order, its buyer and whether a visit came before, stands in ``activity.paid_orders`` and is found
again only for orders in reach of what changed. From there every order is judged, on few columns: sums of a seller, a
channel or the log may tip for orders of strangers. An order that is held no more leaves the table; ``activity`` takes both
back to its slices. Flags are as known now: a run with ``known_at`` leaves out rows learned later, and uses what they say of
the others. ``order_flags`` is published last: its note says which versions belong together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from features import brushing
from features.brushing_settings import BrushingSettings
from features.identity import resolve
from features.links import business_day
from jobs.activity.inputs import Inputs
from jobs.brushing.paid_orders import TABLE as PAID
from jobs.brushing.paid_orders import PaidOrders
from jobs.brushing.visits import SEEN, Visits
from lake.locks import lock
from lake.publish import Audit, Slices, publish, put_back
from schemas.contracts import contract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.engine import Engine
    from lake.lake import Lake
    from project.folder import Project

TABLE, DAYS = "activity.order_flags", "activity.visit_days"
BEFORE_FLAGS = (PAID, DAYS)
SOURCES = (
    *(f"silver.{feed}" for feed in ("orders", "order_lines", "products", *SEEN)),
    "identity.identifiers",
    "identity.merges",
)


def run_brushing(project: Project, engine: Engine, run_id: str, audit: Audit | None = None) -> int:
    """Orders written; 0 and no new version where neither silver, identity nor ``methods/brushing.yaml`` changed.

    ``audit`` is called with the staged folder of each table before it is published, and stops the run by raising.
    """
    lake = project.lake
    if lake.version("silver.orders") is None:
        return 0
    settings = project.method("brushing", BrushingSettings)
    made_as = _made_as(settings)
    with lock(lake, TABLE, *BEFORE_FLAGS):
        for table in (TABLE, *BEFORE_FLAGS):
            lake.ensure(table)
        noted = lake.metadata(TABLE)
        is_kept = noted.get("made_as") == made_as
        before = noted["inputs"] if is_kept else {}
        if is_kept:
            for table in BEFORE_FLAGS:  # what a killed run published
                put_back(lake, table, noted["tables"][table])
        inputs = versions(lake)
        if is_kept and lake.is_unmoved(before, inputs):
            return 0
        step = _Step(project, engine, run_id, inputs, before, settings, audit)
        return step.run(made_as, noted.get("corrected", ()) if is_kept else ())


def versions(lake: Lake) -> dict[str, int | None]:
    """The newest of everything that orders are judged by."""
    return {name: lake.version(name) for name in SOURCES}


def _made_as(settings: BrushingSettings) -> str:
    """What rows of the three tables depend on beside their sources."""
    said = [settings.model_dump_json(), *contract(PAID).column_names]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


class _Step:
    """One run over fixed versions; ``before`` are those of the run before, empty where all is made anew."""

    def __init__(
        self,
        project: Project,
        engine: Engine,
        run_id: str,
        inputs: Mapping[str, int | None],
        before: Mapping[str, int | None],
        settings: BrushingSettings,
        audit: Audit | None,
    ):
        self.lake, self.engine, self.run_id, self.audit = project.lake, engine, run_id, audit
        self.inputs, self.before, self.settings = inputs, before, settings
        self.scratch = self.lake.scratch(run_id) / "brushing"
        self.silver = Inputs(engine, self.lake, project.zone, inputs, before, self._kept)

    def run(self, made_as: str, corrected: Collection[str]) -> int:
        visits = Visits(self.silver, corrected)
        self._bring_orders(PaidOrders(self.silver, visits, self.settings))
        self._bring_days(visits)
        held = self._kept(
            _rows(OrderJudge(self.engine, self.silver, self.settings).held(self.settings.threshold)), "held"
        )
        months = self._changed_months(held)
        folder = self.lake.stage(TABLE, self.run_id)
        if months:
            wanted = held.filter(F.col("event_month").isin(months))
            self.engine.write(wanted, folder, contract(TABLE).partitions, contract(TABLE).key)
        note = {
            "inputs": self.inputs,
            "made_as": made_as,
            "corrected": visits.corrected,
            "tables": {table: self.lake.version(table) for table in BEFORE_FLAGS},
        }
        self._publish(TABLE, folder, [{"event_month": m} for m in months], note)
        return sum(f.rows for f in self.lake.staged(TABLE, folder))

    def _bring_orders(self, paid: PaidOrders) -> None:
        """Months of ``paid_orders`` in which an order changed, or all."""
        folder, c = self.lake.stage(PAID, self.run_id), contract(PAID)
        if not self.before:
            self.engine.write(paid.every(), folder, c.partitions)
            self._publish(PAID, folder, "all")
            return
        there = self.engine.table(self.lake, PAID)
        reached = paid.reached(there)
        gone = there.join(reached.gone, "order_id", "left_semi").select("event_month")
        touched = gone.unionByName(reached.rows.select("event_month")).distinct().collect()
        months = sorted(r["event_month"] for r in touched)
        if months:
            same = there.filter(F.col("event_month").isin(months)).join(reached.gone, "order_id", "left_anti")
            rows = same.select(*c.column_names).unionByName(reached.rows.select(*c.column_names))
            self.engine.write(rows, folder, c.partitions)
        self._publish(PAID, folder, [{"event_month": m} for m in months])

    def _bring_days(self, visits: Visits) -> None:
        folder = self.lake.stage(DAYS, self.run_id)
        there = self.engine.table(self.lake, DAYS)
        days = visits.days_since(there) if self.before else visits.every_day()
        self.engine.write(days.select(*contract(DAYS).column_names), folder, (), contract(DAYS).key)
        self._publish(DAYS, folder, "all")

    def _changed_months(self, held: DataFrame) -> list[int]:
        """Months with an order that is held now and was not, no more, or otherwise."""
        was = self.engine.table(self.lake, TABLE).select(*held.columns)
        differs = held.exceptAll(was).unionByName(was.exceptAll(held))
        return sorted(r["event_month"] for r in differs.select("event_month").distinct().collect())

    def _publish(self, table: str, folder: Path, replace: Slices, note: Mapping[str, Any] | None = None) -> None:
        if self.audit is not None and self.lake.is_filled(folder):
            self.audit({table: folder})
        version = self.lake.version(table)
        publish(
            self.lake,
            table,
            [f for f in self.lake.staged(table, folder) if f.rows],
            replace=replace,
            read_version=version,
            run_id=self.run_id,
            # The version is part of the key: after an undone publication the same run must publish again.
            key=f"brushing-{self.run_id}-{version}",
            metadata=note,
            even_empty=note is not None,
        )

    def _kept(self, df: DataFrame, name: str) -> DataFrame:
        return self.engine.kept(df, self.scratch / name)


def _rows(held: DataFrame) -> DataFrame:
    columns = {"flagged_day": F.col("paid_day")}
    return held.select(*(columns.get(name, F.col(name)).alias(name) for name in contract(TABLE).column_names))


@dataclass(frozen=True)
class OrderJudge:
    """Orders of ``paid_orders`` as published, judged by what silver says of their lines and sellers."""

    engine: Engine
    silver: Inputs
    settings: BrushingSettings

    def held(self, least: float) -> DataFrame:
        """Orders with a signal and a score of ``least`` or more (``features.brushing.held``)."""
        lake = self.silver.lake
        orders = self.engine.table(lake, PAID).filter("uid is not null")
        orders = orders.withColumn("day_number", F.unix_date("paid_day").cast("int"))
        days = self.engine.table(lake, DAYS)
        volumes = days.select(F.unix_date("day").cast("int").alias("day_number"), "visit_rows")
        return brushing.held(orders, self.lines, self.sellers(orders), volumes, self.settings, self.silver.keep, least)

    def sellers(self, orders: DataFrame) -> DataFrame:
        """Orders whose seller is a person on the day of the order: order_id, seller_uid."""
        sold = orders.filter("seller_id is not null").withColumn(
            "ordered_day", business_day(F.col("ordered_at"), self.silver.zone)
        )
        asked = self.silver.keep(sold.select(F.col("seller_id").alias("id_value")).distinct(), "sellers")
        members = self.silver.identifiers.filter("id_kind = 'member'").join(asked, "id_value", "left_semi")
        known = self.silver.keep(members, "sellers-who-are-persons")
        found = resolve(sold, known, {"member": "seller_id"}, "ordered_day", into="seller_uid")
        return found.filter("seller_uid is not null").select(
            "order_id", F.col("seller_uid").cast("bigint").alias("seller_uid")
        )

    def lines(self) -> DataFrame:
        """Lines with the category that their sku was first given."""
        products = self.silver.table("silver.products").filter("category is not null")
        first = (
            products.groupBy("sku_id")
            .agg(F.min(F.coalesce("source_time", "_ingested_at")).alias("since"))
            .withColumnRenamed("sku_id", "first_sku")
        )
        known = products.join(
            first,
            (F.col("sku_id") == F.col("first_sku")) & (F.coalesce("source_time", "_ingested_at") == F.col("since")),
        )
        category = known.groupBy("sku_id").agg(F.min("category").alias("category"))
        lines = self.silver.latest("order_lines")
        return lines.select("order_id", "sku_id", "quantity", "net_amount_minor").join(category, "sku_id", "left")
