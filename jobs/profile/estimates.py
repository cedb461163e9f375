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
from jobs.profile.run import ProfileRun
from lake.lake import Lake, by_bucket
from models import lifecycle
from models.lifecycle import Basis, Cut, Gaps
from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable


TASK = "jobs.profile.estimate_tasks:gaps_of_bucket"
HORIZON_DAYS = 365
MIN_CASES = {"purchase_day_knees": 200, "silence_cut": 100, "recovery_knee": 100}
"""Cases that an estimate rests on at least where its break does not say ``min_cases``: repeaters, or gaps that ended."""
NO_KNEE: dict[str, str] = {
    "default_few_points": "it has too few points",
    "default_straight": "a straight line describes it as well as two lines that meet",
    "default_exponential": "an even, exponential fall describes it as well as two lines that meet",
    "default_unstable": "where it would bend is chance; curves redrawn with the sampling error bend elsewhere or not at all",
}
"""Why a curve has no knee, in words."""
Map = Callable[[str, list[dict[str, Any]]], list[dict[str, Any]]]


def estimated(
    run: ProfileRun, specs: Mapping[str, Break], known: Mapping[str, Sequence[float]] | None = None
) -> dict[str, tuple[Cut, ...]]:
    """The cuts of each break of ``specs``, with what each rests on: where evidence is too little, the default.

    ``known`` are numbers of breaks that need no new estimate: classes of purchase days that were kept part the silence
    cuts, too. Activity is read once, and not at all without specs. ConfigurationError for a recovery curve without a
    knee: the default would be a guess where the data says that there is none.
    """
    if not specs:
        return {}
    settings = run.lifecycle
    gaps = shop_gaps(run.lake, run.as_of, run.map, run.scratch / "gaps", run.known_at)
    found: dict[str, tuple[Cut, ...]] = {}
    knees = {n: s for n, s in specs.items() if s.estimate == "purchase_day_knees"}
    for name, spec in knees.items():
        found[name] = lifecycle.purchase_day_cuts(
            gaps,
            default=_default(spec),
            min_repeaters=_min_cases(spec),
            min_users=settings.min_users,
            min_stability=settings.min_stability,
        )
    numbers = {n: tuple(c.number for c in cuts) for n, cuts in found.items()}
    declared = {n: b.spec for n, b in run.catalogue.breaks.items()} | dict(specs)
    cuts = silence_classes(declared, {**(known or {}), **numbers})
    for name, spec in specs.items():
        if spec.estimate == "silence_cut":
            found[name] = _of_silence(gaps, cuts, spec, settings)
        elif spec.estimate == "recovery_knee":
            found[name] = (_of_recovery(run, gaps, name, spec),)
    return found


def _of_silence(gaps: Gaps, cuts: Sequence[float], spec: Break, settings: LifecycleSettings) -> tuple[Cut, ...]:
    return lifecycle.silence_cuts(
        gaps,
        cuts,
        share=spec.share or 0.9,
        horizon_days=spec.horizon_days or HORIZON_DAYS,
        min_cases=_min_cases(spec),
        default=_default(spec),
        min_at_risk=settings.min_at_risk,
        min_followed_days=settings.min_followed_days,
    )


def recovery_cut(gaps: Gaps, horizon_days: int, min_cases: int, settings: LifecycleSettings) -> Cut | Basis:
    """The knee of recovery as the shop's settings trust it."""
    return lifecycle.recovery_knee(
        gaps,
        horizon_days=horizon_days,
        min_cases=min_cases,
        min_at_risk=settings.min_at_risk,
        min_followed_days=settings.min_followed_days,
        min_stability=settings.min_stability,
    )


