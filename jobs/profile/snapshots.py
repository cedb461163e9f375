"""Tables that hold a slice a day: how a day's slice takes its place, and which snapshots leave."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lake.lake import Lake
from lake.locks import lock
from lake.publish import Audit, publish


@contextmanager
def day_of(
    lake: Lake,
    tables: Sequence[str],
    as_of: dt.date,
    *,
    run_id: str,
    audit: Audit | None = None,
    keep_days: int | None = None,
) -> Iterator[dict[str, Path]]:
    """Folders to stage the day's rows in, by table; after the block they take the place of what the day held.

    The tables are locked meanwhile, and published in their order. ``audit`` is called with what was staged before
    anything is published: if it raises, or the block does, the tables stay as they were. With ``keep_days`` expired
    snapshots leave in the same transaction.
    """
    with lock(lake, *tables):
        for table in tables:
            lake.ensure(table)
        read = {table: lake.version(table) for table in tables}
        staged = {table: lake.stage(table, run_id) for table in tables}
        yield staged
        if audit is not None and (filled := {t: f for t, f in staged.items() if lake.is_filled(f)}):
            audit(filled, {table: [as_of] for table in tables})
        for table in tables:
            there = {f.partition["as_of"] for f in lake.files(table)}
            gone = [] if keep_days is None else expired(there, as_of, keep_days)
            publish(
                lake,
                table,
                staged[table],
                replace=[{"as_of": day} for day in (as_of, *gone)],
                read_version=read[table],
                run_id=run_id,
                key=f"{run_id}-{table}-{as_of}",
                metadata={"as_of": as_of.isoformat()},
            )


def expired(days: set[dt.date], as_of: dt.date, keep_days: int) -> list[dt.date]:
    """Days whose snapshot leaves the table: before the newest ``keep_days``, no month end, not this run's ``as_of``."""
    first = max({*days, as_of}) - dt.timedelta(days=keep_days - 1)
    return sorted(d for d in days if d < first and d != as_of and (d + dt.timedelta(days=1)).day != 1)
