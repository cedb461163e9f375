"""Which daily snapshots of a table leave its newest version."""

from __future__ import annotations

import datetime as dt


def expired(days: set[dt.date], as_of: dt.date, keep_days: int) -> list[dt.date]:
    """Days whose snapshot leaves the table: before the newest ``keep_days``, no month end, not this run's ``as_of``."""
    first = max({*days, as_of}) - dt.timedelta(days=keep_days - 1)
    return sorted(d for d in days if d < first and d != as_of and (d + dt.timedelta(days=1)).day != 1)
