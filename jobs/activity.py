"""Step ``activity``: keep the users' behaviour current by rewriting only the slices that new rows touch.

A slice is a bucket in a period. New, late or corrected rows touch the slices of their persons and months, which are
rebuilt from silver. A merge moves nobody's history: the younger uid's rows are appended to the elder's slices, and the
retired uid is skipped from then on; a slice with too many such files is rebuilt as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from features import activity as act
from features.identity import resolve
from features.links import business_day
from features.versions import as_known
from jobs.project import Project
from lake.engine import Engine
from lake.lake import Lake
from lake.locks import lock
from lake.publish import Audit, publish
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

TABLE = "activity.activity"
CODES = "activity.codes"
FLAGS = "activity.order_flags"
SOURCES = ("orders", "order_lines", "refunds", "browse", "shares", "coupons")
COLUMNS = [name for name, _ in act.COLUMNS]
MAX_FILES_OF_A_SLICE = 8
"""More files than this in one slice cost the kernel more than rebuilding it does."""


@dataclass(frozen=True)
class ActivityReport:
    """What the step did: slices rebuilt and extended, rows staged, the table's version."""

    slices_rebuilt: int
    slices_extended: int
    rows: int
    version: int | None


@dataclass(frozen=True)
class Silver:
    """The newest version of every silver row of a feed, read lazily; ``months`` prunes partitions."""

    engine: Engine
    lake: Lake
    versions: Mapping[str, int | None]

    def latest(self, feed: str, months: list[int] | None = None) -> DataFrame:
        return as_known(self.every_version(feed, months), contract(f"silver.{feed}"))

    def every_version(self, feed: str, months: list[int] | None = None) -> DataFrame:
        return _of_months(self.engine.table(self.lake, f"silver.{feed}", self.versions[f"silver.{feed}"]), months)


def _of_months(rows: DataFrame, months: list[int] | None) -> DataFrame:
    return rows if months is None else rows.filter(F.col("event_month").isin(months))


def run_activity(project: Project, engine: Engine, run_id: str, audit: Audit | None = None) -> ActivityReport:
    """Bring ``activity`` and ``codes`` up to the newest silver and identity; nothing new means nothing is written.

    A table that was made before its contract gained a column is made anew.
    ``audit`` is called with the staged folder of each table before it is published, and stops the run by raising.
    """
    lake = project.lake
    inputs = _input_versions(lake)
    with lock(lake, TABLE, CODES):
        lake.ensure(TABLE)
        lake.ensure(CODES)
        noted = lake.metadata(TABLE)
        before = noted.get("inputs", {}) if noted.get("columns") == COLUMNS else {}
        if before == inputs:
            return ActivityReport(0, 0, 0, lake.version(TABLE))
        step = _Step(project, engine, run_id, inputs, before, audit or (lambda staged: None))
        step.number_values()
        return step.rebuild()


def _input_versions(lake: Lake) -> dict[str, int | None]:
    names = [f"silver.{feed}" for feed in SOURCES] + [
        "identity.identifiers",
        "identity.users",
        "identity.merges",
        FLAGS,
    ]
    return {name: lake.version(name) for name in names}


