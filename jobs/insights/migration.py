"""Topic migration: who moved between the quadrants in the last period, and the alert for 低频低价 (definitions.md section 5).

The two days are compared only if both were cut at the same frozen medians, and so are the trailing periods: their shares
are the earlier days' own ``number`` in ``segments.alerts``. After a refit the alert says so until a whole period lies
behind it.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow.dataset as pads

from features.migration import MigrationSettings, Verdict, drift, summed_moves, users_by_origin
from jobs.insights.step import Insight, InsightRun, Row
from project.frozen import Numbers, break_rows, numbers_of
from schemas.alerts import MOVING_TO_RARE_LOW
from schemas.quarantine import quoted
from schemas.tag_roles import TagRole

TARGET = "rare_low"
TASK = "jobs.insights.migration_tasks:moves_of_bucket"


def insight(run: InsightRun) -> Insight:
    scheme = run.catalogue.of_role(TagRole.QUADRANT)
    if scheme is None or run.as_of not in run.snapshots:
        return Insight()
    settings = run.method("migration", MigrationSettings)
    period = dt.timedelta(days=settings.period_days)
    before = run.as_of - period
    cut_at = _numbers(run, scheme, [run.as_of - period * i for i in range(settings.periods + 1)])
    if before not in run.snapshots or not _was_there(run, scheme, before):
        return Insight(alerts=[_alert(None, None, "no_earlier_day")])
    if cut_at.get(before) != cut_at.get(run.as_of):
        return Insight(alerts=[_alert(before, None, "refitted")])
    moves, users = _moved(run, scheme, before, settings)
    history = _history(run, period, settings.periods, cut_at)
    verdict = drift(moves, TARGET, list(history.values()), settings)
    rows = users_by_origin(moves)
    days = (before, run.as_of)
    figures: list[Row] = [
        {"figure": "transition", "item": f"{a}>{b}", "number": float(n), "sample_users": rows[a], "profile_days": days}
        for (a, b), n in moves.items()
    ]
    return Insight(
        figures=figures,
        curves=_curves(verdict, history),
        alerts=[_alert(before, verdict, verdict.reason)],
        alert_users=users,
    )


def _alert(before: dt.date | None, verdict: Verdict | None, reason: str) -> Row:
    limits = None if verdict is None else verdict.control
    return {
        "from_as_of": before,
        "alert": MOVING_TO_RARE_LOW,
        "number": None if verdict is None else verdict.share,
        "limit_number": None if limits is None else limits.upper,
        "sample_users": None if verdict is None else verdict.users,
        "is_raised": verdict is not None and verdict.is_raised,
        "alert_reason": reason,
    }


def _moved(
    run: InsightRun, scheme: str, before: dt.date, settings: MigrationSettings
) -> tuple[dict[tuple[str, str], int], list[Path]]:
    """Moves of all users, and the files that list those who went to ``TARGET``."""
    now, then = (run.by_bucket("profile.profile", as_of=day) for day in (run.as_of, before))
    items = [
        {
            "bucket": b,
            "current": now.get(b, []),
            "previous": then.get(b, []),
            "scheme": scheme,
            "alert": MOVING_TO_RARE_LOW,
            "origins": list(settings.origins),
            "target": TARGET,
            "out": str(run.scratch / MOVING_TO_RARE_LOW / f"bucket-{b}.parquet"),
        }
        for b in sorted({*now, *then})
    ]
    made = run.map(TASK, items)
    moves = summed_moves({(a, b): n for a, b, n in r["moves"]} for r in made)
    return moves, [Path(path) for path in run.lake.local(r["users"] for r in made if r["users"])]


def _was_there(run: InsightRun, scheme: str, day: dt.date) -> bool:
    """Whether the day's profile has the tag: one that came since, or was renamed, has no earlier day to compare with."""
    known = f"select 1 from profile.profile where as_of = ? and {quoted(scheme)} is not null limit 1"
    with run.sql() as con:
        return con.execute(known, [day]).fetchone() is not None


def _numbers(run: InsightRun, scheme: str, days: list[dt.date]) -> dict[dt.date, Numbers]:
    """The frozen numbers that the scheme was cut at, by day."""
    names = [n for kind, n in run.catalogue.closure([("tag", scheme)]) if kind == "break"]
    rows = break_rows(run.lake, days, names)
    by_day = {day: [r for r in rows if r["as_of"] == day] for day in days}
    return {day: numbers_of(found) for day, found in by_day.items() if found}


def _history(run: InsightRun, period: dt.timedelta, periods: int, cut_at: dict[dt.date, Numbers]) -> dict[int, float]:
    """Shares of the trailing periods that were cut as this one is, by days before it (negative), newest first."""
    days = {run.as_of - period * i: -period.days * i for i in range(1, periods + 1)}
    comparable = [d for d in days if cut_at.get(d) == cut_at.get(run.as_of)]
    wanted = (pads.field("alert") == MOVING_TO_RARE_LOW) & pads.field("as_of").isin(comparable)
    rows = run.lake.dataset("segments.alerts").to_table(filter=wanted).to_pylist()
    found = {
        days[r["as_of"]]: r["number"]
        for r in rows
        if r["number"] is not None and r["from_as_of"] == r["as_of"] - period
    }
    return dict(sorted(found.items(), reverse=True))


def _curves(verdict: Verdict, history: dict[int, float]) -> list[Row]:
    """The share by period, and the limits as straight lines over the periods that they are made of and judge."""
    shares = history if verdict.share is None else {0: verdict.share, **history}
    series = {"share": shares}
    if verdict.control is not None:
        series["mean"] = dict.fromkeys(shares, verdict.control.mean)
        series["upper"] = dict.fromkeys(shares, verdict.control.upper)
    return [
        {
            "curve": "quadrant_drift",
            "series": name,
            "x": float(x),
            "y": y,
            "sample_users": verdict.users if x == 0 else None,
        }
        for name, points in series.items()
        for x, y in sorted(points.items())
    ]
