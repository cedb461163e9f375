"""Topic segments: how many users each value of every segmentation holds, and what they spend.

Per item ``SCHEME/VALUE``, over the whole base population of the day (members and visitors together):
``users``, ``users_share``, ``net_amount_minor`` (net spend of 365 days, sum), ``amount_share``; over the users with a
purchase day in 365 days: ``mean_recency_days``, ``mean_frequency_days``, ``mean_monetary_minor``. ``sample_users`` is
the number of users that a figure rests on; means without a buyer, and shares of no money, are null. Money figures are
left out where not each of the three roles that they are made of has a tag.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobs.insights.step import Insight, InsightRun, Row
from schemas.quarantine import quoted
from schemas.tag_roles import TagRole

MONEY = (TagRole.RECENCY, TagRole.FREQUENCY, TagRole.MONETARY)
"""Roles of the tags that money and means are made of."""
MEANS = {"mean_recency_days": "recency", "mean_frequency_days": "frequency", "mean_monetary_minor": "monetary"}


def insight(run: InsightRun) -> Insight:
    """Empty where the catalogue has no segmentation or the day no profile."""
    stored = set(run.lake.schema("profile.profile").names)
    schemes = [s for s in run.catalogue.schemes if s in stored]
    if not schemes or run.as_of not in run.snapshots:
        return Insight()
    spent = [tag for role in MONEY if (tag := run.catalogue.of_role(role)) is not None and tag in stored]
    spends = len(spent) == len(MONEY)
    with run.sql() as con:
        cursor = con.execute(_sql(schemes, spent if spends else ()), [run.as_of])
        names = [c[0] for c in cursor.description]
        rows = [dict(zip(names, r, strict=True)) for r in cursor.fetchall()]
    base = {s: sum(r["users"] for r in rows if r["scheme"] == s) for s in schemes}
    amount = {s: sum(r.get("amount") or 0.0 for r in rows if r["scheme"] == s) for s in schemes}
    found: list[Row] = []
    for r in rows:
        item = f"{r['scheme']}/{r['segment']}"
        users = r["users"]
        found.append({"figure": "users", "item": item, "number": float(users), "sample_users": users})
        of_base = {"figure": "users_share", "item": item, "number": users / base[r["scheme"]]}
        found.append({**of_base, "sample_users": base[r["scheme"]]})
        if spends:
            whole = amount[r["scheme"]]
            found.append({"figure": "net_amount_minor", "item": item, "number": r["amount"], "sample_users": users})
            of_all = r["amount"] / whole if whole > 0 else None
            found.append({"figure": "amount_share", "item": item, "number": of_all, "sample_users": users})
            found += [
                {"figure": figure, "item": item, "number": r[column], "sample_users": r["buyers"]}
                for figure, column in MEANS.items()
            ]
    return Insight(figures=found)


def _sql(schemes: list[str], spent: Sequence[str]) -> str:
    """One scan of the day for all segmentations; ``spent`` are the tags of ``MONEY``, or none."""
    named = " ".join(f"when grouping({quoted(s)}) = 0 then '{s}'" for s in schemes)
    value = " ".join(f"when grouping({quoted(s)}) = 0 then {quoted(s)}" for s in schemes)
    money = ""
    if spent:
        recency, frequency, monetary = map(quoted, spent)
        money = f""",
        coalesce(sum({monetary}), 0)::double as amount,
        count(*) filter ({frequency} > 0) as buyers,
        avg({recency}) filter ({frequency} > 0) as recency,
        avg({frequency}) filter ({frequency} > 0) as frequency,
        avg({monetary}) filter ({frequency} > 0) as monetary"""
    sets = ", ".join(f"({quoted(s)})" for s in schemes)
    return f"""
    select case {named} end as scheme, coalesce(case {value} end, 'unknown') as segment, count(*) as users
        {money}
    from profile.profile where as_of = ? group by grouping sets ({sets}) order by scheme, segment
    """
