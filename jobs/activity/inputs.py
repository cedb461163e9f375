"""What the step ``activity`` reads: silver at fixed versions, what came since the last run, and whose every row is."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from features import activity as act
from features.identity import resolve
from features.links import ID_KINDS, Keep, business_day, coded_pair, id_text
from features.versions import MARKS, as_known, every_version
from lake.engine import Engine
from lake.lake import Lake
from schemas.arrow import arrow_schema, file_schema
from schemas.behaviours import DECLARED_FEEDS
from schemas.contracts import contract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TABLE = "activity.activity"
FLAGS = "activity.order_flags"
ORDERED: Mapping[str, str] = {
    "orders": "order_id",
    "order_lines": "order_id",
    "refunds": "order_id",
    "shares": "order_id",
    **{
        feed: becomes.order
        for feed in DECLARED_FEEDS
        if (becomes := contract(f"silver.{feed}").becomes) is not None and becomes.order is not None
    },
}
"""Feeds whose rows say of which order they are, and the column that does."""
CARDS = "behaviour = 'share' and share_id is not null"
"""Rows of ``silver.shares`` that say whose card a ``share_id`` is."""


MOST_IDS_NAMED = 2_000
"""FewIds that a query names one by one: one look at a log instead of two for each column with ids, and twice as quick."""


@dataclass(frozen=True)
class FewIds:
    """FewIds of few persons (``_id``, coded), kept: an engine that does not know how few they are would put the whole log
    into memory to look for them. ``named`` are the same by kind, where they are so few that a query can name them."""

    frame: DataFrame
    named: Mapping[str, list[str]] | None


@dataclass(frozen=True)
class Inputs:
    """Tables at ``versions``, read lazily; ``before`` are the versions that the table was last made from.

    ``keep`` writes a frame to the run's scratch folder once; its name there must be its own.
    """

    engine: Engine
    lake: Lake
    zone: str
    versions: Mapping[str, int | None]
    before: Mapping[str, int | None]
    keep: Keep

    def table(self, name: str) -> DataFrame:
        return self.engine.table(self.lake, name, self.versions[name])

    @cached_property
    def identifiers(self) -> DataFrame:
        return self.table("identity.identifiers")

    def flags(self) -> DataFrame:
        return self.table(FLAGS).select("order_id", "flagged_day")

    def latest(self, feed: str) -> DataFrame:
        """The newest version of every silver row of a feed."""
        return as_known(self.every_version(feed), contract(f"silver.{feed}"), keep=self.keep)

    def every_version(self, feed: str) -> DataFrame:
        return self.table(f"silver.{feed}")

    def earlier(self, feed: str) -> DataFrame:
        """Every silver row of a feed as it was when the table was last made."""
        table = f"silver.{feed}"
        if (before := self.before.get(table)) is None:
            return self.engine.empty(arrow_schema(contract(table)))
        return self.engine.table(self.lake, table, before)

    def ids_of(self, persons: DataFrame, name: str) -> FewIds:
        """Every id that is, or was on some day, one of these persons' (uid)."""
        known = self.identifiers.join(persons.select("uid"), "uid", "left_semi")
        coded = known.select(coded_pair(F.col("id_kind"), F.col("id_value")).alias("_id"))
        ids = self.keep(coded.distinct(), name)
        few = [row["_id"] for row in ids.limit(MOST_IDS_NAMED + 1).collect()]
        named: dict[str, list[str]] = {}
        for one in few if len(few) <= MOST_IDS_NAMED else ():
            named.setdefault(ID_KINDS[int(one[0])], []).append(one[1:])
        return FewIds(ids, named if len(few) <= MOST_IDS_NAMED else None)

    def carrying(self, rows: DataFrame, feed: str, ids: FewIds, name: str) -> DataFrame:
        """Rows of a feed with one of these ids, of who acted or of the other person."""
        c = contract(f"silver.{feed}")
        kinds = [*c.persons.items(), *c.peers.items(), *([("guest", c.guests)] if c.guests else [])]
        if ids.named is not None:
            theirs = (F.col(column).isin(ids.named[kind]) for kind, column in kinds if kind in ids.named)
            return rows.filter(reduce(operator.or_, theirs, F.lit(False)))
        marks = (*c.key, *MARKS)
        found = [
            rows.select(*marks, id_text(kind, F.col(column)).alias("_id"))
            .join(ids.frame, "_id", "left_semi")
            .select(*marks)
            for kind, column in kinds
        ]
        return rows.join(self.keep(act.union_all(found).distinct(), f"{feed}-{name}"), [*marks], "left_semi")

    def latest_of_persons(self, feed: str, months: list[int], ids: FewIds) -> DataFrame:
        """``latest`` rows of the months that the persons of these ids may have a row of: with an id, or a card, of theirs."""
        rows = self.every_version(feed).filter(F.col("event_month").isin(months))
        theirs = self.carrying(rows, feed, ids, "marks")
        if feed == "shares":
            cards = (
                self.carrying(self.every_version(feed).filter(CARDS), feed, ids, "cards-marks")
                .select("share_id")
                .distinct()
            )
            through = rows.join(self.keep(cards, "cards-of-persons"), "share_id", "left_semi")
            theirs = theirs.unionByName(through).distinct()
        return self.newest(self.keep(theirs, f"{feed}-of-persons"), feed)

    def newest(self, rows: DataFrame, feed: str) -> DataFrame:
        """Those of few rows that are the newest version of what they are about: of all others only the keys are read."""
        c = contract(f"silver.{feed}")
        versions = self.every_version(feed).select(*c.key, "source_time", *MARKS)
        newest = as_known(self.few(every_version(versions, rows, c)), c).select(*c.key, *MARKS)
        return rows.join(newest, [*c.key, *MARKS], "left_semi")

    def refunds_of_persons(self, ids: FewIds) -> DataFrame:
        """The newest versions of refunds of orders, or of their own, with one of these ids."""
        refunds = self.latest("refunds")
        orders = self.keep(
            self.carrying(self.every_version("orders"), "orders", ids, "of-any-month").select("order_id"),
            "their-orders",
        )
        others = refunds.join(orders, "order_id", "left_anti")
        return refunds.join(orders, "order_id", "left_semi").unionByName(self.carrying(others, "refunds", ids, "marks"))

    def of_orders(self, feed: str, order_ids: DataFrame, *, are_few: bool = True) -> DataFrame:
        """The newest versions of silver rows that a feed says are about these orders."""
        few = self.few if are_few else _as_it_is
        c, column = contract(f"silver.{feed}"), ORDERED[feed]
        ids = order_ids.select(F.col("order_id").alias(column))
        every = self.every_version(feed)
        rows = few(every.join(ids, column, "left_semi"))
        if column in c.key:
            return as_known(rows, c)
        return as_known(few(every_version(every, rows, c)), c).join(ids, column, "left_semi")

    def learned(self, order_ids: DataFrame) -> DataFrame:
        """When the orders were learned of, from their versions of any month."""
        return act.learned(self.every_version("orders").join(order_ids.select("order_id"), "order_id", "left_semi"))

    def few(self, df: DataFrame) -> DataFrame:
        """Few rows of a log, kept: which version of them counts would be looked for in all of it, several times."""
        return self.keep(df, f"few-{uuid.uuid4().hex[:12]}")

    def versions_of(self, rows: DataFrame, feed: str) -> DataFrame:
        """``rows`` of a feed and every version that there is of what they are about."""
        return rows.unionByName(every_version(self.every_version(feed), rows, contract(f"silver.{feed}")))

    def changed(self, feed: str) -> DataFrame | None:
        """Silver rows that came since the table was last made, and those that a replaced delivery took away."""
        table = f"silver.{feed}"
        before, until = self.before.get(table), self.versions[table]
        files = [*self.lake.added_since(table, before, until), *self.lake.removed_since(table, before, until)]
        if not files:
            return None
        data = file_schema(arrow_schema(contract(table)), ("event_month",))
        months = sorted({f.partition["event_month"] for f in files})
        parts = []
        for month in months:
            paths = [f.path for f in files if f.partition["event_month"] == month]
            frame = self.engine.parquet(paths, data)
            parts.append(frame.withColumn("event_month", F.lit(month).cast("int")))
        return act.union_all(parts)

    # --- persons ---

    def acting(self, rows: DataFrame, feed: str) -> DataFrame:
        """Rows with ``uid`` of the acting person on the row's business day, ``resolve_day``."""
        c = contract(f"silver.{feed}")
        dated = rows.withColumn("resolve_day", business_day(F.col(c.event_time[0]), self.zone))
        kinds = dict(c.persons) | ({"guest": c.guests} if c.guests else {})
        return resolve(dated, self.identifiers, kinds, "resolve_day")

    def resolved(self, rows: DataFrame, feed: str, *, are_all: bool = False) -> DataFrame:
        """``acting``, and where a feed has it ``peer_uid`` of the other person on that day.

        Where ``rows`` ``are_all`` of the feed, the owners of every card are looked up at once.
        """
        peers = contract(f"silver.{feed}").peers
        found = self.acting(rows, feed)
        if peers:
            found = resolve(found, self.identifiers, dict(peers), "resolve_day", into="peer_uid")
        return self._sharers(found, None if are_all else rows) if feed == "shares" else found

    def owners(self, cards: DataFrame | None = None) -> DataFrame:
        """Whoever shared a card: share_id, uid, once for every time that it was shared. ``cards`` are those asked for."""
        if cards is None:
            shared = self.latest("shares").filter(CARDS)
        else:
            rows = self.every_version("shares").filter(CARDS)
            shared = self.newest(self.few(rows.join(cards.select("share_id"), "share_id", "left_semi")), "shares")
        return self.acting(shared, "shares").select("share_id", "uid")

    def _sharers(self, shares: DataFrame, rows: DataFrame | None) -> DataFrame:
        """Where a row names no sharer, the one who shared that card; a share itself has none.

        ``rows`` are those of which ``shares`` were made, where they are few.
        """
        cards = None if rows is None else self.few(rows.select("share_id").distinct())
        owners = self.owners(cards).groupBy("share_id").agg(F.min("uid").alias("owner_uid"))
        peer = F.when(F.col("behaviour") != "share", F.coalesce(F.col("peer_uid"), F.col("owner_uid")))
        return shares.join(owners, "share_id", "left").withColumn("peer_uid", peer).drop("owner_uid")

    def refund_persons(self, refunds: DataFrame) -> DataFrame:
        """Refunds with the person of their order, or else of their own ids."""
        own = self.acting(refunds, "refunds").withColumnRenamed("uid", "own_uid")
        orders = self.acting(self.of_orders("orders", refunds), "orders").select(
            F.col("order_id"), F.col("uid").alias("order_uid")
        )
        return own.join(orders, "order_id", "left").withColumn("uid", F.coalesce("order_uid", "own_uid"))


def _as_it_is(df: DataFrame) -> DataFrame:
    return df
