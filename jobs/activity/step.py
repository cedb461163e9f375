"""Step ``activity``: keep the users' behaviour current by rewriting only the slices that new rows touch.

A slice is a bucket in a period. New, late or corrected rows touch the slices of their persons and months, which are
rebuilt from silver. A merge moves nobody's history: the younger uid's rows are appended to the elder's slices, and the
retired uid is skipped from then on. Slices whose rows name the younger one as the other person are rebuilt, and so are
those with too many files. What is touched is said in ``jobs.activity.slices``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from features import activity as act
from jobs.activity.inputs import FLAGS, TABLE, Inputs, of_months
from jobs.activity.slices import Slices
from lake.engine import Engine
from lake.lake import Lake
from lake.locks import lock
from lake.publish import Audit, publish
from project.folder import Project
from schemas.behaviours import ACTIVE_FEEDS, DECLARED_FEEDS, DETAILS
from schemas.contracts import contract, feeds

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

CODES = "activity.codes"
WHO = ("identity.identifiers", "identity.users", "identity.merges")
COLUMNS = [name for name, _ in act.COLUMNS]
MADE_AS: dict[str, Any] = {
    "columns": COLUMNS,
    "details": DETAILS,
    "declared": {
        c.table: c.becomes.model_dump(mode="json") for c in feeds() if c.table in DECLARED_FEEDS and c.becomes
    },
}
"""What a table is made anew for when it was made otherwise."""


@dataclass(frozen=True)
class ActivityReport:
    """What the step did: slices rebuilt and extended, rows staged, the table's version."""

    slices_rebuilt: int
    slices_extended: int
    rows: int
    version: int | None


def run_activity(project: Project, engine: Engine, run_id: str, audit: Audit | None = None) -> ActivityReport:
    """Bring ``activity`` and ``codes`` up to the newest silver and identity; nothing new means nothing is written.

    A table that was made with other columns or codes is made anew.
    ``audit`` is called with the staged folder of each table before it is published, and stops the run by raising.
    """
    lake = project.lake
    inputs = _input_versions(lake)
    with lock(lake, TABLE, CODES):
        lake.ensure(TABLE)
        lake.ensure(CODES)
        noted = lake.metadata(TABLE)
        before = noted.get("inputs", {}) if _is_made_as_now(noted) else {}
        if before == inputs:
            return ActivityReport(0, 0, 0, lake.version(TABLE))
        step = _Step(project, engine, run_id, inputs, before, audit or (lambda staged, days=None, /: None))
        step.number_values()
        return step.rebuild()


def _is_made_as_now(noted: Mapping[str, Any]) -> bool:
    """A feed or a code that came since changes no row that was there."""
    if noted.get("columns") != MADE_AS["columns"]:
        return False
    said = [(part, name, was) for part in ("details", "declared") for name, was in noted.get(part, {}).items()]
    return all(MADE_AS[part].get(name) == was for part, name, was in said)


