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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from audiences.evaluate import evaluate
from audiences.plan import Plan, alert_column
from features.facts import Fact, first_day, needs
from features.kernel import Followed, Products, compute
from features.kernel.arrays import to_arrow
from features.kernel.rows import USERS_PER_BUCKET
from jobs.activity.bucket_files import BucketFiles, Wanted
from lake.attempts import fetch_inputs
from lake.engine import Engine, Progress
from lake.lake import Lake, by_bucket
from lake.releases import Release, lake_at
from project.audience import (
    PROFILE,
    alert_files,
    codes_of,
    days_to_come,
    facts_of,
    meanings_of,
    refuse_missing,
    sequences_of,
)
from project.folder import Project
from project.listings import Lister
from project.products import products_as_of, skus_named
from schemas.behaviours import BEHAVIOURS

ACTIVITY = "activity.activity"
Inputs = dict[str, Any]
INLINE_BUCKETS = 4
"""Up to this many buckets are judged in this process: starting others takes longer."""


@dataclass(frozen=True)
class Prepared:
    """Inputs of every bucket of a release for one plan, and names in the plan that never occur there."""

    release: Release
    buckets: dict[int, Inputs]
    warnings: tuple[str, ...]


def prepared(
    project: Project,
    release: Release,
    plan: Plan,
    scratch: Path,
    further: Sequence[str] = (),
    engine: Engine | None = None,
) -> Prepared:
    """Where each bucket's profile and activity lie at the release, and what codes and products meant on its day.

    ``further`` are profile columns wanted beside the plan's. Files that tasks share are written to ``scratch``. Whom some
    conditions hold of is listed now, those among whom they are chosen judged by ``engine`` if there is one.
    NotThereError if a tag is newer than the release.
    """
    lake = lake_at(project.lake, release)
    columns = list(dict.fromkeys(["uid", "user_id", "is_member", *plan.columns, *further]))
    wanted_columns = [c for c in columns if c not in ("as_of", "bucket")]
    profiles = by_bucket(lake.files(PROFILE, where={"as_of": release.as_of}))
    for path in lake.local([p for paths in profiles.values() for p in paths][:1]):
        refuse_missing(release, pq.read_schema(path).names, wanted_columns)
    facts = facts_of(plan, release.as_of)
    sequences = sequences_of(plan, release.as_of)
    shared: Inputs = {
        "as_of": release.as_of.isoformat(),
        "columns": wanted_columns,
        "facts": [_as_declared(f) for f in facts],
        "sequences": {
            name: {
                "first": _as_declared(s.first),
                "second": _as_declared(s.second),
                "within_days": s.within_days,
                "without": s.without,
            }
            for name, s in sequences.items()
        },
        "codes": {},
        "products": None,
        "alerts": alert_files(lake, release, plan.alerts),
        "zone": lake.zone,
        "listings": {},
    }
    warnings = days_to_come(plan, release.as_of)
    lister = Lister(project.lake, release, lambda among: members_of(project, release, among, scratch, engine))
    for name, listing in plan.listings.items():
        people = lister.people(listing)
        warnings = (*warnings, *people.notes)
        scratch.mkdir(parents=True, exist_ok=True)
        shared["listings"][name] = str(scratch / f"{name}-{release.number}.parquet")
        uids = pa.table([to_arrow(people.uid, None, pa.int64())], names=["uid"])
        pq.write_table(uids, shared["listings"][name], row_group_size=USERS_PER_BUCKET)
    activity: dict[int, list[str]] = {}
    facts += [f for s in sequences.values() for f in (s.first, s.second)]
    if facts:
        names = meanings_of(
            facts,
            release.as_of,
            lambda: codes_of(lake),
            lambda: products_as_of(lake, release.as_of),
            lambda n: skus_named(lake, release.as_of, n),
        )
        shared["codes"], warnings = names.codes, (*names.warnings, *warnings)
        if names.products is not None:
            scratch.mkdir(parents=True, exist_ok=True)
            shared["products"] = str(scratch / f"products-{release.number}.parquet")
            pq.write_table(names.products, shared["products"])
        activity = by_bucket(lake.files(ACTIVITY))
    buckets = {
        b: {**shared, "bucket": b, "profile": paths, "activity": activity.get(b, [])} for b, paths in profiles.items()
    }
    return Prepared(release, buckets, warnings)


def _as_declared(fact: Fact) -> dict[str, Any]:
    return fact.model_dump(mode="json", by_alias=True, exclude_none=True)


