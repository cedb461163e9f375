"""Quality of every tag of a run: against which earlier run it is judged, what is held, and the rows that say so.

The last good run of a tag is the newest one before the day in which it was not held. Runs in which the tag, or anything
that it builds on, was declared differently are not compared: raising a tag's ``version`` accepts its new level. Where
kept numbers or a model were made anew, the runs are compared and nothing is held.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq

from features.catalogue import Node
from features.quality import Bins, breach, causes, declarations, merged_bins, psi, same_declaration, verdict
from lake.lake import Lake
from schemas.contracts import contract

if TYPE_CHECKING:
    from jobs.profile import ProfileRun

QUALITY, DISTRIBUTION = "profile.tag_quality", "profile.tag_distribution"
FAR_DAYS = 28
"""The other run that a tag's values are compared with lies this many days back."""
Spread = tuple[Bins, Bins]
"""Users by bin: visitors, members."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Good:
    """The last good run of a tag."""

    day: dt.date
    spread: Spread


@dataclass(frozen=True)
class Past:
    """What earlier runs say, by tag: the last good run to compare with, whether that can hold the tag (the same numbers
    and models), since when it was held, and the run 28 days ago."""

    last_day: dt.date | None
    good: dict[str, Good]
    may_hold: frozenset[str]
    held_since: dict[str, dt.date]
    far: dict[str, Spread]
    specs: dict[str, str]


@dataclass
class Held:
    """Tags that the run holds: since when, why in words, and how their values would be spread."""

    since: dict[str, dt.date] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    spreads: dict[str, Spread] = field(default_factory=dict)


def past_of(run: ProfileRun, fits: Mapping[Node, str]) -> Past:
    """What to compare the run's day with; ``fits`` say when the kept numbers and the models of the run were made."""
    specs = declarations(run.catalogue, fits)
    days = sorted({f.partition["as_of"] for f in run.lake.files(QUALITY)})
    earlier = [d for d in days if d < run.as_of]
    far_day = run.as_of - dt.timedelta(days=FAR_DAYS)
    far = _comparable(run.lake, far_day, specs) if far_day in days else {}
    if not earlier:
        return Past(None, {}, frozenset(), {}, far, specs)
    last = earlier[-1]
    spreads: dict[dt.date, dict[str, Spread]] = {}
    good: dict[str, Good] = {}
    held: dict[str, dt.date] = {}
    may_hold = set()
    for row in quality_rows(run.lake, last):
        name, day = row["tag"], last
        if not same_declaration(specs.get(name), row["spec"]):
            continue
        if row["held_since"] is not None:
            held[name] = row["held_since"]
            day = max((d for d in earlier if d < row["held_since"]), default=last)
        if day not in spreads:
            spreads[day] = spreads_of(run.lake, day)
        if name in spreads[day]:
            good[name] = Good(day, spreads[day][name])
            if specs[name] == row["spec"]:
                may_hold.add(name)
    return Past(last, good, frozenset(may_hold), held, far, specs)


def _comparable(lake: Lake, day: dt.date, specs: Mapping[str, str]) -> dict[str, Spread]:
    same = {r["tag"] for r in quality_rows(lake, day) if same_declaration(specs.get(r["tag"]), r["spec"])}
    return {n: s for n, s in spreads_of(lake, day).items() if n in same}


def quality_rows(lake: Lake, day: dt.date) -> list[Row]:
    """Rows of ``profile.tag_quality`` of a day."""
    names = [n for n in contract(QUALITY).column_names if n != "as_of"]
    rows = [
        r
        for f in lake.files(QUALITY, where={"as_of": day})
        for r in pq.read_table(f.path, partitioning=None).to_pylist()
    ]
    return [{n: row.get(n) for n in names} for row in rows]


def spreads_of(lake: Lake, day: dt.date) -> dict[str, Spread]:
    """How the published values of every tag were spread on a day."""
    found: dict[str, Spread] = {}
    for f in lake.files(DISTRIBUTION, where={"as_of": day}):
        columns = pq.read_table(f.path, partitioning=None).to_pydict()
        for tag, is_member, name, users in zip(
            *(columns[n] for n in ("tag", "is_member", "bin", "users")), strict=True
        ):
            found.setdefault(tag, ({}, {}))[is_member][name] = users
    return found


