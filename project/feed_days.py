"""On which business days the rows of a feed lie, read from silver: the one way to ask how new a feed is and what it brings.

A row lies on the day of its event; one that does not say when that was (a member, a product), on the day it was received.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta

import duckdb

from features.instants import NO_MONTH
from lake.budget import in_memory
from lake.lake import Lake
from schemas.contracts import contract
from schemas.quarantine import literal


@contextmanager
def feed_days(lake: Lake, last: date, known_at: datetime | None = None) -> Iterator[FeedDays]:
    """For questions about several feeds by the business day ``last``; of what was learned by ``known_at`` if given."""
    with in_memory() as con:
        con.execute("set enable_progress_bar = false")
        yield FeedDays(con, lake, last, known_at)


class FeedDays:
    """Days by ``last`` on which feeds have rows. Months are read from the newest back, no more than an answer needs."""

    def __init__(self, con: duckdb.DuckDBPyConnection, lake: Lake, last: date, known_at: datetime | None):
        self._con, self._lake, self._last, self._known_at = con, lake, last, known_at

    def newest(self, feed: str) -> date | None:
        """The newest day with rows; None without any."""
        return max(self.days(feed), default=None)

    def days(self, feed: str, back: int = 0) -> set[date]:
        """Days with rows, at least those of the ``back`` days before the newest."""
        return set(self._by_day(feed, "1", back))

    def rows(self, feed: str, back: int) -> dict[date, int]:
        """Rows by day, at least for the ``back`` days before the newest. A row that was corrected has several versions, and is one."""
        return self._by_day(feed, f"count(distinct ({', '.join(contract(f'silver.{feed}').key)}))", back)

    def _by_day(self, feed: str, number: str, back: int) -> dict[date, int]:
        months: dict[int, list[str]] = {}
        for f in self._lake.files(f"silver.{feed}"):
            if f.partition["event_month"] <= self._last.year * 100 + self._last.month:
                months.setdefault(f.partition["event_month"], []).append(f.path)
        # rows that say no time lie in a month of their own, whenever they were received
        found = self._of_files(feed, months.pop(NO_MONTH, []), number)
        for month in sorted(months, reverse=True):
            for day, n in self._of_files(feed, months[month], number).items():
                found[day] = found.get(day, 0) + n
            # The month is read whole, so that months between may be skipped only if they end before the span begins.
            if found and date(month // 100, month % 100, 1) <= max(found) - timedelta(days=back):
                break
        return found

    def _of_files(self, feed: str, paths: list[str], number: str) -> dict[date, int]:
        if not paths:
            return {}
        paths = self._lake.local(paths)
        at = ", ".join((*contract(f"silver.{feed}").event_time, "_ingested_at"))
        day = f"timezone({literal(self._lake.zone)}, coalesce({at}))::date"
        known = self._known_at and f"and _ingested_at <= timestamptz {literal(self._known_at.isoformat())}"
        found = self._con.execute(
            f"select {day} as day, {number} from read_parquet([{', '.join(map(literal, paths))}], hive_partitioning = false, "
            f"union_by_name = true) where day <= {literal(self._last.isoformat())}::date {known or ''} group by 1"
        ).fetchall()
        return dict(found)
