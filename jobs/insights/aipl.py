"""Topic ``aipl``: users and rates per stage, benchmark, asset value and FAST."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from features.aipl import NONE, RANK, STAGES, SUPER, AiplSettings, StageRates, advancing, asset_value_minor
from features.migration import flows_between
from jobs.insights.step import Insight, InsightRun, Row
from schemas.errors import InputError
from schemas.quarantine import quoted
from schemas.tag_roles import TagRole

SEGMENTS = "segments.segments"
COUNTS = "select segment, count(*) from segments.segments where scheme = ? and as_of = ? group by all"
RATES = """
select coalesce(s.segment, 'none'), count(*), count(*) filter (f.orders > 0), coalesce(sum(f.orders), 0)::bigint,
       coalesce(sum(f.net_amount) filter (f.orders > 0), 0)::bigint
from (
    select coalesce(u.merged_into_uid, s.uid) as uid, arg_max(s.segment, list_position($stages, s.segment)) as segment
    from segments.segments s left join identity.users u using (uid)
    where s.scheme = $scheme and s.as_of = $day group by 1
) s
full outer join (select uid from segments.segments where scheme = $scheme and as_of = $last) now using (uid)
left join facts f using (uid)
group by all
"""
"""Who was merged since is one person, of the highest stage that one of them had: their purchases are the elder's. Who
came into the base since stood in no stage, like those of ``none``."""
SUPERS = """
select count(*) filter (s.is_member), count(*) filter (s.is_member and p.{interactions} > 0)
from segments.segments s join profile.profile p using (as_of, uid)
where s.as_of = $day and s.scheme = $scheme and s.segment = $value
"""


def insight(run: InsightRun) -> Insight:
    scheme = run.catalogue.of_role(TagRole.AIPL)
    if scheme is None or run.as_of not in run.snapshots:
        return Insight()
    settings = run.method("aipl", AiplSettings)
    figures: list[Row] = []
    with run.sql() as con:
        users = stage_users(con, scheme, run.as_of)
        base = sum(users.values())
        shares = {s: users.get(s, 0) / base for s in RANK} if base else {}
        for stage in RANK:
            figures += [
                _figure("users", stage, users.get(stage, 0), base),
                _figure("share", stage, shares.get(stage), base),
            ]
        start = start_of_rates(run.snapshots, run.as_of, settings)
        before = {} if start is None else stage_users(con, scheme, start)
        if not before:
            start = None
        rates = [] if start is None else stage_rates(run, con, scheme, start)
        figures += _rate_figures(rates, users, start, run.as_of)
        figures += _benchmark(run, con, scheme, settings, shares, rates, start)
        figures += _fast(run, con, scheme, users, start, before)
    return Insight(figures=figures)


def stage_users(con: duckdb.DuckDBPyConnection, scheme: str, day: dt.date) -> dict[str, int]:
    """Users by stage on a day, members and visitors together; empty for a day on which there was no such tag."""
    return dict(con.execute(COUNTS, [scheme, day]).fetchall())


def start_of_rates(snapshots: Sequence[dt.date], as_of: dt.date, settings: AiplSettings) -> dt.date | None:
    """The snapshot nearest to a horizon before ``as_of``, within the tolerance; None without one."""
    wanted = as_of - dt.timedelta(days=settings.horizon_days)
    near = [d for d in snapshots if abs((d - wanted).days) <= settings.horizon_tolerance_days and d < as_of]
    return min(near, key=lambda d: (abs((d - wanted).days), d), default=None)


def stage_rates(run: InsightRun, con: duckdb.DuckDBPyConnection, scheme: str, start: dt.date) -> list[StageRates]:
    """What the users of each stage at ``start``, and of none, bought from the day after until ``as_of``."""
    window = (run.as_of - start).days
    facts = [
        {"id": "orders", "from": ["pay"], "measure": "orders", "agg": "count", "window": window},
        {"id": "net_amount", "from": ["pay"], "measure": "net_amount", "agg": "sum", "window": window},
    ]
    paths = run.facts("aipl", facts)
    if not paths:
        return []
    con.execute(f"create or replace temp view facts as select * from read_parquet({paths!r})")
    at = {"scheme": scheme, "day": start, "last": run.as_of, "stages": list(RANK)}
    found = {row[0]: StageRates(*row) for row in con.execute(RATES, at).fetchall()}
    return [found.get(s, StageRates(s, 0, 0, 0, 0)) for s in (*STAGES, NONE)]


def _figure(figure: str, item: str, number: float | None, sample: int | None = None, **more: Any) -> dict[str, Any]:
    return {"figure": figure, "item": item, "number": number, "sample_users": sample, **more}


def _rate_figures(
    rates: Sequence[StageRates], users: Mapping[str, int], start: dt.date | None, as_of: dt.date
) -> list[dict[str, Any]]:
    """The stages of rates are those of ``start``; the value of assets are these rates with today's users."""
    if not rates or start is None:
        return []
    found = [_figure("horizon_days", "", (as_of - start).days)]
    for r in rates:
        low, high = r.interval
        found += [
            _figure("conversion", r.stage, r.conversion, r.users, low=low, high=high),
            _figure("orders_per_buyer", r.stage, r.orders_per_buyer, r.buyers),
            _figure("order_value_minor", r.stage, r.order_value_minor, r.orders),
            _figure("stage_amount_minor", r.stage, r.net_amount_minor, r.users),
        ]
    found = [{**r, "profile_days": (start,)} for r in found]
    assets = asset_value_minor(users, [r for r in rates if r.stage != NONE])
    both = (start, as_of)
    found += [_figure("asset_value_minor", s, value, users.get(s, 0), profile_days=both) for s, value in assets.items()]
    of_all = sum(users.get(s, 0) for s in assets)
    return [*found, _figure("asset_value_minor", "total", sum(assets.values()), of_all, profile_days=both)]


