"""How new the feeds of tags are, and how many rows they brought for a day against how many they usually bring."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from jobs.profile.run import ProfileRun
from lake.lake import Lake
from project.feed_days import feed_days

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
    with feed_days(run.lake, run.as_of, run.known_at) as there:
        newest = {feed: there.newest(feed) for feed in feeds}
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
    with feed_days(lake, as_of, known_at) as there:
        for feed in feeds:
            by_day = there.rows(feed, (as_of - since).days + history_days)
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
