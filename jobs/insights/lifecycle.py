"""Topic lifecycle: the three curves, and the cuts that were read from them (definitions.md section 4).

Cuts are those of the day's profile (``profile.breaks``), with the sample of their fit. The knee of recovery is ``cut``
``recovery``, or ``no_cut`` ``recovery/REASON`` where there is none. Curves are drawn when a cut was fitted today or the last ones
are older than ``refresh_days``; on other days the last ones stand again, with their age in ``curve_age_days``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.dataset as pads

from features.frozen_numbers import Break
from features.gaps import LifecycleSettings
from jobs.insights.step import Insight, InsightRun, Row
from jobs.profile.estimates import HORIZON_DAYS, MIN_CASES, recovery_cut, shop_gaps, silence_classes
from models import lifecycle
from models.lifecycle import Curve, Cut
from project.frozen import break_rows, numbers_of

CURVES = ("repurchase", "purchase_gap", "recovery")
AGE = "curve_age_days"
CUT, NO_CUT = "cut", "no_cut"
RECOVERY = "recovery"


def insight(run: InsightRun) -> Insight:
    specs = run.catalogue.estimates
    if not specs or run.as_of not in run.snapshots:
        return Insight()
    rows = break_rows(run.lake, [run.as_of], specs)
    numbers = numbers_of(rows)
    settings = run.method("lifecycle", LifecycleSettings)
    before, last = _last_figures(run)
    age = None if before is None else int(last[AGE]["number"]) + (run.as_of - before).days
    knee: Row | None
    if before is None or age is None or any(r["fitted_on"] == run.as_of for r in rows) or age >= settings.refresh_days:
        curves, knee = _drawn(run, specs, numbers, settings)
        age = 0
    else:
        curves, knee = _stored_curves(run, before), last.get(RECOVERY)
    figures: list[Row] = [{"figure": AGE, "number": float(age)}, *_cuts(specs, rows, silence_classes(specs, numbers))]
    if knee is not None:
        figures.append(knee)
    return Insight(figures=figures, curves=curves)


def _cuts(specs: Mapping[str, Break], breaks: Sequence[Row], classes: Sequence[float]) -> list[Row]:
    """``purchase_days/N``, and by class N the days of each silence break: ``churned/N`` of ``churned_after``."""
    found: list[Row] = []
    for name, spec in specs.items():
        rows = [r for r in breaks if r["name"] == name]
        if not rows:
            continue
        if spec.estimate == "purchase_day_knees":
            found += [_cut(f"purchase_days/{i}", row) for i, row in enumerate(rows, 1)]
            continue
        for i, (first, _) in enumerate(lifecycle.class_bounds(classes), 1):
            found.append(_cut(f"{name.removesuffix('_after')}/{i}", rows[min(first, len(rows)) - 1]))
    return found


def _cut(item: str, row: Row) -> Row:
    return {"figure": CUT, "item": item, "number": row["number"], "sample_users": row.get("sample_users")}


def _drawn(
    run: InsightRun, specs: Mapping[str, Break], numbers: Mapping[str, Sequence[float]], settings: LifecycleSettings
) -> tuple[list[Row], Row]:
    """Rows of the three curves, and the figure of the knee of recovery: where it is, or why there is none."""
    gaps = shop_gaps(run.lake, run.as_of, run.map, run.scratch / "gaps", run.known_at)
    horizon = max((s.horizon_days or HORIZON_DAYS for s in specs.values()), default=HORIZON_DAYS)
    cuts = silence_classes(specs, numbers)
    rows = _rows("repurchase", "", lifecycle.repurchase(gaps))
    for name, bounds in zip(lifecycle.class_names(cuts), lifecycle.class_bounds(cuts), strict=True):
        rows += _rows(
            "purchase_gap", name, lifecycle.purchase_gap(gaps.of_class(*bounds), horizon, settings.min_at_risk)
        )
    rows += _rows("recovery", "", lifecycle.recovery(gaps, horizon, settings.min_at_risk))
    knee = recovery_cut(gaps, horizon, MIN_CASES["recovery_knee"], settings)
    if isinstance(knee, Cut):
        return rows, {"figure": CUT, "item": RECOVERY, "number": knee.number, "sample_users": knee.sample}
    return rows, {"figure": NO_CUT, "item": f"{RECOVERY}/{knee.removeprefix('default_')}", "sample_users": gaps.cases}


def _rows(name: str, series: str, curve: Curve) -> list[Row]:
    columns = (curve.x, curve.y, curve.low, curve.high, curve.sample)
    return [
        {"curve": name, "series": series, "x": x, "y": y, "low": low, "high": high, "sample_users": n}
        for x, y, low, high, n in zip(*(c.tolist() for c in columns), strict=True)
    ]


# --- what is stored ---


def _last_figures(run: InsightRun) -> tuple[dt.date | None, dict[str, Row]]:
    """The last day before this one with curves; the age that they had, and what was said of the knee of recovery."""
    days = sorted({f.partition["as_of"] for f in run.lake.files("segments.figures")}, reverse=True)
    for day in (d for d in days if d < run.as_of):
        found: dict[str, Row] = {}
        for r in _read(run, "segments.figures", day):
            if r["topic"] != "lifecycle":
                continue
            if r["figure"] == AGE:
                found[AGE] = r
            elif r["figure"] == NO_CUT or (r["figure"], r["item"]) == (CUT, RECOVERY):
                found[RECOVERY] = {k: r[k] for k in ("figure", "item", "number", "sample_users")}
        if AGE in found:
            return day, found
    return None, {}


def _stored_curves(run: InsightRun, day: dt.date) -> list[Row]:
    rows = [r for r in _read(run, "segments.curves", day) if r["curve"] in CURVES]
    return [{k: v for k, v in r.items() if k != "as_of"} for r in rows]


def _read(run: InsightRun, table: str, day: dt.date) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run.lake.dataset(table).to_table(filter=pads.field("as_of") == day).to_pylist()
    return found
