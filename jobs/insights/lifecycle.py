"""Topic lifecycle: the three curves, and the cuts that were read from them (definitions.md section 4).

Cuts are those of the day's profile (``profile.breaks``). Curves are drawn when a cut was fitted today or the last ones
are older than ``refresh_days``; on other days the last ones stand again, with their age in ``curve_age_days``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.dataset as pads

from features.frozen_numbers import Break
from features.gaps import LifecycleSettings
from jobs.estimates import HORIZON_DAYS, MIN_CASES, counted
from jobs.insights.step import Insight, InsightRun, Row
from models import lifecycle
from models.lifecycle import Curve

CURVES = ("repurchase", "purchase_gap", "recovery")
AGE = "curve_age_days"
CUT = "cut"


def insight(run: InsightRun) -> Insight:
    specs = run.catalogue.estimates
    if not specs or run.as_of not in run.snapshots:
        return Insight()
    numbers, fitted_today = _frozen(run, specs)
    settings = run.method("lifecycle", LifecycleSettings)
    before, last = _last_figures(run)
    age = None if before is None else int(last[AGE]["number"]) + (run.as_of - before).days
    if before is None or age is None or fitted_today or age >= settings.refresh_days:
        curves, knee = _drawn(run, specs, numbers, settings)
        age = 0
    else:
        curves, knee = _stored_curves(run, before), last.get("recovery")
    figures: list[Row] = [{"figure": AGE, "number": float(age)}, *_cuts(specs, numbers, curves)]
    if knee is not None:
        figures.append({"figure": CUT, "item": "recovery", **knee})
    return Insight(figures=figures, curves=curves)


def _classes(specs: Mapping[str, Break], numbers: Mapping[str, Sequence[float]]) -> Sequence[float]:
    for name, spec in specs.items():
        if spec.estimate == "purchase_day_knees":
            return numbers.get(name) or spec.default or (1.0, 2.0, 7.0)
    return (1.0, 2.0, 7.0)


def _cuts(specs: Mapping[str, Break], numbers: Mapping[str, Sequence[float]], curves: Sequence[Row]) -> list[Row]:
    """``purchase_days/N``, and by class N the days of each silence break: ``churned/N`` of ``churned_after``."""
    cuts = _classes(specs, numbers)
    gaps = {row["series"]: row["sample_users"] for row in curves if row["curve"] == "purchase_gap" and row["x"] == 0}
    names = lifecycle.class_names(cuts)
    found: list[Row] = []
    for name, spec in specs.items():
        values = numbers.get(name)
        if not values:
            continue
        if spec.estimate == "purchase_day_knees":
            found += [{"figure": CUT, "item": f"purchase_days/{i}", "number": v} for i, v in enumerate(values, 1)]
            continue
        for i, (first, _) in enumerate(lifecycle.class_bounds(cuts), 1):
            item = f"{name.removesuffix('_after')}/{i}"
            number = values[min(first, len(values)) - 1]
            found.append({"figure": CUT, "item": item, "number": number, "sample_users": gaps.get(names[i - 1])})
    return found


def _drawn(
    run: InsightRun, specs: Mapping[str, Break], numbers: Mapping[str, Sequence[float]], settings: LifecycleSettings
) -> tuple[list[Row], Row | None]:
    """Rows of the three curves, and the knee of recovery with the gaps it rests on."""
    gaps = counted(run.lake, run.as_of, run.map, run.scratch / "gaps", run.known_at)
    horizon = max((s.horizon_days or HORIZON_DAYS for s in specs.values()), default=HORIZON_DAYS)
    cuts = _classes(specs, numbers)
    rows = _rows("repurchase", "", lifecycle.repurchase(gaps))
    for name, bounds in zip(lifecycle.class_names(cuts), lifecycle.class_bounds(cuts), strict=True):
        rows += _rows(
            "purchase_gap", name, lifecycle.purchase_gap(gaps.of_class(*bounds), horizon, settings.min_at_risk)
        )
    rows += _rows("recovery", "", lifecycle.recovery(gaps, horizon, settings.min_at_risk))
    knee = lifecycle.recovery_knee(
        gaps,
        horizon_days=horizon,
        min_cases=MIN_CASES["recovery_knee"],
        min_at_risk=settings.min_at_risk,
        min_followed_days=settings.min_followed_days,
    )
    return rows, None if knee is None else {"number": knee[0], "sample_users": gaps.cases}


def _rows(name: str, series: str, curve: Curve) -> list[Row]:
    columns = (curve.x, curve.y, curve.low, curve.high, curve.sample)
    return [
        {"curve": name, "series": series, "x": x, "y": y, "low": low, "high": high, "sample_users": n}
        for x, y, low, high, n in zip(*(c.tolist() for c in columns), strict=True)
    ]


# --- what is stored ---


def _frozen(run: InsightRun, specs: Mapping[str, Break]) -> tuple[dict[str, list[float]], bool]:
    """Numbers of the estimated breaks in the day's profile, and whether any of them was fitted for that day."""
    rows = _read(run, "profile.breaks", run.as_of)
    mine = sorted((r for r in rows if r["name"] in specs), key=lambda r: r["position"])
    numbers: dict[str, list[float]] = {}
    for row in mine:
        numbers.setdefault(row["name"], []).append(row["number"])
    return numbers, any(r["fitted_on"] == run.as_of for r in mine)


def _last_figures(run: InsightRun) -> tuple[dt.date | None, dict[str, Row]]:
    """The last day before this one with curves; the age that they had, and the knee of recovery if there was one."""
    days = sorted({f.partition["as_of"] for f in run.lake.files("segments.figures")}, reverse=True)
    for day in (d for d in days if d < run.as_of):
        mine = [r for r in _read(run, "segments.figures", day) if r["topic"] == "lifecycle"]
        found: dict[str, Row] = {
            name: {"number": r["number"], "sample_users": r["sample_users"]}
            for r in mine
            if (name := {(AGE, ""): AGE, (CUT, "recovery"): "recovery"}.get((r["figure"], r["item"])))
        }
        if AGE in found:
            return day, found
    return None, {}


def _stored_curves(run: InsightRun, day: dt.date) -> list[Row]:
    rows = [r for r in _read(run, "segments.curves", day) if r["curve"] in CURVES]
    return [{k: v for k, v in r.items() if k != "as_of"} for r in rows]


def _read(run: InsightRun, table: str, day: dt.date) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run.lake.dataset(table).to_table(filter=pads.field("as_of") == day).to_pylist()
    return found
