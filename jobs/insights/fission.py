"""Topic fission: how deep and how fast sharing spreads, in which kinds and shapes, and who carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.fission.growth import k_factor
from features.fission.settings import K_DAYS
from jobs.insights.step import Insight, InsightRun
from schemas.quarantine import quoted

if TYPE_CHECKING:
    import duckdb

LEVEL = "distributor_level"
"""Column of a member record; what counts is the tag that shows it."""
NEAR_LEVELS = 3


def insight(run: InsightRun) -> Insight:
    """Figures and the growth curve of the day; nothing where nobody was brought and nobody shared."""
    found = Insight()
    if run.lake.version("fission.roles") is None:
        return found
    with run.sql() as con:
        for name in ("roles", "share_trees", "share_edges", "share_daily", "touches"):
            con.execute(
                f"create or replace temp view day_{name} as select * from fission.{name} where as_of = date '{run.as_of}'"
            )
        there = "select (select count(*) from day_roles) + (select coalesce(sum(touches), 0) from day_touches)"
        if not con.execute(there).fetchall()[0][0]:
            return found
        _levels(con, found)
        _counts(run, con, found)
        _speed(con, found)
    return found


def _levels(con: duckdb.DuckDBPyConnection, found: Insight) -> None:
    """Users by level, all and by kind of fission; the share of brought users at levels 1 to 3."""
    by_kind = con.execute(
        "select fission_kind, level, count(*) from day_share_edges group by all order by fission_kind, level"
    ).fetchall()
    roots = con.execute("select count(*) from day_share_trees").fetchall()[0][0]
    by_level: dict[int, int] = {0: roots} if roots else {}
    for kind, level, users in by_kind:
        by_level[level] = by_level.get(level, 0) + users
        found.curves.append({"curve": "growth_by_level", "series": kind, "x": float(level), "y": float(users)})
    for level, users in sorted(by_level.items()):
        found.curves.append({"curve": "growth_by_level", "x": float(level), "y": float(users)})
        found.figures.append({"figure": "users_at_level", "item": str(level), "number": users})
    brought = sum(n for level, n in by_level.items() if level > 0)
    if brought:
        near = sum(n for level, n in by_level.items() if 0 < level <= NEAR_LEVELS)
        found.figures.append({"figure": "share_levels_1_3", "number": near / brought, "sample_users": brought})


def _counts(run: InsightRun, con: duckdb.DuckDBPyConnection, found: Insight) -> None:
    """Counts of what became of touches, of kinds, roles, structures, seeds and sellers (level 0: sells without a level)."""

    def figures(figure: str, sql: str) -> None:
        for item, number in con.execute(sql).fetchall():
            found.figures.append({"figure": figure, "item": str(item), "number": number})

    level, levels = "0", ""
    tag = run.catalogue.showing(LEVEL)
    if tag is not None and tag in run.lake.schema("profile.profile").names:
        level = f"coalesce({quoted(tag)}, 0)"
        levels = (
            f"left join (select uid, {quoted(tag)} from profile.profile where as_of = date '{run.as_of}') using (uid)"
        )
    figures("touches", "select touch_outcome, sum(touches) from day_touches group by all order by all")
    brought = "from day_roles where fission_kind <> 'none' group by all order by all"
    figures("users_by_kind", f"select fission_kind, count(*) {brought}")
    figures("users_by_role", "select primary_role, count(*) from day_roles group by all order by all")
    figures("trees_by_structure", "select community_structure, count(*) from day_share_trees group by all order by all")
    figures("seed_users", "select '', count(*) from day_roles where is_seed_user")
    figures(
        "distributors", f"select {level}, count(*) from day_roles {levels} where is_seller group by all order by all"
    )
    figures("turned_self_buyer", "select '', count(*) from day_roles where turned_self_buyer")


def _speed(con: duckdb.DuckDBPyConnection, found: Insight) -> None:
    """K factor and cycle time of the latest 30 days of sharing, as far as their invitees have joined by now.

    K is accepted invites over everybody active in the 30 days; the cycle is the median of the days' medians.
    """
    rows = con.execute(
        f"""
        select sum(invites), sum(accepted), arg_max(active_users_30d, cohort_day), median(cycle_hours), count(*)
        from (select * from day_share_daily order by cohort_day desc limit {K_DAYS})
        """
    ).fetchall()
    invites, accepted, active, hours, days = rows[0]
    if not days:
        return
    k = k_factor(active, invites, accepted)
    if k is not None:
        found.figures.append({"figure": "k_factor", "number": k, "sample_users": active})
    if hours is not None:
        found.figures.append({"figure": "cycle_hours", "number": hours, "sample_users": accepted})
