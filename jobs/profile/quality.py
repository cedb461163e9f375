"""Quality of every tag of a run: with which earlier run it is compared, what is held, and the rows that say so.

A tag is compared with the newest run before the day in which it was not held, and how far it moved with how far it
usually moves between runs that lie as many days apart. Nothing is held but tags whose owner asks for it (``on_break:
hold``), until they come back or somebody accepts the new level. Runs in which the tag, or anything that it builds on,
was declared differently are not compared. Where kept numbers or a model were made anew, nothing is held.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.catalogue import Node
from features.quality import (
    Bins,
    Judgement,
    bins_of_bucket,
    causes,
    declarations,
    judge,
    merged_bins,
    psi,
    same_declaration,
    usual_move,
)
from jobs.profile.run import ProfileRun
from lake.lake import Lake
from project.held import QUALITY, quality_rows, stored_rows

DISTRIBUTION, ACCEPTANCES = "profile.tag_distribution", "profile.tag_acceptances"
FAR_DAYS = 28
"""The other run that a tag's values are compared with lies this many days back."""
Spread = tuple[Bins, Bins]
"""Users by bin: visitors, members."""
Usual = dict[tuple[str, bool], float]
"""How far a tag's members, or visitors, usually move between two runs; left out while too few runs tell."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Good:
    """The last good run of a tag."""

    day: dt.date
    spread: Spread


@dataclass(frozen=True)
class Past:
    """What earlier runs say, by tag: the last good run to compare with, whether that can hold the tag (the same numbers
    and models), how far it usually moves, since when it was held, which held levels were accepted, the run 28 days ago.
    ``held_since`` is that of the run before, ``held_before`` that of the day itself, if it was run before."""

    last_day: dt.date | None
    good: dict[str, Good]
    may_hold: frozenset[str]
    usual: Usual
    held_before: dict[str, dt.date]
    held_since: dict[str, dt.date]
    accepted: dict[str, list[dt.date]]
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
    rows = rows_by_day(run.lake)
    earlier = sorted(d for d in rows if d < run.as_of)
    far_day = run.as_of - dt.timedelta(days=FAR_DAYS)
    far = _comparable(run.lake, far_day, rows[far_day], specs) if far_day in rows else {}
    accepted = accepted_levels(run.lake)
    before = {r["tag"]: r["held_since"] for r in stored_rows(rows.get(run.as_of, ())) if r["held_since"] is not None}
    if not earlier:
        return Past(None, {}, frozenset(), {}, before, {}, accepted, far, specs)
    last = earlier[-1]
    usual = usual_moves(run, run.as_of, rows, specs)
    spreads: dict[dt.date, dict[str, Spread]] = {}
    good: dict[str, Good] = {}
    held: dict[str, dt.date] = {}
    may_hold = set()
    for row in stored_rows(rows[last]):
        name, day = row["tag"], last
        if not same_declaration(specs.get(name), row["spec"]):
            continue
        if row["held_since"] is not None:
            held[name] = row["held_since"]
            day = max((d for d in earlier if d < row["held_since"]), default=last)
            # what was usual before it was held: the runs since say nothing of it
            usual.pop((name, row["is_member"]), None)
            if row["psi_usual"] is not None:
                usual[name, row["is_member"]] = row["psi_usual"]
        if day not in spreads:
            spreads[day] = spreads_of(run.lake, day)
        if name in spreads[day]:
            good[name] = Good(day, spreads[day][name])
            if specs[name] == row["spec"]:
                may_hold.add(name)
    return Past(last, good, frozenset(may_hold), usual, before, held, accepted, far, specs)


def rows_by_day(lake: Lake) -> dict[dt.date, list[str]]:
    """Files of the newest quality rows by day: listing them costs more than reading one."""
    found: dict[dt.date, list[str]] = {}
    for f in lake.files(QUALITY):
        found.setdefault(f.partition["as_of"], []).append(f.path)
    return found


def _comparable(lake: Lake, day: dt.date, files: Sequence[str], specs: Mapping[str, str]) -> dict[str, Spread]:
    same = {r["tag"] for r in stored_rows(files) if same_declaration(specs.get(r["tag"]), r["spec"])}
    return {n: s for n, s in spreads_of(lake, day).items() if n in same}


def usual_moves(
    run: ProfileRun,
    day: dt.date,
    rows: Mapping[dt.date, Sequence[str]],
    specs: Mapping[str, str],
    made: Sequence[Row] = (),
) -> Usual:
    """How far tags moved in the trailing runs that lie as many days after their own run before as ``day`` after its.

    ``rows`` are the files of quality rows by day; ``made`` are those of the run's own day, which are not published yet.
    """
    settings = run.quality
    there = {*rows, run.as_of} if made else {*rows}
    earlier = sorted(d for d in there if d < day)
    if not earlier:
        return {}
    step, first = day - earlier[-1], day - dt.timedelta(days=settings.history_days)
    alike = [d for before, d in pairwise(earlier) if d - before == step and d >= first]
    if len(alike) < settings.min_runs:
        return {}
    columns = {"tag": pa.string(), "is_member": pa.bool_(), "spec": pa.string(), "psi": pa.float64()}
    schema = pa.schema([*columns.items(), ("held_since", pa.date32())])
    published = [path for d in alike if d != run.as_of for path in rows[d]]
    parts = [schema.empty_table(), *(_columns(p, schema.names) for p in published)]
    if run.as_of in alike:
        parts.append(pa.Table.from_pylist([{n: r[n] for n in schema.names} for r in made], schema))
    # a file of an older lake may lack a column
    moves = pa.concat_tables(parts, promote_options="default").select(schema.names)
    found: dict[tuple[str, bool], list[float]] = {}
    for tag, member, spec, moved, held in zip(*moves.to_pydict().values(), strict=True):
        if moved is not None and held is None and same_declaration(specs.get(tag), spec):
            found.setdefault((tag, member), []).append(moved)
    return {key: usual_move(seen) for key, seen in found.items() if len(seen) >= settings.min_runs}


def _columns(path: str, names: Sequence[str]) -> pa.Table:
    """Those of the columns that a small file has."""
    with pq.ParquetFile(path) as file:
        return file.read([n for n in names if n in file.schema_arrow.names], use_threads=False)


def accepted_levels(lake: Lake) -> dict[str, list[dt.date]]:
    """By tag the days from which on a level that was held is accepted."""
    found: dict[str, list[dt.date]] = {}
    for path in lake.local(lake.files(ACCEPTANCES)):
        for row in pq.read_table(path, partitioning=None).to_pylist():
            found.setdefault(row["tag"], []).append(row["held_since"])
    return found


def spreads_of(lake: Lake, day: dt.date) -> dict[str, Spread]:
    """How the published values of every tag were spread on a day."""
    found: dict[str, Spread] = {}
    for path in lake.local(lake.files(DISTRIBUTION, where={"as_of": day})):
        columns = pq.read_table(path, partitioning=None).to_pydict()
        for tag, is_member, name, users in zip(
            *(columns[n] for n in ("tag", "is_member", "bin", "users")), strict=True
        ):
            found.setdefault(tag, ({}, {}))[is_member][name] = users
    return found


def spreads_made(run: ProfileRun, made: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
    """How the values of every tag are spread over all buckets of the run."""
    return {n: _spread(made, "bins", n) for n in run.catalogue.tags}


def aged_spreads(made: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
    """How the ages of the snapshot before would be spread now, of tags that grow older by themselves."""
    names = {n for r in made for n in r["aged"]}
    return {n: _spread(made, "aged", n) for n in names}


def _spread(made: Sequence[Mapping[str, Any]], key: str, name: str) -> Spread:
    """Bins of one tag over all buckets, of what their slices told."""
    buckets: dict[int, list[Mapping[str, Sequence[int]]]] = {}
    for told in made:
        if name in told[key]:
            buckets.setdefault(told["bucket"], []).append(told[key][name])
    return merged_bins(bins_of_bucket(slices) for slices in buckets.values())


def judged(run: ProfileRun, past: Past, name: str, member: bool, now: Bins, aged: Mapping[str, Spread]) -> Judgement:
    """The verdict on a tag's values ``now``. What is usual is known of moves since the run before, and of held tags.

    The last good values of ages are those of the snapshot before (where they are held, too), as old as they are now.
    """
    good = past.good.get(name)
    known = good is not None and (good.day == past.last_day or run.catalogue.tags[name].on_break == "hold")
    usual = past.usual.get((name, member)) if known else None
    before = None if good is None else aged.get(name, good.spread)[member]
    return judge(run.catalogue.tags[name], before, now, usual, run.quality)


def hold(run: ProfileRun, past: Past, spreads: Mapping[str, Spread], aged: Mapping[str, Spread], held: Held) -> bool:
    """Add to ``held`` the tags whose owner asks for it, that break a limit among members and build on none that does.

    Nothing is held where the run before is further back than ``max_gap_days``, among fewer than ``min_users`` members,
    and where the level was accepted. Gives whether there were any.
    """
    if past.last_day is None or (run.as_of - past.last_day).days > run.quality.max_gap_days:
        return False
    broken = {}
    for name, good in past.good.items():
        if run.catalogue.tags[name].on_break != "hold" or name in held.since or name not in past.may_hold:
            continue
        few = min(sum(good.spread[1].values()), sum(spreads[name][1].values())) < run.quality.min_users
        if few or any(good.day < since <= run.as_of for since in past.accepted.get(name, ())):
            continue
        verdict = judged(run, past, name, True, spreads[name][1], aged)
        if verdict.breaks:
            broken[name] = verdict.reason
    for name in causes(run.catalogue, broken, held.since):
        held.since[name] = past.held_since.get(name, run.as_of)
        held.reasons[name] = f"{broken[name]} among members, against {past.good[name].day}"
        held.spreads[name] = spreads[name]
    return any(name in held.since for name in broken)


# --- rows ---


def quality_of(
    run: ProfileRun,
    past: Past,
    held: Held,
    spreads: Mapping[str, Spread],
    aged: Mapping[str, Spread],
    counted: Sequence[Row],
    agreement: Sequence[Row],
    freshness: Mapping[str, int | None],
) -> list[Row]:
    """Rows of ``profile.tag_quality``. PSI of a held tag is that of the values it would have had."""
    said = {(r["tag"], r["is_member"]): r for r in agreement}
    nobody = {"declared_users": 0, "compared_users": 0, "agreeing_users": 0}
    held_by = run.catalogue.held_by(held.since)
    rows = []
    for row in counted:
        name, member = row["tag"], row["is_member"]
        true = held.spreads.get(name, spreads[name])[member]
        far = past.far.get(name)
        rows.append(
            {
                **row,
                **said.get((name, member), nobody),
                **_verdict(judged(run, past, name, member, true, aged), past.good.get(name)),
                "psi_28d": None if far is None else psi(far[member], true),
                "held_since": held.since.get(name),
                "held_by": ",".join(held_by.get(name, ())) or None,
                "freshness_days": freshness.get(name),
                "spec": past.specs[name],
            }
        )
    return rows


def _verdict(found: Judgement, good: Good | None) -> Row:
    return {
        "psi": found.psi,
        "psi_usual": found.usual,
        "compared_with": None if found.psi is None or good is None else good.day,
        "verdict": found.verdict,
        "verdict_cause": found.cause,
    }


def later_quality(
    run: ProfileRun,
    past: Past,
    held: Held,
    spreads: Mapping[str, Spread],
    made: Sequence[Row],
    day: dt.date,
    follow: Sequence[Row] | None,
) -> list[Row]:
    """Rows of a later day whose comparison with the run's day moved; ``made`` are the run's own.

    ``follow`` is what tasks found that compared the day with the run's: it is the next day that is there.
    """
    theirs = spreads_of(run.lake, day)
    aged: dict[str, Spread] = {} if follow is None else aged_spreads(follow)
    counts: dict[tuple[str, bool], int] = {}
    for r in (row for part in follow or () for row in part["quality"]):
        counts[r["tag"], r["is_member"]] = counts.get((r["tag"], r["is_member"]), 0) + r["changed_users"]
    rows = quality_rows(run.lake, day)
    usual: Usual = {}
    if follow is not None:
        usual = usual_moves(run, day, rows_by_day(run.lake), {r["tag"]: r["spec"] for r in rows}, made)
    for row in rows:
        name, member = row["tag"], row["is_member"]
        row["changed_users"] = counts.get((name, member), row["changed_users"])
        same = name in theirs and name in spreads and same_declaration(past.specs.get(name), row["spec"])
        if follow is not None and row["held_since"] is None:
            good = past.good.get(name) if name in held.since else Good(run.as_of, spreads[name]) if same else None
            now = theirs[name][member] if same else {}
            expected = aged.get(name, good.spread)[member] if good is not None and same else None
            known = usual.get((name, member)) if name not in held.since else None
            tag = run.catalogue.tags.get(name)
            found = Judgement("first") if tag is None else judge(tag, expected, now, known, run.quality)
            row |= _verdict(found, good)
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


def broken_rows(rows: Iterable[Row], verdict: str, least_users: int) -> list[Row]:
    """Rows with this verdict of tags that are not held, of at least so many users."""
    return [r for r in rows if r["verdict"] == verdict and r["held_since"] is None and r["base_users"] >= least_users]
