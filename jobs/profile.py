"""Step ``profile``: every tag of every user as of one day, what changed, and where everybody stands.

1. the base population of the day by the engine's frames; products as of the day;
2. a task per bucket computes the facts (jobs/facts.py);
3. global numbers (breaks) and, where none is stored, models, from values that tasks collect;
4. a task per bucket computes the tags, compares them with the snapshot before, and writes profile, changes, segments;
5. audit, then one publication a table, the profile last.

Running a day again replaces its slices and changes nothing. Back-filling a day also recomputes the changes and flows
of the next snapshot that exists. Snapshots older than ``keep_days`` leave the newest version of the table, month ends
stay.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.catalogue import Catalogue, fact_type, observed_days
from features.kernel.rows import USERS_PER_BUCKET
from features.tagging import kept_tags, make_plan
from jobs.profile_frozen import Cards, Numbers, frozen, spec_hash
from jobs.profile_tasks import COMPRESSION
from lake.lake import Lake, partition_path
from lake.locks import lock
from lake.publish import publish
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract

if TYPE_CHECKING:
    from jobs.project import Project
    from lake.engine import Engine

PROFILE, CHANGES, QUALITY = "profile.profile", "profile.tag_changes", "profile.tag_quality"
BREAKS, MODELS = "profile.breaks", "profile.models"
SEGMENTS, FLOWS = "segments.segments", "segments.segment_flows"
TABLES = (MODELS, BREAKS, CHANGES, QUALITY, SEGMENTS, FLOWS, PROFILE)
"""In order of publication: a profile that is there has everything that belongs to it."""
OBSERVED_DAYS = "observed_days"
"""Name under which ``profile.breaks`` keeps how many days of data a run could see."""

Progress = Callable[[int, int], None]
Audit = Callable[[dict[str, Path]], object]


@dataclass(frozen=True)
class ProfileReport:
    """What the step made. ``counts`` goes into the release; ``warnings`` are for the person who runs it."""

    as_of: dt.date
    users: int
    members: int
    counts: dict[str, int]
    warnings: tuple[str, ...]
    versions: dict[str, int | None]


@dataclass
class ProfileRun:
    """What the steps of one run share."""

    lake: Lake
    engine: Engine
    catalogue: Catalogue
    as_of: dt.date
    known_at: dt.datetime | None
    run_id: str
    keep_days: int
    progress: Progress | None
    scratch: Path
    staged: dict[str, Path] = field(default_factory=dict)

    def map(self, task: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.engine.map(task, items, self.progress)

    def shared_file(self, name: str, content: dict[str, Any]) -> str:
        """What all tasks of a step share, in one file; its name."""
        path = self.scratch / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {
            "as_of": self.as_of.isoformat(),
            "attributes": [[n, kind] for n, (kind, _) in self.catalogue.attributes.items()],
            "facts": [[f.id, fact_type(f), f.absent] for f in self.catalogue.kernel_facts],
            "kept": kept_tags(self.catalogue),
            **content,
        }
        path.write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
        return str(path)


def run_profile(
    project: Project,
    engine: Engine,
    as_of: dt.date,
    *,
    run_id: str,
    known_at: dt.datetime | None = None,
    progress: Progress | None = None,
    audit: Audit | None = None,
    refit: Sequence[str] = (),
) -> ProfileReport:
    """Compute and publish the profile of ``as_of`` from the newest identity and activity.

    ``known_at`` leaves out what was learned later. ``audit`` is called with the staged folder of each table before
    anything is published, and stops the run by raising. ``refit`` names models to fit anew though one is stored.
    """
    return update_profile(
        project.lake,
        engine,
        project.catalogue,
        as_of,
        run_id=run_id,
        known_at=known_at,
        keep_days=project.settings.keep_days,
        progress=progress,
        audit=audit,
        refit=refit,
    )


def update_profile(
    lake: Lake,
    engine: Engine,
    catalogue: Catalogue,
    as_of: dt.date,
    *,
    run_id: str,
    known_at: dt.datetime | None = None,
    keep_days: int = 35,
    progress: Progress | None = None,
    audit: Audit | None = None,
    refit: Sequence[str] = (),
) -> ProfileReport:
    """``run_profile`` without a project folder."""
    with lock(lake, *TABLES):
        for table in TABLES:
            lake.ensure(table, catalogue.columns if table == PROFILE else None)
        read = {table: lake.version(table) for table in TABLES}
        scratch = lake.scratch(run_id) / f"profile-{as_of}"
        run = ProfileRun(lake, engine, catalogue, as_of, known_at, run_id, keep_days, progress, scratch)
        run.staged = {table: lake.stage(table, run_id) for table in TABLES}
        buckets = _population(run)
        facts = _facts(run, buckets)
        snapshots = _snapshots(lake)
        before = max((d for d in snapshots if d < as_of), default=None)
        after = min((d for d in snapshots if d > as_of), default=None)
        items = _items(run, buckets, facts, snapshots.get(before, {}) if before else {}, before, as_of)
        numbers, cards, fitted = frozen(run, items, refit)
        made = _profiles(run, items, numbers, cards, before)
        follow = [] if after is None else _next_changes(run, made, snapshots, as_of, after)
        first = min((r["first_day"] for r in made if r["first_day"]), default=None)
        days = observed_days(None if first is None else dt.date.fromisoformat(first), as_of)
        _stage_small(run, made, follow, numbers, days, before, after)
        _stage_models(run, fitted)
        if audit is not None:
            audit({t: f for t, f in run.staged.items() if any(f.rglob("*.parquet"))})
        dropped = _expired(set(snapshots) | {as_of}, as_of, keep_days)
        _publish(run, read, after, dropped)
        return ProfileReport(
            as_of=as_of,
            users=sum(r["users"] for r in made),
            members=sum(r["members"] for r in made),
            counts=_counts(catalogue, made),
            warnings=tuple(catalogue.window_warnings(days)),
            versions={table: lake.version(table) for table in TABLES},
        )


# --- who, and what they did ---


def _population(run: ProfileRun) -> dict[int, list[str]]:
    """Write the base population of the day; its files by bucket."""
    from features.population import users_state

    users, identifiers, members = (
        run.engine.table(run.lake, t) for t in ("identity.users", "identity.identifiers", "silver.members")
    )
    state = users_state(users, identifiers, members, run.as_of, run.lake.zone, run.known_at)
    folder = run.scratch / "users"
    run.engine.write(state, folder, partition_by=["bucket"], sort_by=["uid"])
    found: dict[int, list[str]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        if pq.read_metadata(path).num_rows:
            found.setdefault(int(path.parent.name.removeprefix("bucket=")), []).append(str(path))
    return dict(sorted(found.items()))


def _facts(run: ProfileRun, buckets: Mapping[int, list[str]]) -> dict[int, str]:
    """Compute the declared facts of every bucket; the file of each."""
    facts = run.catalogue.kernel_facts
    if not facts or not buckets:
        return {}
    activity: dict[int, list[str]] = {}
    for f in run.lake.files("activity.activity"):
        activity.setdefault(f.partition["bucket"], []).append(f.path)
    sizes = _bucket_sizes(run.lake)
    shared = {
        "facts": [f.model_dump(mode="json", by_alias=True, exclude_none=True) for f in facts],
        "as_of": run.as_of.isoformat(),
        "zone": run.lake.zone,
        "known_at_day": None if run.known_at is None else _business_day(run.known_at, run.lake.zone).isoformat(),
        "products": str(_products(run)),
        "codes": [f.path for f in run.lake.files("activity.codes")],
    }
    items = []
    for bucket in buckets:
        item = {**shared, "bucket": bucket, "files": sorted(activity.get(bucket, []))}
        item["out"] = str(run.scratch / "facts" / f"bucket-{bucket}.parquet")
        if bucket in sizes:
            item["users"] = sizes[bucket]
        items.append(item)
    return {r["bucket"]: r["path"] for r in run.map("jobs.facts:facts_of_bucket", items)}


def _bucket_sizes(lake: Lake) -> dict[int, int]:
    """How many uids of each bucket were ever given, from the footers of identity.users."""
    found: dict[int, int] = {}
    for f in lake.files("identity.users"):
        footer = pq.read_metadata(f.path)
        position = footer.schema.names.index("uid")
        bucket = f.partition["bucket"]
        for g in range(footer.num_row_groups):
            statistics = footer.row_group(g).column(position).statistics
            if statistics is None or not statistics.has_min_max:
                return {}
            found[bucket] = max(found.get(bucket, 0), statistics.max - bucket * USERS_PER_BUCKET + 1)
    return found


def _business_day(moment: dt.datetime, zone: str) -> dt.date:
    from zoneinfo import ZoneInfo

    return moment.astimezone(ZoneInfo(zone)).date()


def _products(run: ProfileRun) -> Path:
    """What each sku was as of the day: the last version in force by its end, as features/versions.py has it."""
    import duckdb

    from features.population import end_of_day

    path = run.scratch / "products.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("codes", run.lake.dataset("activity.codes"))
        con.register("products", run.lake.dataset("silver.products"))
        learned = "" if run.known_at is None else "AND _ingested_at <= $known_at"
        values: dict[str, Any] = {"until": end_of_day(run.as_of, run.lake.zone)}
        if run.known_at is not None:
            values["known_at"] = run.known_at
        table = con.sql(
            f"""
            SELECT c.code AS sku_code, p.brand, p.category, p.category_parent
            FROM codes c LEFT JOIN (
                SELECT * FROM products WHERE COALESCE(source_time, _ingested_at) <= $until {learned}
                QUALIFY row_number() OVER (
                    PARTITION BY sku_id ORDER BY source_time DESC NULLS LAST, _ingested_at DESC, _file DESC, _row DESC
                ) = 1
            ) p ON p.sku_id = c.code_value
            WHERE c.code_kind = 'sku' ORDER BY c.code
            """,
            params=values,
        ).to_arrow_table()
    pq.write_table(table, path)
    return path


# --- tags ---


def _items(
    run: ProfileRun,
    buckets: Mapping[int, list[str]],
    facts: Mapping[int, str],
    previous: Mapping[int, list[str]],
    before: dt.date | None,
    as_of: dt.date,
) -> list[dict[str, Any]]:
    """What each bucket's tasks read. A bucket all of whose users left is there too: they are LOST."""
    log = _log_between(run.lake, before, as_of)
    return [
        {
            "bucket": b,
            "users": buckets.get(b, []),
            "facts": facts.get(b),
            "previous": previous.get(b, []),
            "log": log,
            "uids": [b * USERS_PER_BUCKET, (b + 1) * USERS_PER_BUCKET - 1],
        }
        for b in sorted({*buckets, *previous})
    ]


