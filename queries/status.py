"""``huaxiang status``: what was taken, how late it came, what was set aside, what was released, how long it took."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from features.quality import VERDICTS
from lake import refused, releases
from lake.locks import holders
from lake.run_notes import WARNINGS
from lake.sql import connect
from project import arrivals
from project.audience_standing import standings
from project.folder import Project
from project.held import QUALITY, marks_of, quality_rows
from project.inbox import unfinished, unmatched
from schemas.errors import ConfigurationError

FEEDS = """
select feed, count(*) as files, sum(rows_read)::bigint as rows_read, sum(rows_silver)::bigint as silver,
       sum(rows_duplicate)::bigint as duplicates, sum(rows_quarantined)::bigint as quarantined,
       sum(rows_not_selected)::bigint as not_selected,
       sum(rows_read - rows_silver - rows_duplicate - rows_quarantined - rows_not_selected)::bigint as lost,
       sum(rows_late) filter (not first_load)::bigint as late,
       max(late_days_p95) filter (not first_load) as late_days_p95,
       max(late_days_max) filter (not first_load) as late_days_max,
       sum(dst_moved)::bigint as dst_moved, max(event_last_at) as last_event, max(_ingested_at) as last_ingest
from (select *, _ingested_at = min(_ingested_at) over (partition by feed) as first_load
      from landing.manifest where state = 'taken') group by feed order by feed
"""
"""The first load of a feed brings its history: it is not what anybody means by late."""
WAITING = "select source, count(*) as waiting from quarantine.{feed} where replayed_batch_id is null group by source"
RUNS = """
select as_of, step, engine, seconds, rows_out, peak_memory_mb, created_at from ops.runs
order by created_at desc, step limit 12
"""
WARNED = "select message from ops.warnings where run_id = ? order by position"


def status(project: Project) -> dict[str, Any]:
    """Refused files, feeds with conservation and lateness, quarantine, releases and the last steps, as plain values.

    ``silent`` are feeds that were silent for too long by the day of the latest release, in words; ``warnings`` those of
    the run that released last; ``quality`` tags of the latest release by verdict, and those held; ``unmatched`` files of
    the inbox that no mapping names (absent: mappings have mistakes), ``unfinished`` those whose names say
    that they are still being written; ``audiences`` those out of use or stale; ``held`` what a process writes now, with its host.
    """
    lake = project.lake
    every = releases.releases(lake)
    days = [e.as_of for e in releases.entries(lake) if e.rollback_to is None]
    found: dict[str, Any] = {"refused": [refused.as_values(r) for r in refused.refused(lake)]}
    found |= {"project": str(project.folder), "lake": lake.address, "feeds": [], "quarantine": []}
    with connect(lake, None, ("landing", "quarantine", "ops")) as con:
        if lake.version("landing.manifest") is not None:
            found["feeds"] = _rows(con, FEEDS)
            for feed in (f["feed"] for f in found["feeds"]):
                if lake.version(f"quarantine.{feed}") is not None:
                    found["quarantine"] += [{"feed": feed, **r} for r in _rows(con, WAITING.format(feed=feed))]
        found["runs"] = _rows(con, RUNS) if lake.version("ops.runs") is not None else []
        found["warnings"] = []
        if every and lake.version(WARNINGS) is not None:
            found["warnings"] = [w for (w,) in con.execute(WARNED, [every[-1].run_id]).fetchall()]
    current = releases.latest(lake)
    found["releases"] = len(every)
    found["latest"] = None if current is None else _release(current)
    found["silent"] = [] if current is None else arrivals.silent(project, current.as_of)
    found["unmatched"] = _unmatched(project)
    found["unfinished"] = unfinished(project.waiting)
    found["quality"] = None if current is None else _quality(project, current)
    found["audiences"] = [] if current is None else _audiences(project, current)
    found["held"] = [{"table": h.name, "process": h.process, "host": h.host, "since": h.since} for h in holders(lake)]
    found["gaps"] = _gaps(days)
    return found


def _release(r: releases.Release) -> dict[str, Any]:
    return {"number": r.number, "as_of": r.as_of, "refused": r.refused, **r.counts}


def _quality(project: Project, at: releases.Release) -> dict[str, Any] | None:
    """Tags by verdict (the worse of members' and visitors'), those that are held with the day since when, what they mark."""
    if QUALITY not in at.tables:
        return None
    worst: dict[str, str] = {}
    for r in quality_rows(project.lake, at.as_of, at.tables[QUALITY]):
        worst[r["tag"]] = max(worst.get(r["tag"], VERDICTS[0]), r["verdict"], key=VERDICTS.index)
    marked = marks_of(project.lake, project.catalogue, at)
    found = {v: [n for n, verdict in worst.items() if verdict == v] for v in reversed(VERDICTS)}
    return {**found, "held": marked.since, "made_from_held": [n for n in marked.held_by if n not in marked.since]}


def _audiences(project: Project, at: releases.Release) -> list[dict[str, Any]] | None:
    """Audiences that are out of use or stale on the release's day, and why; None: their files have mistakes."""
    with suppress(ConfigurationError):
        found = standings(project, at.as_of).values()
        return [
            {"audience": s.audience, "in_use": s.in_use, "why": s.problem.en} for s in found if s.problem is not None
        ]
    return None


def _unmatched(project: Project) -> list[str] | None:
    try:
        return unmatched(project.waiting, project.sources)
    except ConfigurationError:
        return None


def _rows(con: Any, sql: str) -> list[dict[str, Any]]:
    cursor = con.execute(sql)
    names = [d[0] for d in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _gaps(days: list[Any]) -> list[Any]:
    """Days between the first and the last release that were never released."""
    if not days:
        return []
    have, first, last = set(days), min(days), max(days)
    return [d for i in range((last - first).days) if (d := first + timedelta(days=i)) not in have]