def _input_versions(lake: Lake) -> dict[str, int | None]:
    names = (*(f"silver.{feed}" for feed in ACTIVE_FEEDS), *WHO, FLAGS)
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
        self.silver = Inputs(engine, self.lake, self.zone, inputs, before)
        self.slices = Slices(self.silver)
        self.scratch = self.lake.scratch(run_id) / "activity"

    # --- codes ---

    def number_values(self) -> None:
        """Give numbers to skus, sellers and channels seen for the first time."""
        read_version = self.lake.version(CODES)
        values = []
        for feed in ACTIVE_FEEDS:
            rows = self.silver.changed(feed)
            if rows is None:
                continue
            for kind, column in act.CODED.items():
                if column in rows.columns:
                    values.append(rows.select(F.lit(kind).alias("code_kind"), F.col(column).alias("code_value")))
        if not values:
            return
        new = act.new_codes(act.union_all(values), self.engine.table(self.lake, CODES))
        folder = self.lake.stage(CODES, self.run_id)
        self.engine.write(new, folder)
        files = [f for f in self.lake.staged(CODES, folder) if f.rows]
        if files:
            self.audit({CODES: folder})
        publish(
            self.lake,
            CODES,
            files,
            replace=None,
            read_version=read_version,
            run_id=self.run_id,
            key=f"codes-{self.run_id}",
        )

    # --- slices ---

    def rebuild(self) -> ActivityReport:
        read_version = self.lake.version(TABLE)
        folder = self.lake.stage(TABLE, self.run_id)
        if self.before:
            slices = self.slices.touched()
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
        for rows_of_table in (folder, extended):
            if self.lake.is_filled(rows_of_table):
                self.audit({TABLE: rows_of_table})
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
            metadata={"inputs": self.inputs, **MADE_AS},
        )
        return ActivityReport(len(slices), len(more), sum(f.rows for f in staged), version)

    def moved_rows(self, rebuilt: set[tuple[int, int]]) -> DataFrame | None:
        """Rows of newly retired persons under their elder's uid, for slices that are not rebuilt anyway."""
        moves = self.slices.moves()
        if moves is None or not self.before:
            return None
        retired = self.slices.wholly_merged(moves)
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
        pairs = self.engine.spark.createDataFrame(sorted(slices), "bucket int, period int")
        return self._rows(months).join(pairs, ["bucket", "period"]).select(*self._columns())

    def every_row(self) -> DataFrame:
        """The whole table, for a lake that has none yet."""
        return self._rows(None)

    def _rows(self, months: list[int] | None) -> DataFrame:
        silver, zone = self.silver, self.zone
        orders = self._kept(self.silver.resolved(silver.latest("orders", months), "orders"), "orders")
        lines = self._kept(silver.of_orders("order_lines", orders), "lines")
        refunds = self._kept(silver.latest("refunds"), "refunds")
        flags = self.silver.flags()
        facts = self._kept(act.order_facts(orders, lines, refunds, self._learned(orders), flags, zone), "facts")
        shares = self._kept(self.silver.resolved(silver.latest("shares", months), "shares"), "shares")
        parts = [
            act.placed(facts, zone),
            act.paid_lines(facts, lines, zone),
            act.refunds_of_orders(facts, refunds, zone),
            act.refunded(self.silver.refund_persons(of_months(refunds, months)), flags, zone),
            act.shared(shares, zone),
            act.credited(shares, facts if months is None else self._order_days(shares, refunds), zone),
            *(self._declared(feed, months, flags) for feed in DECLARED_FEEDS),
        ]
        return act.with_codes(act.union_all(parts), self.engine.table(self.lake, CODES)).select(*self._columns())

    def _declared(self, feed: str, months: list[int] | None, flags: DataFrame) -> DataFrame:
        rows = self.silver.resolved(self.silver.latest(feed, months), feed)
        return act.declared(rows, contract(f"silver.{feed}"), flags, self.zone)

    def _kept(self, df: DataFrame, name: str) -> DataFrame:
        return self.engine.kept(df, self.scratch / name)

    @staticmethod
    def _columns() -> list[Column]:
        return [F.col(name) for name in COLUMNS]

    def _learned(self, orders: DataFrame) -> DataFrame:
        """When the orders were learned of, from their versions of any month."""
        return act.learned(self.silver.every_version("orders").join(orders.select("order_id"), "order_id"))

    def _order_days(self, shares: DataFrame, refunds: DataFrame) -> DataFrame:
        """Payment and void days of the orders that came through shares, whatever their month."""
        ids = shares.filter("behaviour = 'order' and order_id is not null").select("order_id").distinct()
        orders = self.silver.of_orders("orders", ids).withColumn("uid", F.lit(None).cast("bigint"))
        lines = self.silver.of_orders("order_lines", ids)
        back = refunds.join(ids, "order_id")
        return act.order_facts(orders, lines, back, self._learned(ids), self.silver.flags(), self.zone)