def _log_between(lake: Lake, before: dt.date | None, day: dt.date) -> list[list[str]]:
    """Changes of days between two snapshots whose own snapshots are gone: day and file."""
    found = [(f.partition["from_day"], f.path) for f in lake.files(CHANGES)]
    return [[d.isoformat(), p] for d, p in sorted(found) if d < day and (before is None or d > before)]


def _profiles(
    run: ProfileRun, items: list[dict[str, Any]], numbers: Numbers, cards: Cards, before: dt.date | None
) -> list[dict[str, Any]]:
    plan = make_plan(run.catalogue, run.as_of, numbers, cards).to_json()
    shared = run.shared_file("profile", {"plan": plan, **_comparison(run.catalogue, before, run.as_of)})
    out = {
        "profile_out": str(run.staged[PROFILE]),
        "segments_out": str(run.staged[SEGMENTS]),
        "changes_out": str(run.staged[CHANGES]),
    }
    return run.map("jobs.profile_tasks:profile_of_bucket", [{**item, **out, "shared": shared} for item in items])


def _next_changes(
    run: ProfileRun,
    made: Sequence[dict[str, Any]],
    snapshots: Mapping[dt.date, Mapping[int, list[str]]],
    as_of: dt.date,
    after: dt.date,
) -> list[dict[str, Any]]:
    """Compare the next snapshot, which is there already, with the one just made."""
    shared = run.shared_file("next", {**_comparison(run.catalogue, as_of, after), "as_of": after.isoformat()})
    log = _log_between(run.lake, as_of, after)
    items = []
    for bucket, files in sorted(snapshots[after].items()):
        place = run.staged[PROFILE] / partition_path({"as_of": as_of, "bucket": bucket}) / "part-0.parquet"
        items.append(
            {
                "bucket": bucket,
                "current": files,
                "previous": [str(place)] if place.is_file() else [],
                "log": log,
                "uids": [bucket * USERS_PER_BUCKET, (bucket + 1) * USERS_PER_BUCKET - 1],
                "changes_out": str(run.staged[CHANGES]),
                "shared": shared,
            }
        )
    return run.map("jobs.profile_tasks:changes_of_bucket", items)


