"""What a plan is judged on: profile columns and event facts of one bucket at a release, in the order of the profile.

Inputs of a bucket are plain data (``bucket_inputs``), so that an engine's tasks can read them anywhere.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from audiences.plan import Leaf, Plan, alert_column, walk
from features.facts import Fact, first_day, needs
from features.kernel import Products, compute
from features.kernel.rows import USERS_PER_BUCKET
from jobs.activity.bucket_files import BucketFiles, Wanted
from jobs.activity.products import CODES, products_as_of
from lake.attempts import fetch_inputs
from lake.budget import in_memory
from lake.engine import Engine, Progress
from lake.lake import Lake, by_bucket
from lake.releases import Release, lake_at
from project.folder import Project
from schemas.behaviours import BEHAVIOURS
from schemas.configuration import nearest
from schemas.errors import NotThereError
from schemas.measures import CODED_KEYS, PRODUCT_KEYS

PROFILE = "profile.profile"
ACTIVITY = "activity.activity"
ALERT_USERS = "segments.alert_users"
USERS = "identity.users"
Inputs = dict[str, Any]
INLINE_BUCKETS = 4
"""Up to this many buckets are judged in this process: starting others takes longer."""


@dataclass(frozen=True)
class Prepared:
    """Inputs of every bucket of a release for one plan, and names in the plan that never occur there."""

    release: Release
    buckets: dict[int, Inputs]
    warnings: tuple[str, ...]


def with_elders(lake: Lake, release: Release, plan: Plan) -> Plan:
    """The plan with whom its lists of users name also under the user_id of the person they were merged into.

    A list is kept for long: who is on it to be left out must stay so after a merge. The definition's hash is as it was.
    """
    named = {v for _, node in walk(plan.root) if isinstance(node, Leaf) for v in _users_named(node.model_dump())}
    files = lake.local(lake_at(lake, release).files(USERS)) if named else []
    if not files:
        return plan
    users, wanted = pads.dataset(files), pa.array(sorted(named), pa.string())
    retired = pads.field("user_id").isin(wanted) & pads.field("merged_into_uid").is_valid()
    merged = users.to_table(columns=["user_id", "merged_into_uid"], filter=retired)
    if not len(merged):
        return plan
    into = users.to_table(columns=["uid", "user_id"], filter=pads.field("uid").isin(merged["merged_into_uid"].unique()))
    name_of = dict(zip(into["uid"].to_pylist(), into["user_id"].to_pylist(), strict=True))
    elders = {r["user_id"]: name_of[r["merged_into_uid"]] for r in merged.to_pylist()}
    whole = plan.model_dump(mode="json")
    _add_elders(whole["root"], elders)
    return Plan.model_validate(whole)


def _users_named(leaf: dict[str, Any]) -> list[str]:
    return [v for test in leaf["tests"] for v in test["values"]] if leaf["column"] == "user_id" else []


def _add_elders(part: Any, elders: dict[str, str]) -> None:
    if isinstance(part, list):
        for one in part:
            _add_elders(one, elders)
    elif isinstance(part, dict) and part.get("kind") == "leaf":
        for test in part["tests"] if _users_named(part) else ():
            test["values"] += sorted({elders[v] for v in test["values"] if v in elders} - {*test["values"]})
    elif isinstance(part, dict):
        for one in part.values():
            _add_elders(one, elders)


def facts_of(plan: Plan) -> list[Fact]:
    """The plan's event conditions as facts of the kernel, under their ids."""
    return [Fact.model_validate({**fact, "id": name}) for name, fact in plan.facts.items()]


def prepared(project: Project, release: Release, plan: Plan, scratch: Path, further: Sequence[str] = ()) -> Prepared:
    """Where each bucket's profile and activity lie at the release, and what codes and products meant on its day.

    ``further`` are profile columns wanted beside the plan's. Small files that tasks share are written to ``scratch``.
    NotThereError if a tag is newer than the release.
    """
    lake = lake_at(project.lake, release)
    columns = list(dict.fromkeys(["uid", "user_id", "is_member", *plan.columns, *further]))
    wanted_columns = [c for c in columns if c not in ("as_of", "bucket")]
    profiles = by_bucket(lake.files(PROFILE, where={"as_of": release.as_of}))
    refuse_missing(release, lake.local([p for paths in profiles.values() for p in paths][:1]), wanted_columns)
    facts = facts_of(plan)
    shared: Inputs = {
        "as_of": release.as_of.isoformat(),
        "columns": wanted_columns,
        "facts": [f.model_dump(mode="json", by_alias=True, exclude_none=True) for f in facts],
        "codes": {},
        "products": None,
        "alerts": _alert_files(lake, release, plan.alerts),
        "zone": lake.zone,
    }
    warnings: tuple[str, ...] = ()
    activity: dict[int, list[str]] = {}
    if facts:
        shared["codes"], shared["products"], warnings = _meanings(lake, release, facts, scratch)
        activity = by_bucket(lake.files(ACTIVITY))
    buckets = {
        b: {**shared, "bucket": b, "profile": paths, "activity": activity.get(b, [])} for b, paths in profiles.items()
    }
    return Prepared(release, buckets, warnings)


def refuse_missing(release: Release, files: Sequence[str], columns: Sequence[str]) -> None:
    """NotThereError if the day's profile lacks a column: the tag is newer than the release."""
    have = pq.read_schema(files[0]).names if files else columns
    missing = [c for c in columns if c not in have]
    if missing:
        raise NotThereError(
            f"tag {missing[0]!r} is not in release {release.number} ({release.as_of}), which is older than the tag; "
            f"run that day again: `huaxiang run --as-of {release.as_of}`"
        )