# --- benchmark ---


def _benchmark(
    run: InsightRun,
    con: duckdb.DuckDBPyConnection,
    scheme: str,
    settings: AiplSettings,
    shares: Mapping[str, float],
    rates: Sequence[StageRates],
    start: dt.date | None,
) -> list[dict[str, Any]]:
    """Benchmark and gap (ours - benchmark) of stage shares, and of conversions where the benchmark has them."""
    b = settings.benchmark
    conversions: dict[str, float] = {}
    if b.kind == "file":
        assert b.file is not None
        peers = read_peers(run.project.folder, b.file)
        expected = {s: share for s, (share, _) in peers.items()}
        conversions = {s: c for s, (_, c) in peers.items() if c is not None}
        days, earlier = None, []
    else:
        first = run.as_of - dt.timedelta(days=b.days)
        counted = {d: stage_users(con, scheme, d) for d in run.snapshots if first <= d < run.as_of}
        earlier = [d for d, users in counted.items() if users]
        days = len(earlier)
        if not earlier:
            return []
        sums = dict.fromkeys(RANK, 0.0)
        for day in earlier:
            base = sum(counted[day].values())
            for s in RANK:
                sums[s] += counted[day].get(s, 0) / base
        expected = {s: n / days for s, n in sums.items()}
    found, both = [], (*earlier, run.as_of)
    for s, share in expected.items():
        found += [
            _figure("benchmark_share", s, share, days, profile_days=tuple(earlier)),
            _figure("benchmark_gap", s, shares.get(s, 0) - share, days, profile_days=both),
            _figure("benchmark_flag", s, float(shares.get(s, 0) < share * (1 - b.flag_below)), profile_days=both),
        ]
    ours = {r.stage: r.conversion for r in rates}
    for s, expected_rate in conversions.items():
        mine = ours.get(s)
        found.append(_figure("benchmark_conversion", s, expected_rate, profile_days=()))
        if mine is not None and start is not None:
            found.append(_figure("benchmark_conversion_gap", s, mine - expected_rate, profile_days=(start,)))
    return found


def read_peers(folder: Path, name: str) -> dict[str, tuple[float, float | None]]:
    """Share and conversion by stage of a CSV of peers; InputError names file, row, field, value and remedy."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f"benchmark file {name!r} lies outside the project folder; move it there")
    if not path.is_file():
        raise InputError(f"benchmark file {name!r} is not there; it is named in methods/aipl.yaml")
    found: dict[str, tuple[float, float | None]] = {}
    with path.open(encoding="utf-8-sig", newline="") as f:
        reader = csv.DictReader(f)
        if not {"stage", "share"} <= set(reader.fieldnames or ()):
            raise InputError(f"{name}: the header needs the columns stage and share (and may have conversion)")
        for number, row in enumerate(reader, start=1):
            stage = (row["stage"] or "").strip()
            if stage not in RANK or stage in found:
                why = "is there twice" if stage in found else f"is none of {', '.join(RANK)}"
                raise InputError(f"{name} row {number}: stage {stage!r} {why}")
            share = _rate(name, number, "share", row["share"])
            conversion = _rate(name, number, "conversion", row.get("conversion") or None)
            if share is None:
                raise InputError(f"{name} row {number}: share is empty; give a number from 0 to 1")
            found[stage] = (share, conversion)
    return found


def _rate(name: str, number: int, column: str, text: str | None) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"{name} row {number}: {column} {text!r} is no number from 0 to 1 (write 0.12 for 12 %)")
    return value


# --- FAST ---


def _fast(
    run: InsightRun,
    con: duckdb.DuckDBPyConnection,
    scheme: str,
    users: Mapping[str, int],
    start: dt.date | None,
    before: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Fertility, advancing, superiority, thriving. Excess and advancing need ``start``, a snapshot a horizon before."""
    fertility = sum(users.get(s, 0) for s in STAGES)
    found = [_figure("fast", "fertility", fertility, sum(users.values()))]
    if start is not None:
        excess = fertility - sum(before.get(s, 0) for s in STAGES)
        both = (start, run.as_of)
        found.append(_figure("fast", "fertility_excess", excess, fertility, profile_days=both))
        moved = advancing(flows_between(con, scheme, start, run.as_of))
        found.append(_figure("fast", "advancing", moved.rate, moved.at_start, profile_days=both))
    columns = {row[0] for row in con.execute("describe profile.profile").fetchall()}
    super_user, interactions = (run.catalogue.of_role(r) for r in (TagRole.SUPER_USER, TagRole.INTERACTIONS))
    if super_user is not None and interactions is not None and interactions in columns:
        values = {"day": run.as_of, "scheme": super_user, "value": SUPER}
        ((supers, active),) = con.execute(SUPERS.format(interactions=quoted(interactions)), values).fetchall()
        found.append(_figure("fast", "superiority", supers, sum(users.values())))
        found.append(_figure("fast", "thriving", active / supers if supers else None, supers))
    return found
