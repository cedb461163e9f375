"""What a profile run stages beside the tasks' files (sums over buckets), the later days it moves, and its publication."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.catalogue import Catalogue
from features.kernel.rows import USERS_PER_BUCKET
from jobs.profile.compared import COMPRESSION
from jobs.profile.inputs import CHANGES, log_between, log_of
from jobs.profile.overrides import OVERRIDES
from jobs.profile.quality import DISTRIBUTION, FAR_DAYS, Held, Past, Spread, later_quality
from jobs.profile.run import ProfileRun
from lake.lake import Lake, by_bucket, partition_path
from lake.publish import publish
from project.frozen import BREAKS, MODELS
from project.held import QUALITY
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract

PROFILE, SEGMENTS, FLOWS = "profile.profile", "segments.segments", "segments.segment_flows"
TABLES = (MODELS, BREAKS, CHANGES, DISTRIBUTION, QUALITY, OVERRIDES, SEGMENTS, FLOWS, PROFILE)
"""In order of publication: a profile that is there has everything that belongs to it."""
SNAPSHOTS = (OVERRIDES, SEGMENTS, PROFILE)
"""Of which days before ``keep_days`` leave the newest version."""
SPAN_DAYS = (7, 28, 30)
"""Flows are counted from the snapshots so many days back, where they are kept, and from the run before."""
Snapshots = Mapping[dt.date, Mapping[int, list[str]]]
Row = Mapping[str, Any]


@dataclass
class Later:
    """Days after the run's that were run before it and whose rows it moves: those staged anew, by table."""

    after: dt.date | None = None
    flows: list[dt.date] = field(default_factory=list)
    quality: list[dt.date] = field(default_factory=list)


def snapshots_of(lake: Lake) -> dict[dt.date, dict[int, list[str]]]:
    """Files of every snapshot in the newest profile, by day and bucket."""
    found: dict[dt.date, dict[int, list[str]]] = {}
    for f in lake.files(PROFILE):
        found.setdefault(f.partition["as_of"], {}).setdefault(f.partition["bucket"], []).append(f.path)
    return found


def spans_before(snapshots: Snapshots, as_of: dt.date, before: dt.date | None) -> list[dt.date]:
    """Days beside the run before whose snapshots flows are counted from."""
    days = [as_of - dt.timedelta(days=n) for n in SPAN_DAYS]
    return [d for d in days if d in snapshots and d != before]


def comparison(catalogue: Catalogue, before: dt.date | None, as_of: dt.date) -> dict[str, Any]:
    """What tasks that compare two days share."""
    return {
        "previous_as_of": None if before is None else before.isoformat(),
        "as_of": as_of.isoformat(),
        "tags": [[n, t.type, t.log_bands] for n, t in catalogue.tags.items()],
        "dynamic": list(catalogue.dynamic),
        "aging": [n for n, t in catalogue.tags.items() if t.ages],
        "schemes": list(catalogue.schemes),
    }


# --- days after the run's ---


def stage_later(
    run: ProfileRun,
    snapshots: Snapshots,
    after: dt.date | None,
    past: Past,
    held: Held,
    spreads: Mapping[str, Spread],
    rows: Sequence[Row],
) -> Later:
    """Compare later snapshots that are there already with the one just made, and stage what that moves.

    The next one has its changes, flows and quality anew; one that lies 7, 28 or 30 days later its flows from this day;
    one 28 days later its PSI against it. ``rows`` are the run's own of quality.
    """
    later = Later(after)
    spans = {run.as_of + dt.timedelta(days=n) for n in SPAN_DAYS} & set(snapshots)
    for day in sorted(spans | ({after} if after else set())):
        follow = _next_changes(run, snapshots, day) if day == after else _flows_to(run, snapshots, day)
        flows = summed([r["flows"] for r in follow], FLOW_KEYS)
        expected = {(day - dt.timedelta(days=n)) for n in SPAN_DAYS}
        others = [
            r
            for r in _rows(run.lake, FLOWS, day)
            if r["from_as_of"] != run.as_of and (day != after or r["from_as_of"] in expected)
        ]
        stage_rows(run, FLOWS, day, sorted([*others, *_dated(flows)], key=lambda r: [str(r[k]) for k in FLOW_KEYS]))
        later.flows.append(day)
        if day == after or (day - run.as_of).days == FAR_DAYS:
            seen = follow if day == after else None
            theirs = later_quality(run, past, held, spreads, [dict(r) for r in rows], day, seen)
            stage_rows(run, QUALITY, day, theirs)
            later.quality.append(day)
    return later


FLOW_KEYS = ("from_as_of", "scheme", "is_member", "from_segment", "to_segment")


