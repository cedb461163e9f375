"""Rows of ``activity`` from silver: every one, those of persons in months, those about orders, and those of new rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from features import activity as act
from features.order_ways import Way
from jobs.activity.inputs import ORDERED, Inputs
from schemas.behaviours import DECLARED_FEEDS
from schemas.contracts import contract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class ActivityRows:
    """Rows with sku, seller and channel still as text (``features.activity.with_codes`` numbers them)."""

    def __init__(self, silver: Inputs, ways: Sequence[Way]):
        self.silver, self.keep, self.zone, self.ways = silver, silver.keep, silver.zone, ways

    def every(self) -> DataFrame:
        """The whole table, for a lake that has none yet."""
        silver = self.silver
        orders = self.keep(silver.resolved(silver.latest("orders"), "orders"), "orders")
        refunds = self.keep(silver.latest("refunds"), "refunds")
        shares = self.keep(silver.resolved(silver.latest("shares"), "shares", are_all=True), "shares")
        return self._of(orders, refunds, refunds, shares, None, {feed: silver.latest(feed) for feed in DECLARED_FEEDS})

    def of_persons(self, persons: DataFrame, months: Sequence[int]) -> DataFrame:
        """Every row of these persons (uid, event_month) in that month; ``months`` are those that stand in it."""
        silver, asked = self.silver, list(months)
        ids = silver.ids_of(persons, "ids-of-persons")
        orders = self.keep(silver.resolved(silver.latest_of_persons("orders", asked, ids), "orders"), "orders")
        refunds = self.keep(silver.refunds_of_persons(ids), "refunds")
        shares = self.keep(silver.resolved(silver.latest_of_persons("shares", asked, ids), "shares"), "shares")
        declared = {feed: silver.latest_of_persons(feed, asked, ids) for feed in DECLARED_FEEDS}
        cash = refunds.filter(F.col("event_month").isin(asked))
        rows = self._of(orders, refunds, cash, shares, self._order_days(shares), declared)
        theirs = persons.select("uid", F.col("event_month").alias("period"))
        return rows.join(theirs, ["uid", "period"], "left_semi")

    def of_orders(self, order_ids: DataFrame) -> DataFrame:
        """Every row about these orders, of whatever feed and month."""
        silver, zone = self.silver, self.zone
        flags = silver.flags()
        orders = self.keep(silver.resolved(silver.of_orders("orders", order_ids), "orders"), "orders-of-ids")
        lines = self.keep(silver.of_orders("order_lines", order_ids), "lines-of-ids")
        refunds = self.keep(silver.of_orders("refunds", order_ids), "refunds-of-ids")
        facts = act.order_facts(orders, lines, refunds, silver.learned(order_ids), flags, zone, self.ways)
        facts = self.keep(facts, "facts-of-ids")
        through = self.keep(silver.of_orders("shares", order_ids).filter("behaviour = 'order'"), "through-of-ids")
        parts = [
            act.placed(facts, zone),
            act.paid_lines(facts, lines, zone),
            act.refunds_of_orders(facts, refunds, zone),
            act.refunded(silver.refund_persons(refunds), flags, zone),
            act.credited(silver.resolved(through, "shares"), facts, zone),
        ]
        for feed in DECLARED_FEEDS:
            if feed in ORDERED:
                parts.append(self._declared(silver.of_orders(feed, order_ids), feed, flags))
        return act.union_all(parts)

    def of_new(self, plain: Mapping[str, DataFrame]) -> DataFrame | None:
        """What new silver rows (by feed) become that are about no order; None where there are none."""
        flags, parts = self.silver.flags(), []
        for feed, rows in plain.items():
            if feed == "shares":
                shares = self.keep(self.silver.resolved(rows, feed), "new-shares")
                alone = shares.filter("behaviour <> 'order' or order_id is null")
                parts += [act.shared(shares, self.zone), act.credited(alone, self._no_orders(), self.zone)]
                continue
            if (column := ORDERED.get(feed)) is not None:
                rows = rows.filter(F.col(column).isNull())
            parts.append(self._declared(rows, feed, flags))
        return act.union_all(parts) if parts else None

    def _of(
        self,
        orders: DataFrame,
        refunds: DataFrame,
        cash: DataFrame,
        shares: DataFrame,
        order_days: DataFrame | None,
        declared: Mapping[str, DataFrame],
    ) -> DataFrame:
        """Rows of every kind. ``refunds`` are all of the orders, ``cash`` those that give rows of their own, and
        ``order_days`` the days of orders that came through shares, where ``orders`` are not all."""
        silver, zone, flags = self.silver, self.zone, self.silver.flags()
        lines = self.keep(silver.of_orders("order_lines", orders, are_few=order_days is not None), "lines")
        facts = act.order_facts(orders, lines, refunds, silver.learned(orders), flags, zone, self.ways)
        facts = self.keep(facts, "facts")
        return act.union_all(
            [
                act.placed(facts, zone),
                act.paid_lines(facts, lines, zone),
                act.refunds_of_orders(facts, refunds, zone),
                act.refunded(silver.refund_persons(cash), flags, zone),
                act.shared(shares, zone),
                act.credited(shares, facts if order_days is None else order_days, zone),
                *(self._declared(rows, feed, flags) for feed, rows in declared.items()),
            ]
        )

    def _declared(self, rows: DataFrame, feed: str, flags: DataFrame) -> DataFrame:
        return act.declared(self.silver.resolved(rows, feed), contract(f"silver.{feed}"), flags, self.zone)

    def _order_days(self, shares: DataFrame) -> DataFrame:
        """Payment and void days of the orders that came through shares, whatever their month."""
        ids = self.silver.few(
            shares.filter("behaviour = 'order' and order_id is not null").select("order_id").distinct()
        )
        orders = self.silver.of_orders("orders", ids).withColumn("uid", F.lit(None).cast("bigint"))
        lines, back = self.silver.of_orders("order_lines", ids), self.silver.of_orders("refunds", ids)
        known, flags = self.silver.learned(ids), self.silver.flags()
        return act.order_facts(orders, lines, back, known, flags, self.zone, self.ways)

    def _no_orders(self) -> DataFrame:
        none = self.silver.engine.spark.createDataFrame([], "order_id string, uid bigint")
        days = [F.lit(None).cast("date").alias(n) for n in ("paid_day", "void_day", "void_known_day", "flagged_day")]
        return none.select("order_id", *days, F.lit(None).cast("date").alias("paid_known_day"))