def _alert_files(lake: Lake, release: Release, alerts: Sequence[str]) -> dict[str, list[str]]:
    """Files that list the users of each alert on the release's day; NotThereError if the release knows no alerts."""
    if alerts and ALERT_USERS not in release.tables:
        raise NotThereError(
            f"alert {alerts[0]!r} is not in release {release.number} ({release.as_of}), which is older than alerts; "
            f"run that day again: `huaxiang run --as-of {release.as_of}`"
        )
    return {name: sorted(f.path for f in lake.files(ALERT_USERS, where={"as_of": release.as_of})) for name in alerts}


def _listed(path: str, alert: str, uids: pa.ChunkedArray) -> pa.Array:
    """uids of one file whom the alert lists, those between the least and greatest of ``uids``."""
    span = pc.min_max(uids)
    wanted = (pads.field("alert") == alert) & (pads.field("uid") >= span["min"]) & (pads.field("uid") <= span["max"])
    return pads.dataset(path).to_table(columns=["uid"], filter=wanted)["uid"].combine_chunks()


def _meanings(
    lake: Lake, release: Release, facts: Sequence[Fact], scratch: Path
) -> tuple[dict[str, dict[str, int]], str | None, tuple[str, ...]]:
    """Numbers of the names in conditions, the file of products as of the day, and warnings of names that never occur."""
    named: dict[str, set[str]] = {}
    for fact in facts:
        for key, value in fact.where.conditions().items():
            if isinstance(value, tuple) and key != "detail":
                named.setdefault(key, set()).update(value)
    wanted = needs(facts)
    codes: dict[str, dict[str, int]] = {}
    warnings = []
    if set(named) & set(CODED_KEYS):
        table = lake.dataset(CODES)
        for kind in CODED_KEYS:
            if kind in named:
                codes[kind] = _numbers(table, kind, named[kind])
                warnings += [f"{kind} {n!r} never occurs" for n in sorted(named[kind]) if n not in codes[kind]]
    if not wanted.products:
        return codes, None, tuple(warnings)
    products = products_as_of(lake, release.as_of)
    for key in PRODUCT_KEYS:
        there = [t for t in pc.unique(products[key]).to_pylist() if t]
        for name in sorted(named.get(key, ())):
            if name not in there:
                warnings.append(f"{key} {name!r} is of no product on {release.as_of}; {nearest(name, there)}")
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / f"products-{release.number}.parquet"
    pq.write_table(products, path)
    return codes, str(path), tuple(warnings)


def _numbers(table: pads.Dataset, kind: str, names: set[str]) -> dict[str, int]:

    with in_memory() as db:
        db.register("codes", table)
        rows = db.execute(
            "select code_value, code from codes where code_kind = ? and list_contains(?, code_value)",
            [kind, sorted(names)],
        ).fetchall()
    return {value: int(code) for value, code in rows}


def bucket_columns(item: Inputs, uid: int | None = None) -> pa.Table:
    """Profile columns, alerts and facts of one bucket (or of one user), a row per user of the profile in order of uid."""
    only = None if uid is None else pads.field("uid") == uid
    parts = [pads.dataset(p).to_table(columns=item["columns"], filter=only) for p in item["profile"]]
    profile = pa.concat_tables(parts).sort_by("uid").combine_chunks()
    as_of = date.fromisoformat(item["as_of"])
    profile = profile.append_column("as_of", pa.array([as_of] * len(profile), pa.date32()))
    for name, listed in item["alerts"].items():
        uids = pa.chunked_array([_listed(p, name, profile["uid"]) for p in listed], pa.int64())
        profile = profile.append_column(alert_column(name), pc.is_in(profile["uid"], uids.combine_chunks()))
    facts = [Fact.model_validate(f) for f in item["facts"]]
    if not facts:
        return profile
    counted = _facts(item, facts, as_of, uid)
    # The kernel answers for every place of the bucket: a user's row is the uid less the bucket's first.
    rows = pc.subtract(profile["uid"], item["bucket"] * USERS_PER_BUCKET)
    for fact in facts:
        profile = profile.append_column(fact.column, counted[fact.column].take(rows))
    return profile


def _facts(item: Inputs, facts: Sequence[Fact], as_of: date, uid: int | None) -> pa.Table:
    wanted = needs(facts)
    codes = {kind: dict(numbers) for kind, numbers in item["codes"].items()}
    products = None
    if item["products"] is not None:
        products, texts = Products.from_texts(pq.read_table(item["products"]))
        codes |= {key: {text: i for i, text in enumerate(texts[key]) if text} for key in texts}
    asked = Wanted(
        as_of,
        first=first_day(facts, as_of),
        behaviours=tuple(sorted({BEHAVIOURS[b] for fact in facts for b in fact.reads})),
        uid=uid,
    )
    rows = BucketFiles(item["activity"], asked).rows(wanted.columns, base=item["bucket"] * USERS_PER_BUCKET)
    return compute(rows, facts, as_of, products=products, codes=codes, zone=item["zone"])


def columns_of(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(table.column_names, table.columns, strict=True))


def run_on_buckets(
    lake: Lake, task: str, items: Sequence[Inputs], engine: Engine | None, progress: Progress | None
) -> list[dict[str, Any]]:
    """Run a task on every bucket: in this process for few, by the engine for many."""
    if engine is not None and len(items) > INLINE_BUCKETS:
        return engine.map(task, items, progress)
    fetch_inputs(lake.store, items)
    module, name = task.split(":")
    function = getattr(importlib.import_module(module), name)
    found = []
    for i, item in enumerate(items):
        found.append(function(item))
        if progress is not None:
            progress(i + 1, len(items))
    return found
