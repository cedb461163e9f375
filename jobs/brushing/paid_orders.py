"""Rows of ``activity.paid_orders``: every paid order that brushing judges, or those that new rows and moved ids change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from features.activity import union_all
from features.brushing import visited
from features.brushing_settings import BrushingSettings
from features.links import business_day, number_of
from features.versions import MARKS, as_known
from jobs.activity.inputs import Inputs
from jobs.brushing.visits import Visits
from schemas.arrow import arrow_schema
from schemas.contracts import Contract, contract

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

TABLE = "activity.paid_orders"
MERGES = "identity.merges"
HASHED = {"device_hash": "device_id", "address_hash": "address_key", "ip_hash": "ip_key"}


@dataclass(frozen=True)
class Reached:
    """What is made anew: ``gone`` (order_id) leave the table, ``rows`` come to it."""

    gone: DataFrame
    rows: DataFrame


class PaidOrders:
    """Rows as ``silver`` says now; ``settings`` say until when a payment counts and how far back a visit does."""

    def __init__(self, silver: Inputs, visits: Visits, settings: BrushingSettings):
        self.silver, self.visits, self.settings = silver, visits, settings
        self.keep = silver.keep

    def every(self) -> DataFrame:
        orders = self.keep(self._of(self.silver.latest("orders")), "orders")
        return self._marked(orders, self.visits.every())

    def reached(self, there: DataFrame) -> Reached:
        """What is otherwise than in ``there``, the table as it was last made.

        Orders with a new version, those of persons to or from whom an id went, those whose buyer was not known; and of
        buyers of whom a visit came or went, the orders that it is evidence for.
        """
        remade = self.keep(self._remade(there), "remade")
        c = contract("silver.orders")
        versions = self.silver.every_version("orders").select(*_read_of(c))
        newest = as_known(self.keep(versions.join(remade, "order_id", "left_semi"), "orders-of-remade"), c)
        orders = self._of(newest)
        visited_anew = there.join(remade, "order_id", "left_anti").join(self._hit(there), "order_id", "left_semi")
        asked = self.keep(orders.unionByName(visited_anew.select(*orders.columns)), "asked-for-visits")
        gone = remade.unionByName(asked.select("order_id")).distinct()
        visits = self.visits.of(asked.filter(_can_be_seen()).select("uid"), self._months_before(asked))
        return Reached(self.keep(gone, "gone"), self.keep(self._marked(asked, visits), "rows"))

    def _remade(self, there: DataFrame) -> DataFrame:
        parts = [there.filter("uid is null").select("order_id")]
        changed = self.silver.changed("orders")
        if changed is not None:
            parts.append(changed.select("order_id"))
        moved = self._moved()
        if moved is not None:
            parts.append(there.join(moved, "uid", "left_semi").select("order_id"))
        return union_all(parts).distinct()

    def _moved(self) -> DataFrame | None:
        """Persons from or to whom an id went: uid."""
        silver = self.silver
        files = silver.lake.added_since(MERGES, silver.before[MERGES], silver.versions[MERGES])
        if not files:
            return None
        moves = silver.engine.parquet([f.path for f in files], arrow_schema(contract(MERGES)))
        sides = [moves.select(F.col(side).alias("uid")) for side in ("old_uid", "new_uid")]
        return union_all(sides).distinct()

    def _hit(self, there: DataFrame) -> DataFrame:
        """Orders that a changed visit may be evidence for: order_id."""
        touched = self.keep(self.visits.touched(), "touched")
        day = F.unix_date("paid_day")
        near = (day >= F.col("visit_day")) & (day < F.col("visit_day") + self.settings.no_browse.days)
        hit = there.select("order_id", "uid", "paid_day").join(touched, "uid").filter(near)
        return self.keep(hit.select("order_id").distinct(), "hit")

    def _months_before(self, orders: DataFrame) -> list[int]:
        """Months in which visits before these orders lie: that of the payment, and of the first day that counts."""
        first = F.date_sub("paid_day", self.settings.no_browse.days - 1)
        months = [
            orders.select((F.year(day) * 100 + F.month(day)).cast("int").alias("month"))
            for day in (first, F.col("paid_day"))
        ]
        return sorted(r["month"] for r in union_all(months).distinct().collect())

    def _of(self, rows: DataFrame) -> DataFrame:
        """Paid orders with their buyer, of whom nothing is known yet of visits."""
        c, zone = contract("silver.orders"), self.silver.zone
        paid = (
            rows.filter("paid_at is not null")
            .withColumn("paid_day", business_day(F.col("paid_at"), zone))
            .withColumn("ordered_day", business_day(F.col("ordered_at"), zone))
            .filter(F.unix_date("paid_day") - F.unix_date("ordered_day") <= self.settings.payment_days)
        )
        return self.silver.acting(paid, "orders").select(
            "order_id",
            "event_month",
            F.col("uid").cast("bigint").alias("uid"),
            F.coalesce(*(F.col(column) for column in c.persons.values())).isNotNull().alias("names_person"),
            "ordered_at",
            "paid_at",
            "paid_day",
            "seller_id",
            "channel",
            *(_hash_of(column).alias(name) for name, column in HASHED.items()),
        )

    def _marked(self, orders: DataFrame, visits: DataFrame) -> DataFrame:
        """The orders with ``is_visited``."""
        asked = orders.filter(_can_be_seen()).withColumn("day_number", F.unix_date("paid_day"))
        seen = visited(asked, visits, self.settings.no_browse.days).withColumn("is_visited", F.lit(True))
        marked = orders.join(seen, "order_id", "left")
        return marked.select(*orders.columns, F.coalesce("is_visited", F.lit(False)).alias("is_visited"))


def _can_be_seen() -> Column:
    return F.col("names_person") & F.col("uid").isNotNull()


def _read_of(c: Contract) -> list[str]:
    """What is read of orders: which version it is, who, when, from whom and by which keys."""
    version = (*c.key, *MARKS, "source_time", "event_month")
    about = (*c.event_time, "paid_at", *c.persons.values(), "seller_id", "channel", *HASHED.values())
    return list(dict.fromkeys((*version, *about)))


def _hash_of(column: str) -> Column:
    return F.when(F.col(column).isNotNull(), number_of(column))
