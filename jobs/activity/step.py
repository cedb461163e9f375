"""Step ``activity``: keep the users' behaviour current by making anew only the rows that new ones change.

A slice is a bucket in a period. New rows are added to their slices as further files. What is late or corrected changes
rows about its order, or of its persons in its months: those are made from silver again, and a slice that held them is
written without them (jobs/activity/patches.py), as is one in too many pieces. A merge moves nobody's history: the
younger uid's rows are appended to the elder's slices, and the retired uid is skipped from then on. What is made anew is
said in ``jobs.activity.touched``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import functions as F

from features import activity as act
from features.order_ways import Way, WaySettings
from jobs.activity.inputs import FLAGS, ORDERED, TABLE, Inputs
from jobs.activity.patches import MAX_FILES_OF_A_SLICE
from jobs.activity.rows import ActivityRows
from jobs.activity.touched import Changes, Touched
from lake.engine import Engine
from lake.lake import Lake, partition_path
from lake.locks import lock
from lake.publish import Audit, Slices, publish
from project.folder import Project
from schemas.behaviours import ACTIVE_FEEDS, DECLARED_FEEDS, DETAILS
from schemas.contracts import contract, feeds

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CODES = "activity.codes"
WHO = ("identity.identifiers", "identity.users", "identity.merges")
COLUMNS = [name for name, _ in act.COLUMNS]
PERSONS, ORDERS = "persons", "orders-made-anew"
SLICED = pa.schema([("bucket", pa.int32()), ("period", pa.int32()), ("uid", pa.int64())])
ORDER_KEYS = pa.schema([("order_id", pa.string()), ("order_key", pa.int64())])
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
    """What the step did: slices written anew, files added beside slices, rows staged, the table's version."""

    slices_rebuilt: int
    slices_extended: int
    rows: int
    version: int | None


def run_activity(project: Project, engine: Engine, run_id: str, audit: Audit | None = None) -> ActivityReport:
    """Bring ``activity`` and ``codes`` up to the newest silver and identity; nothing new means nothing is written.

    A table that was made with other columns or codes, or with another precedence of ways to an order, is made anew.
    ``audit`` is called with the staged folder of each table before it is published, and stops the run by raising.
    """
    lake = project.lake
    inputs = _input_versions(lake)
    with lock(lake, TABLE, CODES):
        lake.ensure(TABLE)
        lake.ensure(CODES)
        noted = lake.metadata(TABLE)
        ways = project.method("ways", WaySettings).precedence
        before = noted.get("inputs", {}) if _is_made_as_now(noted, ways) else {}
        if lake.is_unmoved(before, inputs):
            return ActivityReport(0, 0, 0, lake.version(TABLE))
        step = _Step(project, engine, run_id, inputs, before, ways, audit or (lambda staged, days=None, /: None))
        step.number_values()
        return step.rebuild()