def _dated(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [{**r, "from_as_of": dt.date.fromisoformat(r["from_as_of"])} for r in rows]


def _rows(lake: Lake, table: str, day: dt.date) -> list[dict[str, Any]]:
    files = lake.files(table, where={"as_of": day})
    return [r for path in lake.local(files) for r in pq.read_table(path, partitioning=None).to_pylist()]


def _pairs(run: ProfileRun, snapshots: Snapshots, day: dt.date) -> list[dict[str, Any]]:
    """A later snapshot and the one just made, by bucket."""
    mine = by_bucket(run.lake.staged(PROFILE, run.staged[PROFILE]))
    return [
        {"bucket": b, "current": snapshots[day].get(b, []), "previous": mine.get(b, [])}
        for b in sorted({*snapshots[day], *mine})
    ]


def _next_changes(run: ProfileRun, snapshots: Snapshots, after: dt.date) -> list[dict[str, Any]]:
    shared = run.shared_file("next", {**comparison(run.catalogue, run.as_of, after), "as_of": after.isoformat()})
    more = {"shared": shared, "changes_out": str(run.staged[CHANGES])}
    logs = log_between(run.lake, run.as_of, after)
    items = []
    for pair in _pairs(run, snapshots, after):
        b = pair["bucket"]
        uids = [b * USERS_PER_BUCKET, (b + 1) * USERS_PER_BUCKET - 1]
        items.append({**pair, **more, "log": log_of(logs, b), "uids": uids})
    return run.map("jobs.profile.tasks:changes_of_bucket", items)


def _flows_to(run: ProfileRun, snapshots: Snapshots, day: dt.date) -> list[dict[str, Any]]:
    content = {"from_as_of": run.as_of.isoformat(), "schemes": list(run.catalogue.schemes)}
    shared = run.shared_file(f"flows-{day}", content)
    items = [{**pair, "shared": shared} for pair in _pairs(run, snapshots, day)]
    return run.map("jobs.profile.tasks:flows_of_bucket", items)


# --- small tables ---


def summed(parts: Sequence[Sequence[Row]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of all buckets added up by their keys, in order of the keys."""
    sums: dict[tuple[Any, ...], dict[str, int]] = {}
    for row in (r for part in parts for r in part):
        into = sums.setdefault(tuple(row[k] for k in keys), {})
        for name, value in row.items():
            if name not in keys:
                into[name] = into.get(name, 0) + value
    return [{**dict(zip(keys, k, strict=True)), **v} for k, v in sorted(sums.items())]


def stage_flows(run: ProfileRun, made: Sequence[Row]) -> None:
    """Flows from the run before and from the days of ``SPAN_DAYS``."""
    stage_rows(run, FLOWS, run.as_of, _dated(summed([r["flows"] for r in made], FLOW_KEYS)))


def stage_rows(run: ProfileRun, table: str, day: dt.date, rows: Sequence[Row]) -> None:
    """One small file of a day."""
    if not rows:
        return
    c = contract(table)
    path = run.staged[table] / partition_path({"as_of": day}) / "part-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = file_schema(arrow_schema(c), c.partitions)
    pq.write_table(pa.Table.from_pylist([dict(r) for r in rows], schema), path, compression=COMPRESSION)


def stage_models(run: ProfileRun, rows: Sequence[Row]) -> None:
    """Cards that were fitted now."""
    if rows:
        folder = run.staged[MODELS]
        pq.write_table(
            pa.Table.from_pylist([dict(r) for r in rows], arrow_schema(contract(MODELS))), folder / "part-0.parquet"
        )


def days_staged(run: ProfileRun, later: Later) -> dict[str, list[dt.date]]:
    """By table the days that rows are staged for: the run's, and later ones that moved."""
    moved = {
        CHANGES: [] if later.after is None else [later.after],
        QUALITY: later.quality,
        FLOWS: later.flows,
    }
    return {table: [run.as_of, *moved.get(table, [])] for table in TABLES}


def publish_all(run: ProfileRun, read: Mapping[str, int | None], later: Later, dropped: Sequence[dt.date]) -> None:
    """One transaction a table: the run's day, the later days that moved, and snapshots that leave."""
    days = days_staged(run, later)
    slices: dict[str, list[dict[str, Any]] | None] = {MODELS: None}
    for table in (t for t in TABLES if t != MODELS):
        gone = dropped if table in SNAPSHOTS else ()
        cut_by = str(contract(table).day_partition)
        slices[table] = [{cut_by: d} for d in (*days[table], *gone)]
    noted = {"as_of": run.as_of.isoformat(), "catalogue": run.catalogue.version}
    for table in TABLES:
        publish(
            run.lake,
            table,
            run.staged[table],
            replace=slices[table],
            read_version=read[table],
            run_id=run.run_id,
            key=f"{run.run_id}-{table}-{run.as_of}",
            metadata=noted,
        )


def staged_folders(run: ProfileRun) -> dict[str, Path]:
    """Folders of the tables that something was staged for."""
    return {t: f for t, f in run.staged.items() if run.lake.is_filled(f)}
