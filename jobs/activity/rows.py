"""Rows of ``activity`` from silver: every one, those of persons in months, those about orders, and those of new rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from features import activity as act
from features.links import Keep
from jobs.activity.inputs import ORDERED, Inputs, of_months
from schemas.behaviours import DECLARED_FEEDS
from schemas.contracts import contract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class ActivityRows:
    """Rows with sku, seller and channel still as text (``features.activity.with_codes`` numbers them)."""

    def __init__(self, silver: Inputs, keep: Keep):
        self.silver, self.keep, self.zone = silver, keep, silver.zone

    def every(self) -> DataFrame:
        """The whole table, for a lake that has none yet."""
        return self._of_months(None, None)

    def of_persons(self, persons: DataFrame, months: Sequence[int]) -> DataFrame:
        """Every row of these persons (uid, event_month) in that month; ``months`` are those that stand in it."""
        rows = self._of_months(list(months), persons)
        theirs = persons.select("uid", F.col("event_month").alias("period"))
        return rows.join(theirs, ["uid", "period"], "left_semi")

    def of_orders(self, order_ids: DataFrame) -> DataFrame:
        """Every row about these orders, of whatever feed and month."""
        silver, zone = self.silver, self.zone
        flags = silver.flags()
        orders = self.keep(silver.resolved(silver.of_orders("orders", order_ids), "orders"), "orders-of-ids")
        lines = self.keep(silver.of_orders("order_lines", order_ids), "lines-of-ids")
        refunds = self.keep(silver.of_orders("refunds", order_ids), "refunds-of-ids")
        facts = act.order_facts(orders, lines, refunds, silver.learned(order_ids), flags, zone)
        facts = self.keep(facts, "facts-of-ids")
        through = silver.of_orders("shares", order_ids).filter("behaviour = 'order'")
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

    def _of_months(self, months: list[int] | None, persons: DataFrame | None) -> DataFrame:
        silver, zone = self.silver, self.zone
        orders = self.keep(silver.resolved(silver.latest("orders", months), "orders"), "orders")
        lines = self.keep(silver.of_orders("order_lines", orders), "lines")
        refunds = self.keep(silver.latest("refunds"), "refunds")
        flags = silver.flags()
        facts = self.keep(act.order_facts(orders, lines, refunds, silver.learned(orders), flags, zone), "facts")
        shares = self.keep(silver.resolved(silver.latest("shares", months), "shares"), "shares")
        parts = [
            act.placed(facts, zone),
            act.paid_lines(facts, lines, zone),
            act.refunds_of_orders(facts, refunds, zone),
            act.refunded(silver.refund_persons(of_months(refunds, months)), flags, zone),
            act.shared(shares, zone),
            act.credited(shares, facts if months is None else self._order_days(shares, refunds), zone),
        ]
        for feed in DECLARED_FEEDS:
            theirs = None if persons is None else silver.latest_of_persons(feed, months or [], persons)
            parts.append(self._declared(silver.latest(feed) if theirs is None else theirs, feed, flags))
        return act.union_all(parts)

    def _declared(self, rows: DataFrame, feed: str, flags: DataFrame) -> DataFrame:
        return act.declared(self.silver.resolved(rows, feed), contract(f"silver.{feed}"), flags, self.zone)

    def _order_days(self, shares: DataFrame, refunds: DataFrame) -> DataFrame:
        """Payment and void days of the orders that came through shares, whatever their month."""
        ids = shares.filter("behaviour = 'order' and order_id is not null").select("order_id").distinct()
        orders = self.silver.of_orders("orders", ids).withColumn("uid", F.lit(None).cast("bigint"))
        lines = self.silver.of_orders("order_lines", ids)
        back = refunds.join(ids, "order_id")
        return act.order_facts(orders, lines, back, self.silver.learned(ids), self.silver.flags(), self.zone)

    def _no_orders(self) -> DataFrame:
        none = self.silver.engine.spark.createDataFrame([], "order_id string, uid bigint")
        days = [F.lit(None).cast("date").alias(n) for n in ("paid_day", "void_day", "void_known_day", "flagged_day")]
        return none.select("order_id", *days, F.lit(None).cast("date").alias("paid_known_day"))
