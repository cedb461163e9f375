"""What a profile run computes from: the base population, its facts, what other tables say of users, earlier days."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.catalogue import user_tables
from features.instants import business_day_of, iso_day_of
from features.kernel.rows import USERS_PER_BUCKET
from jobs.profile.run import ProfileRun
from lake.lake import Lake, by_bucket
from lake.staged import described
from project.frozen import Numbers
from project.products import products_as_of

CHANGES = "profile.tag_changes"
BUCKET_FILE = re.compile(r"bucket-(\d+)(-\d+)?(--[0-9a-f]+)?\.parquet")
"""What jobs/profile/compared.py calls a file of changes: its bucket, and the slice where that was cut."""


def population(run: ProfileRun) -> dict[int, list[str]]:
    """Write the base population of the day; its files by bucket."""
    from features.population import known_by, users_state

    users, identifiers, members, activity = (
        run.engine.table(run.lake, t)
        for t in ("identity.users", "identity.identifiers", "silver.members", "activity.activity")
    )
    state = users_state(users, identifiers, members, run.as_of, run.lake.zone, run.known_at)
    if run.known_at is not None:
        told = members.where(members["_ingested_at"] <= run.known_at)
        known_day = business_day_of(run.known_at, run.lake.zone)
        state = known_by(state, activity, identifiers, told, run.as_of, known_day)
    folder = run.scratch / "users"
    run.engine.write(state, folder, partition_by=["bucket"], sort_by=["uid"])
    found: dict[int, list[str]] = {}
    for path in run.lake.store.below(folder):
        if described(run.lake.store, path).rows:
            found.setdefault(int(Path(path).parent.name.removeprefix("bucket=")), []).append(path)
    return dict(sorted(found.items()))


def computed_facts(run: ProfileRun, buckets: Mapping[int, list[str]], numbers: Numbers) -> dict[int, str]:
    """Compute the declared facts of every bucket, with ``numbers`` where a fact takes its own from a break."""
    facts = run.catalogue.kernel_facts
    if not facts or not buckets:
        return {}
    activity = by_bucket(run.lake.files("activity.activity"))
    sizes = _bucket_sizes(run.lake)
    shared = {
        "facts": [f.resolved(numbers).model_dump(mode="json", by_alias=True, exclude_none=True) for f in facts],
        "as_of": run.as_of.isoformat(),
        "zone": run.lake.zone,
        "known_at_day": iso_day_of(run.known_at, run.lake.zone),
        "products": str(_products(run)),
        "codes": [f.path for f in run.lake.files("activity.codes")],
    }
    items = []
    for bucket in buckets:
        item = {**shared, "bucket": bucket, "files": activity.get(bucket, [])}
        item["out"] = str(run.scratch / "facts" / f"bucket-{bucket}.arrow")
        if bucket in sizes:
            item["users"] = sizes[bucket]
        items.append(item)
    return {r["bucket"]: r["path"] for r in run.map("jobs.activity.facts:facts_of_bucket", items)}


def first_day_of_activity(lake: Lake) -> dt.date | None:
    """The day of the first behaviour, from the footers of the earliest period's files; None without any.

    Not the day on which the first person was seen: members may have registered years before the first log.
    """
    files = [f for f in lake.files("activity.activity") if f.rows]
    first = min((f.partition["period"] for f in files), default=None)
    days = (_least_day(path) for path in lake.local(f for f in files if f.partition["period"] == first))
    return min(days, default=None)


def _least_day(path: str) -> dt.date:
    file = pq.ParquetFile(path)
    place = file.schema_arrow.get_field_index("day")
    groups = [file.metadata.row_group(i).column(place).statistics for i in range(file.metadata.num_row_groups)]
    if all(g is not None and g.has_min_max for g in groups):
        least: dt.date = min(g.min for g in groups)
    else:
        least = pc.min(file.read(columns=["day"])["day"]).as_py()
    return least


def _bucket_sizes(lake: Lake) -> dict[int, int]:
    """How many uids of each bucket were ever given, from the footers of identity.users."""
    found: dict[int, int] = {}
    files = lake.files("identity.users")
    for f, path in zip(files, lake.local(files), strict=True):
        footer = pq.read_metadata(path)
        position = footer.schema.names.index("uid")
        bucket = f.partition["bucket"]
        for g in range(footer.num_row_groups):
            statistics = footer.row_group(g).column(position).statistics
            if statistics is None or not statistics.has_min_max:
                return {}
            found[bucket] = max(found.get(bucket, 0), statistics.max - bucket * USERS_PER_BUCKET + 1)
    return found


def _products(run: ProfileRun) -> Path:
    path = run.scratch / "products.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(products_as_of(run.lake, run.as_of, known_at=run.known_at), path)
    return path


# --- what the tasks of a bucket read ---


def items_of(
    run: ProfileRun,
    buckets: Mapping[int, list[str]],
    facts: Mapping[int, str],
    snapshots: Mapping[dt.date, Mapping[int, list[str]]],
    before: dt.date | None,
    spans: Sequence[dt.date],
) -> list[dict[str, Any]]:
    """What each bucket's tasks read. A bucket all of whose users left is there too: they are LOST."""
    logs = log_between(run.lake, before, run.as_of)
    previous = snapshots.get(before, {}) if before else {}
    described = _described(run)
    earlier = {b for day in (before, *spans) if day for b in snapshots.get(day, {})}
    sizes = _bucket_sizes(run.lake)
    return [
        {
            "bucket": b,
            "users": buckets.get(b, []),
            "facts": facts.get(b),
            "described": {table: files.get(b, []) for table, files in described.items()},
            "overrides": run.overrides.files.get(b),
            "previous": previous.get(b, []),
            "spans": {day.isoformat(): snapshots[day].get(b, []) for day in spans},
            "log": log_of(logs, b),
            "uids": [b * USERS_PER_BUCKET, (b + 1) * USERS_PER_BUCKET - 1],
            "size": sizes.get(b, USERS_PER_BUCKET),
        }
        for b in sorted({*buckets, *earlier})
    ]