def _comparison(catalogue: Catalogue, before: dt.date | None, as_of: dt.date) -> dict[str, Any]:
    return {
        "previous_as_of": None if before is None else before.isoformat(),
        "as_of": as_of.isoformat(),
        "tags": [[n, t.type, t.log_bands] for n, t in catalogue.tags.items()],
        "dynamic": list(catalogue.dynamic),
        "schemes": list(catalogue.schemes),
    }


# --- staging and publishing ---


def _stage_small(
    run: ProfileRun,
    made: Sequence[dict[str, Any]],
    follow: Sequence[dict[str, Any]],
    numbers: Numbers,
    days: int,
    before: dt.date | None,
    after: dt.date | None,
) -> None:
    """Breaks, flows and quality: sums over buckets, one small file a day."""
    frozen = [
        {"name": name, "position": i, "number": value, "spec": "", "fitted_on": run.as_of}
        for name, values in {**numbers, OBSERVED_DAYS: (float(days),)}.items()
        for i, value in enumerate(values, start=1)
    ]
    _stage_rows(run, BREAKS, run.as_of, frozen)
    for results, day, origin in ((made, run.as_of, before), (follow, after, run.as_of)):
        if day is None:
            continue
        flows = _summed([r["flows"] for r in results], ("scheme", "is_member", "from_segment", "to_segment"))
        _stage_rows(run, FLOWS, day, [{"from_as_of": origin, **row} for row in flows])
        unknown = {"declared_users": 0, "compared_users": 0, "agreeing_users": 0, "verdict": "first"}
        quality = _summed([r["quality"] for r in results], ("tag", "is_member"))
        _stage_rows(run, QUALITY, day, [{**row, **unknown} for row in quality])


