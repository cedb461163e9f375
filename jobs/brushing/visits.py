"""Who came by on which day, as brushing asks it of the logs: of everybody, of the buyers of few orders, or of what is new."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from features.activity import union_all
from features.identity import strongest
from features.links import business_day
from features.versions import MARKS, as_known, every_version
from jobs.activity.inputs import Inputs
from schemas.contracts import contract, feeds

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SEEN: dict[str, tuple[str, ...]] = {
    c.table: c.becomes.shows_visit for c in feeds() if c.becomes is not None and c.becomes.shows_visit
}
"""Feeds and their behaviours that show a visit; who comes by a card to order has seen it."""
LOGS = tuple(c.table for c in feeds() if c.table in SEEN and c.becomes is not None and c.becomes.on_site)
"""Those of the site's own log: cards opened are no measure of whether it has arrived."""


@dataclass(frozen=True)
class NewRows:
    """Every version of what new rows, or rows that were taken away, are about: as they are ``now``, and as they were ``before``."""

    now: DataFrame
    before: DataFrame


class Visits:
    """Visits in silver at the versions of ``silver``: uid, visit_day (counted from 1970), first_at; a row a person and day.

    ``corrected`` were the feeds with several versions of a row when the tables were last made.
    """

    def __init__(self, silver: Inputs, corrected: Collection[str]):
        self.silver, self.keep, self.zone = silver, silver.keep, silver.zone
        self._corrected = corrected

    def every(self) -> DataFrame:
        return self._by_day(self._latest)

    @cached_property
    def _latest(self) -> Mapping[str, DataFrame]:
        """The newest version of every row, asked once: finding rows with several versions reads every key."""
        return {feed: self.silver.latest(feed) for feed in SEEN}

    def of(self, buyers: DataFrame, months: list[int]) -> DataFrame:
        """Visits in these months of some persons (uid)."""
        ids = self.silver.ids_of(buyers, "ids-of-buyers")
        found = {}
        for feed in SEEN:
            c = contract(f"silver.{feed}")
            has_versions = feed in self.corrected
            rows = self.silver.every_version(feed).filter(F.col("event_month").isin(months))
            rows = rows.select(*(self._read_of(feed) if has_versions else self._shown_by(feed)))
            named = rows.withColumn("_id", strongest(c.persons)).join(ids.frame, "_id", "left_semi").drop("_id")
            theirs = self.keep(named, f"{feed}-of-buyers")
            found[feed] = self.silver.newest(theirs, feed) if has_versions else theirs
        return self._by_day(found)

    @cached_property
    def corrected(self) -> list[str]:
        """Feeds with several versions of a row; once there were, they are looked for."""
        return sorted({*self._corrected, *(feed for feed in SEEN if self._has_versions(feed))})

    def _has_versions(self, feed: str) -> bool:
        c, lake = contract(f"silver.{feed}"), self.silver.lake
        if not self.silver.before:
            rows = sum(f.rows for f in lake.files(c.name, self.silver.versions[c.name]))
            return self._latest[feed].count() < rows
        new = self._new.get(feed)
        if new is None:
            return False
        rows = new.now.agg(
            F.count(F.lit(1)).alias("rows"), F.count_distinct(*map(F.col, c.key)).alias("keys")
        ).collect()[0]
        return bool(rows["rows"] > rows["keys"])

    def touched(self) -> DataFrame:
        """Persons and days of which a visit came, went or was corrected: uid, visit_day."""
        parts = [
            self._visits(rows, feed).select("uid", "visit_day")
            for feed, new in self._new.items()
            for rows in (new.before, new.now)
        ]
        if not parts:
            return self.silver.engine.spark.createDataFrame([], "uid bigint, visit_day int")
        return union_all(parts).distinct()

    @cached_property
    def _new(self) -> Mapping[str, NewRows]:
        """Of feeds with new rows, or rows taken away, what these are about."""
        found = {}
        for feed in SEEN:
            changed = self.silver.changed(feed)
            if changed is None:
                continue
            c = contract(f"silver.{feed}")
            marks = [*c.key, *MARKS]
            changed = changed.select(*self._read_of(feed))
            there = self.silver.every_version(feed).select(*self._read_of(feed))
            now = self.keep(every_version(there, changed, c), f"{feed}-now")
            gone = changed.join(now.select(*marks), marks, "left_anti")
            same = now.join(changed.select(*marks), marks, "left_anti")
            found[feed] = NewRows(now, same.unionByName(gone))
        return found

    # --- the site's log by day ---

    def every_day(self) -> DataFrame:
        """Rows of ``activity.visit_days``: day, visit_rows."""
        return self._counted([self._logged(self._latest[feed], feed, 1) for feed in LOGS])

    def days_since(self, there: DataFrame) -> DataFrame:
        """``there``, the rows that the table had, with what came and without what went."""
        parts = [there.select("day", "visit_rows")]
        for feed in LOGS:
            if (new := self._new.get(feed)) is not None:
                for versions, each in ((new.before, -1), (new.now, 1)):
                    parts.append(self._logged(as_known(versions, contract(f"silver.{feed}")), feed, each))
        return self._counted(parts)

    def _logged(self, rows: DataFrame, feed: str, each: int) -> DataFrame:
        c = contract(f"silver.{feed}")
        shown = self._shown(rows, feed).filter(F.coalesce(*map(F.col, c.persons.values())).isNotNull())
        return shown.select(
            business_day(F.col(c.event_time[0]), self.zone).alias("day"),
            F.lit(each).cast("bigint").alias("visit_rows"),
        )

    def _counted(self, parts: list[DataFrame]) -> DataFrame:
        sums = union_all(parts).groupBy("day").agg(F.sum("visit_rows").cast("bigint").alias("visit_rows"))
        return sums.filter("visit_rows > 0")

    # --- rows ---

    def _by_day(self, rows: Mapping[str, DataFrame]) -> DataFrame:
        visits = union_all([self._visits(frame, feed) for feed, frame in rows.items()])
        return visits.groupBy("uid", "visit_day").agg(F.min("occurred_at").alias("first_at"))

    def _visits(self, rows: DataFrame, feed: str) -> DataFrame:
        """Rows that show a visit of somebody known: uid, visit_day, occurred_at."""
        return (
            self.silver.acting(self._shown(rows, feed), feed)
            .filter("uid is not null")
            .select(
                F.col("uid").cast("bigint").alias("uid"),
                F.unix_date("resolve_day").cast("int").alias("visit_day"),
                F.col(contract(f"silver.{feed}").event_time[0]).alias("occurred_at"),
            )
        )

    def _shown(self, rows: DataFrame, feed: str) -> DataFrame:
        """Rows of behaviours that show a visit."""
        for column in self._told_by(feed):
            rows = rows.filter(F.col(column).isin(list(SEEN[feed])))
        return rows

    def _shown_by(self, feed: str) -> list[str]:
        """Of a long log only the columns that tell who, when and what."""
        c = contract(f"silver.{feed}")
        return list(dict.fromkeys((*c.persons.values(), *c.event_time, *self._told_by(feed))))

    def _read_of(self, feed: str) -> list[str]:
        """The same, and those that tell which version."""
        return list(dict.fromkeys((*contract(f"silver.{feed}").key, *MARKS, "source_time", *self._shown_by(feed))))

    def _told_by(self, feed: str) -> tuple[str, ...]:
        """The column that says which behaviour a row is of; none where all are of one."""
        becomes = contract(f"silver.{feed}").becomes
        return () if becomes is None or becomes.column is None else (becomes.column,)
