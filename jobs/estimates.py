"""Frozen numbers that come from curves over activity (breaks with ``estimate:``), made before facts and tags."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.frozen_numbers import Break
from features.gaps import MOST_PURCHASE_DAYS, LifecycleSettings
from features.instants import iso_day_of
from lake.lake import Lake, by_bucket
from models import lifecycle
from models.lifecycle import Gaps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobs.profile import ProfileRun

TASK = "jobs.estimate_tasks:gaps_of_bucket"
HORIZON_DAYS = 365
MIN_CASES = {"purchase_day_knees": 200, "silence_cut": 100, "recovery_knee": 100}
"""Cases that an estimate rests on at least where its break does not say ``min_cases``: repeaters, or gaps that ended."""
Map = Callable[[str, list[dict[str, Any]]], list[dict[str, Any]]]


def estimated(
    run: ProfileRun, specs: Mapping[str, Break], known: Mapping[str, Sequence[float]] | None = None
) -> dict[str, tuple[float, ...]]:
    """Numbers of each break of ``specs`` for which there is evidence enough; the others have their ``default``.

    ``known`` are numbers of breaks that need no new estimate: classes of purchase days that were kept part the silence
    cuts, too. Activity is read once, and not at all without specs.
    """
    if not specs:
        return {}
    settings = run.lifecycle
    gaps = counted(run.lake, run.as_of, run.map, run.scratch / "gaps", run.known_at)
    found: dict[str, tuple[float, ...]] = {}
    knees = {n: s for n, s in specs.items() if s.estimate == "purchase_day_knees"}
    for name, spec in knees.items():
        numbers = lifecycle.purchase_day_cuts(
            gaps,
            default=_default(spec),
            min_repeaters=_min_cases(spec),
            min_users=settings.min_users,
            min_stability=settings.min_stability,
        )
        if numbers is not None:
            found[name] = numbers
    cuts = _classes(run, specs, found, known or {})
    for name, spec in specs.items():
        numbers = _of_silence(gaps, cuts, spec, settings)
        if numbers is not None:
            found[name] = numbers
    return found


def _of_silence(
    gaps: Gaps, cuts: Sequence[float], spec: Break, settings: LifecycleSettings
) -> tuple[float, ...] | None:
    horizon = spec.horizon_days or HORIZON_DAYS
    trust = {"min_at_risk": settings.min_at_risk, "min_followed_days": settings.min_followed_days}
    if spec.estimate == "recovery_knee":
        return lifecycle.recovery_knee(gaps, horizon_days=horizon, min_cases=_min_cases(spec), **trust)
    if spec.estimate == "silence_cut":
        return lifecycle.silence_cuts(
            gaps,
            cuts,
            share=spec.share or 0.9,
            horizon_days=horizon,
            min_cases=_min_cases(spec),
            default=_default(spec),
            **trust,
        )
    return None


def _classes(
    run: ProfileRun,
    specs: Mapping[str, Break],
    found: Mapping[str, tuple[float, ...]],
    known: Mapping[str, Sequence[float]],
) -> Sequence[float]:
    """The classes of purchase days that silence is judged by: estimated now, kept, or by default."""
    declared = {n: b.spec for n, b in run.catalogue.breaks.items()} | dict(specs)
    for name, spec in declared.items():
        if spec.estimate == "purchase_day_knees":
            return found.get(name) or known.get(name) or _default(spec)
    return (1.0, 2.0, 7.0)


def _default(spec: Break) -> tuple[float, ...]:
    assert spec.default is not None, "the catalogue refuses an estimate without a default"
    return spec.default


def _min_cases(spec: Break) -> int:
    assert spec.estimate is not None
    return spec.min_cases or MIN_CASES[spec.estimate]


def counted(lake: Lake, as_of: dt.date, run_map: Map, folder: Path, known_at: dt.datetime | None = None) -> Gaps:
    """All purchase gaps of the shop as of a day: one pass over the paid rows, a task a bucket."""
    users = by_bucket(lake.files("identity.users"))
    items = [
        {
            "bucket": bucket,
            "files": files,
            "users": users.get(bucket, []),
            "as_of": as_of.isoformat(),
            "known_at_day": iso_day_of(known_at, lake.zone),
            "out": str(folder / f"bucket-{bucket}.parquet"),
        }
        for bucket, files in by_bucket(lake.files("activity.activity")).items()
    ]
    made = run_map(TASK, items) if items else []
    return merged(pq.read_table(r["path"], partitioning=None) for r in made)


def merged(parts: Iterable[pa.Table]) -> Gaps:
    """Counted gaps of all buckets added up."""
    tables = list(parts)
    names = ("purchase_days", "days", "ended", "users")
    columns = {n: np.concatenate([np.empty(0, np.int64), *(t[n].to_numpy() for t in tables)]) for n in names}
    keys = np.stack([columns[n] for n in names[:3]], axis=1).astype(np.int64)
    distinct, where = np.unique(keys, axis=0, return_inverse=True)
    users = np.zeros(len(distinct), np.int64)
    np.add.at(users, where.ravel(), columns["users"].astype(np.int64))
    return Gaps(distinct[:, 0], distinct[:, 1], distinct[:, 2] == 1, users, MOST_PURCHASE_DAYS)