LEAST_SLICE = 12_500
"""Uids of the narrowest slice: below that, planning the statement of all tags costs more than running it."""


def slices_of(items: Sequence[Mapping[str, Any]], cores: int) -> list[dict[str, Any]]:
    """The items cut by ranges of uids until none holds more than a core's share of all users; whole where buckets are many.

    Widths are a bucket's, halved: a slice then finds its users in one file of the day before. What is global to a bucket
    (facts, frozen numbers, models, overrides) is made before.
    """
    share = sum(item["size"] for item in items) / cores
    width = USERS_PER_BUCKET
    while min(width, max((item["size"] for item in items), default=0)) > share and width // 2 >= LEAST_SLICE:
        width //= 2
    return [piece for item in items for piece in _cut(item, width)]


def _cut(item: Mapping[str, Any], width: int) -> list[dict[str, Any]]:
    first, last = item["uids"]
    starts = [first, *range(first + width, first + item["size"], width)]
    ends = [low - 1 for low in starts[1:]] + [last]
    return [{**item, "slice": n, "uids": [low, high]} for n, (low, high) in enumerate(zip(starts, ends, strict=True))]


def _described(run: ProfileRun) -> dict[str, dict[int, list[str]]]:
    """Files of the day's slice of every table that describes users, by table and bucket; none where there is none."""
    return {table: by_bucket(run.lake.files(table, where={"as_of": run.as_of})) for table in user_tables()}


def log_between(lake: Lake, before: dt.date | None, day: dt.date) -> list[list[str]]:
    """Changes of days between two snapshots whose own snapshots are gone: day and file."""
    found = [(f.partition["from_day"], f.path) for f in lake.files(CHANGES)]
    return [[d.isoformat(), p] for d, p in sorted(found) if d < day and (before is None or d > before)]


def log_of(files: Sequence[list[str]], bucket: int) -> list[list[str]]:
    """Those of the files that can hold changes of the bucket: its own by their name, and those named otherwise."""
    found = []
    for f in files:
        named = BUCKET_FILE.fullmatch(Path(f[1]).name)
        if named is None or int(named[1]) == bucket:
            found.append(f)
    return found