class _Step:
    """One run of the step over fixed input versions."""

    def __init__(
        self,
        project: Project,
        engine: Engine,
        run_id: str,
        inputs: dict[str, int | None],
        before: Mapping[str, int | None],
        audit: Audit,
    ):
        self.project, self.engine, self.run_id, self.audit = project, engine, run_id, audit
        self.inputs, self.before = inputs, before
        self.lake, self.zone = project.lake, project.zone
        self.silver = Silver(engine, self.lake, inputs)
        self.scratch = self.lake.scratch(run_id) / "activity"
        self.identifiers = engine.table(self.lake, "identity.identifiers", inputs["identity.identifiers"])

    # --- codes ---

    def number_values(self) -> None:
        """Give numbers to skus, sellers and channels seen for the first time."""
        read_version = self.lake.version(CODES)
        columns = {"sku": "sku_id", "seller": "seller_id", "channel": "channel"}
        values = []
        for feed in SOURCES:
            rows = self._changed(feed)
            if rows is None:
                continue
            for kind, column in columns.items():
                if column in rows.columns:
                    values.append(rows.select(F.lit(kind).alias("code_kind"), F.col(column).alias("code_value")))
        if not values:
            return
        new = act.new_codes(act.union_all(values), self.engine.table(self.lake, CODES))
        folder = self.lake.stage(CODES, self.run_id)
        self.engine.write(new, folder)
        publish(
            self.lake,
            CODES,
            [f for f in self.lake.staged(CODES, folder) if f.rows],
            replace=None,
            read_version=read_version,
            run_id=self.run_id,
            key=f"codes-{self.run_id}",
        )

    def _changed(self, feed: str) -> DataFrame | None:
        """Silver rows that came since the table was last made, and those that a replaced delivery took away."""
        table = f"silver.{feed}"
        before = self.before.get(table)
        files = [*self.lake.added_since(table, before), *self.lake.removed_since(table, before)]
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

    # --- slices ---

    def rebuild(self) -> ActivityReport:
        read_version = self.lake.version(TABLE)
        folder = self.lake.stage(TABLE, self.run_id)
        if self.before:
            slices = self.touched()
            rows = self.rows_of(slices) if slices else None
        else:
            slices, rows = set(), self.every_row()
        if rows is not None:
            self.engine.write(rows, folder, contract(TABLE).partitions, contract(TABLE).sort)
        if not self.before:
            slices = {(f.partition["bucket"], f.partition["period"]) for f in self.lake.staged(TABLE, folder)}
        extended = self.lake.stage(TABLE, self.run_id)
        moved = self.moved_rows(slices)
        if moved is not None:
            self.engine.write(moved, extended, contract(TABLE).partitions, contract(TABLE).sort)
        self.audit({TABLE: folder})
        staged = [*self.lake.staged(TABLE, folder), *(more := self.lake.staged(TABLE, extended))]
        version = publish(
            self.lake,
            TABLE,
            folder,
            appended=extended,
            replace=[{"bucket": b, "period": p} for b, p in sorted(slices)] if self.before else "all",
            read_version=read_version,
            run_id=self.run_id,
            key=f"activity-{self.run_id}",
            metadata={"inputs": self.inputs, "columns": COLUMNS},
        )
        return ActivityReport(len(slices), len(more), sum(f.rows for f in staged), version)

    def touched(self) -> set[tuple[int, int]]:
        """Slices to rebuild: those of new rows, of orders whose lines, refunds or shares are new, of ids cut off."""
        frames = []
        orders_of = []
        for feed in SOURCES:
            added = self._changed(feed)
            if added is None:
                continue
            if feed in ("orders", "order_lines", "refunds"):
                orders_of.append(added.select("order_id").filter("order_id is not null"))
            if feed != "order_lines":
                frames.append(self._persons(added, feed))
        if (reflagged := self._reflagged()) is not None:
            orders_of.append(reflagged)
            refunds, coupons = (
                self.silver.every_version(f).join(reflagged, "order_id") for f in ("refunds", "coupons")
            )
            frames += [self._refund_persons(refunds).select("uid", "event_month"), self._persons(coupons, "coupons")]
        if orders_of:
            frames += self._slices_of_orders(act.union_all(orders_of).distinct())
        found = set()
        if frames:
            every = act.union_all(frames).filter("uid is not null")
            pairs = every.select(act.bucket_of(F.col("uid")).alias("bucket"), "event_month").distinct()
            found = {(r["bucket"], r["event_month"]) for r in pairs.collect()}
        return found | self._slices_of_splits() | self._slices_in_pieces()

    def _flags(self) -> DataFrame:
        return self.engine.table(self.lake, FLAGS, self.inputs[FLAGS]).select("order_id", "flagged_day")

    def _reflagged(self) -> DataFrame | None:
        """Orders that are held since the table was last made, are held no more, or from another day: order_id."""
        before = self.before.get(FLAGS)
        came, went = self.lake.added_since(FLAGS, before), self.lake.removed_since(FLAGS, before)
        if not came and not went:
            return None
        data = file_schema(arrow_schema(contract(FLAGS)), contract(FLAGS).partitions)
        new, old = (
            self.engine.parquet([f.path for f in files], data).select("order_id", "flagged_day")
            for files in (came, went)
        )
        return new.exceptAll(old).unionByName(old.exceptAll(new)).select("order_id").distinct()

    def _persons(self, rows: DataFrame, feed: str) -> DataFrame:
        """uid and event_month of everyone that a silver row gives an activity row to."""
        columns = ["uid", "event_month"]
        resolved = self._resolved(rows, feed)
        if feed == "shares":
            peers = resolved.select(F.col("peer_uid").alias("uid"), "event_month")
            return resolved.select(*columns).unionByName(peers)
        return resolved.select(*columns)

    def _slices_of_orders(self, order_ids: DataFrame) -> list[DataFrame]:
        orders = self.silver.every_version("orders").join(order_ids, "order_id")
        shares = self.silver.every_version("shares").join(order_ids, "order_id")
        return [self._persons(orders, "orders"), self._persons(shares, "shares")]

    def _slices_of_splits(self) -> set[tuple[int, int]]:
        """Every slice of a person from whom ids were cut off, or whose ids went to several persons."""
        moves = self._moves()
        if moves is None or not self.before:
            return set()
        whole = self._wholly_merged(moves).select(F.col("retired_uid").alias("old_uid"), F.lit(True).alias("whole"))
        parted = moves.join(whole, "old_uid", "left").filter("whole is null")
        there = self.engine.table(self.lake, TABLE).select(F.col("uid").alias("old_uid"), "period").distinct()
        hit = there.join(parted.select("old_uid", "new_uid", "from_day").distinct(), "old_uid")
        # Rows before the day of a cut stay with the first owner.
        first = F.year("from_day") * 100 + F.month("from_day")
        hit = hit.filter(F.col("from_day").isNull() | (F.col("period") >= first))
        both = hit.select(F.col("old_uid").alias("uid"), "period").unionByName(
            hit.select(F.col("new_uid").alias("uid"), "period")
        )
        pairs = both.select(act.bucket_of(F.col("uid")).alias("bucket"), "period").distinct()
        return {(r["bucket"], r["period"]) for r in pairs.collect()}

    def _slices_in_pieces(self) -> set[tuple[int, int]]:
        pieces = Counter((f.partition["bucket"], f.partition["period"]) for f in self.lake.files(TABLE))
        return {key for key, n in pieces.items() if n > MAX_FILES_OF_A_SLICE}

    def _moves(self) -> DataFrame | None:
        files = self.lake.added_since("identity.merges", self.before.get("identity.merges"))
        if not files:
            return None
        return self.engine.parquet([f.path for f in files], arrow_schema(contract("identity.merges")))

    def _wholly_merged(self, moves: DataFrame) -> DataFrame:
        """Newly retired uids all of whose ids went to one elder: retired_uid, elder_uid."""
        users = self.engine.table(self.lake, "identity.users", self.inputs["identity.users"])
        retired = users.filter("merged_into_uid is not null").select(
            F.col("uid").alias("retired_uid"), F.col("merged_into_uid").alias("elder_uid")
        )
        went = moves.select(F.col("old_uid").alias("retired_uid"), "new_uid").join(retired, "retired_uid")
        elsewhere = went.groupBy("retired_uid", "elder_uid").agg(
            F.sum(F.when(F.col("new_uid") != F.col("elder_uid"), 1).otherwise(0)).alias("elsewhere")
        )
        return elsewhere.filter("elsewhere = 0").select("retired_uid", "elder_uid")

    def moved_rows(self, rebuilt: set[tuple[int, int]]) -> DataFrame | None:
        """Rows of newly retired persons under their elder's uid, for slices that are not rebuilt anyway."""
        moves = self._moves()
        if moves is None or not self.before:
            return None
        retired = self._wholly_merged(moves)
        rows = self.engine.table(self.lake, TABLE)
        moved = rows.join(retired, rows["uid"] == retired["retired_uid"]).withColumn("uid", F.col("elder_uid"))
        moved = moved.withColumn("bucket", act.bucket_of(F.col("uid")))
        if rebuilt:
            pairs = self.engine.spark.createDataFrame(
                [(b, p, True) for b, p in sorted(rebuilt)], "bucket int, period int, rebuilt boolean"
            )
            moved = moved.join(pairs, ["bucket", "period"], "left").filter("rebuilt is null")
        return moved.select(*self._columns())

    # --- rows ---

    def rows_of(self, slices: set[tuple[int, int]]) -> DataFrame:
        """Every activity row of the given slices, made from silver."""
        months = sorted({period for _, period in slices})
        near = sorted({m for month in months for m in (_shifted(month, -1), month, _shifted(month, 1))})
        pairs = self.engine.spark.createDataFrame(sorted(slices), "bucket int, period int")
        return self._rows(months, near).join(pairs, ["bucket", "period"]).select(*self._columns())

    def every_row(self) -> DataFrame:
        """The whole table, for a lake that has none yet."""
        return self._rows(None, None)

    def _rows(self, months: list[int] | None, near: list[int] | None) -> DataFrame:
        silver, zone = self.silver, self.zone
        orders = self._kept(self._resolved(silver.latest("orders", months), "orders"), "orders")
        lines = self._kept(silver.latest("order_lines", near), "lines")
        refunds = self._kept(silver.latest("refunds"), "refunds")
        flags = self._flags()
        facts = self._kept(act.order_facts(orders, lines, refunds, self._learned(months), flags, zone), "facts")
        shares = self._kept(self._resolved(silver.latest("shares", months), "shares"), "shares")
        parts = [
            act.placed(facts, zone),
            act.paid(facts, lines, zone),
            act.refunds_of_orders(facts, refunds, zone),
            act.refunded(self._refund_persons(_of_months(refunds, months)), flags, zone),
            act.browsed(self._resolved(silver.latest("browse", months), "browse"), zone),
            act.shared(shares, zone),
            act.credited(shares, facts if months is None else self._order_days(shares), zone),
            act.coupons_moved(self._resolved(silver.latest("coupons", months), "coupons"), flags, zone),
        ]
        return act.coded(act.union_all(parts), self.engine.table(self.lake, CODES)).select(*self._columns())

    def _kept(self, df: DataFrame, name: str) -> DataFrame:
        return self.engine.kept(df, self.scratch / name)

    @staticmethod
    def _columns() -> list[Column]:
        return [F.col(name) for name in COLUMNS]

    def _resolved(self, rows: DataFrame, feed: str) -> DataFrame:
        """Rows with ``uid`` of the acting person (and ``peer_uid`` of the other one) on the row's business day."""
        c = contract(f"silver.{feed}")
        stamp = {"orders": "ordered_at", "refunds": "refunded_at"}.get(feed, "occurred_at")
        dated = rows.withColumn("resolve_day", business_day(F.col(stamp), self.zone))
        kinds = dict(c.persons) | ({"guest": c.guests} if c.guests else {})
        found = resolve(dated, self.identifiers, kinds, "resolve_day")
        if c.peers:
            found = resolve(found, self.identifiers, dict(c.peers), "resolve_day", into="peer_uid")
            found = self._sharers(found)
        return found

    def _sharers(self, shares: DataFrame) -> DataFrame:
        """Where a row names no sharer, the one who shared that card; a share itself has none."""
        c = contract("silver.shares")
        cards = self.silver.every_version("shares").filter("behaviour = 'share' and share_id is not null")
        dated = cards.withColumn("resolve_day", business_day(F.col("occurred_at"), self.zone))
        owners = (
            resolve(dated, self.identifiers, dict(c.persons), "resolve_day")
            .groupBy("share_id")
            .agg(F.min("uid").alias("owner_uid"))
        )
        peer = F.when(F.col("behaviour") != "share", F.coalesce(F.col("peer_uid"), F.col("owner_uid")))
        return shares.join(owners, "share_id", "left").withColumn("peer_uid", peer).drop("owner_uid")

    def _refund_persons(self, refunds: DataFrame) -> DataFrame:
        """Refunds with the person of their order, or else of their own ids."""
        own = self._resolved(refunds, "refunds").withColumnRenamed("uid", "own_uid")
        orders = self._resolved(self.silver.latest("orders"), "orders").select(
            F.col("order_id"), F.col("uid").alias("order_uid")
        )
        return own.join(orders, "order_id", "left").withColumn("uid", F.coalesce("order_uid", "own_uid"))

    def _learned(self, months: list[int] | None) -> DataFrame:
        return act.learned(self.silver.every_version("orders", months))

    def _order_days(self, shares: DataFrame) -> DataFrame:
        """Payment and void days of the orders that came through shares, whatever their month."""
        ids = shares.filter("behaviour = 'order' and order_id is not null").select("order_id").distinct()
        orders = self.silver.latest("orders").join(ids, "order_id").withColumn("uid", F.lit(None).cast("bigint"))
        lines = self.silver.latest("order_lines").join(ids, "order_id")
        refunds = self.silver.latest("refunds").filter("order_id is not null").join(ids, "order_id")
        known = act.learned(self.silver.every_version("orders").join(ids, "order_id"))
        return act.order_facts(orders, lines, refunds, known, self._flags(), self.zone)


def _shifted(month: int, by: int) -> int:
    """yyyymm ``by`` months later."""
    index = month // 100 * 12 + month % 100 - 1 + by
    return index // 12 * 100 + index % 12 + 1
