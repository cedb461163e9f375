"""Topic value: how spend is spread over users, super users, the user pyramid, and categories bought together.

Spend is the net spend of 365 days. **buyers** have some, **members** are all members, **everybody** is the whole base
population: in the last two users who spent nothing are in the base, in everybody also anonymous visitors.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np

from features.concentration import Spread, ValueSettings, gini, lorenz, spread, top_share
from jobs.insights.step import Insight, InsightRun, Row
from jobs.offers.step import associations
from schemas.quarantine import quoted
from schemas.tag_roles import TagRole

BASES = {"buyers": "{spend} > 0", "members": "is_member", "everybody": "true"}
USERS_OF = {"super_users": TagRole.SUPER_USER, "pyramid_users": TagRole.PYRAMID}
"""Figures that count users by the values of the tag of a role."""


def insight(run: InsightRun) -> Insight:
    found = Insight()
    if run.as_of in run.snapshots:
        settings = run.method("value", ValueSettings)
        with run.sql() as con:
            if (spend := run.catalogue.of_role(TagRole.MONETARY)) is not None:
                for base, who in BASES.items():
                    _concentration(found, base, _spend(con, run, quoted(spend), who), settings)
            for figure, role in USERS_OF.items():
                if (tag := run.catalogue.of_role(role)) is not None:
                    found.figures += _users(con, run, figure, tag)
    found.associations = associations(
        run.project, run.engine, run.as_of, run_id=run.run_id, known_at=run.known_at
    ).to_pylist()
    return found


def _spend(con: duckdb.DuckDBPyConnection, run: InsightRun, spend: str, who: str) -> Spread:
    """Distinct amounts with how many users of the base have each; nobody is listed."""
    table = con.sql(
        f"""
        select coalesce({spend}, 0)::bigint as amount, count(*) as users from profile.profile
        where as_of = $day and {who.format(spend=spend)} group by all order by all
        """,
        params={"day": run.as_of},
    ).to_arrow_table()
    return spread(*(table[name].to_numpy().astype(np.int64) for name in ("amount", "users")))


def _concentration(found: Insight, base: str, s: Spread, settings: ValueSettings) -> None:
    number = gini(s)
    if number is None:
        return
    found.figures.append({"figure": "gini", "item": base, "number": number, "sample_users": s.users})
    for share in settings.top_shares:
        item = f"{base}/{share:.4%}".rstrip("%").rstrip("0").rstrip(".") + "%"
        found.figures.append(
            {"figure": "top_share", "item": item, "number": top_share(s, share), "sample_users": s.users}
        )
    found.curves += [{"curve": "lorenz", "series": base, "x": x, "y": y, "sample_users": s.users} for x, y in lorenz(s)]


def _users(con: duckdb.DuckDBPyConnection, run: InsightRun, figure: str, tag: str) -> list[Row]:
    """Users of every declared value, also of those that nobody has; the sample is the base."""
    counted: dict[Any, int] = dict(
        con.execute(f'select "{tag}", count(*) from profile.profile where as_of = ? group by 1', [run.as_of]).fetchall()
    )
    values = run.catalogue.tags[tag].finite or tuple(sorted(counted))
    base = sum(counted.values())
    return [{"figure": figure, "item": v, "number": counted.get(v, 0), "sample_users": base} for v in values]
