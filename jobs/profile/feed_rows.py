"""How new the feeds of tags are, and how many rows they brought for a day against how many they usually bring."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal

import duckdb

from jobs.profile.run import ProfileRun
from lake.lake import Lake
from schemas.contracts import contract

LEAST_DAYS = 7
"""Days with rows before the ones in question, below which nobody knows what is usual."""


@dataclass(frozen=True)
class FeedRows:
    """Rows a day of one feed since some day, and the two that are usual: of the trailing days and of the same weekdays.

    Fewer rows are held against the lesser, more against the greater: a quiet Sunday and a busy Saturday are as usual.
    """

    feed: str
    rows: float
    least: float
    most: float

    @property
    def usual(self) -> float:
        """The one that the rows are held against."""
        return self.least if self.rows < self.least else self.most

    def off(self, share: float) -> Literal["short", "long"] | None:
        """Less than this share of the usual rows, or more than its inverse."""
        if self.rows < share * self.least:
            return "short"
        return "long" if self.rows > self.most / share else None


def freshness_of(run: ProfileRun) -> dict[str, int | None]:
    """Days by tag from the newest event of its source feeds to the run's day; None without any."""
    feeds = sorted({s for t in run.catalogue.tags.values() for s in t.sources})
    with _connection() as con:
        newest = {feed: _newest_day(con, run, feed) for feed in feeds}
    found: dict[str, int | None] = {}
    for name, tag in run.catalogue.tags.items():
        days = [d for s in tag.sources if (d := newest[s]) is not None]
        found[name] = (run.as_of - max(days)).days if days else None
    return found


def feed_rows(
    lake: Lake,
    feeds: Iterable[str],
    since: dt.date,
    as_of: dt.date,
    *,
    history_days: int,
    known_at: dt.datetime | None = None,
) -> list[FeedRows]:
    """Rows a day after ``since`` until ``as_of``, and in the ``history_days`` until ``since``; feeds too young are left out.

    Days between the first and the last with rows count as days without any; those before the feed began do not.
    """
    found = []
    with _connection() as con:
        for feed in feeds:
            by_day = _rows_by_day(con, lake, feed, since - dt.timedelta(days=history_days), as_of, known_at)
            first = min(by_day, default=as_of)
            history = [
                since - dt.timedelta(days=i) for i in range(history_days) if since - dt.timedelta(days=i) >= first
            ]
            if len(history) < LEAST_DAYS:
                continue
            days = [since + dt.timedelta(days=i + 1) for i in range((as_of - since).days)]
            whole = float(median(by_day.get(d, 0) for d in history))
            # a week of history has every weekday; several days are held against the mean of what each of them usually has
            alike = fmean(_median_of_weekday(by_day, history, d.weekday()) for d in days)
            if whole or alike:
                rows = fmean(by_day.get(d, 0) for d in days)
                found.append(FeedRows(feed, rows, min(whole, alike), max(whole, alike)))
    return found


def _median_of_weekday(by_day: Mapping[dt.date, int], history: Iterable[dt.date], weekday: int) -> float:
    return float(median(by_day.get(d, 0) for d in history if d.weekday() == weekday))


def _rows_by_day(
    con: duckdb.DuckDBPyConnection, lake: Lake, feed: str, first: dt.date, last: dt.date, known_at: dt.datetime | None
) -> dict[dt.date, int]:
    table = f"silver.{feed}"
    months = {d.year * 100 + d.month for d in (first - dt.timedelta(days=1), first, last, last + dt.timedelta(days=1))}
    files = [f.path for f in lake.files(table) if min(months) <= f.partition["event_month"] <= max(months)]
    if not files:
        return {}
    values: dict[str, Any] = {"first": first, "last": last}
    learned = ""
    if known_at is not None:
        values["known_at"], learned = known_at, "and _ingested_at <= $known_at"
    key = ", ".join(contract(table).key)
    # a row that was corrected has several versions, and is one row
    sql = (
        f"select day, count(distinct ({key})) from (select *, ({_stamp(table)} at time zone '{lake.zone}')::date as day "
        f"from {_parquet(files)}) where day between $first and $last {learned} group by 1"
    )
    return {dt.date.fromisoformat(str(day)): n for day, n in con.execute(sql, values).fetchall()}


def _newest_day(con: duckdb.DuckDBPyConnection, run: ProfileRun, feed: str) -> dt.date | None:
    """Business day of the newest event of a feed by the run's day; the newest month that has one is all that is read."""
    from features.population import end_of_day

    table = f"silver.{feed}"
    months: dict[int, list[str]] = {}
    for f in run.lake.files(table):
        months.setdefault(f.partition["event_month"], []).append(f.path)
    stamp = _stamp(table)
    values: dict[str, Any] = {"until": end_of_day(run.as_of, run.lake.zone)}
    learned = ""
    if run.known_at is not None:
        values["known_at"], learned = run.known_at, "and _ingested_at <= $known_at"
    for month in sorted((m for m in months if m <= run.as_of.year * 100 + run.as_of.month), reverse=True):
        sql = (
            f"select (max({stamp}) at time zone '{run.lake.zone}')::date "
            f"from {_parquet(months[month])} where {stamp} <= $until {learned}"
        )
        ((day,),) = con.execute(sql, values).fetchall()
        if day is not None:
            return dt.date.fromisoformat(str(day))
    return None


def _stamp(table: str) -> str:
    """When the event of a row of silver happened; when it was received where the row does not say."""
    return f"coalesce({', '.join((*contract(table).event_time, '_ingested_at'))})"


def _parquet(files: Iterable[str]) -> str:
    listed = ", ".join("'" + p.replace("'", "''") + "'" for p in files)
    return f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"


@contextmanager
def _connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": "1"}) as con:
        con.execute("set enable_progress_bar = false")
        con.execute("set TimeZone = 'UTC'")
        yield con