def _of_recovery(run: ProfileRun, gaps: Gaps, name: str, spec: Break) -> Cut:
    found = recovery_cut(gaps, spec.horizon_days or HORIZON_DAYS, _min_cases(spec), run.lifecycle)
    if isinstance(found, Cut):
        return found
    if found in NO_KNEE:
        raise ConfigurationError(
            f"{run.catalogue.places['break', name]}: break {name!r} is the knee of the recovery curve, and on {run.as_of} the "
            f"curve has none: {NO_KNEE[found]}. Cut where purchase gaps end instead (churn_by: gap), and run again:\n"
            f"  {name}: {{estimate: silence_cut, share: 0.9, horizon_days: {spec.horizon_days or HORIZON_DAYS}, "
            f"min_cases: {_min_cases(spec)}, default: [{_default(spec)[0]:g}], keep: {str(spec.keep).lower()}}}"
        )
    return Cut(_default(spec)[0], found, gaps.cases)


def horizon_warnings(cuts: Mapping[str, Sequence[Cut]], specs: Mapping[str, Break], as_of: dt.date) -> list[str]:
    """One sentence a break of silence that the horizon, or the end of the history, decided, or of which that is not known."""
    found = []
    for name, spec in specs.items():
        if name not in cuts:
            found.append(
                f"{name}: fitted by an older version; whether the horizon decided it is not known. "
                f"`huaxiang run --as-of {as_of} --refit {name}` makes it anew and says so"
            )
        for basis in ("at_horizon", "at_end"):
            mine = [c for c in cuts.get(name, ()) if c.basis == basis]
            if not mine:
                continue
            days = sorted({round(c.number) for c in mine})
            span = f"{days[0]} days" if len(days) == 1 else f"{days[0]} to {days[-1]} days"
            if basis == "at_end":
                found.append(f"{name}: the end of the history decided {span}; the cut moves as the history grows")
                continue
            beyond = [c.share_beyond for c in mine if c.share_beyond is not None]
            longer = max((c.horizon_to_try for c in mine if c.horizon_to_try is not None), default=None)
            said = f"{name}: the horizon of {spec.horizon_days or HORIZON_DAYS} days decided {span}; "
            if not beyond or longer is None:
                found.append(said + "the history is too short to say how many come back later")
                continue
            found.append(
                f"{said}up to {max(beyond):.0%} of the returns that can be seen come later. Try horizon_days: {longer} and "
                f"`huaxiang run --as-of {as_of} --refit {name}`"
            )
    return found


def silence_classes(specs: Mapping[str, Break], numbers: Mapping[str, Sequence[float]]) -> Sequence[float]:
    """The classes of purchase days that silence is judged by: those of ``numbers``, or by default."""
    for name, spec in specs.items():
        if spec.estimate == "purchase_day_knees":
            return numbers.get(name) or _default(spec)
    return (1.0, 2.0, 7.0)


def _default(spec: Break) -> tuple[float, ...]:
    assert spec.default is not None, "the catalogue refuses an estimate without a default"
    return spec.default


def _min_cases(spec: Break) -> int:
    assert spec.estimate is not None
    return spec.min_cases or MIN_CASES[spec.estimate]


def shop_gaps(lake: Lake, as_of: dt.date, run_map: Map, folder: Path, known_at: dt.datetime | None = None) -> Gaps:
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
    return merged_gaps(pq.read_table(path, partitioning=None) for path in lake.local(r["path"] for r in made))


def merged_gaps(parts: Iterable[pa.Table]) -> Gaps:
    """Counted gaps of all buckets added up."""
    tables = list(parts)
    names = ("purchase_days", "days", "ended", "users")
    columns = {n: np.concatenate([np.empty(0, np.int64), *(t[n].to_numpy() for t in tables)]) for n in names}
    keys = np.stack([columns[n] for n in names[:3]], axis=1).astype(np.int64)
    distinct, where = np.unique(keys, axis=0, return_inverse=True)
    users = np.zeros(len(distinct), np.int64)
    np.add.at(users, where.ravel(), columns["users"].astype(np.int64))
    return Gaps(distinct[:, 0], distinct[:, 1], distinct[:, 2] == 1, users, MOST_PURCHASE_DAYS)