def members_of(project: Project, release: Release, plan: Plan, scratch: Path, engine: Engine | None) -> np.ndarray:
    """uids, ascending, of whom a plan holds at the release."""
    buckets = prepared(project, release, plan, scratch, engine=engine).buckets
    items = [{"inputs": item, "plan": plan.model_dump(mode="json")} for _, item in sorted(buckets.items())]
    found = run_on_buckets(project.lake, "jobs.audiences.columns:uids_of_bucket", items, engine, None)
    return np.concatenate([np.empty(0, np.int64), *(np.frombuffer(one["uid"], np.int64) for one in found)])


def uids_of_bucket(item: Inputs) -> dict[str, Any]:
    """Task: the uids of one bucket of whom a plan holds, as the bytes of whole numbers."""
    table = bucket_columns(item["inputs"])
    outcome = evaluate(Plan.model_validate(item["plan"]), columns_of(table), len(table))
    return {"uid": table["uid"].to_numpy()[outcome.members].tobytes()}


def _listed(path: str, uids: pa.ChunkedArray, alert: str | None = None) -> pa.Array:
    """uids of one file (of those whom the alert lists), between the least and greatest of ``uids``."""
    span = pc.min_max(uids)
    wanted = (pads.field("uid") >= span["min"]) & (pads.field("uid") <= span["max"])
    if alert is not None:
        wanted = (pads.field("alert") == alert) & wanted
    return pads.dataset(path).to_table(columns=["uid"], filter=wanted)["uid"].combine_chunks()


def bucket_columns(item: Inputs, uid: int | None = None) -> pa.Table:
    """Profile columns, alerts and facts of one bucket (or of one user), a row per user of the profile in order of uid."""
    only = None if uid is None else pads.field("uid") == uid
    parts = [pads.dataset(p).to_table(columns=item["columns"], filter=only) for p in item["profile"]]
    profile = pa.concat_tables(parts).sort_by("uid").combine_chunks()
    as_of = date.fromisoformat(item["as_of"])
    profile = profile.append_column("as_of", pa.array([as_of] * len(profile), pa.date32()))
    for name, listed in item["alerts"].items():
        uids = pa.chunked_array([_listed(p, profile["uid"], name) for p in listed], pa.int64())
        profile = profile.append_column(alert_column(name), pc.is_in(profile["uid"], uids.combine_chunks()))
    for name, path in item["listings"].items():
        profile = profile.append_column(name, pc.is_in(profile["uid"], _listed(path, profile["uid"])))
    if not item["facts"] and not item["sequences"]:
        return profile
    # The kernel answers for every place of the bucket: a user's row is the uid less the bucket's first.
    rows = pc.subtract(profile["uid"], item["bucket"] * USERS_PER_BUCKET)
    for name, column in _done(item, as_of, uid).items():
        profile = profile.append_column(name, column.take(rows))
    return profile


def _done(item: Inputs, as_of: date, uid: int | None) -> dict[str, pa.ChunkedArray]:
    """Facts and sequences of every place of the bucket, by column."""
    facts = [Fact.model_validate(f) for f in item["facts"]]
    sequences = {name: _followed(made) for name, made in item["sequences"].items()}
    counted = [*facts, *(f for s in sequences.values() for f in (s.first, s.second))]
    wanted = needs(counted)
    codes = {kind: dict(numbers) for kind, numbers in item["codes"].items()}
    products = None
    if item["products"] is not None:
        products, texts = Products.from_texts(pq.read_table(item["products"]))
        codes |= {key: {text: i for i, text in enumerate(texts[key]) if text} for key in texts}
    asked = Wanted(
        as_of,
        first=first_day(counted, as_of),
        behaviours=tuple(sorted({BEHAVIOURS[b] for fact in counted for b in fact.reads})),
        uid=uid,
    )
    rows = BucketFiles(item["activity"], asked).rows(wanted.columns, base=item["bucket"] * USERS_PER_BUCKET)
    table = compute(rows, facts, as_of, products=products, codes=codes, zone=item["zone"])
    found = {fact.column: table[fact.column] for fact in facts}
    for name, sequence in sequences.items():
        flags, known = sequence.of(rows, rows, as_of, products=products, codes=codes, zone=item["zone"])
        found[name] = pa.chunked_array([pa.array(flags, mask=~known)])
    return found


def _followed(made: dict[str, Any]) -> Followed:
    return Followed(
        Fact.model_validate(made["first"]), Fact.model_validate(made["second"]), made["within_days"], made["without"]
    )


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