def _summed(parts: Sequence[Sequence[Mapping[str, Any]]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of all buckets added up by their keys, in order of the keys."""
    sums: dict[tuple[Any, ...], dict[str, int]] = {}
    for row in (r for part in parts for r in part):
        into = sums.setdefault(tuple(row[k] for k in keys), {})
        for name, value in row.items():
            if name not in keys:
                into[name] = into.get(name, 0) + value
    return [{**dict(zip(keys, k, strict=True)), **v} for k, v in sorted(sums.items())]


def _stage_rows(run: ProfileRun, table: str, day: dt.date, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    c = contract(table)
    path = run.staged[table] / partition_path({"as_of": day}) / "part-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = file_schema(arrow_schema(c), c.partitions)
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path, compression=COMPRESSION)


def _stage_models(run: ProfileRun, fitted: Cards) -> None:
    rows = [
        {
            "name": name,
            "model_version": f"{run.as_of}-{spec_hash(card)}",
            "as_of": run.as_of,
            "content": json.dumps(card, ensure_ascii=False, sort_keys=True),
            "created_at": dt.datetime.now(dt.UTC),
        }
        for name, card in sorted(fitted.items())
    ]
    if rows:
        folder = run.staged[MODELS]
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(contract(MODELS))), folder / "part-0.parquet")


def _publish(
    run: ProfileRun, read: Mapping[str, int | None], after: dt.date | None, dropped: Sequence[dt.date]
) -> None:
    days = [run.as_of] if after is None else [run.as_of, after]
    slices: dict[str, list[dict[str, Any]] | None] = {
        MODELS: None,
        BREAKS: [{"as_of": run.as_of}],
        CHANGES: [{"from_day": d} for d in days],
        QUALITY: [{"as_of": d} for d in days],
        FLOWS: [{"as_of": d} for d in days],
        SEGMENTS: [{"as_of": d} for d in (run.as_of, *dropped)],
        PROFILE: [{"as_of": d} for d in (run.as_of, *dropped)],
    }
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


def _snapshots(lake: Lake) -> dict[dt.date, dict[int, list[str]]]:
    """Files of every snapshot in the newest profile, by day and bucket."""
    found: dict[dt.date, dict[int, list[str]]] = {}
    for f in lake.files(PROFILE):
        found.setdefault(f.partition["as_of"], {}).setdefault(f.partition["bucket"], []).append(f.path)
    return found


def _expired(days: set[dt.date], as_of: dt.date, keep_days: int) -> list[dt.date]:
    """Days whose snapshot leaves the table: before the newest ``keep_days``, no month end, not this run's."""
    first = max(days) - dt.timedelta(days=keep_days - 1)
    return sorted(d for d in days if d < first and d != as_of and (d + dt.timedelta(days=1)).day != 1)


def _counts(catalogue: Catalogue, made: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    users = sum(r["users"] for r in made)
    members = sum(r["members"] for r in made)
    return {
        "users": users,
        "members": members,
        "visitors": users - members,
        "tags": len(catalogue.tags),
        "segmentations": len(catalogue.schemes),
        "tag_changes": sum(r["changes"] for r in made),
    }
