"""Step ``brushing``: keep ``activity.order_flags`` current: orders held for brushing, with score and reasons (definitions.md section 9).

Only months of orders that new silver rows, or rows that went to another person, can be evidence for are judged again
and replaced. An order that is held no more leaves the table; ``activity`` takes both back to its slices. Flags are as
known now: a run with ``known_at`` leaves out rows learned later, and uses what they say of the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from features import brushing
from features.activity import bucket_of, union_all
from features.brushing import BrushingSettings
from features.identity import resolve
from features.instants import month_shifted
from features.links import business_day
from features.versions import every_version, newest_in
from lake.lake import Lake
from lake.locks import lock
from lake.publish import Audit, publish
from schemas.arrow import arrow_schema, file_schema
from schemas.behaviours import BEHAVIOURS
from schemas.contracts import contract, feeds

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lake.engine import Engine
    from project.folder import Project

TABLE = "activity.order_flags"
SEEN: dict[str, tuple[str, ...]] = {
    c.table: c.becomes.shows_visit for c in feeds() if c.becomes is not None and c.becomes.shows_visit
}
"""Feeds and their behaviours that show a visit; who comes by a card to order has seen it."""
STAMPS: dict[str, tuple[str, ...]] = {
    "orders": ("ordered_at", "paid_at"),
    "order_lines": ("ordered_at",),
    **{feed: contract(f"silver.{feed}").event_time for feed in SEEN},
}
"""Feeds whose rows are evidence, with the times that say of when. What the catalogue of products says is read as it is
when a month is judged: a product that changes its category later does not open old months again."""
EPOCH = date(1970, 1, 1)
LATEST = 47_000
"""Some day of 2098: what a source dates later opens no month."""
Days = tuple[int, int]
"""First and last day, counted from 1970."""


def run_brushing(project: Project, engine: Engine, run_id: str, audit: Audit | None = None) -> int:
    """Rows written; 0 and no new version where neither silver, identity nor ``methods/brushing.yaml`` changed.

    ``audit`` is called with the staged folder before it is published, and stops the run by raising.
    """
    lake = project.lake
    if lake.version("silver.orders") is None:
        return 0
    settings = project.method("brushing", BrushingSettings)
    said = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]
    inputs = {name: lake.version(name) for name in (*(f"silver.{feed}" for feed in STAMPS), "identity.merges")}
    with lock(lake, TABLE):
        lake.ensure(TABLE)
        noted = lake.metadata(TABLE)
        before = noted["inputs"] if noted.get("settings") == said else None
        if before is not None and lake.is_unmoved(before, inputs):
            return 0
        evidence = Evidence(project, engine, run_id, inputs, settings)
        months = sorted({f.partition["event_month"] for f in lake.files("silver.orders", inputs["silver.orders"])})
        judged = months if before is None else evidence.touched(months, before)
        read_version = lake.version(TABLE)
        folder = lake.stage(TABLE, run_id)
        if judged:
            held = evidence.scores(judged).filter(F.col("score") >= settings.threshold)
            engine.write(_rows(held), folder, contract(TABLE).partitions, contract(TABLE).key)
        if audit is not None and lake.is_filled(folder):
            audit({TABLE: folder})
        publish(
            lake,
            TABLE,
            folder,
            replace="all" if before is None else [{"event_month": m} for m in judged],
            read_version=read_version,
            run_id=run_id,
            key=f"order-flags-{run_id}",
            metadata={"inputs": inputs, "settings": said},
            even_empty=True,
        )
        return sum(f.rows for f in lake.staged(TABLE, folder))


def _rows(held: DataFrame) -> DataFrame:
    columns = {"flagged_day": F.col("paid_day")}
    return held.select(*(columns.get(name, F.col(name)).alias(name) for name in contract(TABLE).column_names))


@dataclass(frozen=True)
class Evidence:
    """What there is to judge orders by, at fixed versions of its inputs."""

    project: Project
    engine: Engine
    run_id: str
    inputs: Mapping[str, int | None]
    settings: BrushingSettings

    @property
    def lake(self) -> Lake:
        return self.project.lake

    def scores(self, months: list[int]) -> DataFrame:
        """Every paid order of the given months with its signals, score and reasons, of whatever score."""
        first, last = _first_day(months[0]), _first_day(month_shifted(months[-1], 1)) - 1
        reach, waits = self.settings.reach_days, self.settings.payment_days
        near = _months_of((first - reach - waits, last + waits))
        seen = _months_of((first - reach, last + waits))
        orders = self.keep(self.orders(near), "orders")
        visits = self.keep(self.visits(seen), "visits")
        scored = brushing.scored(orders, self.lines(near), visits, self.settings, self.keep)
        return scored.filter(F.col("event_month").isin(months))

    def keep(self, df: DataFrame, name: str) -> DataFrame:
        return self.engine.kept(df, self.lake.scratch(self.run_id) / "brushing" / name)

    # --- rows ---

    def orders(self, months: list[int]) -> DataFrame:
        """Paid orders of the months with their person, in the columns that ``features.brushing`` names."""
        zone, c = self.project.zone, contract("silver.orders")
        rows = self._silver("orders")  # first: functions need the session that this starts
        paid = (
            newest_in(rows, c, months, self.keep)
            .filter("paid_at is not null")
            .withColumn("ordered_day", business_day(F.col("ordered_at"), zone))
            .withColumn("paid_day", business_day(F.col("paid_at"), zone))
            .filter(F.unix_date("paid_day") - F.unix_date("ordered_day") <= self.settings.payment_days)
        )
        identifiers = self._identifiers()
        whose = resolve(paid, identifiers, dict(c.persons) | {"guest": str(c.guests)}, "ordered_day")
        sold = resolve(whose, identifiers, {"member": "seller_id"}, "ordered_day", into="seller_uid")
        return sold.filter("uid is not null").select(
            "order_id",
            "event_month",
            F.col("uid").cast("bigint").alias("uid"),
            F.coalesce(*(F.col(column) for column in c.persons.values())).isNotNull().alias("names_person"),
            "ordered_at",
            "paid_at",
            "paid_day",
            F.unix_date("paid_day").cast("int").alias("day_number"),
            "seller_id",
            F.col("seller_uid").cast("bigint").alias("seller_uid"),
            "channel",
            *brushing.KEYS.values(),
        )

    def lines(self, months: list[int]) -> DataFrame:
        """Lines of the months with the category that their sku was first given."""
        products = self._silver("products").filter("category is not null")
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
        lines = newest_in(self._silver("order_lines"), contract("silver.order_lines"), months, self.keep)
        return lines.select("order_id", "sku_id", "quantity", "net_amount_minor").join(category, "sku_id", "left")

    def visits(self, months: list[int]) -> DataFrame:
        """One row per person and day with a visit: uid, day_number, first_at, visit_rows."""
        return (
            union_all([self._seen(feed, months) for feed in SEEN])
            .groupBy("uid", "day_number")
            .agg(F.min("occurred_at").alias("first_at"), F.sum("counted").cast("bigint").alias("visit_rows"))
        )

    def _seen(self, feed: str, months: list[int]) -> DataFrame:
        c = contract(f"silver.{feed}")
        assert c.becomes is not None
        rows = newest_in(self._silver(feed), c, months, self.keep).withColumn("occurred_at", F.col(c.event_time[0]))
        if c.becomes.column is not None:
            rows = rows.filter(F.col(c.becomes.column).isin(list(SEEN[feed])))
        dated = rows.withColumn("seen_day", business_day(F.col("occurred_at"), self.project.zone))
        return (
            resolve(dated, self._identifiers(), dict(c.persons), "seen_day")
            .filter("uid is not null")
            .select(
                F.col("uid").cast("bigint").alias("uid"),
                F.unix_date("seen_day").cast("int").alias("day_number"),
                "occurred_at",
                # cards opened are no measure of whether the site's log has arrived
                F.lit(1 if c.becomes.on_site else 0).cast("bigint").alias("counted"),
            )
        )

    def _silver(self, feed: str) -> DataFrame:
        name = f"silver.{feed}"
        return self.engine.table(self.lake, name, self.inputs.get(name))

    def _identifiers(self) -> DataFrame:
        return self.engine.table(self.lake, "identity.identifiers")

    # --- what is touched ---

    def touched(self, months: Iterable[int], before: Mapping[str, int | None]) -> list[int]:
        """Of ``months`` those with orders that rows new or gone since ``before`` can be evidence for."""
        found: set[int] = set()
        for first, last in [*self._days_of_rows(before), *self._days_of_moves(before.get("identity.merges"))]:
            waits = self.settings.payment_days
            found.update(_months_of((first - waits, last + self.settings.reach_days)))
        return sorted(found & set(months))

    def _days_of_rows(self, before: Mapping[str, int | None]) -> list[Days]:
        """By feed and month the days of rows that came, of what they said before, and of rows taken away."""
        parts = []
        for feed, stamps in STAMPS.items():
            name = f"silver.{feed}"
            old, until = before.get(name), self.inputs[name]
            files = [*self.lake.added_since(name, old, until), *self.lake.removed_since(name, old, until)]
            data = file_schema(arrow_schema(contract(name)), ("event_month",))
            waits = self.settings.payment_days if feed == "order_lines" else 0
            months = sorted({f.partition["event_month"] for f in files})
            rows = [
                self.engine.parquet([f.path for f in files if f.partition["event_month"] == m], data) for m in months
            ]
            parts += [r.agg(*self._span(stamps, waits)) for r in rows]
            if rows:
                said = every_version(self._silver(feed), union_all(rows), contract(name))
                spans = said.groupBy("event_month").agg(*self._span(stamps, waits))
                parts.append(spans.select("first", "last"))
        return _spans(parts)

    def _span(self, stamps: tuple[str, ...], waits: int) -> list[Column]:
        days = [F.unix_date(business_day(F.col(s), self.project.zone)) for s in stamps]
        if len(days) == 1:
            days = days * 2
        return [
            F.min(F.least(*days)).cast("int").alias("first"),
            (F.max(F.greatest(*days)) + F.lit(waits)).cast("int").alias("last"),
        ]

    def _days_of_moves(self, before: int | None) -> list[Days]:
        """Days of orders that went to another person since, and of orders whose visits did, as ``activity`` has them."""
        files = self.lake.added_since("identity.merges", before)
        if not files or self.lake.version("activity.activity") is None:
            return []
        moves = self.engine.parquet([f.path for f in files], arrow_schema(contract("identity.merges")))
        moved = moves.select(F.col("old_uid").alias("uid"), "new_uid").distinct()
        both = moved.select("uid").unionByName(moved.select(F.col("new_uid").alias("uid"))).distinct()
        buckets = [r["bucket"] for r in both.select(bucket_of(F.col("uid")).alias("bucket")).distinct().collect()]
        there = self.engine.table(self.lake, "activity.activity").filter(F.col("bucket").isin(buckets))
        paid = _behaved(there.join(both, "uid"), ("pay",))
        visits = _behaved(there.join(moved, "uid").withColumn("uid", F.col("new_uid")), *SEEN.values())
        soon = (F.col("paid_number") >= F.col("day_number")) & (
            F.col("paid_number") < F.col("day_number") + self.settings.no_browse.days
        )
        theirs = paid.withColumnRenamed("day_number", "paid_number").join(visits, "uid").filter(soon)
        days = [
            paid.join(moved.select("uid").distinct(), "uid").select("day_number"),
            theirs.select(F.col("paid_number").alias("day_number")),
        ]
        day = F.col("day_number")
        # by thirty days: one span over all would take in what lies between
        spans = union_all(days).groupBy(F.floor(day / 30)).agg(F.min(day).alias("first"), F.max(day).alias("last"))
        return _spans([spans.select("first", "last")])


def _behaved(rows: DataFrame, *behaviours: Iterable[str]) -> DataFrame:
    """Days on which persons did one of the behaviours: uid, day_number."""
    codes = sorted({BEHAVIOURS[b] for several in behaviours for b in several})
    on = rows.filter(F.col("behaviour_code").isin(codes))
    return on.select("uid", F.unix_date("day").cast("int").alias("day_number")).distinct()


def _spans(parts: list[DataFrame]) -> list[Days]:
    if not parts:
        return []
    return [(r["first"], r["last"]) for r in union_all(parts).collect() if r["first"] is not None]


def _first_day(month: int) -> int:
    return (date(month // 100, month % 100, 1) - EPOCH).days


def _months_of(days: Days) -> list[int]:
    """Months (yyyymm) from the first day's to the last day's."""
    first, last = (EPOCH + timedelta(days=min(max(n, 0), LATEST)) for n in days)
    month, found = first.year * 100 + first.month, []
    while month <= last.year * 100 + last.month:
        found.append(month)
        month = month_shifted(month, 1)
    return found
