"""What a run of ``activity`` makes anew, so that the table says what one made from nothing would say.

Everything that a row is made from can come, change or go later than the row: an order's lines, refunds and flag, a
refund's order, an open's card, and who anyone of them is. Rows about an order are made anew by the order, other rows that
change by their person; a new row that nothing was made of before is only added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from features import activity as act
from features.versions import as_known, every_version
from jobs.activity.inputs import CARDS, FLAGS, ORDERED, TABLE, Inputs
from schemas.arrow import arrow_schema, file_schema
from schemas.behaviours import ACTIVE_FEEDS
from schemas.contracts import contract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MERGES = "identity.merges"
WHO_AND_WHEN = ("uid", "event_month")
OF_ORDERS = ("orders", "order_lines", "refunds")


@dataclass(frozen=True)
class Touched:
    """What is made anew: every row of ``persons`` (uid, event_month) in that month, every row about ``orders`` (order_id).

    ``plain`` are, by feed, the newest versions of silver rows that are new and change no other.
    """

    persons: DataFrame
    orders: DataFrame
    plain: Mapping[str, DataFrame]


class Changes:
    """What a table made from ``inputs.before`` has otherwise than one made from ``inputs.versions``."""

    def __init__(self, inputs: Inputs):
        self.inputs, self.engine, self.lake = inputs, inputs.engine, inputs.lake

    def touched(self) -> Touched:
        persons: list[DataFrame] = []
        orders: list[DataFrame] = []
        plain: dict[str, DataFrame] = {}
        for feed in ACTIVE_FEEDS:
            changed = self.inputs.changed(feed)
            if changed is None:
                continue
            versions = self.inputs.versions_of(changed, feed)
            if (column := ORDERED.get(feed)) is not None:
                orders.append(versions.select(F.col(column).alias("order_id")))
            if feed == "refunds":
                persons.append(self._persons(versions.filter("order_id is null"), feed))
            if feed in OF_ORDERS:
                continue
            contested, plain[feed] = self._parted(feed, changed)
            if not contested.isEmpty():
                persons.append(self._persons(self.inputs.versions_of(contested, feed), feed))
            if feed == "shares":
                cards = versions.filter(CARDS).select("share_id").distinct()
                persons += self._of_cards(self.inputs.keep(cards, "cards-of-new"))
        if (reflagged := self._reflagged()) is not None:
            orders.append(reflagged)
        if (moves := self.moves()) is not None:
            persons += [*self._of_splits(moves), self._of_peers(moves), *self._of_handed_cards(moves)]
        return Touched(
            self._every(persons, "uid bigint, event_month int").filter("uid is not null").distinct(),
            self._every(orders, "order_id string").filter("order_id is not null").distinct(),
            plain,
        )

    def _every(self, frames: list[DataFrame], columns: str) -> DataFrame:
        return act.union_all(frames) if frames else self.engine.spark.createDataFrame([], columns)

    def _parted(self, feed: str, changed: DataFrame) -> tuple[DataFrame, DataFrame]:
        """Changed rows of which there was a version before, and the newest versions of those of which there was none."""
        c = contract(f"silver.{feed}")
        said = self.inputs.keep(every_version(changed, self.inputs.earlier(feed), c), f"{feed}-contested")
        return said, as_known(changed.join(said.select(*c.key), [*c.key], "left_anti"), c)

    # --- uid and event_month of what new rows touch ---

    def _persons(self, rows: DataFrame, feed: str) -> DataFrame:
        """Everyone that a silver row gives an activity row to."""
        if feed == "refunds":
            return self.inputs.acting(rows, feed).select(*WHO_AND_WHEN)
        resolved = self.inputs.resolved(rows, feed)
        if feed == "shares":
            peers = resolved.select(F.col("peer_uid").alias("uid"), "event_month")
            return resolved.select(*WHO_AND_WHEN).unionByName(peers)
        return resolved.select(*WHO_AND_WHEN)

    def _of_cards(self, share_ids: DataFrame) -> list[DataFrame]:
        """What had been done through these cards, whenever it came: of who did it and of all who ever shared the card."""
        ids = share_ids.distinct()
        columns = ("share_id", *WHO_AND_WHEN)
        before, now = (
            self.inputs.acting(rows.join(ids, "share_id", "left_semi"), "shares").select("behaviour", *columns)
            for rows in (self.inputs.earlier("shares"), self.inputs.every_version("shares"))
        )
        done = before.filter("behaviour <> 'share'").select(*columns)
        owners = before.unionByName(now).filter("behaviour = 'share'").select("share_id", "uid").distinct()
        credited = done.drop("uid").distinct().join(owners, "share_id")
        return [done.select(*WHO_AND_WHEN), credited.select(*WHO_AND_WHEN)]

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
        of_others = rows.join(moved, "peer_uid", "left_semi").select("uid", "period")
        own = self.wholly_merged(moves).select(F.col("retired_uid").alias("uid"), F.col("elder_uid").alias("peer_uid"))
        of_oneself = rows.join(own, ["uid", "peer_uid"]).select("uid", "period")
        hit = of_others.unionByName(of_oneself).distinct().withColumnRenamed("uid", "retired_uid")
        return hit.join(self._retired(), "retired_uid", "left").select(
            F.coalesce("elder_uid", "retired_uid").alias("uid"), F.col("period").alias("event_month")
        )

    def _of_handed_cards(self, moves: DataFrame) -> list[DataFrame]:
        """Cards that several persons shared, whose first is one to whom ids came: another was credited until now."""
        ids = self.inputs.ids_of(moves.select(F.col("new_uid").alias("uid")), "ids-of-moves")
        cards = self.inputs.carrying(self.inputs.every_version("shares").filter(CARDS), "shares", ids, "of-moves")
        cards = self.inputs.keep(cards.select("share_id").distinct(), "cards-of-moves")
        several = (
            self.inputs.owners(cards)
            .groupBy("share_id")
            .agg(F.min("uid").alias("new_uid"), F.max("uid").alias("last_uid"))
            .filter("new_uid < last_uid")
        )
        handed = several.join(moves.select("new_uid").distinct(), "new_uid").select("share_id")
        handed = self.inputs.keep(handed, "cards-handed")
        # Nearly no day has one, and everything that was done through cards would be looked through for it.
        return [] if handed.isEmpty() else self._of_cards(handed)