def _is_made_as_now(noted: Mapping[str, Any], ways: Sequence[Way]) -> bool:
    """A feed or a code that came since changes no row that was there."""
    if noted.get("columns") != MADE_AS["columns"] or noted.get("ways") != list(ways):
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
        ways: Sequence[Way],
        audit: Audit,
    ):
        self.project, self.engine, self.run_id, self.audit = project, engine, run_id, audit
        self.inputs, self.before, self.ways = inputs, before, ways
        self.lake, self.zone = project.lake, project.zone
        self.scratch = self.lake.scratch(run_id) / "activity"
        self.silver = Inputs(engine, self.lake, self.zone, inputs, before, self._kept)
        self.changes = Changes(self.silver)
        self.rows = ActivityRows(self.silver, ways)

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
        """The whole table, or what new rows change of it."""
        return self.patched() if self.before else self.made_anew()

    def made_anew(self) -> ActivityReport:
        read_version, folder = self.lake.version(TABLE), self.lake.stage(TABLE, self.run_id)
        self._write(self._coded(self.rows.every()), folder)
        slices = {(f.partition["bucket"], f.partition["period"]) for f in self.lake.staged(TABLE, folder)}
        return self._published(folder, None, "all", read_version, slices)

    def patched(self) -> ActivityReport:
        """Slices without the rows that are made anew, and these rows beside them."""
        read_version = self.lake.version(TABLE)
        kept, added = self.lake.stage(TABLE, self.run_id), self.lake.stage(TABLE, self.run_id)
        touched = self._kept_apart(self.changes.touched())
        if (rows := self.new_rows(touched)) is not None:
            self._write(rows, added)
        written = self._patch(kept)
        slices = [{"bucket": b, "period": p} for b, p in sorted(written)]
        return self._published(kept, added, slices, read_version, written)

    def _published(
        self, folder: Path, added: Path | None, replace: Slices, read_version: int | None, slices: set[tuple[int, int]]
    ) -> ActivityReport:
        folders = [folder] if added is None else [folder, added]
        for staged in folders:
            if self.lake.is_filled(staged):
                self.audit({TABLE: staged})
        files = [self.lake.staged(TABLE, staged) for staged in folders]
        version = publish(
            self.lake,
            TABLE,
            folder,
            appended=added,
            replace=replace,
            read_version=read_version,
            run_id=self.run_id,
            key=f"activity-{self.run_id}",
            metadata={"inputs": self.inputs, "ways": list(self.ways), **MADE_AS},
            even_empty=True,
        )
        extended = 0 if added is None else len(files[-1])
        return ActivityReport(len(slices), extended, sum(f.rows for staged in files for f in staged), version)

    def _write(self, rows: DataFrame, folder: Path) -> None:
        self.engine.write(rows, folder, contract(TABLE).partitions, contract(TABLE).sort)

    def _coded(self, rows: DataFrame) -> DataFrame:
        return act.with_codes(rows, self.engine.table(self.lake, CODES)).select(*COLUMNS)

    # --- what is made anew ---

    def _kept_apart(self, touched: Touched) -> Touched:
        """The same, written once: persons in folders of their slices, for the tasks that patch them."""
        self.engine.write(
            touched.persons.select(
                act.bucket_of(F.col("uid")).alias("bucket"), F.col("event_month").alias("period"), "uid"
            ),
            self.scratch / PERSONS,
            ("bucket", "period"),
        )
        persons = self.engine.folder(self.scratch / PERSONS, SLICED, ("bucket", "period"))
        return Touched(
            persons.select("uid", F.col("period").alias("event_month")),
            self._kept(touched.orders.withColumn("order_key", act.key_of("order_id")), ORDERS),
            touched.plain,
        )

    def new_rows(self, touched: Touched) -> DataFrame | None:
        """Rows of persons and about orders that are made anew, rows of new silver rows, and moved ones; each once."""
        parts = [self.rows.of_orders(touched.orders)] if self._is_there(ORDERS) else []
        if (plain := self.rows.of_new(touched.plain)) is not None:
            parts.append(plain)
        theirs = touched.persons.select("uid", F.col("event_month").alias("period"))
        kept = [self._kept(rows, f"rows-{n}") for n, rows in enumerate(parts)]
        made = [rows.join(theirs, ["uid", "period"], "left_anti") for rows in kept]
        if months := sorted({period for _, period in self._slices_of_persons()}):
            made.append(self._kept(self.rows.of_persons(touched.persons, months), "rows-of-persons"))
        added = [self._coded(act.union_all(made))] if made else []
        if (moved := self.moved_rows(touched)) is not None:
            added.append(moved)
        return act.union_all(added) if added else None

    def moved_rows(self, touched: Touched) -> DataFrame | None:
        """Rows of newly retired persons under their elder's uid, but for those that are made anew."""
        moves = self.changes.moves()
        if moves is None:
            return None
        retired = self.changes.wholly_merged(moves)
        rows = self.engine.table(self.lake, TABLE)
        moved = rows.join(retired, rows["uid"] == retired["retired_uid"]).withColumn("uid", F.col("elder_uid"))
        moved = moved.withColumn("bucket", act.bucket_of(F.col("uid")))
        theirs = touched.persons.select("uid", F.col("event_month").alias("period"))
        anew = touched.orders.select("order_key")
        others = moved.join(theirs, ["uid", "period"], "left_anti").join(anew, "order_key", "left_anti")
        return others.select(*COLUMNS)

    def _patch(self, folder: Path) -> set[tuple[int, int]]:
        """Write the slices that lose rows, or are in too many pieces, without them; gives these slices."""
        files: dict[tuple[int, int], list[str]] = {}
        for f in self.lake.files(TABLE):
            files.setdefault((f.partition["bucket"], f.partition["period"]), []).append(f.path)
        persons, orders = self._slices_of_persons(), self.lake.store.below(self.scratch / ORDERS)
        months = self._months_of_orders() if orders else set()
        items = [
            {
                "slice": {"bucket": bucket, "period": period},
                "files": there,
                "persons": persons.get((bucket, period), []),
                "orders": orders if period in months else [],
                "out": str(folder / partition_path({"bucket": bucket, "period": period}) / "part-0.parquet"),
            }
            for (bucket, period), there in sorted(files.items())
            if period in months or (bucket, period) in persons or len(there) > MAX_FILES_OF_A_SLICE
        ]
        made = self.engine.map("jobs.activity.patches:without_remade", items)
        return {(m["bucket"], m["period"]) for m in made if m["is_written"]}

    def _slices_of_persons(self) -> dict[tuple[int, int], list[str]]:
        """Files of persons that are made anew, by slice."""
        found: dict[tuple[int, int], list[str]] = {}
        for path in self.lake.store.below(self.scratch / PERSONS):
            said = dict(part.split("=") for part in Path(path).relative_to(self.scratch / PERSONS).parts[:-1])
            found.setdefault((int(said["bucket"]), int(said["period"])), []).append(path)
        return found

    def _months_of_orders(self) -> set[int]:
        """Months in which rows about the orders may stand: those that silver gave when the table was last made."""
        ids = self.engine.parquet(self.lake.store.below(self.scratch / ORDERS), ORDER_KEYS).select("order_id")
        months = [
            self.silver.earlier(feed)
            .join(ids.withColumnRenamed("order_id", column), column, "left_semi")
            .select("event_month")
            for feed, column in ORDERED.items()
        ]
        return {r["event_month"] for r in act.union_all(months).distinct().collect()}

    def _is_there(self, name: str) -> bool:
        return self.lake.is_filled(self.scratch / name)

    def _kept(self, df: DataFrame, name: str) -> DataFrame:
        return self.engine.kept(df, self.scratch / name)
