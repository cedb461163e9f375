"""Which slices of ``activity`` a run must rebuild, so that the table says what one made from nothing would say.

Everything that a row is made from can come, change or go later than the row: an order's lines, refunds and flag, a
refund's order, an open's card, and who anyone of them is.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from features import activity as act
from jobs.activity.inputs import CARDS, FLAGS, TABLE, Inputs
from schemas.arrow import arrow_schema, file_schema
from schemas.behaviours import ACTIVE_FEEDS, DECLARED_FEEDS
from schemas.contracts import contract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MAX_FILES_OF_A_SLICE = 8
"""More files than this in one slice cost the kernel more than rebuilding it does."""
MERGES = "identity.merges"
WHO_AND_WHEN = ("uid", "event_month")


class Slices:
    """The slices that a table made from ``inputs.before`` has otherwise than one made from ``inputs.versions``."""

    def __init__(self, inputs: Inputs):
        self.inputs, self.engine, self.lake = inputs, inputs.engine, inputs.lake

    def touched(self) -> set[tuple[int, int]]:
        """(bucket, period) of new rows and of what hangs on them, of persons that ids were cut off from, of peers."""
        frames = []
        orders_of = []
        changed = {feed: self.inputs.changed(feed) for feed in ACTIVE_FEEDS}
        for feed, added in changed.items():
            if added is None:
                continue
            if feed in ("orders", "order_lines", "refunds"):
                orders_of.append(added.select("order_id").filter("order_id is not null"))
            if feed not in ("order_lines", "refunds"):
                versions = self.inputs.versions_of(added, feed)
                frames.append(self._persons(versions, feed))
            if feed == "shares":
                frames.append(self._of_cards(versions.filter(CARDS).select("share_id"), added))
        frames += self._of_refunds(changed["refunds"], changed["orders"])
        if (reflagged := self._reflagged()) is not None:
            orders_of.append(reflagged)
            refunds = self.inputs.every_version("refunds").join(reflagged, "order_id")
            frames += [self.inputs.refund_persons(refunds).select(*WHO_AND_WHEN), *self._held_with(reflagged)]
        if orders_of:
            frames += self._of_orders(act.union_all(orders_of).distinct())
        if (moves := self.moves()) is not None:
            frames += [*self._of_splits(moves), self._of_peers(moves), self._of_handed_cards(moves)]
        return self._pairs(frames) | self._in_pieces()

    @staticmethod
    def _pairs(frames: list[DataFrame]) -> set[tuple[int, int]]:
        if not frames:
            return set()
        every = act.union_all(frames).filter("uid is not null")
        pairs = every.select(act.bucket_of(F.col("uid")).alias("bucket"), "event_month").distinct()
        return {(r["bucket"], r["event_month"]) for r in pairs.collect()}

    def _in_pieces(self) -> set[tuple[int, int]]:
        pieces = Counter((f.partition["bucket"], f.partition["period"]) for f in self.lake.files(TABLE))
        return {key for key, n in pieces.items() if n > MAX_FILES_OF_A_SLICE}

    # --- uid and event_month of what new rows touch ---

    def _persons(self, rows: DataFrame, feed: str) -> DataFrame:
        """Everyone that a silver row gives an activity row to."""
        resolved = self.inputs.resolved(rows, feed)
        if feed == "shares":
            peers = resolved.select(F.col("peer_uid").alias("uid"), "event_month")
            return resolved.select(*WHO_AND_WHEN).unionByName(peers)
        return resolved.select(*WHO_AND_WHEN)

    def _held_with(self, order_ids: DataFrame) -> list[DataFrame]:
        """Rows about these orders of feeds that say of which order they are."""
        found = []
        for feed in DECLARED_FEEDS:
            if (becomes := contract(f"silver.{feed}").becomes) is not None and becomes.order is not None:
                ids = order_ids.withColumnRenamed("order_id", becomes.order)
                found.append(self._persons(self.inputs.every_version(feed).join(ids, becomes.order), feed))
        return found

    def _of_orders(self, order_ids: DataFrame) -> list[DataFrame]:
        orders = self.inputs.every_version("orders").join(order_ids, "order_id")
        shares = self.inputs.every_version("shares").join(order_ids, "order_id")
        return [self._persons(orders, "orders"), self._persons(shares, "shares")]

    def _of_refunds(self, refunds: DataFrame | None, orders: DataFrame | None) -> list[DataFrame]:
        """New refunds, and refunds of new orders, of everyone who is or was the order's buyer, or whom they name.

        The months are the refunds' own: money goes back on a later day than the order's.
        """
        every, buyers, rows = self.inputs.every_version("refunds"), [self.inputs.every_version("orders")], []
        if refunds is not None:
            # What an older version said may stand in another month.
            rows += [refunds, every.join(refunds.select("refund_id").distinct(), "refund_id")]
        if orders is not None:
            rows.append(every.join(orders.select("order_id").distinct(), "order_id"))
            buyers.append(orders)
        if not rows:
            return []
        columns = ("order_id", *WHO_AND_WHEN)
        back = act.union_all([self.inputs.acting(r, "refunds").select(*columns) for r in rows])
        of_orders = back.select("order_id", "event_month").filter("order_id is not null").distinct()
        ids = of_orders.select("order_id").distinct()
        bought = act.union_all(
            [self.inputs.acting(o.join(ids, "order_id"), "orders").select("order_id", "uid") for o in buyers]
        )
        return [
            back.select(*WHO_AND_WHEN),
            of_orders.join(bought.distinct(), "order_id").select(*WHO_AND_WHEN),
        ]

    def _of_cards(self, share_ids: DataFrame, added: DataFrame | None) -> DataFrame:
        """What was done through these cards, whenever it came: of who did it and of all who ever shared the card."""
        ids = share_ids.distinct()
        columns = ("share_id", *WHO_AND_WHEN)
        shares = [self.inputs.every_version("shares"), *([] if added is None else [added])]
        rows = act.union_all(
            [self.inputs.acting(s.join(ids, "share_id"), "shares").select("behaviour", *columns) for s in shares]
        )
        done = rows.filter("behaviour <> 'share'").select(*columns)
        owners = rows.filter("behaviour = 'share'").select("share_id", "uid").distinct()
        credited = done.drop("uid").distinct().join(owners, "share_id")
        return done.select(*WHO_AND_WHEN).unionByName(credited.select(*WHO_AND_WHEN))

    def _reflagged(self) -> DataFrame | None:
        """Orders that are held since the table was last made, are held no more, or from another day: order_id."""
        before, until = self.inputs.before.get(FLAGS), self.inputs.versions[FLAGS]
        came, went = self.lake.added_since(FLAGS, before, until), self.lake.removed_since(FLAGS, before, until)
        if not came and not went:
            return None
        data = file_schema(arrow_schema(contract(FLAGS)), contract(FLAGS).partitions)
        new, old = (
            self.engine.parquet([f.path for f in files], data).select("order_id", "flagged_day")
            for files in (came, went)
        )
        return new.exceptAll(old).unionByName(old.exceptAll(new)).select("order_id").distinct()

    # --- uid and event_month of what other persons touch ---

    def moves(self) -> DataFrame | None:
        """Ids that changed their uid since the table was last made; None where none did."""
        files = self.lake.added_since(MERGES, self.inputs.before.get(MERGES), self.inputs.versions[MERGES])
        if not files:
            return None
        return self.engine.parquet([f.path for f in files], arrow_schema(contract(MERGES)))

    def _retired(self) -> DataFrame:
        users = self.inputs.table("identity.users").filter("merged_into_uid is not null")
        return users.select(F.col("uid").alias("retired_uid"), F.col("merged_into_uid").alias("elder_uid"))

    def wholly_merged(self, moves: DataFrame) -> DataFrame:
        """Newly retired uids all of whose ids went to one elder: retired_uid, elder_uid."""
        went = moves.select(F.col("old_uid").alias("retired_uid"), "new_uid").join(self._retired(), "retired_uid")
        elsewhere = went.groupBy("retired_uid", "elder_uid").agg(
            F.sum(F.when(F.col("new_uid") != F.col("elder_uid"), 1).otherwise(0)).alias("elsewhere")
        )
        return elsewhere.filter("elsewhere = 0").select("retired_uid", "elder_uid")

    def _of_splits(self, moves: DataFrame) -> list[DataFrame]:
        """Everything of a person from whom ids were cut off, or whose ids went to several persons."""
        whole = self.wholly_merged(moves).select(F.col("retired_uid").alias("old_uid"), F.lit(True).alias("whole"))
        parted = moves.join(whole, "old_uid", "left").filter("whole is null")
        there = self.engine.table(self.lake, TABLE).select(F.col("uid").alias("old_uid"), "period").distinct()
        hit = there.join(parted.select("old_uid", "new_uid", "from_day").distinct(), "old_uid")
        # Rows before the day of a cut stay with the first owner.
        first = F.year("from_day") * 100 + F.month("from_day")
        hit = hit.filter(F.col("from_day").isNull() | (F.col("period") >= first))
        month = F.col("period").alias("event_month")
        return [hit.select(F.col(side).alias("uid"), month) for side in ("old_uid", "new_uid")]

    def _of_peers(self, moves: DataFrame) -> DataFrame:
        """Rows whose other person is someone else now, or the row's own person: who invites themselves is no peer.

        Rows of a retired person are the elder's: the retired uid's own slices are read no more.
        """
        rows = self.engine.table(self.lake, TABLE).filter("peer_uid >= 0").select("uid", "period", "peer_uid")
        moved = moves.select(F.col("old_uid").alias("peer_uid")).distinct()
        of_others = rows.distinct().join(moved, "peer_uid").select("uid", "period")
        own = self.wholly_merged(moves).select(F.col("retired_uid").alias("uid"), F.col("elder_uid").alias("peer_uid"))
        of_oneself = rows.join(own, ["uid", "peer_uid"]).select("uid", "period")
        hit = of_others.unionByName(of_oneself).distinct().withColumnRenamed("uid", "retired_uid")
        return hit.join(self._retired(), "retired_uid", "left").select(
            F.coalesce("elder_uid", "retired_uid").alias("uid"), F.col("period").alias("event_month")
        )

    def _of_handed_cards(self, moves: DataFrame) -> DataFrame:
        """Cards that several persons shared, whose first is one to whom ids came: another was credited until now."""
        several = (
            self.inputs.owners()
            .groupBy("share_id")
            .agg(F.min("uid").alias("new_uid"), F.max("uid").alias("last_uid"))
            .filter("new_uid < last_uid")
        )
        return self._of_cards(several.join(moves.select("new_uid").distinct(), "new_uid").select("share_id"), None)