def spreads_made(run: ProfileRun, made: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
    """How the values of every tag are spread over all buckets of the run."""
    return {n: merged_bins(r["bins"][n] for r in made if n in r["bins"]) for n in run.catalogue.tags}


def hold(run: ProfileRun, past: Past, spreads: Mapping[str, Spread], held: Held) -> bool:
    """Add to ``held`` the tags that break a limit and build on none that does; whether there were any.

    Nothing is held where the run before is further back than ``max_gap_days``.
    """
    if past.last_day is None or (run.as_of - past.last_day).days > run.quality.max_gap_days:
        return False
    broken = {}
    for name, good in past.good.items():
        if name in held.since or name not in spreads or name not in past.may_hold:
            continue
        reason = breach(run.catalogue, name, good.spread[1], spreads[name][1], run.quality)
        if reason is not None:
            broken[name] = reason
    for name in causes(run.catalogue, broken, held.since):
        held.since[name] = past.held_since.get(name, run.as_of)
        held.reasons[name] = f"{broken[name]} (members, against {past.good[name].day})"
        held.spreads[name] = spreads[name]
    return any(name in held.since for name in broken)


def warnings_of(past: Past, held: Held) -> list[str]:
    """What the person who runs it should know of tags that are held, or no more."""
    told = [
        f"tag {n!r} is held since {day}: {held.reasons[n]}; raise its version to accept the new level"
        for n, day in held.since.items()
    ]
    back = [n for n in past.held_since if n not in held.since]
    return [*told, *(f"tag {n!r} is published again; it was held since {past.held_since[n]}" for n in back)]


# --- rows ---


def quality_of(
    run: ProfileRun,
    past: Past,
    held: Held,
    spreads: Mapping[str, Spread],
    counted: Sequence[Row],
    agreement: Sequence[Row],
    freshness: Mapping[str, int | None],
) -> list[Row]:
    """Rows of ``profile.tag_quality``. PSI of a held tag is that of the values it would have had."""
    said = {(r["tag"], r["is_member"]): r for r in agreement}
    nobody = {"declared_users": 0, "compared_users": 0, "agreeing_users": 0}
    rows = []
    for row in counted:
        name, member = row["tag"], row["is_member"]
        true = held.spreads.get(name, spreads[name])[member]
        good, far = past.good.get(name), past.far.get(name)
        near = None if good is None else psi(good.spread[member], true)
        rows.append(
            {
                **row,
                **said.get((name, member), nobody),
                "psi": near,
                "psi_28d": None if far is None else psi(far[member], true),
                "verdict": verdict(near, run.quality),
                "held_since": held.since.get(name),
                "freshness_days": freshness.get(name),
                "spec": past.specs[name],
            }
        )
    return rows


def later_quality(
    run: ProfileRun, past: Past, held: Held, spreads: Mapping[str, Spread], day: dt.date, changed: Sequence[Row] | None
) -> list[Row]:
    """Rows of a later day whose comparison with the run's day moved: with ``changed`` it is the next day that is there."""
    theirs = spreads_of(run.lake, day)
    counts = {(r["tag"], r["is_member"]): r["changed_users"] for r in changed or ()}
    rows = quality_rows(run.lake, day)
    for row in rows:
        name, member = row["tag"], row["is_member"]
        row["changed_users"] = counts.get((name, member), row["changed_users"])
        same = name in theirs and name in spreads and same_declaration(past.specs.get(name), row["spec"])
        if changed is not None and row["held_since"] is None:
            good = past.good.get(name) if name in held.since else Good(run.as_of, spreads[name]) if same else None
            row["psi"] = None if good is None or not same else psi(good.spread[member], theirs[name][member])
            row["verdict"] = verdict(row["psi"], run.quality)
        if (day - run.as_of).days == FAR_DAYS:
            row["psi_28d"] = psi(spreads[name][member], theirs[name][member]) if same else None
    return rows


def distribution_rows(spreads: Mapping[str, Spread]) -> list[Row]:
    """Rows of ``profile.tag_distribution``."""
    return [
        {"tag": tag, "is_member": bool(member), "bin": name, "users": users}
        for tag, spread in spreads.items()
        for member, bins in enumerate(spread)
        for name, users in sorted(bins.items())
    ]


# --- freshness ---


def freshness_of(run: ProfileRun) -> dict[str, int | None]:
    """Days by tag from the newest event of its source feeds to the run's day; None without any."""
    feeds = sorted({s for t in run.catalogue.tags.values() for s in t.sources})
    with duckdb.connect(config={"threads": "1"}) as con:
        con.execute("set enable_progress_bar = false")
        con.execute("set TimeZone = 'UTC'")
        newest = {feed: _newest_day(con, run, feed) for feed in feeds}
    found: dict[str, int | None] = {}
    for name, tag in run.catalogue.tags.items():
        days = [d for s in tag.sources if (d := newest[s]) is not None]
        found[name] = (run.as_of - max(days)).days if days else None
    return found


def _newest_day(con: duckdb.DuckDBPyConnection, run: ProfileRun, feed: str) -> dt.date | None:
    """Business day of the newest event of a feed by the run's day; the newest month that has one is all that is read."""
    from features.population import end_of_day

    table = f"silver.{feed}"
    c = contract(table)
    months: dict[int, list[str]] = {}
    for f in run.lake.files(table):
        months.setdefault(f.partition["event_month"], []).append(f.path)
    stamp = f"coalesce({', '.join((*c.event_time, '_ingested_at'))})"
    values: dict[str, Any] = {"until": end_of_day(run.as_of, run.lake.zone)}
    learned = ""
    if run.known_at is not None:
        values["known_at"], learned = run.known_at, "and _ingested_at <= $known_at"
    for month in sorted((m for m in months if m <= run.as_of.year * 100 + run.as_of.month), reverse=True):
        files = ", ".join("'" + p.replace("'", "''") + "'" for p in months[month])
        sql = (
            f"select (max({stamp}) at time zone '{run.lake.zone}')::date "
            f"from read_parquet([{files}], hive_partitioning = false, union_by_name = true) "
            f"where {stamp} <= $until {learned}"
        )
        ((day,),) = con.execute(sql, values).fetchall()
        if day is not None:
            return dt.date.fromisoformat(str(day))
    return None
